-- Clients that are slow, on purpose or not.

local green = require "greenlua"
local web = require "spec.support.http"

describe("the timeouts of an http.Server", function()
  local server, seen

  setup(function()
    server = web.server(function(req, res)
      if req.path == "/body" then
        local body, err = req:read "a"
        seen = { body, err }
        return assert(body, err)
      elseif req.path == "/much" then
        local piece = ("x"):rep(1 << 20)
        for _ = 1, 100 do
          local ok, err = res:write(piece)
          if not ok then
            seen = { ok, err }
            return
          end
        end
      elseif req.path == "/whole" then
        seen = { res:send(("x"):rep(64 << 20)) }
        return
      end
      return "ok"
    end, { header_timeout = 0.05, idle_timeout = 0.05, body_timeout = 0.05, write_timeout = 0.05 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function() seen, server.failures = nil, {} end)

  -- Sends byte after byte, as slowloris does, until the other side has had enough.
  local function drip(conn, bytes, pause)
    return green.spawn(function()
      for byte in bytes:gmatch "." do
        if not conn:send(byte) then return end
        green.sleep(pause)
      end
    end)
  end

  it("end a connection that says nothing, without a word", function()
    local conn <close> = web.connect(server)
    assert.same({ nil, "closed", "" }, { conn:receive "*a" })
  end)

  it("end one that says nothing any more, without a word", function()
    local conn <close> = web.connect(server)
    conn:send(web.request("GET", "/"))
    assert.equal("ok", web.read(conn).body)
    assert.same({ nil, "closed", "" }, { conn:receive "*a" })
  end)

  it("refuse a head that takes too long, however it drips", function()
    local conn <close> = web.connect(server)
    local dripping <close> = drip(conn, "GET / HTTP/1.1\r\n" .. ("A: b\r\n"):rep(100), 0.004)
    assert.equal(408, web.read(conn).status)
    dripping:kill()
  end)

  it("refuse a second head likewise", function()
    local conn <close> = web.connect(server)
    conn:send(web.request("GET", "/") .. "GET / HT")
    assert.equal("ok", web.read(conn).body)
    assert.equal(408, web.read(conn).status)
  end)

  it("end a body that does not come on", function()
    local conn <close> = web.connect(server)
    conn:send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    local r = web.read(conn)
    assert.equal(408, r.status)
    assert.same({ nil, "timeout" }, seen)
    assert.same({}, server.failures)
  end)

  it("end a body that nobody reads, and that does not come", function()
    local conn <close> = web.connect(server)
    conn:send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    assert.equal("ok", web.read(conn).body)
    assert.is_nil((web.read(conn)))
  end)

  it("end a response that nobody takes, in pieces or whole", function()
    for _, target in ipairs { "/much", "/whole" } do
      seen = nil
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", target))
      while not seen do green.sleep(0.01) end
      assert.same({ nil, "timeout" }, seen)
    end
  end)

  it("do not strike while something comes", function()
    local own = web.server(function(req) return assert(req:read "a") end, { body_timeout = 1 })
    finally(function() own:stop(0) end)
    local conn <close> = web.connect(own)
    conn:send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n")
    local dripping <close> = drip(conn, ("x"):rep(12), 0.1)
    assert.equal(("x"):rep(12), web.read(conn).body)
    dripping:join()
  end)
end)

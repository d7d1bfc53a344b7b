-- Bodies that are sent slowly on purpose: each byte comes in time, the whole never.

local green = require "greenlua"
local socket = require "greenlua.socket"
local web = require "spec.support.http"

describe("a slow body", function()
  local seen

  local function handler(req)
    if req.path == "/busy" then green.sleep(0.1) end
    local body, err = req:read "a"
    seen = { body, err }
    return assert(body, err)
  end

  local function serve(options)
    seen = nil
    return web.server(handler, options)
  end

  -- Byte after byte until the other side has had enough.
  local function drip(conn, pause)
    return green.spawn(function()
      while conn:send "x" do green.sleep(pause) end
    end)
  end

  local head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

  local function refused(options)
    local server <close> = serve(options)
    local conn <close> = web.connect(server)
    local start = socket.gettime()
    conn:send(head:format("/", 100000))
    local dripping <close> = drip(conn, 0.005)
    assert.equal(408, web.read(conn).status)
    dripping:kill()
    assert.same({ nil, "timeout" }, seen)
    assert.same({}, server.failures)
    return socket.gettime() - start
  end

  it("has a rate to keep, after a grace", function()
    assert.is_true(refused { body_grace = 0.1, body_rate = 1e6 } >= 0.099)
  end)

  it("has a time to keep", function()
    assert.is_true(refused { body_rate = false, max_body_time = 0.1 } >= 0.099)
    assert.is_true(refused { max_body_time = 0.1 } >= 0.099)
  end)

  it("may take its time where there is no rate", function()
    local server = serve { body_rate = false, body_grace = 0.001 }
    finally(function() server:stop(0) end)
    local conn <close> = web.connect(server)
    conn:send(head:format("/", 5))
    local dripping <close> = drip(conn, 0.005)
    assert.equal("xxxxx", web.read(conn).body)
    dripping:kill()
  end)

  it("is not the handler's slowness", function()
    local server = serve { body_grace = 0.05, body_rate = 1e9, max_body_time = 0.05 }
    finally(function() server:stop(0) end)
    local conn <close> = web.connect(server)
    conn:send(head:format("/busy", 5) .. "hello")
    assert.equal("hello", web.read(conn).body)
  end)

  it("is asked for though nothing can be written at the moment", function()
    local filled
    local server = web.server(function(req)
      local sock, rest = req.socket, ("y"):rep(16 << 20)
      sock:settimeout(0)
      local _, _, n = sock:send(rest)
      filled = n
      return req:read "a"
    end)
    finally(function() server:stop(0) end)
    local conn <close> = assert(socket.connect("127.0.0.1", server.port))
    conn:settimeout(60)
    conn:send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    while not filled do green.sleep(0) end
    assert.equal(filled, #assert(conn:receive(filled)))
    assert.equal("HTTP/1.1 100 Continue\r\n\r\n", conn:receive(25))
    conn:send "hello"
    assert.equal("hello", web.read(conn).body)
    conn:send(web.request("POST", "/", nil, "again"))
    assert.equal("y", conn:receive(1))
    assert.same({}, server.failures)
  end)
end)

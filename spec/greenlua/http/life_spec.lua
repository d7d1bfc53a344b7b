local boundaries = require "spec.support.boundaries"
local green = require "greenlua"
local http = require "greenlua.http"
local sockets = require "greenlua.socket"
local web = require "spec.support.http"

describe("http.Server", function()
  describe("stops", function()
    it("those that are idle at once, the others with their response", function()
      local inside, go_on = green.Event(), green.Event()
      local own = web.server(function()
        inside:set()
        go_on:wait()
        return "finished"
      end)
      local idle <close> = web.connect(own)
      local busy <close> = web.connect(own)
      busy:send(web.request("GET", "/"))
      inside:wait()
      local stopping = green.spawn(own.stop, own, 60)
      assert.equal("closed", select(2, idle:receive()))
      assert.is_nil(sockets.connect("127.0.0.1", own.port))
      go_on:set()
      local r = web.read(busy)
      assert.equal("finished", r.body)
      assert.equal("close", r.headers.connection)
      assert.is_true(stopping:get())
      assert.equal(0, (own:counts()))
    end)

    it("who takes too long, by a kill", function()
      local inside = green.Event()
      local own = web.server(function()
        inside:set()
        green.sleep(60)
      end)
      local conn <close> = web.connect(own)
      conn:send(web.request("GET", "/"))
      inside:wait()
      assert.is_false(own:stop(0))
      assert.same({ nil, "closed", "" }, { conn:receive() })
      assert.same({}, own.failures)
    end)

    it("and can start again", function()
      local own = web.server(function() return "again" end)
      own:stop(0)
      assert(own:start())
      assert.equal("again", web.get(own, "/").body)
      own:stop(0)
    end)
  end)

  it("listens on a UNIX socket", function()
    local path = os.tmpname()
    os.remove(path)
    local own = http.Server("unix:" .. path, function(req) return tostring(req.remote_host) end)
    assert(own:start())
    finally(function() own:stop(0) end)
    local conn <close> = sockets.unix()
    assert(conn:connect(path))
    conn:send(web.request("GET", "/"))
    assert.equal("nil", web.read(conn).body)
  end)

  it("limits the connections by its pool", function()
    local own = web.server(function() return "ok" end, { pool = 1 })
    finally(function() own:stop(0) end)
    local first = web.connect(own)
    first:send(web.request("GET", "/"))
    assert.equal("ok", web.read(first).body)
    local second <close> = web.connect(own)
    second:send(web.request("GET", "/"))
    second:settimeout(0.02)
    assert.same({ nil, "timeout", "" }, { second:receive() })
    first:close()
    second:settimeout(60)
    assert.equal("ok", web.read(second).body)
  end)

  describe("lets a handler wait", function()
    for _, place in ipairs(boundaries) do
      it("under " .. place.name, function()
        local own = web.server(function(req, res)
          place.call(function()
            local first = req:read(2)
            green.sleep(0)
            res:write(first)
          end)
          res:write(req:read "a")
        end)
        finally(function() own:stop(0) end)
        local conn <close> = web.connect(own)
        conn:send "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        green.sleep(0)
        conn:send "hello"
        assert.equal("hello", web.read(conn).body)
        assert.same({}, own.failures)
      end)
    end
  end)

  it("ends a stream whose client has gone, waiting or not", function()
    for _, pause in ipairs { false, true } do
      local pieces = 0
      local own = web.server(function()
        return coroutine.wrap(function()
          while true do
            pieces = pieces + 1
            coroutine.yield "piece of a stream that has no end\n"
            if pause then green.sleep(0) end
          end
        end)
      end)
      local conn = web.connect(own)
      conn:send(web.request("GET", "/"))
      assert.is_string(conn:receive())
      conn:close()
      while own:counts() > 0 do green.sleep(0.001) end
      assert.is_true(pieces > 0)
      assert.same({}, own.failures)
      own:stop(0)
    end
  end)

  it("serves many at once, and counts them", function()
    local own = web.server(function(req)
      green.sleep(0)
      return req.path
    end)
    finally(function() own:stop(0) end)
    local all = {}
    for i = 1, 50 do
      all[i] = green.spawn(function()
        local conn <close> = web.connect(own)
        for k = 1, 20 do
          conn:send(web.request("GET", ("/%d/%d"):format(i, k)))
          assert.equal(("/%d/%d"):format(i, k), web.read(conn).body)
        end
      end)
    end
    for i = 1, 50 do all[i]:get() end
    assert.equal(1000, (select(2, own:counts())))
  end)

  it("lets others run while one client sends request after request", function()
    local own = web.server(function() return "x" end)
    finally(function() own:stop(0) end)
    local greedy <close> = web.connect(own)
    local calm <close> = web.connect(own)
    local sending = green.spawn(function()
      greedy:send(web.request("GET", "/"):rep(2000))
    end)
    local reading = green.spawn(function()
      for _ = 1, 2000 do web.read(greedy) end
    end)
    calm:send(web.request("GET", "/"))
    assert.equal("x", web.read(calm).body)
    assert.is_false(reading:ready())
    sending:get()
    reading:get()
  end)
end)

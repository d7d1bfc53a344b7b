-- Responses that are read slowly on purpose: each byte is taken in time, the whole never.

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local http = require "greenlua.http"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"
local web = require "spec.support.http"

describe("a slow reader", function()
  local MUCH <const> = 8 << 20
  local path, ended

  setup(function()
    path = os.tmpname()
    local file <close> = assert(io.open(path, "wb"))
    file:seek("set", MUCH - 1)
    file:write "."
  end)

  teardown(function() os.remove(path) end)

  local piece = ("x"):rep(1 << 16)

  local answers = {
    whole = function(_, res) return res:send(("x"):rep(MUCH)) end,
    stream = function(_, res)
      for _ = 1, MUCH // #piece do
        local ok, err = res:write(piece)
        if not ok then return ok, err end
      end
      return true
    end,
    file = function(_, res) return res:send_file(path) end,
  }

  local function serve(answer, options)
    ended = green.AsyncResult()
    return web.server(function(req, res)
      req.socket:setoption("send-buffer-size", 16384)
      ended:set { answers[answer](req, res) }
      return nil
    end, options)
  end

  -- A client that has asked; it buffers little.
  local function ask(server)
    local conn = socket.tcp()
    conn:setoption("recv-buffer-size", 4096)
    assert(conn:connect("127.0.0.1", server.port))
    conn:settimeout(10)
    conn:send(web.request("GET", "/"))
    return conn
  end

  local function sip(conn, size)
    return green.spawn(function()
      while conn:receive_some(size) do green.sleep(0.002) end
    end)
  end

  for answer in pairs(answers) do
    it("has a rate to keep, of a " .. answer, function()
      local server <close> = serve(answer, { write_rate = 1e9, write_grace = 0.1 })
      local conn <close> = ask(server)
      local start = socket.gettime()
      local sipping <close> = sip(conn, 1024)
      assert.same({ nil, "timeout" }, ended:get(10))
      assert.is_true(socket.gettime() - start >= 0.099)
      sipping:join()
    end)

    it("has a time in which to take anything, of a " .. answer, function()
      local server <close> = serve(answer, { write_timeout = 0.05, write_rate = false })
      local conn <close> = ask(server) -- luacheck: ignore
      assert.same({ nil, "timeout" }, ended:get(10))
    end)

    it("may take its time where there is no rate, of a " .. answer, function()
      local server = serve(answer, { write_rate = false, write_grace = 0.001 })
      finally(function() server:stop(0) end)
      local conn <close> = ask(server)
      for _ = 1, 50 do
        assert(conn:receive(1024))
        green.sleep(0.002)
      end
      assert.is_false(ended:ready())
    end)
  end

  it("is not who keeps the rate, however long it takes", function()
    local server = serve("stream", { write_rate = 1000, write_grace = 0.7 })
    finally(function() server:stop(0) end)
    local conn <close> = ask(server)
    local start = socket.gettime()
    while socket.gettime() - start < 1 do
      assert(conn:receive(1024))
      green.sleep(0.005)
    end
    assert.is_false(ended:ready())
  end)

  it("has a rate to keep by TLS, too", function()
    local ca <close> = certificates.authority()
    local mine = ca:issue("localhost", { "localhost" })
    local context = assert(ssl.client { ca = ca.certificate })
    for answer in pairs(answers) do
      local server <close> = serve(answer, { write_rate = 1e9, write_grace = 0.1,
        tls = { certificate = mine.certificate, key = mine.key } })
      local sock = socket.tcp()
      sock:setoption("recv-buffer-size", 4096)
      assert(sock:connect("127.0.0.1", server.port))
      local conn <close> = assert(context:connect(sock, "localhost", 10))
      conn:send(web.request("GET", "/"))
      local start = socket.gettime()
      local sipping <close> = sip(conn, 1024)
      assert.same({ nil, "timeout" }, ended:get(10))
      assert.is_true(socket.gettime() - start >= 0.099)
      sipping:join()
    end
  end)

  it("is not who waits for a slow handler", function()
    local server = web.server(function()
      return coroutine.wrap(function()
        for i = 1, 4 do
          green.sleep(0.03)
          coroutine.yield(tostring(i))
        end
      end)
    end, { write_rate = 1e9, write_grace = 0.05 })
    finally(function() server:stop(0) end)
    assert.equal("1234", web.get(server, "/").body)
  end)

  it("has options that are checked", function()
    for name, value in pairs { write_rate = 0, write_grace = -1 } do
      local _, err = pcall(http.Server, 0, print, { [name] = value })
      assert.matches(name, err)
    end
  end)
end)

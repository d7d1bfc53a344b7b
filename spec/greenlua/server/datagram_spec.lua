local green = require "greenlua"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"

local DatagramServer = green.server.DatagramServer

-- A started server that answers in capitals, unless `handle` does something else.
local function start(at, handle, options)
  local server
  server = DatagramServer(at or "127.0.0.1:0", handle or function(data, host, port)
    assert(server:sendto(data:upper(), host, port))
  end, options)
  assert(server:start())
  return server
end

local function client(server, host)
  local sock = assert((host or "127.0.0.1"):find ":" and socket.udp6() or socket.udp4())
  assert(sock:setpeername(host or "127.0.0.1", server.port))
  sock:settimeout(60)
  return sock
end

local function turns(n)
  for _ = 1, n or 3 do green.sleep(0) end
end

describe("greenlua.server.DatagramServer", function()
  it("handles each datagram, and answers from where it listens", function()
    for at, host in pairs { ["127.0.0.1:0"] = "127.0.0.1", ["[::1]:0"] = "::1",
      [":0"] = "127.0.0.1", ["0"] = "::1" } do
      local server <close> = start(at)
      local sock <close> = client(server, host)
      for _, data in ipairs { "a", "", "x\0y", ("z"):rep(60000) } do
        assert(sock:send(data))
        assert.equal(data:upper(), (sock:receive(65535)))
      end
    end
  end)

  it("tells handlers who has sent", function()
    for at, host in pairs { ["127.0.0.1:0"] = "127.0.0.1", [":0"] = "127.0.0.1", ["0"] = "::1" } do
      local seen
      local server <close> = start(at, function(...) seen = table.pack(...) end)
      local sock <close> = client(server, host)
      local _, port = sock:getsockname()
      sock:send "hi"
      servers.await(function() return seen end)
      assert.same({ "hi", host, math.tointeger(port), n = 3 }, seen)
    end
  end)

  it("serves UNIX sockets", function()
    local at = os.tmpname() .. ".sock"
    local server <close> = start({ path = at })
    local sock <close> = assert(socket.unix.dgram())
    assert(sock:bind(at .. ".client"))
    sock:settimeout(60)
    assert(sock:sendto("hello", at))
    assert.equal("HELLO", (sock:receive()))
    os.remove(at .. ".client")
    server:stop()
    assert.is_nil(io.open(at))
    assert(server:start())
    assert.is_nil(select(2, server:start()))
  end)

  it("reports a handler's error once, and goes on", function()
    local name
    local reports = servers.errors(function()
      local server <close> = start(nil, nil)
      local answer = server._handle
      server:set_handle(function(data, ...)
        if data == "fail" then error("it failed", 0) end
        answer(data, ...)
      end)
      local sock <close> = client(server)
      local _, port = sock:getsockname()
      name = ("DatagramServer on 127.0.0.1:%d, handler of 127.0.0.1:%d"):format(server.port, port)
      sock:send "fail"
      sock:send "work"
      assert.equal("WORK", (sock:receive()))
    end)
    assert.same({ { name, "it failed" } }, reports)
  end)

  it("receives no more than its pool or limit allows", function()
    for _, pool in ipairs { 2, green.Pool(2) } do
      local gate, running = green.Event(), 0
      local server <close> = start(nil, function()
        running = running + 1
        gate:wait()
      end, { pool = pool })
      local sock <close> = client(server)
      for i = 1, 6 do sock:send("x" .. i) end
      servers.await(function() return running == 2 end)
      turns(10)
      assert.same({ 2, true }, { running, server:full() })
      gate:set()
      servers.await(function() return running == 6 end)
    end
  end)

  it("takes so many at most before others have a turn", function()
    local handled, seen, done = 0, {}, false
    local server <close> = start(nil, function() handled = handled + 1 end, { burst = 3 })
    local sock <close> = client(server)
    sock:settimeout(0)
    for i = 1, 12 do sock:send("x" .. i) end
    local g = green.spawn(function()
      while not done do
        seen[#seen + 1] = #server
        green.sleep(0)
      end
    end)
    servers.await(function() return handled == 12 end)
    done = true
    g:join()
    for _, n in ipairs(seen) do assert.is_true(n <= 3) end
  end)

  it("stops as other servers do", function()
    local server = start(nil, function() green.sleep(100) end)
    local sock <close> = client(server)
    sock:send "x"
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop(0.001))
    assert.same({ true, 0 }, { server.closed, #server })
    assert.same({ nil, "closed" }, { server:sendto("x", "127.0.0.1", 1) })
    local g = green.spawn(server.serve_forever, server, 0)
    servers.await(function() return server.started end)
    turns()
    sock:send "y" -- on the same port
    servers.await(function() return #server == 1 end)
    g:kill()
    assert.equal(0, #server)
  end)

  it("ends with an error if its socket is closed by others", function()
    local sock = assert(socket.udp4())
    assert(sock:setsockname("127.0.0.1", 0))
    local server = DatagramServer(sock, print)
    local g = green.spawn(function() return pcall(server.serve_forever, server) end)
    servers.await(function() return server.started end)
    turns()
    sock:close()
    local ok, err = g:get()
    assert.is_false(ok)
    assert.matches("^DatagramServer can listen no more on 127.0.0.1:%d+: its socket was closed",
      err)
  end)

  it("refuses sockets and options of another kind", function()
    local stream <close> = assert(socket.bind("127.0.0.1", 0))
    assert.matches("a stream socket cannot be served as datagram$", select(2, DatagramServer(stream,
      print):start()))
    local udp <close> = assert(socket.udp4())
    assert.matches("a datagram socket cannot be served as stream$",
      select(2, green.server.StreamServer(udp, print):start()))
    assert.error_matches(function() DatagramServer(0, print, { tls = {} }) end,
      "unknown option 'tls'")
    assert.error_matches(function() DatagramServer(0, print, { burst = 0 }) end,
      "bad option 'burst'")
  end)

  it("shares a port with others that do", function()
    local first <close> = start("127.0.0.1:0", nil, { reuse_port = true })
    local second <close> = start({ "127.0.0.1", first.port }, nil, { reuse_port = true })
    assert.equal(first.port, second.port)
    assert.matches("address already in use", select(2, DatagramServer({ "127.0.0.1", first.port },
      print):start()))
  end)
end)

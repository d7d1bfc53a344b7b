local core = require "greenlua.core"
local green = require "greenlua"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"

local StreamServer = green.server.StreamServer
local connect, stream = servers.connect, servers.stream

local function turns(n)
  for _ = 1, n or 3 do green.sleep(0) end
end

-- With and without a pool, and with a limit.
local pools = {
  ["without a pool"] = function() end,
  ["with a pool"] = function() return green.Pool(10) end,
  ["with a group"] = function() return green.Group() end,
  ["with a limit"] = function() return 10 end,
}

-- A server whose handlers wait for a line, and connections that it handles.
local function busy(n, pool, handle)
  local server = stream(handle or function(conn)
    local line = conn:receive()
    if line then conn:send(line .. "\n") end
  end, { pool = pool })
  local conns = {}
  for i = 1, n do conns[i] = connect(server) end
  servers.await(function() return #server == n end)
  turns()
  return server, conns
end

local function close_all(conns)
  for _, conn in ipairs(conns) do conn:close() end
end

for what, pool in pairs(pools) do
  describe("StreamServer:stop " .. what, function()
    it("listens no more, and waits for handlers", function()
      local server, conns = busy(3, pool())
      local g = green.spawn(server.stop, server, 60)
      turns()
      assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", server.port) })
      assert.is_false(g:ready())
      for i, conn in ipairs(conns) do
        conn:send "bye\n"
        assert.equal("bye", (conn:receive()))
        turns()
        assert.equal(i == 3, g:ready())
      end
      assert.is_true(g:get())
      close_all(conns)
    end)

    it("kills those who are left when the time is up, and waits for them", function()
      local ends = {}
      local server, conns = busy(3, pool(), function(conn)
        local _ <close> = setmetatable({}, { __close = function()
          green.sleep(0.002)
          ends[#ends + 1] = true
        end })
        conn:receive()
      end)
      assert.is_false(server:stop(0.002))
      assert.same({ 3, 0 }, { #ends, #server })
      for _, conn in ipairs(conns) do assert.same({ nil, "closed", "" }, { conn:receive() }) end
      close_all(conns)
    end)

    it("kills at once with a timeout of 0", function()
      local server, conns = busy(2, pool())
      assert.is_false(server:stop(0))
      for _, conn in ipairs(conns) do assert.same({ nil, "closed", "" }, { conn:receive() }) end
      close_all(conns)
    end)

    it("closes connections whose handlers have not begun", function()
      local server = stream(function() error "it must not run" end, { pool = pool() })
      local conn <close> = assert(socket.tcp4())
      conn:settimeout(0) -- or the handler would begin while it connects
      conn:connect("127.0.0.1", server.port)
      conn:settimeout(60)
      while #server == 0 do green.sleep(0) end
      assert.is_false(server:stop(0))
      assert.same({ nil, "closed", "" }, { conn:receive() })
      assert.equal(0, #server)
    end)

    it("is raised a Timeout object, and kills", function()
      local server, conns = busy(2, pool())
      local timer <close> = green.Timeout(0.002)
      local ok, err = pcall(server.stop, server, timer)
      assert.same({ false, true }, { ok, rawequal(err, timer) })
      servers.await(function() return #server == 0 end)
      close_all(conns)
    end)

    it("kills without waiting if it is killed itself", function()
      local server, conns = busy(2, pool())
      local g = green.spawn(server.stop, server, 100)
      turns()
      g:kill()
      servers.await(function() return #server == 0 end)
      close_all(conns)
    end)
  end)
end

describe("StreamServer:stop", function()
  it("is called by handlers, which wait for the others alone", function()
    local server
    local results, asked = {}, 0
    local function handle(conn)
      if conn:receive() == "stop" then
        asked = asked + 1
        while asked < 2 do green.sleep(0) end
        results[conn] = server:stop(0.01)
      end
      conn:send "done\n"
    end
    local conns
    server, conns = busy(4, nil, handle)
    conns[1]:send "stop\n"
    conns[2]:send "stop\n"
    assert.equal("done", (conns[1]:receive()))
    assert.equal("done", (conns[2]:receive()))
    local n = 0
    for _ in pairs(results) do n = n + 1 end
    assert.equal(2, n)
    for i = 3, 4 do assert.same({ nil, "closed", "" }, { conns[i]:receive() }) end
    close_all(conns)
    servers.await(function() return #server == 0 end)
  end)

  it("waits for a handler that stops it", function()
    local server, conns
    server, conns = busy(1, nil, function(conn)
      conn:receive()
      server:stop()
      green.sleep(0.005)
      conn:send "done\n"
    end)
    conns[1]:send "stop\n"
    turns()
    assert.is_true(server:stop(60))
    assert.equal("done", (conns[1]:receive()))
    close_all(conns)
  end)

  it("closes a handler that catches the kill", function()
    local handlers = require "greenlua.server.handlers"
    local grace = handlers.GRACE
    handlers.GRACE = 0.005
    finally(function() handlers.GRACE = grace end)
    local caught, closed = 0, false
    local server, conns = busy(1, nil, function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      while true do
        pcall(green.sleep, 100)
        caught = caught + 1
      end
    end)
    assert.is_false(server:stop(0))
    assert.same({ 1, true, 0 }, { caught, closed, #server })
    assert.same({ nil, "closed", "" }, { conns[1]:receive() })
    close_all(conns)
  end)

  it("ends any number of calls at once", function()
    local server, conns = busy(2)
    local calls = {}
    for i = 1, 3 do calls[i] = green.spawn(server.stop, server, 60) end
    turns()
    for _, conn in ipairs(conns) do conn:send "x\n" end
    for _, g in ipairs(calls) do assert.is_true(g:get()) end
    assert.is_true(server:stop())
    close_all(conns)
  end)

  it("leaves handlers of a later start alone", function()
    local server, old = busy(1)
    local g = green.spawn(server.stop, server, 0.01)
    turns()
    assert(server:start())
    local new <close> = connect(server)
    servers.await(function() return #server == 1 end)
    assert.is_false(g:get())
    assert.same({ nil, "closed", "" }, { old[1]:receive() })
    new:send "alive\n"
    assert.equal("alive", (new:receive()))
    server:stop()
    close_all(old)
  end)

  it("waits as long as the server's stop_timeout says", function()
    local server <close> = stream(function(conn) conn:receive() end, { stop_timeout = 0.001 })
    local conn <close> = connect(server)
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop())
    assert.same({ nil, "closed", "" }, { conn:receive() })
    assert.equal(1, StreamServer(0, print).stop_timeout)
  end)

  it("waits for ever if it shall", function()
    local server, conns = busy(1)
    local g = green.spawn(server.stop, server, math.huge)
    green.sleep(0.005)
    assert.is_false(g:ready())
    conns[1]:send "x\n"
    assert.is_true(g:get())
    close_all(conns)
  end)

  it("refuses what is no timeout", function()
    local server <close> = StreamServer(0, print)
    for _, bad in ipairs { -1, 0 / 0, "soon", {}, true } do
      assert.error_matches(function() server:stop(bad) end, "bad argument #1 to 'stop'")
      assert.error_matches(function() server:serve_forever(bad) end,
        "bad argument #1 to 'serve_forever'")
    end
  end)

  it("does nothing to a server that has not started", function()
    local server = StreamServer(0, print)
    assert.is_true(server:stop())
    server:close()
    local given = assert(socket.bind("127.0.0.1", 0))
    StreamServer(given, print):close()
    assert.equal(-1, given:getfd())
  end)

  it("stops a server that waits for room", function()
    for _, pool in ipairs { 1, green.Pool(1) } do
      local server <close> = stream(function(conn) conn:receive() end, { pool = pool })
      local a <close> = connect(server)
      local b = connect(server)
      servers.await(function() return server:full() end)
      turns()
      assert.is_false(server:stop(0))
      assert.same({ nil, "closed", "" }, { a:receive() })
      assert.same({ nil, "closed", "" }, { b:receive() })
      b:close()
    end
  end)

  it("closes what has been accepted for a pool that was full since", function()
    local pool = green.Pool(1)
    local server = stream(function(conn) conn:receive() end, { pool = pool })
    turns()
    local other = pool:spawn(green.sleep, 100) -- the server waits in accept
    local conn <close> = connect(server)
    conn:settimeout(60)
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop(0))
    assert.same({ nil, "closed", "" }, { conn:receive() })
    assert.is_false(other:ready())
    pool:kill()
    assert.equal(0, #pool)
  end)

  it("closes connections of handlers that their pool ends", function()
    local pool = green.Pool(5)
    local server <close> = stream(function(conn) conn:receive() end, { pool = pool })
    local conns = {}
    for i = 1, 3 do conns[i] = connect(server) end
    while #server < 3 do green.sleep(0) end -- the last one has not begun
    pool:kill()
    for _, conn in ipairs(conns) do
      conn:settimeout(60)
      assert.same({ nil, "closed", "" }, { conn:receive() })
    end
    assert.equal(0, #server)
    close_all(conns)
  end)

  it("resets what waits in the backlog", function()
    local server <close> = stream(function(conn) conn:receive() end, { pool = 1 })
    local first <close> = connect(server) -- luacheck: ignore 211
    local second = connect(server)
    servers.await(function() return #server == 1 end)
    server:stop(0)
    second:send "x"
    green.sleep(0.001)
    assert.same({ nil, "closed", "" }, { second:receive() })
    second:close()
  end)
end)

describe("StreamServer:serve_forever", function()
  it("returns when the server is stopped or closed, handlers having ended", function()
    for _, method in ipairs { "stop", "close" } do
      local server = StreamServer("127.0.0.1:0", servers.echo)
      local g = green.spawn(server.serve_forever, server, 0.002)
      servers.await(function() return server.started end)
      local conn <close> = connect(server) -- luacheck: ignore 211
      servers.await(function() return #server == 1 end)
      green.spawn(server[method], server, 0.002)
      assert.is_true(g:get())
      assert.same({ 0, false, true }, { #server, server.started, server.closed })
    end
  end)

  it("leaves it to who stops the server how long handlers may take", function()
    local server = StreamServer("127.0.0.1:0", function(conn) conn:send(conn:receive() .. "\n") end)
    local g = green.spawn(server.serve_forever, server, 0)
    servers.await(function() return server.started end)
    local conn <close> = connect(server)
    servers.await(function() return #server == 1 end)
    local stop = green.spawn(server.stop, server, 60)
    green.sleep(0.002)
    conn:send "late\n"
    assert.equal("late", (conn:receive()))
    assert.is_true(stop:get())
    assert.is_true(g:get())
  end)

  it("stops the server if it is killed, or a Timeout raised in it", function()
    for _, timeout in ipairs { false, true } do
      local server = StreamServer("127.0.0.1:0", servers.echo)
      assert(server:start())
      local conn <close> = connect(server)
      servers.await(function() return #server == 1 end)
      local g = green.spawn(function()
        local timer <close> = timeout and green.Timeout(0.02) or nil -- luacheck: ignore
        return pcall(server.serve_forever, server, 0)
      end)
      turns()
      if not timeout then green.kill(g) end
      local ok, err = g:get()
      assert.is_false(ok)
      assert.is_true(green.GreenletExit.is(err) or green.Timeout.is(err))
      assert.same({ 0, true }, { #server, server.closed })
      assert.same({ nil, "closed", "" }, { conn:receive() })
    end
  end)

  it("raises what has ended the server", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local server = StreamServer(listener, servers.echo)
    local g = green.spawn(function() return pcall(server.serve_forever, server) end)
    servers.await(function() return server.started end)
    turns()
    listener:close()
    local ok, err = g:get()
    assert.is_false(ok)
    assert.matches("^StreamServer can listen no more on 127.0.0.1:%d+: "
      .. "its socket was closed by somebody else$", err)
    assert.same({ false, true }, { server.started, server.closed })
  end)

  it("may be called again, and on a server that has started", function()
    local server <close> = stream(servers.echo)
    for _ = 1, 2 do
      local g = green.spawn(server.serve_forever, server)
      servers.await(function() return server.started end)
      turns()
      server:stop()
      assert.is_true(g:get())
    end
  end)
end)

describe("a server whose listener fails", function()
  it("ends, with an error that is reported, and handlers go on", function()
    local conns, server = {}, nil
    local reports = servers.errors(function()
      local listener = assert(socket.bind("127.0.0.1", 0))
      server = stream(servers.echo, { at = listener })
      conns[1] = connect(server)
      servers.await(function() return #server == 1 end)
      listener:close()
      servers.await(function() return not server.started end)
    end)
    assert.equal(1, #reports)
    assert.matches("^StreamServer on 127.0.0.1:%d+$", reports[1][1])
    assert.matches("closed by somebody else", reports[1][2])
    conns[1]:send "still\n"
    assert.equal("still", (conns[1]:receive()))
    server:stop(0)
    close_all(conns)
  end)

  it("closes what it listens on if its own greenlet is killed", function()
    local server = stream(servers.echo)
    turns()
    for _, g in ipairs(core.live()) do
      if g.name:find "^StreamServer on " then g:kill() end
    end
    assert.same({ false, true }, { server.started, server.closed })
    assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", server.port) })
  end)
end)

local green = require "greenlua"
local lfs = require "lfs"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"
local support = require "spec.support"

local StreamServer = green.server.StreamServer
local connect, stream = servers.connect, servers.stream

local function path() return os.tmpname() .. ".sock" end

local function ask(conn, text)
  conn:send(text .. "\n")
  return (conn:receive())
end

-- What a client gets of a server that closes by itself.
local function read_all(server, host)
  local conn <close> = connect(server, host)
  conn:settimeout(60)
  return (conn:receive "*a")
end

describe("greenlua.server.StreamServer", function()
  it("handles each connection in a greenlet of its own", function()
    local server <close> = stream(servers.echo)
    local conns = {}
    for i = 1, 20 do conns[i] = connect(server) end
    for i = 20, 1, -1 do assert.equal("hello " .. i, ask(conns[i], "hello " .. i)) end
    assert.equal(20, #server)
    for _, conn in ipairs(conns) do conn:close() end
    servers.await(function() return #server == 0 end)
  end)

  it("tells handlers who has come", function()
    local server <close> = stream(function(conn, address)
      conn:send(tostring(address) .. "\n" .. address.host .. "\n" .. address.port)
    end)
    local conn <close> = connect(server)
    local _, port = conn:getsockname()
    assert.equal(("127.0.0.1:%d\n127.0.0.1\n%d"):format(port, port), (conn:receive "*a"))
  end)

  it("serves both families on a port alone", function()
    for _, at in ipairs { 0, "0", ":0", { "", 0 }, { port = 0 } } do
      local server <close> = stream(function(conn, a) conn:send(a.host) end, { at = at })
      assert.same({ "::", "integer" }, { server.host, math.type(server.port) })
      assert.equal("127.0.0.1", read_all(server, "127.0.0.1"))
      assert.equal("::1", read_all(server, "::1"))
    end
  end)

  it("serves one family where an address says so", function()
    for at, works in pairs { ["*:0"] = "127.0.0.1", ["[::1]:0"] = "::1",
      ["127.0.0.1:0"] = "127.0.0.1",
        ["[::]:0"] = "::1" } do
      local fails = works == "::1" and "127.0.0.1" or "::1"
      local server <close> = stream(function(conn) conn:send "ok" end, { at = at })
      assert.equal("ok", read_all(server, works))
      assert.same({ nil, "connection refused" }, { socket.connect(fails, server.port) })
    end
    local server <close> = stream(function(conn) conn:send "ok" end, { at = "localhost:0" })
    assert.equal("ok", read_all(server, server.host))
  end)

  it("serves UNIX sockets, with a mode", function()
    local at = path()
    local server <close> = stream(servers.echo, { at = "unix:" .. at, mode = 384 })
    assert.equal("rw-------", lfs.attributes(at, "permissions"))
    assert.same({ at, nil, nil }, { server.path, server.host, server.port })
    local conn <close> = connect(server)
    assert.equal("hi", ask(conn, "hi"))
    server:close()
    assert.is_nil(lfs.attributes(at, "mode"))
    assert.equal("still", ask(conn, "still"))
  end)

  it("serves abstract UNIX sockets", function()
    local name = ("\0greenlua %s"):format(path())
    local server <close> = stream(function(conn, a) conn:send(tostring(a)) end,
      { at = { path = name } })
    assert.equal("unix:", read_all(server))
    assert.matches("^StreamServer on unix:@greenlua", tostring(server))
  end)

  it("takes the file of a dead server away, and no other", function()
    local at = path()
    local dead = socket.unix()
    assert(dead:bind(at))
    dead:close()
    local server <close> = stream(function(conn) conn:send "ok" end, { at = { path = at } })
    assert.equal("ok", read_all(server))
    -- a living one's
    local second = StreamServer({ path = at }, print)
    assert.same({ nil, ("cannot listen on unix:%s: address already in use"):format(at) },
      { second:start() })
    assert.equal("ok", read_all(server))
    -- one that has been made since
    os.remove(at)
    local other = socket.unix()
    assert(other:bind(at))
    server:stop()
    assert.equal("socket", lfs.attributes(at, "mode"))
    other:close()
    os.remove(at)
    -- what is no socket
    local file = assert(io.open(at, "w"))
    file:close()
    assert.same({ nil, ("cannot listen on unix:%s: address already in use"):format(at) },
      { second:start() })
    assert.equal("file", lfs.attributes(at, "mode"))
    os.remove(at)
  end)

  it("listens on sockets and descriptors that are given", function()
    local function hello(conn) conn:send "ok" end
    local bound = assert(socket.tcp4())
    assert(bound:bind("127.0.0.1", 0))
    local listening = assert(socket.bind("127.0.0.1", 0))
    local fd = assert(socket.bind("127.0.0.1", 0)):detach()
    for _, at in ipairs { bound, listening, { fd = fd } } do
      local server <close> = StreamServer(at, hello)
      assert.equal(not (type(at) == "userdata"), server.closed)
      assert(server:start())
      assert.equal("ok", read_all(server))
      server:stop()
      assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", server.port) })
      local ok, err = server:start()
      assert.is_nil(ok)
      assert.matches("it cannot start again", err)
    end
  end)

  it("refuses what cannot be listened on", function()
    local a <close>, b = socket.pair()
    for _, at in ipairs { { fd = a:getfd() }, { fd = 1000 } } do
      assert.is_nil((StreamServer(at, print):start()))
    end
    assert.is_true(a:getfd() >= 0)
    b:close()
    local closed = assert(socket.tcp4())
    closed:close()
    assert.matches("closed$", select(2, StreamServer(closed, print):start()))
    assert.matches("^cannot listen on 192.0.2.1:80: ", select(2, StreamServer("192.0.2.1:80",
      print):start()))
    assert.matches("^cannot listen on no..such.host:80: host or service",
      select(2, StreamServer("no..such.host:80", print):start()))
  end)

  it("says that a port is taken", function()
    local first <close> = stream(print)
    local second = StreamServer({ "127.0.0.1", first.port }, print)
    local taken = ("cannot listen on 127.0.0.1:%d: address already in use"):format(first.port)
    assert.same({ nil, taken }, { second:start() })
    assert.same({ nil, taken }, { second:serve_forever() })
    assert.is_false(second.started)
    local both <close> = stream(print, { at = 0 })
    assert.matches("in use", select(2, StreamServer(both.port, print):start()))
  end)

  it("shares a port with others that do", function()
    local counts, list = { 0, 0 }, {}
    for i = 1, 2 do
      list[i] = stream(function(conn)
        counts[i] = counts[i] + 1
        conn:send "x"
      end, { at = { "127.0.0.1", i == 1 and 0 or list[1].port }, reuse_port = true })
    end
    for _ = 1, 64 do assert.equal("x", read_all(list[1])) end
    assert.equal(64, counts[1] + counts[2])
    assert.is_true(counts[1] > 0 and counts[2] > 0)
    list[1]:stop()
    assert.equal("x", read_all(list[2]))
    list[2]:stop()
  end)

  it("closes the connection when its handler ends, however", function()
    local how = {
      returns = function() end,
      raises = function() error("raised", 0) end,
      ["is killed"] = function() green.current():kill() end,
      ["raises what is no string"] = function() error({}) end,
      ["closes it"] = function(conn) conn:close() end,
    }
    for name, f in pairs(how) do
      local reports = servers.errors(function()
        local server <close> = stream(f)
        local conn <close> = connect(server)
        conn:settimeout(60)
        assert.same({ nil, "closed", "" }, { conn:receive() }, name)
        servers.await(function() return #server == 0 end)
      end)
      assert.equal(name:find "raises" and 1 or 0, #reports)
    end
  end)

  it("reports a handler's error once, with the server and the client, and serves on", function()
    local server, name
    local reports = servers.errors(function()
      server = stream(function(conn)
        if conn:receive() == "fail" then error("it failed", 0) end
        conn:send "ok\n"
      end)
      local bad <close> = connect(server)
      local _, port = bad:getsockname()
      name = ("StreamServer on 127.0.0.1:%d, handler of 127.0.0.1:%d"):format(server.port, port)
      bad:send "fail\n"
      assert.same({ nil, "closed", "" }, { bad:receive() })
      local good <close> = connect(server)
      assert.equal("ok", ask(good, "work"))
      server:stop()
    end)
    assert.same({ { name, "it failed" } }, reports)
  end)

  it("leaves a handler the name that it has given itself", function()
    local reports = servers.errors(function()
      local server <close> = stream(function()
        green.current().name = "worker"
        error("it failed", 0)
      end)
      read_all(server)
    end)
    assert.same({ { "worker", "it failed" } }, reports)
  end)

  it("knows the client of a connection that has been reset", function()
    local reports = servers.errors(function()
      local server <close> = stream(function(conn) assert(conn:receive()) end)
      local conn = connect(server)
      conn:setoption("linger", { on = true, timeout = 0 })
      servers.await(function() return #server == 1 end)
      conn:close()
      servers.await(function() return #server == 0 end)
    end)
    assert.equal(1, #reports)
    assert.matches("handler of 127.0.0.1:%d+$", reports[1][1])
  end)

  it("is derived from, with a method to handle", function()
    local Upper = StreamServer:extend "Upper"
    function Upper:handle(conn, address)
      conn:send((conn:receive()):upper() .. self.mark .. tostring(address.host) .. "\n")
    end
    local server <close> = Upper("127.0.0.1:0", nil, { name = "loud" })
    server.mark = "!"
    assert(server:start())
    local conn <close> = connect(server)
    assert.equal("HELLO!127.0.0.1", ask(conn, "hello"))
    assert.is_true(Upper.is(server) and StreamServer.is(server)
      and green.server.BaseServer.is(server))
    assert.is_false(Upper.is(StreamServer(0, print)))
    assert.matches('^Upper "loud" on 127.0.0.1:%d+: listens, %d running$', tostring(server))
  end)

  it("takes anything callable, and another one later", function()
    local server <close> = stream(setmetatable({}, { __call = function(_, conn,
      a) conn:send(a.host) end }))
    assert.equal("127.0.0.1", read_all(server))
    server:set_handle(function(conn) conn:send "second" end)
    assert.equal("second", read_all(server))
    server:set_handle(function(conn, a) conn:send("third " .. a.host) end)
    assert.equal("third 127.0.0.1", read_all(server))
    assert.error_matches(function() server:set_handle(5) end, "#1 to 'set_handle'")
  end)

  it("is started and stopped any number of times, on the same port", function()
    local server <close> = StreamServer("127.0.0.1:0", function(conn) conn:send "ok" end)
    assert.same({ false, true }, { server.started, server.closed })
    assert.equal("127.0.0.1:0", tostring(server.address))
    assert(server:start())
    local port = server.port
    for _ = 1, 3 do
      assert.same({ true, false, port }, { server.started, server.closed, server.port })
      assert.is_true(server:start())
      assert.equal("ok", read_all(server))
      assert.is_true(server:stop())
      assert.same({ false, true, port }, { server.started, server.closed, server.port })
      assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", port) })
      assert(server:start())
    end
  end)

  it("refuses wrong options and handlers", function()
    local function refused(pattern, ...)
      local args = table.pack(...)
      assert.error_matches(function() StreamServer(table.unpack(args, 1, args.n)) end, pattern)
    end
    refused("bad argument #2 to 'StreamServer' %(function or callable expected, got nil", 0)
    refused("bad argument #3 to 'StreamServer' %(a table of options expected, got number", 0, print,
      5)
    refused("unknown option 'blacklog' to 'StreamServer'", 0, print, { blacklog = 5 })
    for name, bad in pairs { backlog = 0, reuse_port = 1, pool = "x", max_accept = 0.5,
        handshake_timeout = -1, stop_timeout = 0 / 0, proxy_protocol = { "x" }, tls = 5,
          mode = "600",
        name = 5 } do
      refused(("^bad option '%s' to 'StreamServer' %%(.* expected, got "):format(name),
        0, print, { [name] = bad })
    end
    refused("bad option 'pool'", 0, print, { pool = 0 })
    refused("bad option 'proxy_protocol'", 0, print, { proxy_protocol = false })
    refused('got "1.2.3"%)$', 0, print, { proxy_protocol = { "::1", "1.2.3" } })
  end)

  it("gives its descriptor to another server, backlog and all", function()
    local order = {}
    local first <close> = stream(function(conn)
      order[#order + 1] = "first"
      conn:receive()
      conn:send "first\n"
    end, { at = "127.0.0.1:0", pool = 1 })
    local a <close> = connect(first)
    servers.await(function() return #order == 1 end)
    local b <close> = connect(first) -- stays in the backlog
    local fd = assert(first:detach())
    assert.same({ false, true, 1 }, { first.started, first.closed, #first })
    assert.same({ nil, "closed" }, { first:detach() })
    assert.same({ nil, "closed" }, { first:fileno() })
    local second <close> = stream(function(conn) conn:send "second\n" end, { at = { fd = fd } })
    assert.equal(fd, second:fileno())
    assert.equal("second", (b:receive()))
    assert.equal("first", ask(a, "x"))
  end)

  it("hands its descriptor to a new process, and no connection is lost", function()
    local server = stream(function(conn)
      conn:send "old\n"
      conn:receive()
    end, { pool = 1 })
    local a <close> = connect(server)
    assert.equal("old", (a:receive()))
    local b <close> = connect(server) -- in the backlog
    local fd = server:fileno(true)
    local child <close> = support.start { "-e", ([[
      local green = require "greenlua"
      local server
      server = green.server.StreamServer({ fd = %d }, function(conn)
        conn:send "new\n"
        server:close()
      end)
      assert(server:start())
      print "ready"
      io.stdout:flush()
      assert(server:serve_forever())
    ]]):format(fd) }
    server:fileno(false)
    servers.await(function() return child:output() == "ready\n" end)
    local stop = green.spawn(server.stop, server, 60)
    b:settimeout(60)
    assert.equal("new", (b:receive()))
    a:send "bye\n"
    assert.is_true(stop:get())
    servers.await(function() return not child:running() end)
    assert.same({ "ready\n", "" }, { child:output() })
  end)

  it("ends quietly with its program, handlers and all", function()
    for _, how in ipairs { "os.exit(0, true)", "green.shutdown()", "return" } do
      for _, pool in ipairs { "nil", "green.Pool(5)" } do
        local code, out, err = support.run { "-e", ([[
          local green, socket = require "greenlua", require "greenlua.socket"
          local closed = { __close = function() print "closed" end }
          local server = green.server.StreamServer("127.0.0.1:0", function(conn)
            local _ <close> = setmetatable({}, closed)
            conn:receive()
          end, { pool = %s })
          assert(server:start())
          local conn = assert(socket.connect("127.0.0.1", server.port))
          while #server < 1 do green.sleep(0) end
          green.sleep(0)
          if %q == "return" then server:stop(0) end
          %s
        ]]):format(pool, how, how) }
        assert.same({ 0, "closed\n", "" }, { code, out, err })
      end
    end
  end)

  it("is derived from, to serve in another way", function()
    local BaseServer = green.server.BaseServer
    assert.error_matches(function() BaseServer(0, print):start() end,
      "BaseServer cannot be started: it does not say how it serves")
    -- It greets by itself, and has handlers for what follows.
    local Greeter = BaseServer:extend "Greeter"
    Greeter._kind = "stream"
    Greeter._options = setmetatable({ greeting = { "a string", function(v)
      return type(v) == "string"
    end } }, { __index = BaseServer._options })
    function Greeter:_set_up(options) self.greeting = options.greeting end
    function Greeter:_serve(listener, handlers)
      local function main(s, conn, n)
        local session <close> = s -- luacheck: ignore 211
        self._handle(conn, n)
      end
      local n = 0
      while self._listener == listener do
        self:_await_room(handlers)
        local conn = listener:accept()
        if conn then
          n = n + 1
          conn:send(self.greeting)
          self:_spawn(handlers, main, conn, n)
        end
      end
    end
    local server <close> = Greeter("127.0.0.1:0", function(conn, n) conn:send(n .. "\n") end,
      { greeting = "hello, ", pool = 1 })
    assert(server:start())
    for i = 1, 3 do assert.equal(("hello, %d\n"):format(i), read_all(server)) end
    assert.is_true(server:stop())
    assert.error_matches(function() Greeter(0, print, { greeting = 5 }) end, "option 'greeting'")
  end)

  it("works in main and under a C boundary #main", function()
    local server <close> = stream(function(conn)
      for _ = 1, 3 do conn:send((("x"):gsub("x", function() return (conn:receive()) end))
        .. "\n") end
    end)
    local conn <close> = connect(server)
    for i = 1, 3 do assert.equal("l" .. i, ask(conn, "l" .. i)) end
  end)
end)

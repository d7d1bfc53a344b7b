local core = require "greenlua.core"
local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"

describe("greenlua.core.socket", function()
  it("wakes reader and writer when somebody closes the socket", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    sockets.stuff(a)
    a:settimeout()
    local reader = green.spawn(a.receive, a)
    local writer = green.spawn(a.send, a, "x")
    green.sleep(0)
    assert.equal(1, a:close())
    assert.same({ nil, "closed", "" }, { reader:get() })
    assert.same({ nil, "closed", 0 }, { writer:get() })
    assert.equal(-1, a:getfd())
  end)

  it("is closed at the end of its scope", function()
    local kept
    do
      local a <close>, b = socket.pair() -- luacheck: ignore
      kept = a
      b:close()
    end
    assert.equal(-1, kept:getfd())
  end)

  it("is closed when it is collected", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    local g = green.spawn(b.receive, b)
    green.sleep(0)
    a = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same({ nil, "closed", "" }, { g:get() })
  end)

  it("is not collected while somebody waits on it", function()
    local a, b <close> = socket.pair()
    local g = green.spawn(a.receive, a)
    a = nil -- luacheck: ignore
    green.sleep(0)
    collectgarbage()
    b:send "still here\n"
    assert.equal("still here", g:get())
  end)

  it("gives its descriptor up with what it has read", function()
    local a, b <close> = socket.pair()
    b:send "one\ntwo"
    a:receive()
    local fd, rest = a:detach()
    assert.equal("two", rest)
    assert.equal(-1, a:getfd())
    assert.same({ nil, "closed" }, { a:detach() })
    local c <close> = assert(socket.fromfd(fd))
    assert.equal("unixstream{client}", getmetatable(c).__index.class)
    b:send "three\n"
    assert.equal("three", c:receive())
  end)

  it("wakes those who wait when it is detached", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    local g = green.spawn(a.receive, a)
    green.sleep(0)
    local fd = a:detach()
    assert.same({ nil, "closed", "" }, { g:get() })
    socket.fromfd(fd):close()
  end)

  it("knows what a foreign descriptor is", function()
    local server = sockets.listen()
    local again <close> = assert(socket.fromfd((server:detach())))
    assert.equal("tcp{server}", getmetatable(again).__index.class)
    assert.same({ "inet4", "127.0.0.1" }, { again:getfamily(), (again:getsockname()) })
    local master = socket.tcp4()
    local third <close> = assert(socket.fromfd((master:detach())))
    assert.equal("tcp{master}", getmetatable(third).__index.class)
    assert.same({ nil, "Bad file descriptor" }, { socket.fromfd(98765) })
    assert.same({ nil, "Socket operation on non-socket" }, { socket.fromfd(0) })
    assert.error_matches(function() socket.fromfd(-1) end, "fd")
    assert.error_matches(function() socket.fromfd "x" end, "number")
  end)

  it("survives a reset in the midst of it", function()
    local a, b = sockets.couple()
    a:send "never read"
    b:setoption("linger", { on = true, timeout = 0 })
    local g = green.spawn(a.receive, a)
    green.sleep(0)
    b:close()
    local _, err = g:get()
    assert.equal("closed", err)
    a:close()
  end)

  it("has its timeouts checked", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    assert.error_matches(function() a:settimeout(0 / 0) end, "timeout")
    assert.error_matches(function() a:setfd(-5) end, "fd")
    assert.equal(1, a:settimeout())
  end)

  it("serves many connections at once", function()
    local server <close> = assert(socket.bind("127.0.0.1", 0, 1024))
    local _, port = server:getsockname()
    local accepting = green.spawn(function()
      for peer in server.accept, server do
        green.spawn(function()
          local conn <close> = peer
          for line in conn:lines() do conn:send(line .. "\n") end
        end)
      end
    end)
    local clients = {}
    for i = 1, 300 do
      clients[i] = green.spawn(function()
        local conn <close> = assert(socket.connect("127.0.0.1", port))
        for k = 1, 5 do
          conn:send(("%d %d\n"):format(i, k))
          assert(conn:receive() == ("%d %d"):format(i, k))
        end
        return true
      end)
    end
    for i = 1, 300 do assert.is_true(clients[i]:get()) end
    server:close()
    accepting:join()
  end)

  -- Only a testing build can let an allocation fail.
  local it_testing = core.fail_allocation(0) < 0 and function() end or it
  it_testing("survives the want of memory at any place", function()
    local function scenario()
      local a, b <close> = socket.pair()
      b:send "one\ntwo\r\nthree--rest"
      a:receive()
      a:send "gathers"
      a:read_until "--"
      a:receive_some()
      local server <close> = assert(socket.bind("localhost", 0))
      local client <close> = assert(socket.connect("localhost", (select(2, server:getsockname()))))
      local peer <close> = assert(server:accept())
      sockets.stuff(peer)
      client:receive(100000)
      client:settimeout(0.001)
      client:receive "*a"
      client:send { "a", 1, "b" }
      b:send "one\ntwo\n"
      a:receive()
      sockets.stuff(a, 1000)
      socket.wait_read(server:getfd(), 0.001)
      a:close()
    end
    scenario()
    local n, fail, call = 0, core.fail_allocation, pcall -- a global may need memory here
    local function goes_well()
      n = n + 1
      fail(n)
      local ok = call(scenario)
      return fail(0) > 0 and ok
    end
    repeat until goes_well()
    assert.is_true(n > 10)
    green.sleep(0.001) -- what lingers after its close sees that the peer has gone
  end)
end)

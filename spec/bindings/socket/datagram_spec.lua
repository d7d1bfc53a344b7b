local green = require "greenlua"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local waitable = require "spec.support.waitable"

local function bound(new, host)
  local sock = assert((new or socket.udp4)())
  assert(sock:setsockname(host or "127.0.0.1", 0))
  return sock, select(2, sock:getsockname())
end

-- Two that are connected to each other.
local function couple()
  local a, a_port = bound()
  local b, b_port = bound()
  a:setpeername("127.0.0.1", b_port)
  b:setpeername("127.0.0.1", a_port)
  return a, b
end

-- A path that nobody has, until its scope ends.
local function scratch()
  local path = os.tmpname()
  os.remove(path)
  return path, setmetatable({}, { __close = function() os.remove(path) end })
end

-- A UNIX server whose queue is full: server, client, path.
local function full(connected)
  local path, guard = scratch()
  local server, client = socket.unix.dgram(), socket.unix.dgram()
  assert(server:bind(path))
  if connected then assert(client:connect(path)) end
  client:settimeout(0)
  while connected and client:send "x" or not connected and client:sendto("x", path) do end
  client:settimeout()
  return { server = server, sock = client, path = path, guard = guard }
end

local function free(ends)
  for _, name in ipairs { "sock", "peer", "server" } do
    if ends[name] then ends[name]:close() end
  end
  if ends.guard then getmetatable(ends.guard).__close() end
end

describe("greenlua.core.socket datagrams", function()
  describe("receive", function()
    waitable {
      new = function()
        local a, b = couple()
        return { sock = a, peer = b }
      end,
      wait = function(ends) return ends.sock:receive() end,
      no_timeout = true,
      free = free,
    }
  end)

  describe("receivefrom", function()
    waitable {
      new = function() return { sock = (bound()) } end,
      wait = function(ends) return ends.sock:receivefrom() end,
      no_timeout = true,
      free = free,
    }
  end)

  describe("send", function()
    waitable {
      new = function() return full(true) end,
      wait = function(ends) return ends.sock:send "x" end,
      no_timeout = true,
      free = free,
    }
  end)

  it("sends to an unconnected UNIX socket as soon as there is room", function()
    local ends = full(false)
    local g = green.spawn(ends.sock.sendto, ends.sock, "the last", ends.path)
    green.sleep(0.005)
    assert.is_false(g:ready())
    while not g:ready() do
      ends.server:receive()
      green.sleep(0.001)
    end
    assert.equal(8, g:get())
    free(ends)
  end)

  it("ends a sendto that has no room by timeout, kill and close", function()
    local ends = full(false)
    local sock, path = ends.sock, ends.path
    sock:settimeout(0.01)
    local began = socket.gettime()
    assert.same({ nil, "timeout" }, { sock:sendto("x", path) })
    assert.is_true(socket.gettime() - began >= 0.01 - 1e-3)
    sock:settimeout()
    sock:settimeout(0.01, "t")
    assert.same({ nil, "timeout" }, { sock:sendto("x", path) })
    sock:settimeout(nil, "t")
    assert.is_false((green.within(0.01, sock.sendto, sock, "x", path)))
    local killed = green.spawn(sock.sendto, sock, "x", path)
    local waiter = green.spawn(sock.sendto, sock, "x", path)
    green.sleep(0)
    killed:kill()
    sock:close()
    assert.same({ nil, "closed" }, { waiter:get() })
    free(ends)
  end)

  it("lets any number of greenlets send on one socket", function()
    local ends, senders = full(true), {}
    for i = 1, 5 do senders[i] = green.spawn(ends.sock.send, ends.sock, "from " .. i) end
    green.sleep(0)
    local seen = {}
    repeat
      local datagram = ends.server:receive()
      if datagram ~= "x" then seen[#seen + 1] = datagram end
    until #seen == 5
    green.joinall(senders)
    table.sort(seen)
    assert.same({ "from 1", "from 2", "from 3", "from 4", "from 5" }, seen)
    free(ends)
  end)

  it("allows one reader, and names both when there are two", function()
    local a <close>, port = bound()
    local first = green.spawn(a.receivefrom, a)
    first.name = "Ada"
    green.sleep(0)
    local second = green.spawn(a.receive, a)
    second.name = "Alan"
    local ok, err = pcall(second.get, second)
    assert.is_false(ok)
    assert.matches("Alan cannot receive on udp{unconnected}: Ada waits in receivefrom there", err)
    local b <close> = socket.udp()
    b:sendto("for Ada", "127.0.0.1", port)
    assert.equal("for Ada", first:get())
  end)

  it("wakes a reader when somebody closes the socket", function()
    local a = bound()
    local g = green.spawn(a.receive, a)
    green.sleep(0)
    a:close()
    assert.same({ nil, "closed" }, { g:get() })
    assert.same({ nil, "closed" }, { a:receive() })
    assert.same({ nil, "closed" }, { a:receivefrom() })
  end)

  it("is closed at the end of its scope, and when it is collected", function()
    local kept
    do
      local a <close> = bound()
      kept = a
    end
    assert.equal(-1, kept:getfd())
    local function count()
      local n = 0
      for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
      return n
    end
    local before = count()
    for _ = 1, 5 do socket.udp4() end
    collectgarbage()
    collectgarbage()
    assert.equal(before, count())
  end)

  it("tells the sender's address, so that it can be answered", function()
    for host, new in pairs { ["127.0.0.1"] = socket.udp4, ["::1"] = socket.udp6 } do
      local server <close>, port = bound(new, host)
      local client <close> = socket.udp()
      local g = green.spawn(function()
        local datagram, from, from_port = server:receivefrom()
        assert.equal(host, from)
        assert.equal("integer", math.type(from_port))
        return server:sendto(datagram:upper(), from, from_port)
      end)
      assert.equal(5, client:sendto("hello", host, port))
      assert.equal("HELLO", (client:receivefrom()))
      assert.equal(5, g:get())
    end
  end)

  it("keeps datagrams apart, whatever is in them", function()
    local a, b <close> = couple()
    local sizes = { 0, 1, 4096, 8192, 8193, 30000, 65507 }
    b:setoption("recv-buffer-size", 1 << 20)
    for _, size in ipairs(sizes) do
      local datagram = ("\0\n\r\xff"):rep(size // 4 + 1):sub(1, size)
      assert.equal(size, a:send(datagram))
      assert.equal(datagram, b:receive(1 << 20))
    end
    a:close()
  end)

  it("cuts a datagram, and does not keep the rest for the next", function()
    local a, b <close> = couple()
    for _, size in ipairs { 0, 3, 8192, 10000 } do
      a:send(("x"):rep(20000))
      a:send "next"
      assert.equal(size, #b:receive(size))
      assert.equal("next", b:receive())
    end
    a:close()
  end)

  it("takes as much memory as the datagram, not as the caller would bear", function()
    local a, b <close> = couple()
    a:send "small"
    assert.equal("small", b:receive(1e18))
    a:send "small"
    assert.equal("small", b:receive(math.huge))
    assert.same({ nil, "out of memory" }, { b:receive(0 / 0) })
    a:close()
  end)

  it("is told that nobody listens, on the next call, whichever it is", function()
    local a <close>, b = couple()
    b:close()
    a:send "x"
    assert.same({ nil, "connection refused" }, { a:receive() })
    a:send "x"
    assert.same({ nil, "connection refused" }, { a:receive(20000) })
    a:send "x"
    socket.wait_read(a) -- for the news
    assert.same({ nil, "connection refused" }, { a:send "x" })
    a:settimeout(0)
    assert.same({ nil, "timeout" }, { a:receive() })
  end)

  it("wakes a waiting reader with that", function()
    local a <close>, b = couple()
    b:close()
    local g = green.spawn(a.receive, a)
    green.sleep(0)
    a:send "x"
    assert.same({ nil, "connection refused" }, { g:get() })
  end)

  it("forgets its peer with setpeername \"*\"", function()
    local a, b <close> = couple()
    local c <close>, port = bound()
    assert.equal(1, a:setpeername "*")
    assert.equal("udp{unconnected}", getmetatable(a).__index.class)
    assert.equal(1, a:sendto("x", "127.0.0.1", port))
    assert.equal("x", c:receive())
    a:close()
    assert.equal(-1, a:getfd())
    assert.is_true(b:getfd() >= 0)
  end)

  it("lets the peer in the same process answer a program that polls", function()
    local a, b <close> = couple()
    green.spawn(function() b:send((b:receive())) end)
    a:send "question"
    a:settimeout(0)
    local answer, err
    repeat answer, err = a:receive() until err ~= "timeout"
    assert.equal("question", answer)
    a:close()
  end)

  it("lets others run while there is always more to read", function()
    local a, b <close> = couple()
    local turns = 0
    local other = green.spawn(function() while true do turns = turns + 1 green.sleep(0) end end)
    for _ = 1, 500 do
      a:send "x"
      b:receive()
    end
    assert.is_true(turns > 3)
    other:kill()
    a:close()
  end)

  it("loses no datagram to the kill of a reader that never has to wait", function()
    local a, b <close> = couple()
    b:setoption("recv-buffer-size", 1 << 20)
    for i = 1, 200 do a:send(tostring(i)) end
    local seen = {}
    while #seen < 200 do
      local g = green.spawn(function()
        while true do seen[#seen + 1] = tonumber((b:receive())) end
      end)
      green.sleep(0)
      g:kill()
    end
    for i = 1, 200 do assert.equal(i, seen[i]) end
    a:close()
  end)

  it("sends from the first call on, however many there were before", function()
    local server <close>, port = bound()
    for _ = 1, 100 do
      local sock <close> = socket.udp()
      assert.equal(1, sock:sendto("x", "127.0.0.1", port))
      assert.equal("x", server:receive())
    end
  end)

  it("sends to all of a network, and to a group", function()
    local a <close>, port = bound(nil, "*")
    local b <close> = socket.udp4()
    assert.same({ nil, "permission denied" }, { b:sendto("x", "127.255.255.255", port) })
    assert.equal(1, b:setoption("broadcast", true))
    assert.equal(1, b:sendto("x", "127.255.255.255", port))
    assert.equal("x", a:receive())
    local group = { multiaddr = "239.1.2.3", interface = "127.0.0.1" }
    assert.equal(1, a:setoption("ip-add-membership", group))
    assert.equal(1, b:setoption("ip-multicast-if", "127.0.0.1"))
    assert.equal(5, b:sendto("group", "239.1.2.3", port))
    assert.equal("group", a:receive())
    assert.equal(1, a:setoption("ip-drop-membership", group))
  end)

  it("adopts a descriptor as what it is", function()
    local a <close>, port = bound()
    local again <close> = assert(socket.fromfd((a:detach())))
    assert.equal("udp{unconnected}", getmetatable(again).__index.class)
    local c <close> = socket.udp4()
    c:setpeername("127.0.0.1", port)
    local d <close> = assert(socket.fromfd((c:detach())))
    assert.equal("udp{connected}", getmetatable(d).__index.class)
    d:send "still works"
    assert.equal("still works", again:receive())
  end)

  it("can be waited for with wait_read, wait_write and select", function()
    local a, b <close> = couple()
    assert.is_true(socket.wait_write(a))
    assert.same({ nil, "timeout" }, { socket.wait_read(b, 0) })
    local g = green.spawn(socket.wait_read, b)
    green.sleep(0)
    a:send ""
    assert.is_true(g:get())
    assert.equal(b, (socket.select({ b }, nil, 1))[1])
    assert.is_false(b:dirty())
    a:close()
  end)

  it("does not take a stream for one, nor the other way round", function()
    local a <close> = socket.udp()
    local s <close> = socket.tcp()
    assert.error_matches(function() a.receive(s) end, "udp{any} expected")
    assert.error_matches(function() a.setpeername(s, "*") end, "udp{any} expected")
    assert.error_matches(function() s.connect(a, "127.0.0.1", 1) end, "tcp{any} expected")
    assert.error_matches(function() s.dirty(a) end, "tcp{any} expected")
  end)

  it("works in every place", function()
    local a, b <close> = couple()
    local g = green.spawn(function()
      return (("abc"):gsub(".", function(c)
        b:send(c)
        return (b:receive())
      end))
    end)
    for _ = 1, 3 do a:send(a:receive():upper()) end
    assert.equal("ABC", g:get())
    a:close()
  end)
end)

local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

local full, free = sockets.full_ends, sockets.free

-- What the peer has, without waiting for it.
local function arrived(sock)
  sock:settimeout(0)
  local data, _, partial = sock:receive(1 << 20)
  sock:settimeout()
  return data or partial
end

-- A socket with more input buffered, as one of a pipelining peer.
local function pipelined()
  local a, b = socket.pair()
  b:send "request\nanother\nthe last\n"
  assert.equal("request", a:receive())
  return a, b
end

describe("greenlua.core.socket send", function()
  waitable {
    new = full,
    wait = function(ends) return ends.sock:send "x" end,
    no_timeout = true,
    free = free,
  }

  it("writes a list of strings and numbers as one", function()
    local a, b <close> = socket.pair()
    assert.same({ n = 3, 8, nil, nil }, table.pack(a:send { "one", "", 23, "two" }))
    assert.equal("one23two", b:receive(8))
    assert.equal(0, (a:send {}))
  end)

  it("writes long lists and large strings in full", function()
    local a, b <close> = sockets.couple()
    local list = {}
    for i = 1, 1000 do list[i] = ("%d,"):format(i):rep(i) end
    local all = table.concat(list)
    local reader = green.spawn(b.receive, b, 2 * #all)
    assert.equal(#all, a:send(list))
    assert.equal(#all, a:send(all))
    assert.equal(all .. all, reader:get())
  end)

  it("refuses a list of anything else", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    assert.error_matches(function() a:send { "x", {} } end, "string expected at %[2%], got table")
  end)

  it("goes on where it stopped with the index that a timeout gives", function()
    local a, b <close> = socket.pair()
    local data, at = ("0123456789"):rep(100000), 0
    a:settimeout(0.01)
    local reader = green.spawn(function()
      green.sleep(0.03)
      return b:receive(#data)
    end)
    while at < #data do
      local last, err, index = a:send(data, at + 1)
      at = last or index
      if err then assert.equal("timeout", err) end
    end
    assert.equal(data, reader:get())
  end)

  it("survives a peer that has gone", function()
    local a <close>, b = sockets.couple()
    b:close()
    local sent, err
    repeat
      sent, err = a:send "into the void"
      green.sleep(0.001)
    until not sent
    assert.equal("closed", err)
  end)

  it("allows one writer, and names both when there are two", function()
    local ends = full()
    local first = green.spawn(ends.sock.send, ends.sock, "x")
    first.name = "Ada"
    green.sleep(0)
    local ok, err = pcall(ends.sock.send, ends.sock, "y")
    assert.is_false(ok)
    assert.matches("cannot send on unixstream{client}: Ada waits in send there", err)
    free(ends)
    assert.same({ nil, "closed", 0 }, { first:get() })
  end)

  describe("while more input is buffered", function()
    it("gathers until the input has run dry", function()
      local a, b <close> = pipelined()
      assert.equal(2, (a:send "1\n"))
      assert.equal("", arrived(b))
      a:receive()
      a:send "2\n"
      a:receive()
      assert.equal("", arrived(b))
      a:send "3\n"
      assert.equal("1\n2\n3\n", arrived(b))
    end)

    it("lets go when its greenlet waits for anything", function()
      local a, b <close> = pipelined()
      a:send "1\n"
      green.sleep(0.001)
      assert.equal("1\n", arrived(b))
    end)

    it("lets go before it reads on", function()
      local a, b <close> = pipelined()
      a:send "1\n"
      a:settimeout(0)
      a:receive "*a"
      assert.equal("1\n", arrived(b))
    end)

    it("lets go when it passes 64 KiB", function()
      local a, b <close> = pipelined()
      for _ = 1, 9 do a:send(("x"):rep(8000)) end
      assert.is_true(#arrived(b) >= 64000)
    end)

    it("writes a large piece at once, behind what has gathered", function()
      local a, b <close> = pipelined()
      a:send "1\n"
      a:send(("x"):rep(20000))
      assert.equal("1\n" .. ("x"):rep(20000), arrived(b))
    end)

    for name, let_go in pairs {
      close = function(sock) sock:close() end,
      shutdown = function(sock) sock:shutdown "send" end,
      detach = function(sock) socket.fromfd((sock:detach())):close() end,
      getfd = function(sock) sock:getfd() end,
      setfd = function(sock)
        local fd = sock:getfd()
        sock:send "2\n"
        sock:setfd(-1)
        socket.fromfd(fd):close()
      end,
      wait_write = function(sock) socket.wait_write(sock, 0) end,
    } do
      it("lets go at " .. name, function()
        local a, b <close> = pipelined()
        a:send "1\n"
        let_go(a)
        assert.equal(name == "setfd" and "1\n2\n" or "1\n", arrived(b))
      end)
    end

    it("lets go when it is collected", function()
      local a, b <close> = pipelined()
      a:send "1\n"
      a = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal("1\n", arrived(b))
      assert.same({ nil, "closed", "" }, { b:receive() })
    end)

    it("does not gather with coalesce off", function()
      local a, b <close> = pipelined()
      assert.is_true(a:getoption "coalesce")
      a:send "1\n"
      assert.equal(1, a:setoption("coalesce", false))
      assert.is_false(a:getoption "coalesce")
      assert.equal("1\n", arrived(b))
      a:send "2\n"
      assert.equal("2\n", arrived(b))
    end)

    it("tells of a failure in the next send", function()
      local a <close>, b = pipelined()
      b:close()
      assert.equal(2, (a:send "1\n"))
      green.sleep(0.001)
      assert.same({ nil, "closed", 0 }, { a:send "2\n" })
    end)

    it("keeps what the kernel does not take, and makes writers wait", function()
      local a, b <close> = pipelined()
      local total = sockets.stuff(a, 1000) -- the last of it is the stream's
      assert.same({ nil, "timeout", 0 }, { a:send "x" })
      a:settimeout()
      local writer = green.spawn(a.send, a, "the end")
      green.sleep(0.001)
      assert.is_false(writer:ready())
      local data = b:receive(total)
      assert.equal(("0123456789"):rep(total // 10 + 1):sub(1, total), data)
      assert.equal(7, (writer:get()))
      assert.equal("the end", b:receive(7))
    end)

    it("writes what is left after the close", function()
      local a, b <close> = pipelined()
      local total = sockets.stuff(a, 1000)
      a:close()
      assert.equal(total, #b:receive "*a")
    end)

    it("lets go at os.exit", function()
      local server <close>, port = sockets.listen() -- luacheck: ignore
      local child <close> = support.start { "-e", ([[
        local conn = require "greenlua.socket".connect("127.0.0.1", %d)
        conn:receive()
        conn:send "to the last\n"
        os.exit(0)]]):format(port) }
      local peer <close> = assert(server:accept())
      peer:send "one\ntwo\n"
      assert.equal("to the last\n", peer:receive "*a")
      sockets.await_end(child)
    end)

    it("does not mix up two sockets of one greenlet", function()
      local a, b <close> = pipelined()
      local c, d <close> = pipelined()
      for i = 1, 3 do
        a:send(("a%d\n"):format(i))
        c:send(("c%d\n"):format(i))
      end
      green.sleep(0.001)
      assert.equal("a1\na2\na3\n", arrived(b))
      assert.equal("c1\nc2\nc3\n", arrived(d))
    end)
  end)
end)

-- Under --coop-libc a call that would stop the thread parks the greenlet.

local each = require("spec.support.coop").each

describe("--coop-libc parks in", function()
  local head = [[
    local r, w = c.pipe()
    local _ <close> = closing(r, w)
    after(c.write, w, "x")
  ]]
  local pair = [[
    local a, b = c.pair()
    local _ <close> = closing(a, b)
    after(c.send, b, "hello")
  ]]
  local slow = [[
    local passed = passes()
  ]]
  each {
    { "poll", head .. "eq({ 1, c.IN }, c.poll { r, c.IN })" },
    { "poll with a timeout", head .. "eq({ 1, c.IN }, c.poll({ r, c.IN }, 10000))" },
    { "__poll_chk", head .. "eq({ 1, c.IN }, c.poll_chk { r, c.IN })" },
    { "ppoll", head .. "eq({ 1, c.IN }, c.ppoll { r, c.IN })" },
    { "ppoll with a timeout", head .. "eq({ 1, c.IN }, c.ppoll({ r, c.IN }, 10))" },
    { "select", head .. "eq({ 1, r, 0 }, c.select({ r }, {}))" },
    { "select with a timeout, and says what is left of it", head .. [[
      local count, _, _, left = c.select({ r }, {}, 10)
      eq({ 1, true }, count, left < 10 and left > 5)]] },
    { "pselect", head .. "eq({ 1 }, c.pselect(r))" },
    { "epoll_wait", head .. "eq({ 1 }, c.epoll(r))" },
    { "epoll_wait with a timeout", head .. "eq({ 1 }, c.epoll(r, 10000))" },
    { "epoll_pwait", head .. "eq({ 1 }, c.epoll(r, -1, true))" },

    { "nanosleep", slow .. "eq({ 0 }, c.nanosleep(0.002)) assert(passed())" },
    { "clock_nanosleep", slow .. "eq({ 0 }, c.clock_nanosleep(0.002)) assert(passed())" },
    { "clock_nanosleep until a time",
      slow .. "eq({ 0 }, c.clock_nanosleep(0.002, true)) assert(passed())" },
    { "usleep", slow .. "eq({ 0 }, c.usleep(2000)) assert(passed())" },
    { "poll of nothing", slow .. "eq({ 0 }, c.poll({}, 2)) assert(passed())" },
    { "sleeps of no time, for a turn", slow .. [[
      eq({ 0, 0 }, c.nanosleep(0), c.usleep(0))
      eq({ 0 }, c.sleep(0))
      assert(passed())]] },

    { "read, of a pipe", head .. "eq({ 'x' }, c.read(r))" },
    { "__read_chk", head .. "eq({ 'x' }, c.read_chk(r))" },
    { "readv, of a pipe", head .. "eq({ 'x' }, c.readv(r))" },
    { "read, of an eventfd", [[
      local fd = c.eventfd()
      local _ <close> = closing(fd)
      after(c.write, fd, "\1\0\0\0\0\0\0\0")
      eq({ "\1\0\0\0\0\0\0\0" }, c.read(fd))]] },
    { "read, of a pipe that is closed", [[
      local r, w = c.pipe()
      local _ <close> = closing(r)
      after(c.close, w)
      eq({ "" }, c.read(r))]] },

    { "read, of a socket", pair .. "eq({ 'hello' }, c.read(a))" },
    { "readv, of a socket", pair .. "eq({ 'hello' }, c.readv(a, 2))" },
    { "recv", pair .. "eq({ 'hello' }, c.recv(a))" },
    { "recv with MSG_PEEK", pair .. [[
      eq({ 'hell' }, c.recv(a, 4, c.PEEK | c.WAITALL))
      eq({ 'hello' }, c.recv(a))]] },
    { "__recv_chk", pair .. "eq({ 'hello' }, c.recv_chk(a))" },
    { "recvfrom", pair .. "eq({ 'hello', 0 }, c.recvfrom(a))" },
    { "__recvfrom_chk", pair .. "eq({ 'hello' }, c.recvfrom_chk(a))" },
    { "recvmsg", pair .. "eq({ 'hello' }, c.recvmsg(a, 2))" },
    { "recv of a datagram", [[
      local a, b = c.pair(true)
      local _ <close> = closing(a, b)
      after(function() c.sendto(b, "") c.send(b, "two") end)
      eq({ "" }, c.recv(a, 10))
      eq({ "tw" }, c.recv(a, 2, c.WAITALL))]] },
    { "recv of what sendto has addressed", [[
      local socket = require "greenlua.socket"
      local there <close> = socket.unix.dgram()
      local here <close> = socket.unix.dgram()
      local name = ("greenlua-%p"):format(there)
      assert(there:setsockname("\0" .. name))
      after(function() eq({ 5 }, c.sendto(here:getfd(), "hello", name)) end)
      c.nonblock(there:getfd(), false)
      eq({ "hello" }, c.recv(there:getfd()))]] },
    { "recv at the end of a stream", [[
      local a, b = c.pair()
      local _ <close> = closing(a)
      after(c.close, b)
      eq({ "" }, c.recv(a))]] },
    { "recv with MSG_WAITALL, until it has all", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      after(function()
        for i = 1, 5 do c.send(b, "abc" .. i) green.sleep(0) end
      end)
      eq({ "abc1abc2abc3ab" }, c.recv(a, 14, c.WAITALL))
      eq({ "c4abc5" }, c.recvmsg(a, 3, c.DONTWAIT))]] },
    { "recv with MSG_WAITALL, until the stream ends", [[
      local a, b = c.pair()
      local _ <close> = closing(a)
      after(function() c.send(b, "abc") green.sleep(0) c.send(b, "d") c.close(b) end)
      eq({ "abcd" }, c.recv(a, 10, c.WAITALL))]] },

    { "accept, of IPv4", [[
      local fd, port = c.listen(0)
      local peer
      after(function() peer = c.connect(port) end)
      local conn = c.accept(fd)
      eq({ true }, c.blocks(fd))
      local _ <close> = closing(fd, conn, peer)
      c.send(peer, "hi")
      eq({ "hi" }, c.recv(conn))]] },
    { "accept4, of IPv6", [[
      local fd, port = c.listen(0, 5, true)
      local peer
      after(function() peer = c.connect(port, true) end)
      local conn = c.accept4(fd)
      local _ <close> = closing(fd, conn, peer)
      eq({ true, false }, c.blocks(fd), c.blocks(conn))]] },
    { "connect, to a UNIX listener that is busy", [[
      local path = os.tmpname()
      os.remove(path)
      local fd = c.listen(path, 0)
      local one = c.connect(path)
      local conns = {}
      after(function() conns[1] = c.accept(fd) green.sleep(0) conns[2] = c.accept(fd) end)
      local two = c.connect(path)
      eq({ true }, c.blocks(two))
      while not conns[2] do green.sleep(0) end
      os.remove(path)
      local _ <close> = closing(fd, one, two, conns[1], conns[2])]] },
  }
end)

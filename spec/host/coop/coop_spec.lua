-- --coop-libc: calls of the C library by a C module that knows nothing of us
-- (spec/host/coop/coop_probe.c). What a call waits for is done by a greenlet of the
-- same thread, so whoever stops the thread is never answered.

local core = require "greenlua.core"
local support = require "spec.support"

local prelude = [[
local green = require "greenlua"
package.cpath = "]] .. support.greenlua:gsub("[^/]*$", "") .. [[spec/?.so;" .. package.cpath
local c = require "coop_probe"

local function eq(expected, ...)
  for i = 1, expected.n or #expected do
    local got = (select(i, ...))
    if got ~= expected[i] then
      error(("value %d is %s, not %s"):format(i, got, expected[i]), 2)
    end
  end
end

-- Calls f when we have gone to wait.
local function after(f, ...)
  return green.spawn(function(...) green.sleep(0) green.sleep(0) f(...) end, ...)
end

local function closing(...)
  return setmetatable({ ... }, { __close = function(fds)
    for _, fd in ipairs(fds) do c.close(fd) end
  end })
end

local function lowest()
  local fd = c.eventfd()
  c.close(fd)
  return fd
end

local function passes() -- do others run while f does?
  local turns = 0
  local g = green.spawn(function() while true do turns = turns + 1 green.sleep(0) end end)
  return function() g:kill() return turns > 0 end
end

green.sleep(0.001)
green.on_error(function() end) -- it is asked for
local function body()
]]

-- In main, and in two greenlets at once; no descriptor and no greenlet may be
-- left.
local epilogue = [[

end
local before = lowest()
local ok, err = pcall(function()
  body()
  local one, two = green.spawn(body), green.spawn(body)
  one:get()
  two:get()
end)
if not ok then io.stderr:write(tostring(err), "\n") os.exit(1) end
green.sleep(0.001)
if #require "greenlua.core".live() > 0 then error "a greenlet is left" end
collectgarbage()
-- A thread may still be looking up a name that nobody waits for.
for _ = 1, 500 do
  if lowest() == before then break end
  green.sleep(0.01)
end
if lowest() ~= before then error "a descriptor is left" end
]]

local function coop(script, options, env)
  local args = table.move(options or { "--coop-libc" }, 1, 8, 1, {})
  args[#args + 1] = "-"
  local code, out, err = support.run(args, prelude .. script .. epilogue, env)
  assert.equal("", err)
  assert.equal(0, code)
  return out
end

-- What a library has allocated and not come to free is lost with a greenlet that
-- is ended by force.
local no_leaks = { ASAN_OPTIONS = "detect_leaks=0" }

local function each(cases)
  for _, case in ipairs(cases) do
    it(case[1], function() coop(case[2], nil, case.env) end)
  end
end

describe("--coop-libc", function()
  it("is an option that --help explains", function()
    local code, out = support.run { "--coop-libc", "--help" }
    assert.equal(0, code)
    assert.matches("\n  %-%-coop%-libc   %S", out)
  end)

  it("is not the default: the thread stands still", function()
    coop([[
      local ran = false
      local g = green.spawn(function() ran = true end)
      eq({ 0 }, c.poll({}, 5))
      eq({ 0 }, c.nanosleep(0.005))
      local r, w = c.pipe()
      local _ <close> = closing(r, w)
      eq({ 0 }, c.select({ r }, {}, 0.005))
      eq({ false }, ran)
      g:join()
    ]], {})
  end)

  it("leaves a hub that is not there alone", function()
    local code, out = support.run({ "--coop-libc", "-" }, ("package.cpath = %q " ..
      "print(require 'coop_probe'.nanosleep(0.001))"):format(
      support.greenlua:gsub("[^/]*$", "") .. "spec/?.so"))
    assert.equal(0, code)
    assert.equal("0\n", out)
  end)
end)

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

describe("--coop-libc", function()
  local sizes = [[
    local size = 3000000
    local text = ("0123456789"):rep(size // 10)
    local function drain(fd, size)
      local parts, total = {}, 0
      while total < size do
        local part = c.read(fd, 1000)
        if part == "" then break end
        parts[#parts + 1] = part
        total = total + #part
      end
      return table.concat(parts)
    end
    local function open(how)
      local r, w = how()
      return r, w, closing(r, w)
    end
  ]]
  each {
    { "sends all that a blocking socket is given", sizes .. [[
      for _, send in ipairs { c.send, c.write, c.sendto } do
        local r, w, hold = open(c.pair)
        local _ <close> = hold
        local g = green.spawn(drain, r, size)
        eq({ size }, send(w, text))
        eq({ true }, g:get() == text)
      end]] },
    { "sends what comes in several pieces, once with a descriptor", sizes .. [[
      local r, w, hold = open(c.pair)
      local _ <close> = hold
      local first, passed
      local g = green.spawn(function()
        first, passed = c.recvmsg(r, 3)
        return first .. drain(r, size + 5 - #first)
      end)
      eq({ size + 5 }, c.sendmsg(w, "piece", text, w))
      eq({ true }, g:get() == "piece" .. text)
      c.close(passed)
      g = green.spawn(drain, r, size * 2)
      eq({ size * 2 }, c.writev(w, text, text))
      eq({ true }, g:get() == text .. text)]] },
    { "writes all that a pipe is given", sizes .. [[
      local r, w, hold = open(c.pipe)
      local _ <close> = hold
      local g = green.spawn(drain, r, size)
      eq({ size }, c.write(w, text))
      eq({ true }, g:get() == text)
      g = green.spawn(drain, r, size + 3)
      eq({ size + 3 }, c.writev(w, "abc", text))
      eq({ true }, g:get() == "abc" .. text)
      eq({ 5 }, c.writev(w, "abc", "de"))
      eq({ "abcde" }, c.read(r))]] },
    { "says how much has gone when the peer closes", sizes .. [[
      local r, w = c.pair()
      local _ <close> = closing(w)
      after(function() c.read(r, 1000) c.close(r) end)
      local sent = c.send(w, text, c.NOSIGNAL)
      eq({ true }, sent > 0 and sent < size)
      eq({ nil, "EPIPE", n = 2 }, c.send(w, text, c.NOSIGNAL))]] },

    { "answers timeouts as the real calls do", [[
      local r, w = c.pair()
      local _ <close> = closing(r, w)
      local passed = passes()
      eq({ 0, 0 }, c.poll({ r, c.IN }, 1))
      eq({ 0, 0 }, c.ppoll({ r, c.IN }, 0.001))
      eq({ 0, 0, 0, 0 }, c.select({ r }, {}, 0.001))
      eq({ 0 }, c.epoll(r, 1))
      c.settimeout(r, 0.001)
      eq({ nil, "EAGAIN", n = 2 }, c.recv(r))
      eq({ nil, "EAGAIN", n = 2 }, c.read(r))
      c.send(w, "ab")
      eq({ "ab" }, c.recv(r, 5, c.WAITALL))
      c.settimeout(w, 0.001)
      local big = ("x"):rep(1000000)
      eq({ true }, c.send(w, big) < 1000000)
      eq({ nil, "EAGAIN", n = 2 }, c.send(w, big))
      assert(passed())]] },
    { "answers timeouts of accept and connect as the real calls do", [[
      local path = os.tmpname()
      os.remove(path)
      local fd = c.listen(path, 0)
      c.settimeout(fd, 0.001)
      eq({ nil, "EAGAIN", n = 2 }, c.accept(fd))
      local one = c.connect(path)
      os.remove(path)
      local _ <close> = closing(fd, one)]] },
    { "never returns from a wait too early", [[
      local function now() return green.util and require "greenlua.socket".gettime() end
      local t = now()
      c.poll({}, 3) c.nanosleep(0.003) c.usleep(3000) c.select({}, {}, 0.003)
      eq({ true }, now() - t >= 0.012)]] },

    { "polls several descriptors, and those that are none", [[
      local r, w = c.pair()
      local _ <close> = closing(r, w)
      eq({ 2, 0, c.OUT, 0, c.NVAL }, c.poll { -1, c.IN, w, c.OUT, r, c.IN, 999, c.IN })
      after(c.send, w, "x")
      eq({ 2, 0, c.IN, c.IN, 0 }, c.poll { -1, c.IN, r, c.IN, r, c.IN | c.PRI, w, c.IN })
      eq({ 3, r, r + w }, c.select({ r, w }, { r, w }))
      eq({ nil, "EBADF", n = 2 }, c.select({ 60 }, {}))
      eq({ nil, "EBADF", n = 2 }, c.recv(999))
      eq({ nil, "EBADF", n = 2 }, c.read(999))
      eq({ nil, "EBADF", n = 2 }, c.accept(999))
      eq({ nil, "EINVAL", n = 2 }, c.accept(r))
      eq({ nil, "ECONNREFUSED", n = 2 }, c.connect(1))]] },
    { "polls many descriptors", [[
      local fds, polled = closing(), {}
      local _ <close> = fds
      for i = 1, 400, 2 do fds[i], fds[i + 1] = c.pipe() end
      for i = 1, 400, 2 do
        polled[i], polled[i + 1] = fds[i], c.IN
      end
      after(c.write, fds[400], "x")
      eq({ 1, 0 }, c.poll(polled))
      local reads = {}
      for i = 1, 200 do reads[i] = fds[i * 2 - 1] end
      c.read(fds[399])
      after(c.write, fds[300], "x")
      eq({ 1, fds[299] }, c.select(reads, {}))
      for i = 1, 3000 do polled[#polled + 1], polled[#polled + 2] = -1, c.IN end
      local n, why = c.poll(polled)
      assert(n == 1 or why == "EINVAL") -- above the limit of descriptors]] },
    { "waits for what the loop does not know", [[
      local fd, port = c.listen(0)
      local a = c.connect(port)
      local b = c.accept(fd)
      local _ <close> = closing(fd, a)
      c.send(b, "data") -- that is not what is waited for
      after(c.send, b, "!", c.OOB)
      eq({ 1, c.PRI, 0 }, c.poll { a, c.PRI, a, c.RDHUP })
      eq({ 2, c.PRI, c.PRI }, c.poll { a, c.PRI, a, c.PRI })
      eq({ 0, 0 }, c.poll({ a, 0 }, 1))
      eq({ 0, 0 }, c.poll({ a, c.RDHUP }, 1))
      after(c.close, b)
      local n, events = c.poll { a, c.RDHUP }
      eq({ 1, c.RDHUP }, n, events & c.RDHUP)]] },
    { "wakes who waits for a descriptor that is closed", [[
      local r, w = c.pipe()
      local _ <close> = closing(w)
      after(c.close, r)
      eq({ 1, c.NVAL }, c.poll { r, c.IN })]] },

    { "lets others run when somebody asks in a loop", [[
      local r, w = c.pipe()
      local _ <close> = closing(r, w)
      after(c.write, w, "x")
      while c.poll({ r, c.IN }, 0) == 0 do end
      c.read(r)
      after(c.write, w, "x")
      while c.select({ r }, {}, 0) == 0 do end
      c.read(r)
      after(c.write, w, "x")
      while c.epoll(r, 0) == 0 do end]] },

    { "leaves descriptors alone that do not block", [[
      local a, b = c.pair()
      local r, w = c.pipe()
      local fd, port = c.listen(0)
      local _ <close> = closing(a, b, r, w, fd)
      for _, x in ipairs { a, b, r, w, fd } do c.nonblock(x, true) end
      local ran = false
      local g = green.spawn(function() ran = true end)
      for _, f in ipairs { c.recv, c.read, c.readv, c.recvfrom, c.recvmsg } do
        eq({ nil, "EAGAIN", n = 2 }, f(a))
      end
      eq({ nil, "EAGAIN", n = 2 }, c.recv(a, 10, c.WAITALL))
      eq({ nil, "EAGAIN", n = 2 }, c.read(r))
      eq({ nil, "EAGAIN", n = 2 }, c.accept(fd))
      local big = ("x"):rep(1000000)
      eq({ true }, c.send(a, big) < 1000000)
      eq({ nil, "EAGAIN", n = 2 }, c.send(a, big))
      eq({ true }, c.write(w, big) < 1000000)
      eq({ nil, "EAGAIN", n = 2 }, c.write(w, big))
      c.nonblock(b, false)
      eq({ nil, "EAGAIN", n = 2 }, c.send(a, "x", c.DONTWAIT))
      eq({ false }, ran)
      g:join()]] },
    { "leaves files alone", [[
      local file = c.open "/dev/null"
      local _ <close> = closing(file)
      eq({ "" }, c.read(file))
      local stat = c.open "/proc/self/stat"
      local __ <close> = closing(stat)
      eq({ true }, #c.read(stat) > 0)]] },
    { "leaves other threads alone", [[
      local r, w = c.pipe()
      local _ <close> = closing(r, w)
      c.thread(w)
      eq({ "!" }, c.read(r))]] },
    { "leaves the child of a fork alone", "eq({ 3 }, c.fork())" },
    { "leaves finalizers and the hub alone", [[
      local ran, waited = false, 0
      local g = green.spawn(function() ran = true end)
      setmetatable({}, { __gc = function() waited = waited + c.poll({}, 2) + 1 end })
      collectgarbage()
      eq({ 1, false }, waited, ran)
      g:join()
      ran = false
      local h = green.spawn(function() end)
      local answer
      h:rawlink(function()
        green.spawn(function() ran = true end)
        c.nanosleep(0.002)
        answer = ran
      end)
      h:join()
      eq({ false }, answer)]] },
    { "does not park with a signal mask of its own", [[
      local ran = false
      local g = green.spawn(function() ran = true end)
      eq({ 0 }, c.ppoll({}, 0.002, true))
      eq({ false }, ran)
      g:join()]] },

    { "resolves names on a thread", [[
      local g = green.spawn(function() while true do green.sleep(0) end end)
      local _ <close> = setmetatable({}, { __close = function() g:kill() end })
      eq({ true }, c.getaddrinfo("localhost", "http") > 0)
      eq({ true }, c.getaddrinfo("127.0.0.1", "80") > 0)
      eq({ nil }, c.getaddrinfo("127.0.0.1", "no such service"))
      eq({ "localhost", "80" }, c.getnameinfo(80))
      eq({ "localhost", "127.0.0.1", false }, c.gethostbyname "localhost")
      eq({ "localhost", "127.0.0.1", false }, c.gethostbyname("localhost", true))
      eq({ "localhost", "127.0.0.1", false, "none" }, c.gethostbyname_r "localhost")
      eq({ "localhost", "127.0.0.1", false, "none" }, c.gethostbyname_r("localhost", nil, true))
      eq({ nil, n = 1 }, c.gethostbyname_r("localhost", 8))
      eq({ "localhost", "127.0.0.1" }, c.gethostbyaddr())
      eq({ "localhost", "127.0.0.1" }, c.gethostbyaddr(true))]] },
  }
end)

if core.fail_allocation(0) ~= -1 then -- a testing build
  describe("--coop-libc without memory", function()
    it("waits as ever", function()
      local code, _, err = support.run({ "--coop-libc", "-" }, prelude .. [[
        local core = require "greenlua.core"
        local a, b = c.pair()
        local _ <close> = closing(a, b)
        local function poll() return c.poll({ a, c.IN, b, c.IN }, 1) end
        local function select() return c.select({ a, b }, {}, 0.001) end
        local function resolve() return (c.getaddrinfo "localhost") end
        local function name() return (c.gethostbyname "localhost") end
        local expect = { [poll] = 0, [select] = 0, [resolve] = 1, [name] = "localhost" }
        for f, expected in pairs(expect) do
          local n, left = 0, nil
          repeat
            n = n + 1
            core.fail_allocation(n)
            local ok, result = pcall(f)
            left = core.fail_allocation(0)
            if ok and f ~= resolve then eq({ expected }, result) end
            if not ok then eq({ true }, tostring(result):find "memory" ~= nil) end
          until left > 0
        end
      end
      body()]])
      assert.equal("", err)
      assert.equal(0, code)
    end)
  end)
end

describe("an interrupt under --coop-libc", function()
  local waits = [[
    local path = os.tmpname()
    os.remove(path)
    local fd, port = c.listen(0)
    local full = c.listen(path, 0)
    local one = c.connect(path)
    os.rename(path, path .. ".busy")
    local r, w = c.pipe()
    local a, b = c.pair()
    local _ <close> = closing(fd, full, one, r, w, a, b)
    c.nonblock(w, true) c.write(w, ("x"):rep(1000000)) c.nonblock(w, false)
    c.nonblock(a, true) c.send(a, ("x"):rep(1000000)) c.nonblock(a, false)
    local e, x = c.pipe()
    local __ <close> = closing(e, x)
    local calls = {
      poll = function() return c.poll { e, c.IN } end,
      ["poll for what is odd"] = function() return c.poll { e, c.PRI, a, c.IN } end,
      ppoll = function() return c.ppoll { e, c.IN } end,
      select = function() return c.select({ e }, {}) end,
      nanosleep = function() return c.nanosleep(1000) end,
      clock_nanosleep = function() return c.clock_nanosleep(1000, true) end,
      usleep = function() return c.usleep(1000000000) end,
      sleep = function() return c.sleep(1000) end,
      read = function() return c.read(e) end,
      ["read of a socket"] = function() return c.read(a) end,
      recv = function() return c.recv(a) end,
      ["recv of all"] = function() return c.recv(a, 10, c.WAITALL) end,
      recvmsg = function() return c.recvmsg(a) end,
      write = function() return c.write(w, ("x"):rep(5000)) end,
      writev = function() return c.writev(w, "x", "y") end,
      send = function() return c.send(a, "x") end,
      writing = function() return c.write(a, "x") end,
      accept = function() return c.accept(fd) end,
      connect = function() return c.connect(path .. ".busy") end,
    }
    local function cleanup() os.remove(path .. ".busy") end
    local ___ <close> = setmetatable({}, { __close = cleanup })
  ]]
  each {
    { "is raised when the C function has returned", waits .. [[
      for name, f in pairs(calls) do
        local g = green.spawn(f)
        green.sleep(0) green.sleep(0)
        assert(not g:ready(), name)
        g:kill("struck", 5)
        assert(g:ready(), name)
        eq({ "struck" }, g.exception)
        local ok, err = pcall(function()
          local t <close> = green.Timeout(0.001)
          f()
          error(name .. " has gone on")
        end)
        assert(green.Timeout.is(err), err)
      end]] },
    { "is raised in main, too", waits .. [[
      for name, f in pairs(calls) do
        eq({ false }, green.within(0.001, f))
      end]] },
    { "is raised if it has come before the wait", waits .. [[
      for name, f in pairs(calls) do
        local began
        local g = green.spawn(function()
          green.sleep(0)
          began = true
          f()
          error(name .. " has gone on")
        end)
        green.sleep(0)
        g:kill("struck", 0) -- it is ready
        g:join()
        eq({ "struck", true }, g.exception, began)
      end]] },
    { "waits until epoll_wait returns", [[
      local r, w = c.pipe()
      local _ <close> = closing(r, w)
      local g = green.spawn(c.epoll, r)
      green.sleep(0) green.sleep(0)
      g:kill("struck", 0)
      green.sleep(0) green.sleep(0)
      eq({ false }, g:ready())
      c.write(w, "x")
      g:join()
      eq({ "struck" }, g.exception)]] },
    { "does not wait for a name to be resolved", [[
      for _, f in ipairs { c.getaddrinfo, c.getnameinfo, c.gethostbyname, c.gethostbyname_r } do
        local g = green.spawn(f, f == c.getnameinfo and 80 or "localhost")
        green.sleep(0)
        g:kill("struck")
        assert(g:successful() or g.exception == "struck") -- the thread may be faster
      end]] },

    { "makes a library give up that goes on as many do", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      c.nonblock(a, true)
      local why
      local g = green.spawn(function()
        debug.sethook(function() end, "c") -- stays
        local hook = debug.gethook()
        local ok, err = pcall(function() why = c.insist(a) end)
        eq({ false, "struck", true }, ok, err, debug.gethook() == hook)
        eq({ nil, "EAGAIN", n = 2 }, c.recv(a)) -- all is as before
      end)
      green.sleep(0) green.sleep(0)
      g:kill("struck")
      g:get()
      eq({ nil, n = 1 }, why)]] },
    { "does not let a library that never gives up keep the others from running", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local turns = 0
      local g = green.spawn(function() c.persist(a, function() return turns >= 3 end) end)
      green.sleep(0) green.sleep(0)
      g:kill("struck", 0)
      for _ = 1, 3 do green.sleep(0) turns = turns + 1 end
      g:join()
      eq({ "struck" }, g.exception)]] },
    { "comes after an error that the library raises", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local first, second
      local g = green.spawn(function()
        first = select(2, pcall(c.wait_and_raise, a))
        second = select(2, pcall(green.sleep, 10))
      end)
      green.sleep(0) green.sleep(0)
      g:kill("struck")
      eq({ "the library's own", "struck" }, first, second)]] },
    { "is raised where the library calls back and that waits", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local inner
      local g = green.spawn(function()
        return c.wait_and_call(a, function()
          local closed = 0
          do
            local _ <close> = setmetatable({}, { __close = function() closed = #"abc" end })
          end
          inner = closed -- functions return in here, and nothing is raised
          green.sleep(10)
        end)
      end)
      green.sleep(0) green.sleep(0)
      g:kill("struck")
      eq({ "struck", 3 }, g.exception, inner)]] },
    { "is raised when the library returns from where it called back", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local inner
      local g = green.spawn(function()
        c.wait_and_call(a, function() inner = tostring(1) end)
        inner = "gone on"
      end)
      green.sleep(0) green.sleep(0)
      g:kill("struck")
      eq({ "struck", "1" }, g.exception, inner)]] },
    { "reaches coroutines of the program's own", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local where
      local g = green.spawn(function()
        coroutine.wrap(function()
          local ok, err = pcall(c.recv, a)
          where = err
          error(err, 0)
        end)()
      end)
      green.sleep(0) green.sleep(0)
      g:kill("struck")
      eq({ "struck", true }, where, g.exception:find "struck$" ~= nil)]] },
    { "may strike several at once", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local all = {}
      for i = 1, 20 do all[i] = green.spawn(i % 2 == 0 and c.recv or c.insist, a) end
      green.sleep(0) green.sleep(0)
      for i = 1, 20 do all[i]:kill(i, 0) end
      green.joinall(all)
      for i = 1, 20 do eq({ i }, all[i].exception) end]] },
    { "need not be the end: a Timeout that is cancelled in time", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      local t <close> = green.Timeout(10)
      after(function() t:cancel() c.send(b, "x") end)
      eq({ "x" }, c.recv(a))]] },
    { "that ends a greenlet for good leaves nothing armed", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      for _, f in ipairs {
        function() return c.poll { a, c.IN, b, c.IN, a, c.PRI } end,
        function() return c.recv(a) end, function() return c.nanosleep(1000) end,
        function() return c.getaddrinfo "localhost" end,
      } do
        local g = green.spawn(f)
        green.sleep(0) green.sleep(0)
        g:close()
        eq({ true }, g:ready())
      end
      c.send(b, "x")
      c.send(a, "y")
      green.sleep(0.001)
      eq({ "x", "y" }, c.recv(a), c.recv(b))]], env = no_leaks },
    { "is Ctrl-C", [[
      local a, b = c.pair()
      local _ <close> = closing(a, b)
      if not tostring(green.current()):find "main" then return end
      local pipe = io.popen "sleep 0.05; kill -INT $PPID"
      local ok, err = pcall(c.recv, a)
      pipe:close()
      eq({ false, true }, ok, tostring(err):find "interrupted!" ~= nil)]] },
  }

  it("at the end of the program finds greenlets in C libraries", function()
    local code, out, err = support.run({ "--coop-libc", "-" }, prelude .. [[
      local a, b = c.pair()
      for i = 1, 10 do
        green.spawn(function()
          local _ <close> = setmetatable({}, { __close = function() io.write(i, " ") end })
          c.recv(a)
        end)
      end
      green.sleep(0)
      green.sleep(0)
      green.shutdown(3)
    end
    body()]], no_leaks)
    assert.equal("", err)
    assert.equal("1 2 3 4 5 6 7 8 9 10 ", out)
    assert.equal(3, code)
  end)
end)

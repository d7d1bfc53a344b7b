-- --coop-libc: calls of the C library by a C module that knows nothing of us.

local core = require "greenlua.core"
local support = require "spec.support"
local coop = require "spec.support.coop"

local each, prelude = coop.each, coop.prelude

describe("--coop-libc", function()
  it("is an option that --help explains", function()
    local code, out = support.run { "--coop-libc", "--help" }
    assert.equal(0, code)
    assert.matches("\n  %-%-coop%-libc   %S", out)
  end)

  it("is not the default: the thread stands still", function()
    coop.run([[
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

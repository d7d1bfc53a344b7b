-- A kill or a Timeout reaches who waits in a C library.

local support = require "spec.support"
local coop = require "spec.support.coop"

local each, no_leaks, prelude = coop.each, coop.no_leaks, coop.prelude

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
        g:kill("struck", 60)
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
      local pipe
      local ok, err = pcall(function()
        pipe = io.popen "sleep 0.05; kill -INT $PPID"
        c.recv(a)
      end)
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

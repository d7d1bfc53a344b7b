local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

local Greenlet, GreenletExit = green.Greenlet, green.GreenletExit

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- A greenlet that waits until it is ended.
local function parked(f)
  local g = green.spawn(f or function() waitlist.new("for ever"):wait() end)
  turn()
  return g
end

-- What is written to stderr while f runs.
local function stderr_of(f)
  local written, real = {}, io.stderr
  local function set(stream) rawset(io, "stderr", stream) end
  local restore <close> = setmetatable({}, { __close = function() set(real) end })
  set { write = function(self, ...)
    written[#written + 1] = table.concat { ... }
    return self
  end }
  f()
  assert(restore)
  return table.concat(written)
end

-- Errors that a test makes on purpose, instead of their report: { greenlet, error }
local function reports_of(f)
  local reports = {}
  local before = green.on_error(function(g, err) reports[#reports + 1] = { g, err } end)
  local restore <close> = setmetatable({}, { __close = function() green.on_error(before) end })
  f()
  turn(3)
  assert(restore)
  return reports
end

local function closing(f)
  return setmetatable({}, { __close = function(_, err) f(err) end })
end

describe("greenlua.greenlet", function()
  describe("spawn", function()
    it("gives a greenlet that runs when its turn comes", function()
      local ran = false
      local g = green.spawn(function() ran = true end)
      assert.is_true(Greenlet.is(g))
      assert.is_false(ran)
      assert.is_true(g.started)
      turn()
      assert.is_true(ran)
      assert.is_true(g.dead)
    end)

    it("starts in the order of the calls, behind who is ready already", function()
      local order = {}
      local function note(name) order[#order + 1] = name end
      local all = { green.spawn(note, 1), green.spawn(note, 2) }
      all[3] = green.spawn(function() green.spawn_later(0, note, "later") end)
      all[4] = green.spawn(function()
        note(3)
        all[#all + 1] = green.spawn(note, "nested")
      end)
      all[5] = green.spawn(note, 4)
      turn(2)
      green.joinall(all)
      while #order < 6 do green.sleep(0.001) end
      -- When a timer is looked at depends on the clock.
      for i, name in ipairs(order) do
        if name == "later" then table.remove(order, i) end
      end
      assert.same({ 1, 2, 3, 4, "nested" }, order)
    end)

    it("hands over its arguments, nils too", function()
      local got
      green.spawn(function(...) got = table.pack(...) end, nil, 2, nil):join()
      assert.same({ n = 3, nil, 2, nil }, got)
    end)

    it("takes 249 arguments, and no more", function()
      local many = {}
      for i = 1, 250 do many[i] = i end
      assert.equal(249, green.spawn(select, "#", table.unpack(many, 1, 248)):get() + 1)
      local g = green.spawn(function(...) return ... end, table.unpack(many, 1, 249))
      assert.same({ table.unpack(many, 1, 249) }, { g:get() })
      assert.error_matches(function() green.spawn(print, table.unpack(many)) end,
        "too many arguments %(250%)")
    end)

    it("takes anything callable", function()
      local object = setmetatable({}, { __call = function(self, x) return self, x end })
      assert.same({ object, 5 }, { green.spawn(object, 5):get() })
      assert.equal(3, green.spawn(math.max, 1, 3):get())
    end)

    it("refuses what is not", function()
      for _, bad in ipairs { "print", 1, {}, true } do
        assert.error_matches(function() green.spawn(bad) end,
          "bad argument #1 to 'spawn' %(function or callable expected, got " .. type(bad))
      end
      assert.error_matches(function() green.spawn() end,
        "bad argument #1 to 'spawn' %(function or callable expected, got no value%)")
      assert.error_matches(function() green.spawn_later(1, 5) end, "function or callable expected")
    end)

    it("runs ten thousand", function()
      local n, all = 0, {}
      for i = 1, 10000 do all[i] = green.spawn(function() green.sleep(0) n = n + 1 end) end
      assert.equal(10000, #green.joinall(all))
      assert.equal(10000, n)
    end)
  end)

  describe("spawn_later", function()
    it("starts after its delay", function()
      local began = core.now()
      local g = green.spawn_later(0.01, core.now)
      assert.is_true(g.started)
      assert.is_false(g.dead)
      assert.is_true(g:get() - began >= 0.01)
    end)

    it("starts those of one time in the order of the calls", function()
      local order = {}
      local all = {}
      for i = 1, 50 do
        all[i] = green.spawn_later(i % 2 * 1e-9, function() order[#order + 1] = i end)
      end
      green.joinall(all)
      assert.equal(50, #order)
    end)

    it("never starts what was killed before", function()
      local ran = false
      local g = green.spawn_later(0.001, function() ran = true end)
      g:kill()
      assert.is_true(g.dead)
      assert.is_true(GreenletExit.is(g.value))
      green.sleep(0.005)
      assert.is_false(ran)
    end)

    it("refuses a delay that is none", function()
      for _, bad in ipairs { -1, 0 / 0 } do
        assert.error_matches(function() green.spawn_later(bad, print) end,
          "a delay is a number of seconds, not negative")
      end
      assert.error_matches(function() green.spawn_later("soon", print) end, "number expected")
      assert.error_matches(function() green.spawn_later(nil, print) end, "number expected")
    end)
  end)

  describe("sleep", function()
    waitable { no_timeout = true, new = function() return {} end,
      wait = function() green.sleep(100) end }
    waitable { no_timeout = true, new = function() return {} end,
      wait = function() green.sleep(math.huge) end }

    it("takes its time", function()
      local began = core.now()
      green.sleep(0.01)
      assert.is_true(core.now() - began >= 0.01)
    end)

    it("of nothing, zero or less gives way for one turn, round robin", function()
      for _, seconds in ipairs { 0, -1, -math.huge, "none" } do
        local order = {}
        local function pace(name)
          for i = 1, 3 do
            order[#order + 1] = name .. i
            if seconds == "none" then green.sleep() else green.sleep(seconds) end
          end
        end
        green.joinall { green.spawn(pace, "a"), green.spawn(pace, "b") }
        assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, order)
      end
    end)

    it("of zero is round robin under boundaries, too", function()
      local order = {}
      local function pace(name)
        for i = 1, 3 do
          order[#order + 1] = name .. i
          green.sleep(0)
        end
      end
      green.joinall {
        green.spawn(pace, "a"),
        green.spawn(string.gsub, "x", "x", function() pace "b" end),
        green.spawn(coroutine.wrap(function() pace "c" end)),
      }
      assert.same({ "a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3" }, order)
    end)

    it("wakes by deadline, those of one deadline in the order they came", function()
      local order = {}
      local function nap(name, seconds)
        return green.spawn(function() green.sleep(seconds) order[#order + 1] = name end)
      end
      green.joinall { nap("late", 0.12), nap("soon", 0.04), nap("middle", 0.08) }
      assert.same({ "soon", "middle", "late" }, order)
    end)

    it("of zero does not starve timers", function()
      local done = false
      local spinner = green.spawn(function() while not done do green.sleep(0) end end)
      green.sleep(0.002)
      done = true
      spinner:join()
    end)

    it("ends a spin of sleep(0) by a Timeout", function()
      local began = core.now()
      assert.is_false(green.within(0.01, function() while true do green.sleep(0) end end))
      assert.is_true(core.now() - began >= 0.01)
    end)

    it("refuses what is no number", function()
      assert.error_matches(function() green.sleep(0 / 0) end, "bad argument #1 to 'sleep'.*NaN")
      assert.error_matches(function() green.sleep {} end,
        "bad argument #1 to 'sleep' %(number expected, got table%)")
    end)
  end)

  describe("idle", function()
    waitable { no_timeout = true, new = function()
      -- Never idle while this one spins.
      local busy = {}
      busy.g = green.spawn(function() while not busy.done do green.sleep(0) end end)
      return busy
    end, wait = function() green.idle() end, free = function(busy)
      busy.done = true
      busy.g:join()
    end }

    it("waits until nobody else is ready", function()
      local order = {}
      local g = green.spawn(function()
        green.idle()
        order[#order + 1] = "idle"
      end)
      local h = green.spawn(function()
        for i = 1, 300 do green.sleep(0) if i == 300 then order[#order + 1] = "busy" end end
      end)
      green.joinall { g, h }
      assert.same({ "busy", "idle" }, order)
    end)

    it("lets several go in the order they came", function()
      local order, all = {}, {}
      for i = 1, 5 do
        all[i] = green.spawn(function() green.idle() order[#order + 1] = i end)
      end
      green.joinall(all)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("works in main #main", function() green.idle() end)
  end)

  describe("current", function()
    it("is the running greenlet, in its coroutines and callbacks too", function()
      local g
      g = green.spawn(function()
        assert.equal(g, green.current())
        assert.equal(g, coroutine.wrap(green.current)())
        string.gsub("x", "x", function()
          green.sleep(0)
          assert.equal(g, green.current())
        end)
      end)
      g:get()
    end)

    it("is main in the program itself #main", function()
      assert.equal("main", green.current().name)
      assert.is_true(Greenlet.is(green.current()))
      assert.equal("main: running", tostring(green.current()))
      assert.is_true(green.current().started)
      assert.is_false(green.current().dead)
    end)
  end)

  describe("get", function()
    waitable {
      new = function()
        local list = waitlist.new "a gate"
        return { list = list, g = green.spawn(list.wait, list) }
      end,
      wait = function(object, timeout) return object.g:get(timeout) end,
      wake = function(object) turn() object.list:wake() turn() end,
      free = function(object) object.g:kill() end,
      wakes_all = true, late = true, raises = true,
    }

    it("gives all that was returned", function()
      assert.same({ n = 4, 1, nil, "three", nil },
        table.pack(green.spawn(function() return 1, nil, "three", nil end):get()))
      assert.equal(0, select("#", green.spawn(function() end):get()) - 1)
      local g = green.spawn(table.unpack, {}, 1, 5000)
      assert.equal(5000, select("#", g:get()))
      assert.equal(5000, select("#", g:get()))
      assert.is_nil(g.value)
    end)

    it("gives it to everyone who asks", function()
      local g = green.spawn(function() green.sleep(0) return 1, 2 end)
      local a, b = green.spawn(g.get, g), green.spawn(g.get, g)
      assert.same({ 1, 2 }, { a:get() })
      assert.same({ 1, 2 }, { b:get() })
      assert.same({ 1, 2 }, { g:get(0) })
    end)

    it("raises the error as it is", function()
      for _, err in ipairs { "text", 5, false, {}, print } do
        local g = green.spawn(function() error(err, 0) end)
        local ok, got = pcall(g.get, g)
        assert.is_false(ok)
        assert.equal(err, got)
        assert.is_false(g:successful())
        assert.equal(err, g.exception)
        assert.is_nil(g.value)
      end
    end)

    it("raises nil, where the error is nil", function()
      local g = green.spawn(error)
      local results = table.pack(pcall(g.get, g))
      assert.same({ n = 2, false, nil }, results)
      assert.is_false(g:successful())
    end)

    it("raises a Timeout that knows its seconds", function()
      local g = parked()
      local ok, err = pcall(g.get, g, 0.001)
      assert.is_false(ok)
      assert.is_true(green.Timeout.is(err))
      assert.equal(0.001, err.seconds)
      g:kill()
    end)

    it("is refused to a greenlet itself", function()
      for _, method in ipairs { "get", "join" } do
        local g
        g = green.spawn(function() g[method](g) end)
        assert.error_matches(function() g:get() end, "cannot wait for its own end")
      end
    end)
  end)

  describe("join", function()
    waitable {
      new = function()
        local list = waitlist.new "a gate"
        return { list = list, g = green.spawn(list.wait, list) }
      end,
      wait = function(object, timeout) return object.g:join(timeout) end,
      wake = function(object) turn() object.list:wake() turn() end,
      free = function(object) object.g:kill() end,
      wakes_all = true, late = true,
      expired = function(...) assert.same({ false }, { ... }) end,
    }

    it("tells of the end, whatever the end was", function()
      assert.is_true(green.spawn(function() end):join())
      assert.is_true(parked():kill())
      reports_of(function() assert.is_true(green.spawn(error, "x"):join()) end)
      local g = green.spawn(function() end)
      assert.is_false(g:join(0))
      g:join()
      assert.is_true(g:join(0))
      assert.is_true(g:join(1))
    end)

    it("refuses what is no greenlet", function()
      for _, method in ipairs { "join", "get", "ready", "successful", "start" } do
        assert.error_matches(function() Greenlet[method]({}) end, "Greenlet expected, got table")
        assert.error_matches(function() Greenlet[method]() end, "Greenlet expected, got no value")
        assert.error_matches(function() Greenlet[method](io.stdout) end,
          "Greenlet expected, got FILE")
      end
    end)
  end)

  describe("state", function()
    it("is fresh before the start", function()
      local g = Greenlet(print)
      assert.same({ false, false, false, false },
        { g.started, g.dead, g:ready(), g:successful() })
      assert.is_nil(g.value)
      assert.is_nil(g.exception)
      assert.matches("^Greenlet%-%d+: fresh$", tostring(g))
      turn()
      assert.is_false(g.started)
    end)

    it("goes from started to dead", function()
      local g = Greenlet(function() green.sleep(0) return false end)
      assert.equal(g, g:start())
      assert.is_true(g.started)
      assert.matches(": ready$", tostring(g))
      assert.is_nil(g.value)
      g:join()
      assert.same({ false, true, true, true }, { g.started, g.dead, g:ready(), g:successful() })
      assert.is_false(g.value)
      assert.matches(": dead$", tostring(g))
    end)

    it("is told by tostring", function()
      local g = parked()
      assert.matches("^Greenlet%-%d+: parked$", tostring(g))
      local text
      green.spawn(function() text = tostring(green.current()) end):join()
      assert.matches(": running$", text)
      g:kill()
      reports_of(function()
        local h = green.spawn(error, "x")
        h:join()
        assert.matches(": failed$", tostring(h))
      end)
    end)

    it("counts the first start only", function()
      local n = 0
      local g = Greenlet(function() n = n + 1 end)
      g:start()
      g:start()
      g:start_later(0)
      g:join()
      g:start()
      turn(2)
      green.sleep(0.001)
      assert.equal(1, n)
      local later = Greenlet(function() n = n + 1 end)
      assert.equal(later, later:start_later(0.001))
      later:start()
      turn(2)
      assert.equal(1, n)
      later:join()
      assert.equal(2, n)
    end)

    it("has a name that can be set", function()
      local g = green.spawn(function() return green.current().name end)
      assert.matches("^Greenlet%-%d+$", g.name)
      g.name = "worker"
      assert.equal("worker", g.name)
      assert.matches("Greenlet", tostring(g))
      assert.matches("worker", tostring(g))
      assert.equal("worker", g:get())
    end)

    it("has fields of the program's own", function()
      local g = parked()
      assert.is_nil(g.color)
      g.color, g[1] = "green", "one"
      assert.same({ "green", "one" }, { g.color, g[1] })
      g:kill()
      assert.same({ "green", "one" }, { g.color, g[1] })
      g.color = nil
      assert.is_nil(g.color)
    end)

    it("keeps nothing of a greenlet that has ended", function()
      local weak = setmetatable({}, { __mode = "k" })
      local argument, upvalue = {}, {}
      weak[argument], weak[upvalue] = true, true
      local g = green.spawn(function(_) return upvalue ~= nil end, argument)
      g:join()
      argument, upvalue = nil, nil -- luacheck: ignore
      weak[green.spawn(function() end)] = true
      turn(2)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
      assert.is_true(g.value)
    end)

    it("lets a greenlet that was never started be collected", function()
      local weak = setmetatable({}, { __mode = "k" })
      weak[Greenlet(print)] = true
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("shows a coroutine of its own to each greenlet", function()
      local threads = {}
      local function note()
        local co, main = coroutine.running()
        assert.is_false(main)
        threads[co] = (threads[co] or 0) + 1
        green.sleep(0)
        assert.equal(co, coroutine.running())
      end
      green.joinall { green.spawn(note), green.spawn(note), green.spawn(note) }
      local n = 0
      for _, times in pairs(threads) do n = n + times end
      assert.equal(3, n)
    end)
  end)

  describe("kill", function()
    it("keeps an unstarted greenlet from ever running", function()
      local ran, told = false, nil
      local g = Greenlet(function() ran = true end)
      g:link(function(dead) told = dead end)
      assert.is_true(g:kill())
      assert.same({ true, true, true }, { g.dead, g:ready(), g:successful() })
      assert.is_true(GreenletExit.is(g.value))
      assert.is_true(GreenletExit.is(g:get()))
      g:start()
      turn(3)
      assert.is_false(ran)
      assert.equal(g, told)
    end)

    it("keeps a spawned one that has not run from ever running", function()
      local ran = false
      local g = green.spawn(function() ran = true end)
      assert.is_true(g:kill())
      turn(2)
      assert.is_false(ran)
      assert.is_true(g:successful())
      assert.is_true(GreenletExit.is(g.value))
    end)

    it("fails an unstarted one with an error of the caller's", function()
      local err = {}
      local g, h
      local reports = reports_of(function()
        g, h = Greenlet(print), green.spawn(print)
        g:kill(err)
        h:kill "v"
      end)
      assert.same({ true, false }, { g.dead, g:successful() })
      assert.equal(err, g.exception)
      assert.equal("v", h.exception)
      assert.same({ { g, err }, { h, "v" } }, reports)
    end)

    it("raises GreenletExit where the greenlet is blocked", function()
      local seen
      local g = parked(function()
        local _ <close> = closing(function(err) seen = err end) -- luacheck: ignore
        green.sleep(100)
      end)
      assert.is_true(g:kill())
      assert.is_true(GreenletExit.is(seen))
      assert.equal(seen, g.value)
      assert.is_true(g:successful())
      assert.is_nil(g.exception)
    end)

    it("raises an error of the caller's", function()
      local err = {}
      local g = parked()
      local reports = reports_of(function() g:kill(err) end)
      assert.is_false(g:successful())
      assert.equal(err, g.exception)
      assert.equal(err, reports[1][2])
      local h = parked()
      reports_of(function() h:kill(false) end)
      assert.is_false(h.exception)
      local i = parked()
      i:kill(GreenletExit "told to")
      assert.equal("GreenletExit: told to", tostring(i.value))
      local j = parked()
      j:kill(GreenletExit)
      assert.is_true(j:successful())
      assert.equal(GreenletExit, j.value)
    end)

    it("lets one live that catches it", function()
      local g = parked(function()
        local ok, err = pcall(green.sleep, 100)
        assert(not ok and GreenletExit.is(err))
        return "survived"
      end)
      assert.is_true(g:kill())
      assert.equal("survived", g.value)
      assert.is_true(g:successful())
    end)

    it("meets one at its next park, if it was woken already", function()
      local g = green.spawn(function()
        green.sleep(0)
        return "done"
      end)
      turn()
      g:kill()
      assert.equal("done", g.value)

      local reached
      local h = green.spawn(function()
        green.sleep(0)
        reached = true
        green.sleep(0)
        return "not here"
      end)
      turn()
      h:kill()
      assert.is_true(reached)
      assert.is_true(GreenletExit.is(h.value))
    end)

    it("is raised at once in oneself", function()
      local after
      local g = green.spawn(function()
        green.current():kill()
        after = true
      end)
      g:join()
      assert.is_nil(after)
      assert.is_true(GreenletExit.is(g.value))
      local h = green.spawn(function() green.current():kill "an end of one's own" end)
      assert.error(function() h:get() end, "an end of one's own")
    end)

    it("without waiting lets oneself run on until the next switch", function()
      for _, kill in ipairs { green.kill, function(g) g:kill(nil, 0) end,
          function(g) green.killall({ g }, nil, 0) end } do
        local reached = 0
        local g = green.spawn(function()
          kill(green.current())
          reached = 1
          green.sleep(0)
          reached = 2
        end)
        g:join()
        assert.equal(1, reached)
        assert.is_true(GreenletExit.is(g.value))
      end
    end)

    it("of one that is dead does nothing", function()
      local g = green.spawn(function() return 5 end)
      g:join()
      assert.is_true(g:kill())
      assert.is_true(g:kill "again")
      green.kill(g)
      assert.equal(5, g.value)
      assert.is_true(g:successful())
    end)

    it("twice is harmless", function()
      local n = 0
      local g = parked(function()
        local _ <close> = closing(function() n = n + 1 end) -- luacheck: ignore
        green.sleep(100)
      end)
      green.kill(g)
      green.kill(g)
      g:kill()
      assert.equal(1, n)
      assert.is_true(GreenletExit.is(g.value))
      turn(2)
    end)

    it("raises one after the other what has been sent together", function()
      local seen = {}
      local g = parked(function()
        for i = 1, 3 do seen[i] = select(2, pcall(green.sleep, 100)) end
      end)
      green.kill(g, 1)
      green.kill(g, 2)
      green.kill(g, 3)
      g:join()
      assert.same({ 1, 2, 3 }, seen)
    end)

    it("waits no longer than its timeout", function()
      local stop = waitlist.new "the end"
      local g = parked(function()
        pcall(green.sleep, 100)
        stop:wait()
      end)
      assert.is_false(g:kill(nil, 0.001))
      assert.is_false(g.dead)
      assert.is_false(g:kill(nil, 0))
      stop:wake()
      g:join()
      local h = parked(function() pcall(green.sleep, 100) pcall(stop.wait, stop) end)
      local timer <close> = green.Timeout(0.001)
      local ok, err = pcall(h.kill, h, nil, timer)
      assert.is_false(ok)
      assert.equal(timer, err)
      h:kill()
    end)

    it("lets the killer be killed while it waits", function()
      local stop = waitlist.new "the end"
      local g = parked(function() pcall(green.sleep, 100) stop:wait() end)
      local killer = parked(function() g:kill() end)
      assert.is_true(killer:kill())
      assert.is_false(g.dead)
      stop:wake()
      g:join()
    end)

    it("does not wait in green.kill", function()
      local order = {}
      local g = parked(function()
        local _ <close> = closing(function() order[#order + 1] = "killed" end) -- luacheck: ignore
        green.sleep(100)
      end)
      green.kill(g)
      order[#order + 1] = "on"
      g:join()
      assert.same({ "on", "killed" }, order)
    end)

    it("takes its place in the queue", function()
      local order = {}
      local function note(name) order[#order + 1] = name end
      local g = parked(function()
        local _ <close> = closing(function() note "kill" end) -- luacheck: ignore
        green.sleep(100)
      end)
      local a = green.spawn(note, "before")
      green.kill(g)
      local b = green.spawn(note, "after")
      green.joinall { a, b, g }
      assert.same({ "before", "kill", "after" }, order)
    end)

    it("takes a killed joiner off its target", function()
      local target = parked()
      local joiner = parked(function() target:join() end)
      joiner:kill()
      assert.is_false(target.dead)
      target:kill()
    end)

    it("runs what is pending under a boundary, innermost first", function()
      local order = {}
      local function pending(name)
        return closing(function() order[#order + 1] = name end)
      end
      local g = parked(function()
        local _ <close> = pending "greenlet" -- luacheck: ignore
        string.gsub("x", "x", function()
          local _ <close> = pending "callback" -- luacheck: ignore
          coroutine.wrap(function()
            local _ <close> = pending "coroutine" -- luacheck: ignore
            green.sleep(100)
          end)()
        end)
      end)
      g:kill()
      -- an error leaves a coroutine by killing it: wrap closes it
      assert.same({ "coroutine", "callback", "greenlet" }, order)
    end)

    it("raises into main #main", function()
      local main = green.current()
      local g = green.spawn(function() green.kill(main, "a word for main") end)
      assert.error(function() green.sleep(100) end, "a word for main")
      g:join()
      green.spawn(function() green.kill(main, "and one more") end)
      assert.error(function() table.sort({ 1, 2 }, function() green.sleep(100) end) end,
        "and one more")
    end)

    it("refuses what is no greenlet", function()
      for _, bad in ipairs { {}, "x", 5 } do
        assert.error_matches(function() green.kill(bad) end,
          "bad argument #1 to 'kill' %(Greenlet expected, got " .. type(bad))
        assert.error_matches(function() Greenlet.kill(bad) end, "Greenlet expected, got ")
      end
      assert.error_matches(function() green.kill() end, "bad argument #1 to 'kill'")
    end)
  end)

  describe("killall", function()
    it("ends all and waits", function()
      local started, fresh, later = parked(), Greenlet(print), green.spawn_later(10, print)
      local done = green.spawn(function() return 1 end)
      done:join()
      local ready = green.spawn(error, "must not run")
      green.killall { started, fresh, later, ready, done }
      for _, g in ipairs { started, fresh, later, ready } do
        assert.is_true(g.dead)
        assert.is_true(GreenletExit.is(g.value))
      end
      assert.equal(1, done.value)
      green.killall {}
    end)

    it("raises an error of the caller's in each", function()
      local a, b = parked(), parked()
      local reports = reports_of(function() green.killall({ a, b }, "over") end)
      assert.same({ { a, "over" }, { b, "over" } }, reports)
    end)

    it("raises a Timeout if some live on", function()
      local stop = waitlist.new "the end"
      local g = parked(function() pcall(green.sleep, 100) stop:wait() end)
      local ok, err = pcall(green.killall, { parked(), g }, nil, 0.002)
      assert.is_false(ok)
      assert.is_true(green.Timeout.is(err))
      assert.equal(0.002, err.seconds)
      local timer <close> = green.Timeout(0.002)
      ok, err = pcall(green.killall, { g, g }, nil, timer) -- swallowed, and then some
      assert(ok or err == timer)
      stop:wake()
      g:join()
    end)

    it("with 0 neither waits nor raises", function()
      local g = parked()
      green.killall({ g }, nil, 0)
      assert.is_false(g.dead)
      g:join()
    end)

    it("ends the others before oneself", function()
      local order = {}
      local function noted(name, f)
        return function()
          local _ <close> = closing(function() order[#order + 1] = name end) -- luacheck: ignore
          f()
        end
      end
      local list = { false, parked(noted("a", function() green.sleep(100) end)) }
      local me = green.spawn(noted("me", function()
        list[1] = green.current()
        green.killall(list)
        order[#order + 1] = "not here"
      end))
      me:join()
      list[2]:join()
      table.sort(order)
      assert.same({ "a", "me" }, order)
    end)

    it("refuses what is no list of greenlets, and then kills nobody", function()
      assert.error_matches(function() green.killall(5) end,
        "bad argument #1 to 'killall' %(list of greenlets expected, got number")
      assert.error_matches(function() green.killall() end, "bad argument #1 to 'killall'")
      local g = parked()
      assert.error_matches(function() green.killall { g, "x" } end, "Greenlet expected, got string")
      assert.error_matches(function() green.killall({ g }, nil, -1) end, "not negative")
      assert.error_matches(function() green.killall({ g }, nil, "x") end, "number of seconds")
      turn(2)
      assert.is_false(g.dead)
      g:kill()
    end)
  end)

  describe("close", function()
    it("ends a greenlet whatever pcall stands in the way", function()
      local order = {}
      local g = parked(function()
        local _ <close> = closing(function() order[#order + 1] = "closed" end) -- luacheck: ignore
        while true do pcall(green.sleep, 100) order[#order + 1] = "went on" end
      end)
      g:close()
      assert.same({ "closed" }, order)
      assert.same({ true, true }, { g.dead, g:successful() })
      assert.is_true(GreenletExit.is(g.value))
    end)

    it("waits for <close> variables that block", function()
      local steps = 0
      local g = parked(function()
        local _ <close> = closing(function() -- luacheck: ignore
          for _ = 1, 5 do green.sleep(0) steps = steps + 1 end
        end)
        green.sleep(100)
      end)
      g:close()
      assert.equal(5, steps)
    end)

    it("closes the coroutines that stand in it, innermost first", function()
      local order = {}
      local function pending(name)
        return closing(function() green.sleep(0) order[#order + 1] = name end)
      end
      local g = parked(function()
        local _ <close> = pending "greenlet" -- luacheck: ignore
        table.sort({ 1, 2 }, function()
          local _ <close> = pending "comparator" -- luacheck: ignore
          coroutine.wrap(function()
            local _ <close> = pending "coroutine" -- luacheck: ignore
            string.gsub("x", "x", function()
              local _ <close> = pending "callback" -- luacheck: ignore
              pcall(green.sleep, 100)
            end)
          end)()
        end)
      end)
      g:close()
      assert.same({ "callback", "coroutine", "comparator", "greenlet" }, order)
    end)

    it("leaves a suspended generator alone, as Lua does", function()
      local closed = false
      local generator = coroutine.create(function()
        local _ <close> = closing(function() closed = true end) -- luacheck: ignore
        coroutine.yield(1)
        return 2
      end)
      local g = parked(function() coroutine.resume(generator) green.sleep(100) end)
      g:close()
      assert.is_false(closed)
      assert.same({ true, 2 }, { coroutine.resume(generator) })
    end)

    it("of one that has not run keeps it from running", function()
      local ran = false
      local fresh = Greenlet(function() ran = true end)
      local ready = green.spawn(function() ran = true end)
      local later = green.spawn_later(0.001, function() ran = true end)
      fresh:close()
      ready:close()
      later:close()
      green.sleep(0.003)
      assert.is_false(ran)
      for _, g in ipairs { fresh, ready, later } do
        assert.is_true(g.dead)
        assert.is_true(GreenletExit.is(g.value))
      end
    end)

    it("of one that is dead does nothing", function()
      local g = green.spawn(function() return 1 end)
      g:join()
      g:close()
      assert.equal(1, g.value)
    end)

    it("ends one that was woken already", function()
      local list, went_on = waitlist.new "a test", false
      local g = parked(function() list:wait() went_on = true end)
      list:wake()
      g:close()
      assert.is_false(went_on)
      local h = parked(function()
        string.gsub("x", "x", function() list:wait() went_on = true end)
      end)
      list:wake "value"
      h:close()
      assert.is_false(went_on)
    end)

    it("can be asked for by several, and by one who is killed meanwhile", function()
      local gate = waitlist.new "a gate"
      local g = parked(function()
        local _ <close> = closing(function() gate:wait() end) -- luacheck: ignore
        green.sleep(100)
      end)
      local a, b = parked(function() g:close() return "a" end), parked(function() g:close() end)
      b:kill()
      assert.is_false(a.dead)
      gate:wake()
      assert.equal("a", a:get())
    end)

    it("can be asked for again while <close> variables run", function()
      local gate, steps = waitlist.new "a gate", {}
      local g = parked(function()
        local _ <close> = closing(function() steps[#steps + 1] = "outer" end) -- luacheck: ignore
        local _ <close> = closing(function() -- luacheck: ignore
          gate:wait()
          steps[#steps + 1] = "inner"
        end)
        green.sleep(100)
      end)
      local first = parked(function() g:close() end)
      local second = parked(function() g:close() end)
      assert.is_false(first.dead)
      assert.is_false(second.dead)
      gate:wake()
      first:get(1)
      second:get(1)
      assert.same({ "inner", "outer" }, steps)
    end)

    it("waits for one that has failed and runs its <close> variables", function()
      local gate = waitlist.new "a gate"
      local g = parked(function()
        local _ <close> = closing(function() gate:wait() end) -- luacheck: ignore
        error("failed before", 0)
      end)
      local closer = parked(function() g:close() end)
      assert.is_false(closer.dead)
      local reports = reports_of(function() gate:wake() closer:join() end)
      assert.equal("failed before", g.exception)
      assert.equal(1, #reports)
    end)

    it("lets <close> variables be killed, and ends all the same", function()
      local g = parked(function()
        local _ <close> = closing(function() green.sleep(100) end) -- luacheck: ignore
        green.sleep(100)
      end)
      local closer = parked(function() g:close() end)
      local reports = reports_of(function() green.kill(g, "hurry") closer:join() end)
      assert.is_true(g.dead)
      assert.is_false(g:successful())
      assert.equal("hurry", g.exception)
      assert.equal(1, #reports)
    end)

    it("ends with the error of a <close> variable, if that fails", function()
      local g = parked(function()
        local _ <close> = closing(function() error("cannot close", 0) end) -- luacheck: ignore
        green.sleep(100)
      end)
      local reports = reports_of(function() g:close() end)
      assert.is_false(g:successful())
      assert.equal("cannot close", g.exception)
      assert.same({ { g, "cannot close" } }, reports)
    end)

    it("is refused to oneself and for main", function()
      assert.error_matches(function() green.current():close() end, "cannot close itself")
      local ok, err
      local g = green.spawn(function()
        table.sort({ 1, 2 }, function()
          ok, err = pcall(green.current().close, green.current())
        end)
      end)
      g:join()
      assert.is_false(ok)
      assert.matches("cannot close itself", err)
    end)

    it("is refused for main #main", function()
      assert.error_matches(function() green.current():close() end, "main cannot be closed")
      local main = green.current()
      assert.error_matches(function() green.spawn(main.close, main):get() end,
        "main cannot be closed")
    end)

    it("tells joiners and links", function()
      local told
      local g = parked()
      local joiner = parked(function() return g:get() end)
      g:link(function() told = true end)
      g:close()
      assert.is_true(GreenletExit.is(joiner:get()))
      turn(2)
      assert.is_true(told)
    end)
  end)

  describe("<close>", function()
    it("joins what was started", function()
      local steps = 0
      do
        local _ <close> = green.spawn(function() -- luacheck: ignore
          for _ = 1, 3 do green.sleep(0) steps = steps + 1 end
        end)
      end
      assert.equal(3, steps)
    end)

    it("kills with the error that leaves the scope", function()
      local seen
      local ok, err = pcall(function()
        local _ <close> = parked(function() -- luacheck: ignore
          seen = select(2, pcall(green.sleep, 100))
        end)
        error("leaving", 0)
      end)
      assert.same({ false, "leaving" }, { ok, err })
      assert.equal("leaving", seen)
    end)
  end)

  describe("link", function()
    it("calls in the order the links were made, each in a greenlet of its own", function()
      local order, greenlets = {}, {}
      local g = green.spawn(function() order[#order + 1] = "end" end)
      for i = 1, 3 do
        g:link(function(dead)
          assert.equal(g, dead)
          greenlets[green.current()] = true
          green.sleep(0)
          order[#order + 1] = i
        end)
      end
      g:join()
      turn(3)
      assert.same({ "end", 1, 2, 3 }, order)
      local n = 0
      for _ in pairs(greenlets) do n = n + 1 end
      assert.equal(3, n)
    end)

    it("has run when a join that came after it returns", function()
      local linked = false
      local g = green.spawn(function() end)
      g:link(function() linked = true end)
      g:join()
      assert.is_true(linked)
    end)

    it("is called for a greenlet that has ended, not at once", function()
      local n = 0
      local g = green.spawn(function() end)
      g:join()
      g:link(function() n = n + 1 end)
      g:rawlink(function() n = n + 10 end)
      assert.equal(0, n)
      turn(3)
      assert.equal(11, n)
    end)

    it("by kind looks at the outcome", function()
      local order = {}
      local function all(g, name)
        g:link(function() order[#order + 1] = name .. " link" end)
        g:link_value(function() order[#order + 1] = name .. " value" end)
        g:link_exception(function() order[#order + 1] = name .. " exception" end)
        g:join()
        turn(2)
      end
      all(green.spawn(function() end), "returned")
      all(green.spawn(error, "x"), "failed")
      all(green.spawn(function() error(GreenletExit()) end), "exited")
      assert.same({ "returned link", "returned value", "failed link", "failed exception",
        "exited link", "exited value" }, order)
    end)

    it("can be taken back", function()
      local n = 0
      local function count() n = n + 1 end
      local g = green.spawn(function() end)
      g:link(count)
      g:link(count)
      assert.is_true(g:has_links())
      g:unlink(count)
      g:unlink(print)
      g:join()
      turn(2)
      assert.equal(1, n)
      assert.is_false(g:has_links())
      local h = green.spawn(function() end)
      assert.is_false(h:has_links())
      h:link(count)
      h:rawlink(count)
      h:unlink_all()
      assert.is_false(h:has_links())
      h:join()
      turn(2)
      assert.equal(1, n)
    end)

    it("may take back or add later ones while the hub calls a rawlink", function()
      local order = {}
      local function note(name) return function() order[#order + 1] = name end end
      local g = green.spawn(function() end)
      local unwanted = note "unwanted"
      g:rawlink(function()
        order[#order + 1] = "first"
        g:unlink(unwanted)
        g:rawlink(note "added")
      end)
      g:rawlink(unwanted)
      g:rawlink(note "last")
      g:join()
      assert.same({ "first", "last", "added" }, order)
    end)

    it("goes on when one of them fails", function()
      local called = 0
      local g = green.spawn(function() end)
      g:link(function() error("a link failed", 0) end)
      g:rawlink(function() error("a rawlink failed", 0) end)
      g:link(function() called = called + 1 end)
      g:rawlink(function() called = called + 1 end)
      local text
      local reports = reports_of(function()
        text = stderr_of(function() g:join() turn(3) end)
      end)
      assert.equal(2, called)
      assert.equal("a link failed", reports[1][2])
      assert.matches("a rawlink failed\n.*rawlink of Greenlet%-%d+ failed", text)
    end)

    it("runs a rawlink in the hub, where nothing can block", function()
      local seen, other = {}, parked()
      local g = green.spawn(function() end)
      g:rawlink(function()
        seen.current = green.current() == nil
        for name, f in pairs {
          sleep = function() green.sleep(1) end,
          nothing = function() green.sleep(0) end,
          idle = green.idle,
          join = function() other:join() end,
          get = function() other:get(1) end,
          timeout = function() green.Timeout(1) end,
          coroutine = coroutine.wrap(function() green.sleep(1) end),
        } do
          local ok, err = pcall(f)
          seen[name] = not ok and (err:match "cannot block here: the hub itself"
            or err:match "the hub itself is running")
        end
        -- what does not block is allowed
        other:kill(nil, 0)
        green.spawn(function() seen.spawned = true end)
        seen.caught = not green.pcall(error, "x")
      end)
      g:join()
      other:join()
      turn(2)
      for _, name in ipairs { "current", "sleep", "nothing", "idle", "join", "get", "timeout",
          "coroutine", "spawned", "caught" } do
        assert(seen[name], name)
      end
    end)

    it("lets rawlinks end others, which have rawlinks, and so on", function()
      local all, n = {}, 0
      for i = 1, 50 do
        all[i] = Greenlet(print)
        all[i]:rawlink(function()
          n = n + 1
          if all[i + 1] then green.kill(all[i + 1]) end
        end)
      end
      green.kill(all[1])
      assert.equal(50, n)
    end)

    it("fails like a deep recursion if there are too many of those", function()
      local code, out, err = support.run { "-e", [[
        local green = require "greenlua"
        local all, n = {}, 0
        for i = 1, 1000 do
          all[i] = green.Greenlet(print)
          all[i]:rawlink(function()
            n = n + 1
            if all[i + 1] then green.kill(all[i + 1]) end
          end)
        end
        green.kill(all[1])
        print(n > 50, green.spawn(function() return "fine" end):get())
      ]] }
      assert.same({ 0, "true\tfine\n" }, { code, out })
      assert.matches("C stack overflow", err)
    end)

    it("restarts a Timeout in a rawlink nowhere", function()
      local timer = green.Timeout(nil)
      local ok, err
      local g = green.spawn(function() end)
      g:rawlink(function() ok, err = pcall(timer.start, timer, 1) end)
      g:join()
      assert.is_false(ok)
      assert.matches("belongs to a greenlet", err)
    end)

    it("refuses what cannot be called", function()
      local g = Greenlet(print)
      for _, kind in ipairs { "link", "link_value", "link_exception", "rawlink" } do
        assert.error_matches(function() g[kind](g, 5) end,
          ("bad argument #1 to '%s' %%(function or callable expected, got number"):format(kind))
        assert.error_matches(function() g[kind](g) end, "function or callable expected, got nil")
      end
    end)

    it("takes callable objects", function()
      local seen
      local g = green.spawn(function() end)
      g:link(setmetatable({}, { __call = function(_, dead) seen = dead end }))
      g:join()
      turn(2)
      assert.equal(g, seen)
    end)
  end)

  describe("an error", function()
    it("is printed once, with a traceback, if nobody is there", function()
      local g
      local text = stderr_of(function()
        g = green.spawn(function()
          local function deep() error "boom" end
          deep()
        end)
        g.name = "worker"
        g:join()
        turn(2)
        pcall(g.get, g)
      end)
      assert.matches("greenlet_spec%.lua:%d+: boom\n", text)
      assert.matches("stack traceback:\n", text)
      assert.matches("in local 'deep'", text)
      assert.matches("\n%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ [^\n]*worker[^\n]* failed with "
        .. "[^\n]*boom\n\n$", text)
      assert.equal(1, select(2, text:gsub("failed with", "")))
      assert.matches("in local 'deep'", g.traceback)
    end)

    it("keeps the traceback that it had before unwinding", function()
      local g = green.spawn(function()
        local _ <close> = closing(function() green.sleep(0) end) -- luacheck: ignore
        local function culprit() error {} end
        culprit()
        return 1
      end)
      pcall(g.get, g)
      assert.matches("culprit", g.traceback)
    end)

    it("is not printed if somebody is there for it", function()
      local text = stderr_of(function()
        local a = green.spawn(error, "x")
        a:link(function() end)
        a:join()
        local b = green.spawn(error, "x")
        b:link_exception(function() end)
        b:join()
        local c = green.spawn(error, "x")
        pcall(c.get, c)
        pcall(green.joinall, { green.spawn(error, "x") }, nil, true)
        turn(2)
      end)
      assert.equal("", text)
    end)

    it("is printed for a rawlink, a link_value, a join, and a get that has left", function()
      local text = stderr_of(function()
        local a = green.spawn(error, "from a")
        a:rawlink(function() end)
        a:join()
        local b = green.spawn(error, "from b")
        b:link_value(function() end)
        b:join()
        green.joinall { green.spawn(error, "from c") }
        green.wait { green.spawn(error, "from d") }
        local e = green.spawn(function() green.sleep(0.002) error("from e", 0) end)
        pcall(e.get, e, 0.001)
        e:join()
        turn(2)
      end)
      for name in ("abcde"):gmatch "." do
        assert.equal(2, select(2, text:gsub("from " .. name, "")), name)
      end
    end)

    it("is not printed for GreenletExit, but is for a Timeout", function()
      local text = stderr_of(function()
        green.spawn(function() error(GreenletExit()) end):join()
        green.spawn(function() error(GreenletExit) end):join()
        parked():kill()
      end)
      assert.equal("", text)
      text = stderr_of(function()
        green.spawn(function() local _ = green.Timeout(0.001) green.sleep(1) end):join()
      end)
      assert.matches("failed with Timeout: 0.001 seconds", text)
    end)

    it("is printed although it cannot be made a string", function()
      local text = stderr_of(function()
        green.spawn(error, setmetatable({}, { __tostring = function() error "no" end })):join()
        green.spawn(error, setmetatable({}, { __tostring = function() return 5 end })):join()
        green.spawn(error, nil):join()
        green.spawn(error, {}):join()
      end)
      assert.equal(4, select(2, text:gsub("failed with", "")))
    end)

    it("goes to on_error instead", function()
      local seen
      local text = stderr_of(function()
        local before = green.on_error(function(g, err, traceback)
          green.sleep(0) -- it may block
          seen = { g, err, traceback }
        end)
        local g = green.spawn(error, "x")
        g:join()
        turn(3)
        assert.equal(g, seen[1])
        assert.equal("x", seen[2])
        assert.matches("stack traceback", seen[3])
        assert.is_function(green.on_error(before))
      end)
      assert.equal("", text)
    end)

    it("of on_error itself is printed, and that is all", function()
      local calls = 0
      local text = stderr_of(function()
        local before = green.on_error(function() calls = calls + 1 error "cannot report" end)
        green.spawn(error, "x"):join()
        turn(5)
        green.on_error(before)
      end)
      assert.equal(1, calls)
      assert.matches("cannot report", text)
    end)

    it("refuses another handler than a function", function()
      assert.error_matches(function() green.on_error(5) end,
        "bad argument #1 to 'on_error' %(function or nil expected, got number%)")
    end)

    it("harms no other greenlet", function()
      local n = 0
      reports_of(function()
        local all = {}
        for i = 1, 20 do
          all[i] = green.spawn(function()
            green.sleep(0)
            if i % 2 == 0 then error "x" end
            n = n + 1
          end)
        end
        green.joinall(all)
      end)
      assert.equal(10, n)
    end)

    it("in the stack's own overflow is an error like others", function()
      local g = green.spawn(function()
        local function deeper() return 1 + deeper() end
        return deeper()
      end)
      assert.error_matches(function() g:get() end, "stack overflow")
      local h = green.spawn(function()
        local function deeper() return (string.gsub("x", "x", deeper)) end
        return deeper()
      end)
      assert.error_matches(function() h:get() end, "C stack overflow")
    end)
  end)

  describe("pcall", function()
    it("is pcall for errors", function()
      assert.same({ n = 3, true, 1, nil }, table.pack(green.pcall(function() return 1, nil end)))
      assert.same({ false, "x" }, { green.pcall(error, "x", 0) })
      assert.same({ n = 2, false, nil }, table.pack(green.pcall(error)))
    end)

    it("lets a kill through", function()
      local after = false
      local g = parked(function()
        green.pcall(function()
          table.sort({ 1, 2 }, function() green.pcall(green.sleep, 100) end)
        end)
        after = true
      end)
      g:kill()
      assert.is_false(after)
      assert.is_true(GreenletExit.is(g.value))
      local h = parked(function() green.pcall(green.sleep, 100) return "caught" end)
      green.spawn(h.kill, h, "an error of the killer's")
      assert.error(function() h:get() end, "an error of the killer's")
    end)

    it("lets a Timeout through, whoever raises it", function()
      local timer <close> = green.Timeout(0.001)
      local ok, err = pcall(green.pcall, green.sleep, 1)
      assert.same({ false, timer }, { ok, err })
      local g = parked()
      for _, f in ipairs {
        function() green.with_timeout(0.001, green.sleep, 1) end,
        function() g:get(0.001) end,
        function() g:join(green.Timeout(0.001)) end,
        function() g:join(timer) end,
      } do
        ok, err = pcall(green.pcall, f)
        assert.is_false(ok)
        assert.is_true(green.Timeout.is(err))
      end
      g:kill()
    end)

    it("catches errors after a kill that was caught", function()
      local g = parked(function()
        pcall(green.sleep, 100)
        return green.pcall(error, "later", 0)
      end)
      g:kill()
      assert.same({ false, "later" }, { g:get() })
    end)

    it("leaves Lua's own alone", function()
      local g = parked(function() return pcall(green.sleep, 100) end)
      g:kill()
      assert.is_false((g:get()))
    end)
  end)

  describe("extend", function()
    it("makes a class whose greenlets run _run", function()
      local Pinger = Greenlet:extend "Pinger"
      function Pinger:_init(n) self.n = n end
      function Pinger:_run(n) green.sleep(0) return self, self.n + n end
      local p = Pinger(4)
      assert.equal(4, p.n)
      assert.is_false(p.started)
      p:start()
      assert.same({ p, 8 }, { p:get() })
      assert.equal(10, select(2, Pinger.spawn(5):get()))
      assert.equal(2, select(2, Pinger.spawn_later(0, 1):get()))
      assert.matches("^Pinger%-%d+: fresh$", tostring(Pinger(1)))
      assert.equal("class Pinger", tostring(Pinger))
    end)

    it("makes classes of classes", function()
      local Base = Greenlet:extend "Base"
      function Base:_run() return self:answer() end
      function Base:answer() return "base" end -- luacheck: ignore
      local Derived = Base:extend "Derived"
      function Derived:answer() return "derived, not " .. Base.answer(self) end
      assert.equal("derived, not base", Derived.spawn():get())
      local d = Derived()
      assert.same({ true, true, true }, { Derived.is(d), Base.is(d), Greenlet.is(d) })
      local b = Base()
      assert.same({ false, true, true }, { Derived.is(b), Base.is(b), Greenlet.is(b) })
      assert.same({ false, true }, { Base.is(Greenlet(print)), Greenlet.is(Greenlet(print)) })
    end)

    it("is refused what is none", function()
      for _, bad in ipairs { 5, "x", {}, io.stdout, print } do
        assert.is_false(Greenlet.is(bad))
      end
      assert.is_false(Greenlet.is(nil))
      assert.error_matches(function() Greenlet:extend() end, "bad argument #1 to 'extend'")
      assert.error_matches(function() Greenlet(5) end, "function or callable expected")
      assert.error_matches(function() Greenlet() end, "function or callable expected")
    end)

    it("gives the error of _init to the constructor's caller", function()
      local Bad = Greenlet:extend "Bad"
      function Bad:_init() error("no start", 0) end -- luacheck: ignore
      function Bad:_run() end -- luacheck: ignore
      assert.error(function() Bad() end, "no start")
      assert.error(function() Bad.spawn() end, "no start")
    end)

    it("makes classes that can be forgotten", function()
      local weak = setmetatable({}, { __mode = "k" })
      do
        local Class = Greenlet:extend "Class"
        function Class:_run() turn() end -- luacheck: ignore
        Class.spawn():join()
        weak[Class] = true
      end
      turn()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("may go without _run, and have other methods", function()
      local Named = Greenlet:extend "Named"
      function Named:shout() return self.name:upper() end
      local g = Named.spawn(function(...) return select("#", ...) end, 1, nil)
      g.name = "x"
      assert.equal("X", g:shout())
      assert.equal(2, g:get())
    end)
  end)

  describe("GreenletExit", function()
    it("is an error that counts as success", function()
      local g = green.spawn(function() error(GreenletExit "enough") end)
      assert.equal("GreenletExit: enough", tostring(g:get()))
      assert.is_true(g:successful())
      assert.is_nil(g.exception)
    end)

    it("is told from others", function()
      assert.is_true(GreenletExit.is(GreenletExit()))
      assert.is_true(GreenletExit.is(GreenletExit))
      for _, other in ipairs { 1, "GreenletExit", {}, green.Timeout(nil) } do
        assert.is_false(GreenletExit.is(other))
      end
      assert.is_false(GreenletExit.is())
      assert.equal("GreenletExit", tostring(GreenletExit()))
    end)
  end)
end)

local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local support = require "spec.support"

local Timeout = green.Timeout

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- Work, without giving way.
local function busy(seconds)
  local till = core.now() + seconds
  repeat until core.now() > till
end

local function caught(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

describe("greenlua.timeout", function()
  describe("Timeout", function()
    it("is raised where its greenlet waits", function()
      local began = core.now()
      local timer <close> = Timeout(0.005)
      assert.equal(timer, caught(green.sleep, 10))
      assert.is_true(core.now() - began >= 0.005)
    end)

    it("runs from its construction", function()
      local timer <close> = Timeout(0.05)
      assert.is_true(timer.pending)
      assert.equal(0.05, timer.seconds)
      green.sleep(0.001)
      assert.equal(timer, caught(green.sleep, 10))
      assert.is_false(timer.pending)
    end)

    it("never fires without seconds", function()
      local timer <close> = Timeout(nil)
      assert.is_false(timer.pending)
      assert.is_nil(timer.seconds)
      green.sleep(0.002)
      assert.is_false(Timeout().pending)
    end)

    it("fires in infinity, which is never", function()
      local timer <close> = Timeout(math.huge)
      assert.is_true(timer.pending)
      green.sleep(0.001)
    end)

    it("of zero fires as soon as the loop was asked", function()
      local timer <close> = Timeout(0)
      assert.equal(timer, caught(green.sleep, 1))
    end)

    it("does not interrupt who never waits", function()
      do
        local timer <close> = Timeout(0.001) -- luacheck: ignore
        busy(0.003)
      end
      green.sleep(0.001)
    end)

    it("meets busy code at its next wait", function()
      local timer <close> = Timeout(0.001)
      local other = green.spawn(function() green.sleep(0.002) end)
      busy(0.003)
      assert.equal(timer, caught(other.join, other))
      other:join()
    end)

    it("is raised in nobody else", function()
      local g = green.spawn(function()
        local timer <close> = Timeout(0.001)
        return caught(green.sleep, 1) == timer
      end)
      green.sleep(0.005)
      assert.is_true(g:get())
    end)

    it("raises what it was given instead of itself", function()
      for _, custom in ipairs { "too slow", {}, 5 } do
        local timer <close> = Timeout(0.001, custom) -- luacheck: ignore
        assert.equal(custom, caught(green.sleep, 1))
      end
      do
        local timer <close> = Timeout(0.001, false) -- luacheck: ignore
        assert.is_false(caught(green.sleep, 1))
      end
    end)

    it("is stopped by cancel, close and <close>", function()
      for _, method in ipairs { "cancel", "close" } do
        local timer = Timeout(0.001)
        timer[method](timer)
        assert.is_false(timer.pending)
        timer[method](timer)
        green.sleep(0.003)
      end
      do local _ <close> = Timeout(0.001) end -- luacheck: ignore
      green.sleep(0.003)
    end)

    it("that has expired unseen can still be cancelled", function()
      local timer = Timeout(0.001)
      local witness = green.spawn_later(0.002, function() return true end)
      busy(0.004)
      -- The loop is asked while this one stands in the queue: it has expired by then.
      local ok = pcall(function()
        for _ = 1, 3 do turn() end
        return witness:get()
      end)
      timer:cancel()
      green.sleep(0.001)
      assert.is_boolean(ok)
    end)

    it("is raised though another cancels it, once its wait has ended for it", function()
      local stuck = green.spawn(green.sleep, 10)
      local timer
      local canceller = green.spawn(function() green.sleep(0.003) timer:cancel() end)
      local g = green.spawn(function()
        timer = Timeout(0.003)
        return caught(stuck.get, stuck)
      end)
      turn()
      busy(0.008) -- both are due in one turn of the loop, the canceller first
      assert.equal(timer, g:get())
      canceller:join()
      stuck:kill()
    end)

    it("is raised though another starts it for itself, then", function()
      local timer
      local thief = green.spawn(function()
        green.sleep(0.003)
        timer:start(0.001)
        return caught(green.sleep, 1)
      end)
      local g = green.spawn(function()
        timer = Timeout(0.003)
        return caught(green.sleep, 1)
      end)
      turn()
      busy(0.008)
      assert.equal(timer, g:get())
      assert.equal(timer, thief:get())
    end)

    it("raises its own error though another cancels it, then", function()
      local timer
      local canceller = green.spawn(function() green.sleep(0.003) timer:cancel() end)
      local g = green.spawn(function()
        timer = Timeout(0.003, "an error of its own")
        return caught(green.sleep, 1)
      end)
      turn()
      busy(0.008)
      assert.equal("an error of its own", g:get())
      canceller:join()
    end)

    it("is forgotten when its greenlet ends", function()
      local weak = setmetatable({}, { __mode = "k" })
      -- before it fires; after it has ended its wait; while it runs and never waits
      green.spawn(function() weak[Timeout(0.001)] = true end):join()
      green.sleep(0.003)
      local g = green.spawn(function()
        weak[Timeout(0.001)] = true
        pcall(green.sleep, 1)
      end)
      turn()
      green.spawn_later(0.0005, function() busy(0.003) turn() g:close() end):join()
      green.spawn(function()
        weak[Timeout(0.001)] = true
        busy(0.002)
        green.spawn(busy, 0.002)
      end):join()
      green.sleep(0.003)
      g = nil -- luacheck: ignore
      turn(2)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("is kept while it runs", function()
      local weak = setmetatable({}, { __mode = "k" })
      weak[Timeout(0.005)] = true
      collectgarbage()
      assert.truthy(next(weak))
      assert.is_true(Timeout.is(caught(green.sleep, 1)))
    end)

    it("starts again by start, which returns it", function()
      local timer = Timeout(0.001)
      assert.equal(timer, caught(green.sleep, 1))
      assert.equal(timer, timer:start())
      assert.is_true(timer.pending)
      assert.equal(timer, caught(green.sleep, 1))
      timer:start(10)
      assert.equal(10, timer.seconds)
      timer:start(0.001)
      assert.equal(0.001, timer.seconds)
      assert.equal(timer, caught(green.sleep, 1))
      local never = Timeout(nil)
      never:start(0.001)
      assert.equal(never, caught(green.sleep, 1))
      Timeout(nil):start()
      local cancelled = Timeout(0.001)
      cancelled:cancel()
      cancelled:start()
      assert.equal(cancelled, caught(green.sleep, 1))
    end)

    it("belongs to who started it last", function()
      local timer = Timeout(0.05)
      local g = green.spawn(function()
        timer:start()
        return caught(green.sleep, 1)
      end)
      green.sleep(0.06)
      assert.equal(timer, g:get())
    end)

    it("fires in the order of the deadlines, then of the starts", function()
      local order = {}
      local function sleeper(name, make)
        return green.spawn(function()
          local timer <close> = make() -- luacheck: ignore
          pcall(green.sleep, 1)
          order[#order + 1] = name
        end)
      end
      green.joinall {
        sleeper("c", function() return Timeout(0.12) end),
        sleeper("a", function() return Timeout(0.04) end),
        sleeper("b", function() return Timeout(0.08) end),
      }
      assert.same({ "a", "b", "c" }, order)
    end)

    it("made first fires first, of two in one greenlet", function()
      local first <close> = Timeout(0)
      local second <close> = Timeout(0)
      assert.equal(first, caught(green.sleep, 1))
      assert.equal(second, caught(green.sleep, 1))
    end)

    it("started again goes behind the others", function()
      local first <close> = Timeout(0)
      local second <close> = Timeout(0)
      first:start()
      assert.equal(second, caught(green.sleep, 1))
      assert.equal(first, caught(green.sleep, 1))
    end)

    it("is told from errors that look like it", function()
      assert.is_true(Timeout.is(Timeout(nil)))
      for _, other in ipairs { {}, 5, "Timeout", io.stdout, green.spawn(print, "") } do
        assert.is_false(Timeout.is(other))
        if green.Greenlet.is(other) then other:kill() end
      end
      assert.is_false(Timeout.is())
    end)

    it("says its seconds and state by tostring", function()
      local timer = Timeout(1)
      assert.equal("Timeout: 1 second (pending)", tostring(timer))
      timer:cancel()
      assert.equal("Timeout: 1 second (not running)", tostring(timer))
      timer:start(2)
      assert.equal("Timeout: 2 seconds (pending)", tostring(timer))
      timer:start(0.0005)
      pcall(green.sleep, 1)
      assert.equal("Timeout: 0.0005 seconds (expired)", tostring(timer))
      timer:start(0.5)
      assert.equal("Timeout: 0.5 seconds (pending)", tostring(timer))
      timer:start(math.huge)
      assert.matches("^Timeout: inf seconds", tostring(timer))
      timer:cancel()
      assert.matches("never", tostring(Timeout(nil)))
      assert.equal("class Timeout", tostring(Timeout))
    end)

    it("refuses what is no time", function()
      for _, bad in ipairs { -1, -math.huge, 0 / 0 } do
        assert.error_matches(function() Timeout(bad) end, "a number of seconds, not negative")
        assert.error_matches(function() Timeout(nil):start(bad) end,
          "a number of seconds, not negative")
      end
      for _, bad in ipairs { "1", {}, true, Timeout(nil) } do
        assert.error_matches(function() Timeout(bad) end, "number of seconds or nil expected")
        assert.error_matches(function() Timeout(nil):start(bad) end,
          "number of seconds or nil expected")
      end
      for _, method in ipairs { "start", "cancel", "close" } do
        assert.error_matches(function() Timeout(nil)[method]({}) end, "Timeout expected, got table")
      end
    end)

    it("hides no deadlock if it never expires #main", function()
      local timer <close> = Timeout(math.huge) -- luacheck: ignore
      local ok, err = pcall(waitlist.new("nothing").wait, waitlist.new "nothing")
      assert.is_false(ok)
      assert.is_true(green.LoopExit.is(err), tostring(err))
    end)

    it("is raised in main, wherever it waits #main", function()
      local timer = Timeout(0.001)
      assert.equal(timer, caught(green.sleep, 1))
      timer:start()
      assert.equal(timer, caught(table.sort, { 1, 2 }, function() green.sleep(1) end))
      timer:start()
      local ok, err = coroutine.resume(coroutine.create(function() green.sleep(1) end))
      assert.same({ false, timer }, { ok, err })
    end)

    it("counts thousands", function()
      local timers = {}
      for i = 1, 5000 do timers[i] = Timeout(1 + i % 7) end
      for i = 1, 5000, 2 do timers[i]:cancel() end
      for i = 2, 5000, 2 do timers[i]:start(3 + i % 5) end
      for i = 1, 5000 do timers[i]:cancel() end
      for i = 1, 100 do timers[i] = Timeout(0) end
      for i = 1, 100 do assert.equal(timers[i], caught(green.sleep, 1)) end
    end)

    it("with ref=false does not keep the program from a deadlock", function()
      local code, _, err = support.run { "-e", [[
        local green = require "greenlua"
        local stuck = require("greenlua.core.waitlist").new "nothing"
        local timer = green.Timeout(100, nil, false)
        stuck:wait()
      ]] }
      assert.equal(1, code)
      assert.matches("would block forever", err)
    end)
  end)

  describe("start_new", function()
    it("makes one of seconds, and gives back one as it is", function()
      local timer <close> = Timeout.start_new(10)
      assert.is_true(timer.pending)
      assert.equal(timer, Timeout.start_new(timer))
      assert.is_false(Timeout.start_new(nil).pending)
    end)
  end)

  describe("with_timeout", function()
    it("gives what the function returned, and stops its timer", function()
      assert.same({ n = 3, 1, nil, "x" },
        table.pack(green.with_timeout(0.001, function(...) return ... end, 1, nil, "x")))
      green.sleep(0.003)
      assert.equal(0, select("#", green.with_timeout(1, function() end)))
      assert.equal(1, green.with_timeout(nil, function() return 1 end))
    end)

    it("raises its Timeout", function()
      local err = caught(green.with_timeout, 0.002, green.sleep, 1)
      assert.is_true(Timeout.is(err))
      assert.equal(0.002, err.seconds)
    end)

    it("lets errors through, and stops its timer", function()
      assert.equal("x", caught(green.with_timeout, 0.001, error, "x", 0))
      green.sleep(0.003)
    end)

    it("keeps the traceback of an error", function()
      local g = green.spawn(green.with_timeout, 1, function()
        local function culprit() error "x" end
        culprit()
      end)
      pcall(g.get, g)
      assert.matches("culprit", g.traceback)
    end)

    it("lets an outer one through", function()
      local outer <close> = Timeout(0.001)
      assert.equal(outer, caught(green.with_timeout, 10, green.sleep, 1))
    end)

    it("uses a Timeout object that it is given, and leaves it running", function()
      local timer <close> = Timeout(0.005)
      assert.equal(1, green.with_timeout(timer, function() return 1 end))
      assert.is_true(timer.pending)
      assert.equal(timer, caught(green.with_timeout, timer, green.sleep, 1))
    end)

    it("nests", function()
      local err = caught(green.with_timeout, 10, green.with_timeout, 0.002,
        green.with_timeout, 5, green.sleep, 1)
      assert.equal(0.002, err.seconds)
    end)

    it("refuses what is no time", function()
      assert.error_matches(function() green.with_timeout(-1, print) end, "not negative")
      assert.error_matches(function() green.with_timeout("x", print) end, "number of seconds")
    end)
  end)

  describe("within", function()
    it("is true and the results in time", function()
      assert.same({ n = 4, true, 1, nil, "x" },
        table.pack(green.within(1, function(...) return ... end, 1, nil, "x")))
      assert.same({ n = 1, true }, table.pack(green.within(nil, function() end)))
    end)

    it("is false if the time ran out", function()
      assert.same({ n = 1, false }, table.pack(green.within(0.001, green.sleep, 1)))
    end)

    it("catches its own Timeout only", function()
      local outer <close> = Timeout(0.001)
      assert.equal(outer, caught(green.within, 10, green.sleep, 1))
      assert.equal("x", caught(green.within, 1, error, "x", 0))
      local inner
      inner = caught(green.within, 1, function() green.with_timeout(0.001, green.sleep, 1) end)
      assert.equal(0.001, inner.seconds)
    end)

    it("lets a kill through", function()
      local g = green.spawn(green.within, 10, green.sleep, 10)
      turn()
      g:kill()
      assert.is_true(green.GreenletExit.is(g.value))
    end)

    it("that are nested end at their own level", function()
      local trace = {}
      local ok = green.within(0.010, function()
        trace[1] = green.within(0.002, green.sleep, 1)
        trace[2] = (green.within(1, function() return "in time" end))
        green.sleep(1)
      end)
      assert.is_false(ok)
      assert.same({ false, true }, trace)
    end)

    it("raises a Timeout object that it is given", function()
      local timer <close> = Timeout(0.002)
      assert.same({ true, 5 }, { green.within(timer, function() return 5 end) })
      assert.equal(timer, caught(green.within, timer, green.sleep, 1))
    end)

    it("works under boundaries", function()
      string.gsub("x", "x", function()
        local in_time = coroutine.wrap(function()
          return (green.within(0.001, green.sleep, 1))
        end)()
        assert.is_false(in_time)
      end)
    end)

    it("takes no item from a wait list for one who has left", function()
      local list = waitlist.new "a test"
      assert.is_false((green.within(0.001, list.wait, list)))
      assert.is_false(list:wake "item")
    end)

  end)
end)

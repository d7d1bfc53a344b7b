local green = require "greenlua"
local lock = require "greenlua.lock"
local greenlets = require "spec.support.greenlets"
local waitable = require "spec.support.waitable"

local turns = greenlets.turns

local function calm(...) assert.same({ false }, { ... }) end

describe("greenlua.condition", function()
  describe("Condition wait", function()
    waitable {
      new = function() return green.Condition() end,
      wait = function(c, timeout)
        local _ <close> = c:hold()
        return c:wait(timeout)
      end,
      wake = function(c)
        local _ <close> = c:hold()
        c:notify()
      end,
      expired = calm,
    }
  end)

  describe("Barrier wait", function()
    waitable {
      new = function() return lock.Barrier(1000) end,
      wait = function(b, timeout) return b:wait(timeout) end,
      wake = function(b) b.parties = 1 b:wait() b.parties = 1000 end,
      wakes_all = true, expired = calm,
    }
  end)

  describe("Condition", function()
    it("gives up the lock while it waits, however deep, and has it again", function()
      local c = green.Condition()
      local order = {}
      local g = green.spawn(function()
        c:acquire()
        c:acquire()
        assert.is_true(c:wait())
        order[#order + 1] = "woken"
        c:release()
        assert.is_true(c:locked())
        c:release()
      end)
      turns()
      c:acquire()
      c:notify()
      turns()
      order[#order + 1] = "released"
      c:release()
      g:join()
      assert.same({ "released", "woken" }, order)
    end)

    it("has the lock again after a kill, a Timeout and a close", function()
      local c, held = green.Condition(), {}
      local function wait()
        local _ <close> = setmetatable({}, {
          __close = function() held[#held + 1] = c:locked() end,
        })
        local hold <close> = c:hold() -- luacheck: ignore
        local mine <close> = setmetatable({}, { __close = function() -- luacheck: ignore
          held[#held + 1] = c.lock._owner == green.current()
        end })
        c:wait()
      end
      for _, finish in ipairs { "kill", "close" } do
        held = {}
        local g = green.spawn(wait)
        turns()
        g[finish](g)
        assert.same({ true, false }, held)
        assert.is_false(c:locked())
      end
      held = {}
      assert.is_false((green.within(0.001, wait)))
      assert.same({ true, false }, held)
    end)

    it("takes the lock again before a second kill is raised", function()
      local c, errors = green.Condition(), {}
      local g = green.spawn(function()
        c:acquire()
        local ok, err = pcall(c.wait, c)
        errors = { ok, err, c.lock._owner == green.current() }
        c:release()
      end)
      turns()
      c:acquire()
      green.kill(g, "first")
      turns()
      green.kill(g, "second")
      turns()
      c:release()
      g:join()
      assert.same({ false, "first", true }, errors)
    end)

    it("notifies some, or all, and the next if one is closed", function()
      local c, order, waiters = green.Condition(green.Semaphore()), {}, {}
      for i = 1, 5 do
        waiters[i] = green.spawn(function()
          local _ <close> = c:hold()
          c:wait()
          order[#order + 1] = i
        end)
      end
      turns()
      c:acquire()
      c:notify(2)
      green.spawn(c.release, c) -- it needs the lock for its end
      waiters[1]:close()
      turns()
      assert.same({ 2, 3 }, order)
      c:acquire()
      c:notify_all()
      c:release()
      green.joinall(waiters)
      assert.same({ 2, 3, 4, 5 }, order)
    end)

    it("waits for a predicate", function()
      local c, n = green.Condition(), 0
      local g = green.spawn(function()
        local _ <close> = c:hold()
        return c:wait_for(function() return n >= 2 and n end)
      end)
      for _ = 1, 3 do
        turns()
        local _ <close> = c:hold()
        n = n + 1
        c:notify()
      end
      assert.equal(2, g:get())
      local _ <close> = c:hold()
      assert.is_false(c:wait_for(function() return false end, 0.002))
    end)

    it("refuses to be used without the lock", function()
      local c = green.Condition()
      assert.error_matches(function() c:wait() end, "does not hold it")
      assert.error_matches(function() c:notify() end, "Condition: cannot notify")
      assert.error_matches(function() c:notify_all() end, "Condition: cannot notify")
      assert.error_matches(function() c:notify(-1) end, "bad argument")
      assert.error_matches(function() green.Condition(1) end, "RLock or Semaphore expected")
    end)
  end)

  describe("Barrier", function()
    it("lets all go when the last has come, round after round", function()
      local b, log, tasks = lock.Barrier(3), {}, {}
      for i = 1, 3 do
        tasks[i] = green.spawn(function()
          for round = 1, 2 do
            log[#log + 1] = round
            local place = b:wait()
            assert.is_true(place >= 0 and place < 3)
          end
        end)
      end
      green.joinall(tasks)
      assert.same({ 1, 1, 1, 2, 2, 2 }, log)
    end)

    it("does not count who has left", function()
      local b = lock.Barrier(2)
      assert.is_false(b:wait(0))
      assert.is_false(b:wait(0.001))
      local g = green.spawn(b.wait, b)
      turns()
      assert.equal(1, b:n_waiting())
      g:kill()
      assert.equal("Barrier: 0 of 2 wait", tostring(b))
      assert.error_matches(function() lock.Barrier(0) end, "Barrier")
    end)
  end)
end)

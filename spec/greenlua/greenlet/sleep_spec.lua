local green = require "greenlua"
local core = require "greenlua.core"
local waitable = require "spec.support.waitable"

describe("greenlua.greenlet", function()
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
end)

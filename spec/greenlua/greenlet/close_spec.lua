local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"
local greenlets = require "spec.support.greenlets"

local Greenlet, GreenletExit = green.Greenlet, green.GreenletExit
local closing, parked = greenlets.closing, greenlets.parked
local reports_of, turn = greenlets.reports_of, greenlets.turn

describe("greenlua.greenlet", function()
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
end)

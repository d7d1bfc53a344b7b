local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"
local greenlets = require "spec.support.greenlets"

local Greenlet, GreenletExit = green.Greenlet, green.GreenletExit
local closing, parked = greenlets.closing, greenlets.parked
local reports_of, turn = greenlets.reports_of, greenlets.turn

describe("greenlua.greenlet", function()
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
end)

local green = require "greenlua"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

local function turns(n)
  for _ = 1, n or 3 do green.sleep(0) end
end

describe("greenlua.event", function()
  describe("Event", function()
    describe("wait", function()
      waitable {
        new = function() return green.Event() end,
        wait = function(event, timeout) return event:wait(timeout) end,
        wake = function(event) event:set() end,
        wakes_all = true,
        expired = function(...) assert.same({ false }, { ... }) end,
      }
    end)

    describe("in green.wait", function()
      waitable {
        new = function() return green.Event() end,
        wait = function(event, timeout) return green.wait({ event }, timeout) end,
        wake = function(event) event:set() end,
        wakes_all = true, late = true,
        expired = function(list) assert.same({}, list) end,
      }
    end)

    it("wakes all who wait, even if it is cleared before they run", function()
      local event, woken = green.Event(), {}
      local waiters = {}
      for i = 1, 3 do
        waiters[i] = green.spawn(function() woken[i] = event:wait() end)
      end
      turns()
      event:set()
      event:clear()
      green.joinall(waiters)
      assert.same({ true, true, true }, woken)
      assert.is_false(event:is_set())
      assert.is_false(event:wait(0))
    end)

    it("is passed at once when it is set", function()
      local event, ran = green.Event(), false
      event:set()
      local other = green.spawn(function() ran = true end)
      assert.is_true(event:wait())
      assert.is_true(event:ready())
      assert.is_false(ran)
      other:join()
    end)

    it("leaves alone who waits again in the same turn", function()
      local event, count = green.Event(), 0
      local g = green.spawn(function()
        event:wait()
        count = count + 1
        event:clear()
        event:wait()
        count = count + 1
      end)
      turns()
      event:set()
      turns()
      assert.equal(1, count)
      event:set()
      g:join()
      assert.equal(2, count)
    end)

    it("wakes 100,000 waiters in one pass, in linear time", function()
      local function time(n)
        local event, waiters, woken = green.Event(), {}, 0
        for i = 1, n do
          waiters[i] = green.spawn(function() event:wait() woken = woken + 1 end)
        end
        turns(2)
        local began = os.clock()
        event:set()
        local took = os.clock() - began
        green.joinall(waiters)
        assert.equal(n, woken)
        return took
      end
      -- each pass of a testing build collects garbage: it is slow
      local n = support.preset == "testing" and 100 or 10000
      time(n)
      local few, many = time(n), time(10 * n)
      assert.is_true(many < 60 * few + 0.1, ("%g s, then %g s"):format(few, many))
    end)

    it("calls a rawlink once, in the hub, which cannot block", function()
      local event, seen = green.Event(), {}
      event:rawlink(function(e)
        seen[#seen + 1] = e
        assert.is_nil(green.current())
        local ok, err = pcall(green.sleep, 0.01)
        assert.is_false(ok)
        assert.matches("cannot block here", err)
      end)
      event:set()
      event:clear()
      event:set()
      assert.equal(1, #seen)
      assert.equal(event, seen[1])
    end)

    it("calls a rawlink made late soon, but not at once", function()
      local event, called = green.Event(), false
      event:set()
      event:rawlink(function() called = true end)
      assert.is_false(called)
      turns()
      assert.is_true(called)
    end)

    it("lets a rawlink unlink others and link again", function()
      local event, order = green.Event(), {}
      local function third() order[#order + 1] = 3 end
      local function first()
        order[#order + 1] = 1
        event:unlink(third)
        event:rawlink(first)
      end
      event:rawlink(first)
      event:rawlink(function() order[#order + 1] = 2 end)
      event:rawlink(third)
      event:set()
      assert.same({ 1, 2 }, order)
      event:clear()
      event:unlink(first)
      event:unlink(first)
      event:set()
      assert.same({ 1, 2 }, order)
    end)

    it("survives a rawlink that fails", function()
      local event, called = green.Event(), false
      event:rawlink(function() error "on purpose" end)
      event:rawlink(function() called = true end)
      local real = io.stderr
      local said = ""
      io.stderr = { write = function(_, text) said = said .. text end } -- luacheck: ignore
      event:set()
      io.stderr = real -- luacheck: ignore
      assert.is_true(called)
      assert.matches("on purpose.*rawlink of Event: set failed", said)
    end)

    it("names itself and its state", function()
      local event = green.Event()
      assert.equal("Event: not set", tostring(event))
      event.name = "lunch"
      local g = green.spawn(event.wait, event)
      turns()
      assert.equal('Event "lunch": not set, 1 waits', tostring(event))
      event:set()
      g:join()
      assert.equal('Event "lunch": set', tostring(event))
      assert.equal("class Event", tostring(green.Event))
    end)

    it("knows its kind, subclasses too", function()
      local Bell = green.Event:extend "Bell"
      local bell = Bell()
      assert.is_true(Bell.is(bell))
      assert.is_true(green.Event.is(bell))
      assert.is_false(Bell.is(green.Event()))
      assert.is_false(green.Event.is "event")
      assert.equal("Bell: not set", tostring(bell))
      assert.is_false(bell:wait(0))
      assert.has_error(function() green.Event:extend() end)
    end)

    it("refuses bad timeouts, set or not", function()
      local event = green.Event()
      event:set()
      assert.error_matches(function() event:wait(-1) end, "bad argument #1 to 'wait'")
      assert.error_matches(function() event:rawlink(1) end, "bad argument #1 to 'rawlink'")
    end)

    it("raises an expired Timeout even if it is set", function()
      local event = green.Event()
      event:set()
      local timer <close> = green.Timeout(0)
      pcall(green.sleep, 0.01)
      local ok, err = pcall(event.wait, event, timer)
      assert.is_false(ok)
      assert.equal(timer, err)
    end)
  end)

  describe("AsyncResult", function()
    describe("get", function()
      waitable {
        new = function() return green.AsyncResult() end,
        wait = function(result, timeout) return result:get(timeout) end,
        wake = function(result) result:set(1) end,
        wakes_all = true, raises = true,
      }
    end)

    describe("wait", function()
      waitable {
        new = function() return green.AsyncResult() end,
        wait = function(result, timeout) return result:wait(timeout) end,
        wake = function(result) result:set_exception "an error" end,
        wakes_all = true,
        expired = function(...) assert.same({ false }, { ... }) end,
      }
    end)

    it("gives its values to who waits and who comes later", function()
      local result = green.AsyncResult()
      local g = green.spawn(result.get, result)
      turns()
      assert.is_false(result:ready())
      result:set("a", nil, "c", nil)
      assert.same({ n = 4, "a", nil, "c", nil }, table.pack(g:get()))
      assert.same({ n = 4, "a", nil, "c", nil }, table.pack(result:get(0)))
      assert.equal("a", result.value)
      assert.is_true(result:ready())
      assert.is_true(result:successful())
      assert.is_true(result:wait(0))
    end)

    it("may hold nil, and false", function()
      local result = green.AsyncResult()
      result:set()
      assert.same({ n = 1, nil }, table.pack(result:get_nowait()))
      assert.is_true(result:ready())
      result:set(false)
      assert.is_false(result:get())
    end)

    it("raises its error", function()
      local result, err = green.AsyncResult(), {}
      result:set_exception(err)
      assert.is_false(result:successful())
      assert.equal(err, result.exception)
      local ok, raised = pcall(result.get, result)
      assert.is_false(ok)
      assert.equal(err, raised)
      assert.has_error(function() result:set_exception() end)
    end)

    it("holds what was set last", function()
      local result = green.AsyncResult()
      result:set(1)
      result:set(2)
      assert.equal(2, result:get())
      result:set_exception "no"
      assert.is_nil(result.value)
      result:set(3)
      assert.equal(3, result:get())
      assert.is_nil(result.exception)
    end)

    it("is a Timeout's raiser that green.pcall lets through", function()
      local result = green.AsyncResult()
      local ok, err = pcall(green.pcall, result.get, result, 0.001)
      assert.is_false(ok)
      assert.is_true(green.Timeout.is(err))
      ok, err = pcall(green.pcall, result.get_nowait, result)
      assert.is_false(ok)
      assert.is_true(green.Timeout.is(err))
    end)

    it("takes over the end of a greenlet as its link", function()
      local good, bad = green.AsyncResult(), green.AsyncResult()
      green.spawn(function() return 1, 2 end):link(good)
      green.spawn(function() error("on purpose", 0) end):link(bad)
      assert.same({ 1, 2 }, { good:get() })
      assert.has_error(function() bad:get() end, "on purpose")
      local other = green.AsyncResult()
      good:rawlink(other)
      assert.same({ 1, 2 }, { other:get() })
    end)

    it("can be waited for with others", function()
      local result, event = green.AsyncResult(), green.Event()
      local g = green.spawn(function()
        event:wait()
        turns()
      end)
      green.spawn(function()
        result:set(1)
        turns()
        event:set()
      end)
      assert.same({ result, event, g }, green.wait { g, event, result })
    end)

    it("names its state", function()
      local result = green.AsyncResult()
      assert.equal("AsyncResult: not set", tostring(result))
      result:set(5)
      assert.equal("AsyncResult: value 5", tostring(result))
      result:set_exception "no"
      assert.equal("AsyncResult: error no", tostring(result))
    end)
  end)
end)

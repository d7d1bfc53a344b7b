-- The battery: what everything that waits has in common. A module's spec runs it
-- for each of its blocking calls:
--
--   waitable {
--     new = function() return queue() end,      -- something that is not ready
--     wait = function(q, timeout) return q:get(timeout) end,
--     wake = function(q) q:put(1) end,          -- ends one wait
--     expired = function(item, why) … end,      -- asserts on the calm answer of
--                                               -- a number that ran out; or
--     raises = true,                            -- it raises a Timeout
--   }
--
-- wakes_all: one wake ends all waits. late: a waiter goes on some turns after the
-- wake, not with the next (it waits through links). no_timeout: the call takes
-- none. free(object) ends what `new` has left. check_misuse = false: the call
-- judges timeouts by rules of its own. Without `wake` only its end by force is
-- tested.

local assert = require "luassert"
local busted = require "busted"
local core = require "greenlua.core"
local green = require "greenlua"
local boundaries = require "spec.support.boundaries"

local TURNS = 5 -- enough for a wake to arrive, links included

local function turns(n)
  for _ = 1, n or TURNS do green.sleep(0) end
end

-- `how` with a `new` that remembers what it made, and `it` that frees that at the
-- end of the test.
local function tracking(how)
  local made = {}
  local tracked = setmetatable({}, { __index = how })
  function tracked.new()
    local object = how.new()
    made[#made + 1] = object
    return object
  end
  local function free()
    for i, object in ipairs(made) do
      made[i] = nil
      if how.free then how.free(object) end
    end
  end
  function tracked.it(name, body)
    busted.it(name, function()
      local _ <close> = setmetatable({}, { __close = free }) -- luacheck: ignore
      body()
    end)
  end
  return tracked
end

-- Let a greenlet wait, and see that it does.
local function spawn_waiting(f, ...)
  local g = green.spawn(f, ...)
  turns(2)
  assert.is_false(g:ready(), "it does not wait")
  return g
end

local function interruptible(how)
  local it, wait, new = how.it, how.wait, how.new

  it("lets others run meanwhile", function()
    local object = new()
    local g = spawn_waiting(wait, object)
    g:kill()
  end)

  it("raises a kill, and is done with", function()
    local object, later, seen = new(), green.Event(), nil
    local g = spawn_waiting(function()
      local ok, err = pcall(wait, object)
      seen = { ok, err }
      -- What it waited for must not end this wait, or any other.
      return later:wait()
    end)
    local err = setmetatable({}, { __name = "an error of our own" })
    green.kill(g, err)
    turns(2)
    assert.same({ false, err }, seen)
    assert.equal(err, seen[2])
    if how.wake then how.wake(object) end
    turns(2)
    assert.is_false(g:ready())
    later:set()
    assert.is_true(g:get())
  end)

  it("is ended by close", function()
    local object, closed = new(), false
    local g = spawn_waiting(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      while true do pcall(wait, object) end
    end)
    g:close()
    assert.is_true(closed)
    assert.is_true(green.GreenletExit.is(g.value))
  end)

  it("lets an outer Timeout through", function()
    local object = new()
    local began = core.now()
    local timer <close> = green.Timeout(0.01)
    local ok, err = pcall(wait, object)
    assert.is_false(ok)
    assert.equal(timer, err)
    assert.is_true(core.now() - began >= 0.01)
  end)

  it("can be waited on again after a Timeout", function()
    local object = new()
    for _ = 1, 3 do
      assert.is_false((green.within(0.002, wait, object)))
    end
  end)

  it("is killed at the end of a chain of joins", function()
    local object = new()
    local inner = spawn_waiting(wait, object)
    local outer = spawn_waiting(function() return inner:get() end)
    green.spawn(inner.kill, inner, "the end")
    assert.has_error(function() outer:get() end, "the end")
  end)

  for _, place in ipairs(boundaries) do
    it("waits in " .. place.name, function()
      local object = new()
      local g = spawn_waiting(place.call, wait, object)
      collectgarbage()
      if how.wake then
        how.wake(object)
        assert.is_true(g:join())
        assert.is_true(g:successful(), g.exception)
      else
        g:kill()
      end
    end)

    it("is killed in " .. place.name, function()
      local object = new()
      local g = spawn_waiting(place.call, wait, object)
      assert.has_error(function()
        green.spawn(g.kill, g, "an end")
        g:get()
      end, "an end")
    end)

    it("is closed in " .. place.name, function()
      local object = new()
      local g = spawn_waiting(place.call, wait, object)
      g:close()
      assert.is_true(green.GreenletExit.is(g.value))
      if how.wake then how.wake(object) end
    end)
  end

  it("waits in main #main", function()
    local object, main = new(), green.current()
    green.spawn(function()
      turns()
      if how.wake then how.wake(object) else green.kill(main, "enough") end
    end)
    local ok, err = pcall(wait, object)
    assert.equal(how.wake ~= nil, ok)
    if not how.wake then assert.equal("enough", err) end
  end)
end

local function timed(how)
  local it, wait, new = how.it, how.wait, how.new

  local function assert_expired(ok, ...)
    if how.raises then
      assert.is_false(ok)
      assert.is_true(green.Timeout.is((...)))
    else
      assert.is_true(ok, (...))
      how.expired(...)
    end
  end

  it("runs out of time", function()
    local object = new()
    local began = core.now()
    assert_expired(pcall(wait, object, 0.01))
    assert.is_true(core.now() - began >= 0.01)
  end)

  it("runs out of time in a coroutine under table.sort", function()
    local object = new()
    table.sort({ 1, 2 }, function()
      coroutine.wrap(function() assert_expired(pcall(wait, object, 0.002)) end)()
    end)
  end)

  it("does not wait with a timeout of 0", function()
    local object, ran = new(), false
    local other = green.spawn(function() ran = true end)
    assert_expired(pcall(wait, object, 0))
    assert.is_false(ran)
    other:join()
  end)

  it("raises the very Timeout that it was given", function()
    local object = new()
    local timer <close> = green.Timeout(0.005)
    local ok, err = pcall(wait, object, timer)
    assert.is_false(ok)
    assert.equal(timer, err)
  end)

  it("raises another greenlet's Timeout that it was given", function()
    local object = new()
    local mine <close> = green.Timeout(0.005)
    local g = green.spawn(pcall, wait, object, mine)
    assert.has_error(function() green.sleep(1) end, mine) -- it is this one's
    local ok, err = g:get()
    assert.is_false(ok)
    assert.equal(mine, err)
  end)

  it("raises a custom error of the Timeout that it was given", function()
    local object, custom = new(), {}
    local timer <close> = green.Timeout(0.005, custom) -- luacheck: ignore
    local ok, err = pcall(wait, object, timer)
    assert.is_false(ok)
    assert.equal(custom, err)
  end)

  it("raises an expired Timeout at once", function()
    local object, ran = new(), false
    local timer <close> = green.Timeout(0)
    pcall(green.sleep, 0.01)
    local other = green.spawn(function() ran = true end)
    local ok, err = pcall(wait, object, timer)
    assert.is_false(ok)
    assert.equal(timer, err)
    assert.is_false(ran)
    other:join()
  end)

  it("never sees a cancelled Timeout", function()
    local object = new()
    local timer <close> = green.Timeout(0.001)
    timer:cancel()
    local g = spawn_waiting(wait, object, timer)
    green.sleep(0.005)
    assert.is_false(g:ready())
    g:kill()
  end)

  it("is not ended by a timer of an earlier wait", function()
    local object = new()
    assert_expired(pcall(wait, object, 0.001))
    local g = spawn_waiting(function()
      assert_expired(pcall(wait, object, 0.001))
      return pcall(wait, object)
    end)
    green.sleep(0.005)
    assert.is_false(g:ready())
    g:kill()
  end)

  if how.check_misuse == false then return end
  for name, bad in pairs { negative = -1, NaN = 0 / 0, ["-inf"] = -math.huge,
      ["a string"] = "soon", ["a table"] = {}, ["a boolean"] = true } do
    it("refuses as a timeout: " .. name, function()
      local ok, err = pcall(wait, new(), bad)
      assert.is_false(ok)
      assert.matches("bad argument #%d to '[%w_]+' %(.*[Tt]imeout", tostring(err))
    end)
  end
end

local function wakeable(how)
  local it, wait, new, wake = how.it, how.wait, how.new, how.wake

  it("is woken", function()
    local object = new()
    local g = spawn_waiting(wait, object)
    wake(object)
    assert.is_false(g:ready(), "woken from inside the waker's call")
    assert.is_true(g:join(60))
    assert.is_true(g:successful(), g.exception)
  end)

  it("wakes in the order of arrival", function()
    local object, order, waiters = new(), {}, {}
    for i = 1, 10 do
      waiters[i] = green.spawn(function() wait(object) order[#order + 1] = i end)
    end
    turns(2)
    for _ = 1, how.wakes_all and 1 or 10 do wake(object) end
    green.joinall(waiters)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
  end)

  it("passes over those who have left", function()
    local object, order, waiters = new(), {}, {}
    for i = 1, 6 do
      waiters[i] = green.spawn(function()
        local ok = pcall(wait, object)
        order[#order + 1] = ok and i or -i
      end)
    end
    turns(2)
    green.kill(waiters[1])
    green.kill(waiters[4])
    waiters[5]:close()
    for _ = 1, how.wakes_all and 1 or 3 do wake(object) end
    green.joinall(waiters)
    assert.same({ -1, -4, 2, 3, 6 }, order)
  end)

  it("lets a wake that came first win over a kill", function()
    if how.late then return end
    local object, seen = new(), nil
    local g = spawn_waiting(function()
      seen = pcall(wait, object)
      green.sleep(1)
    end)
    wake(object)
    g:kill()
    assert.is_true(seen)
    assert.is_true(green.GreenletExit.is(g.value))
  end)

  it("lets a wake that came first win over a Timeout", function()
    if how.late then return end
    local object = new()
    local g = spawn_waiting(function()
      local timer <close> = green.Timeout(0.02) -- luacheck: ignore
      wait(object)
      return "woken"
    end)
    wake(object)
    local till = core.now() + 0.025
    repeat until core.now() > till
    assert.equal("woken", g:get())
  end)

  it("wakes under boundaries in the order of arrival", function()
    local object, order, waiters = new(), {}, {}
    for i, place in ipairs(boundaries) do
      waiters[i] = green.spawn(place.call, function()
        wait(object)
        order[#order + 1] = i
      end)
    end
    turns(2)
    for _ = 1, how.wakes_all and 1 or #boundaries do wake(object) end
    green.joinall(waiters)
    for i = 1, #boundaries do assert.equal(i, order[i]) end
  end)

  it("is a deadlock if nobody can wake it #main", function()
    local object = new()
    local ok, err = pcall(wait, object)
    assert.is_false(ok)
    assert.is_true(green.LoopExit.is(err), tostring(err))
    assert.matches("would block forever", tostring(err))
  end)
end

return function(how)
  how = tracking(how)
  interruptible(how)
  if not how.no_timeout then timed(how) end
  if how.wake then wakeable(how) end
end

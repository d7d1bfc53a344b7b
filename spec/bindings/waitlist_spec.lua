local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"
local waitable = require "spec.support.waitable"

describe("greenlua.core.waitlist", function()
  describe("wait", function()
    waitable {
      new = function() return waitlist.new "a test" end,
      wait = function(list, timeout) return list:wait(timeout) end,
      wake = function(list) list:wake() end,
      expired = function(...) assert.same({ false }, { ... }) end,
    }
  end)

  it("hands the waker's values to the waiter", function()
    local list = waitlist.new "a test"
    local g = green.spawn(list.wait, list)
    green.sleep(0)
    assert.is_true(list:wake(1, nil, "three", nil))
    assert.same({ n = 5, true, 1, nil, "three", nil }, table.pack(g:get()))
  end)

  it("hands values over in a coroutine under a C boundary", function()
    local list, seen = waitlist.new "a test", nil
    local g = green.spawn(string.gsub, "x", ".", function()
      seen = table.pack(coroutine.wrap(function() return list:wait(1) end)())
    end)
    green.sleep(0)
    list:wake("a", nil)
    g:join()
    assert.same({ n = 3, true, "a", nil }, seen)
  end)

  it("hands 250 values over, and refuses more with the waiter still waiting", function()
    local list = waitlist.new "a test"
    local g = green.spawn(list.wait, list)
    green.sleep(0)
    local values = {}
    for i = 1, 251 do values[i] = i end
    assert.error_matches(function() list:wake(table.unpack(values)) end, "too many values")
    assert.equal(1, #list)
    assert.is_true(list:wake(table.unpack(values, 1, 250)))
    assert.equal(251, select("#", g:get()))
  end)

  it("wakes one, all, or nobody", function()
    local list = waitlist.new "a test"
    assert.is_false(list:wake())
    assert.equal(0, list:wake_all())
    local waiters = {}
    for i = 1, 3 do waiters[i] = green.spawn(list.wait, list) end
    green.sleep(0)
    assert.equal(3, #list)
    assert.is_true(list:wake())
    assert.equal(2, #list)
    assert.equal(2, list:wake_all "x")
    assert.equal(0, #list)
    assert.same({ true, "x" }, { waiters[3]:get() })
  end)

  it("leaves alone who comes while all are being woken", function()
    local list, again = waitlist.new "a test", nil
    local g = green.spawn(function()
      list:wait()
      again = list:wait(0.01)
    end)
    green.sleep(0)
    assert.equal(1, list:wake_all())
    g:join()
    assert.is_false(again)
  end)

  it("is kept while somebody waits on it", function()
    local alive = setmetatable({}, { __mode = "k" })
    local g = green.spawn(function()
      local list = waitlist.new "a test"
      alive[list] = true
      list:wait(0.01)
    end)
    green.sleep(0)
    collectgarbage()
    assert.truthy(next(alive))
    g:join()
  end)

  describe("await", function()
    waitable {
      new = function() return waitlist.new "a test" end,
      wait = function(list, timeout) return list:await(timeout) end,
      wake = function(list) list:wake() end,
      raises = true,
    }

    it("gives the waker's values alone", function()
      local list = waitlist.new "a test"
      local g = green.spawn(list.await, list)
      green.sleep(0)
      list:wake(1, nil)
      assert.same({ n = 2, 1, nil }, table.pack(g:get()))
    end)
  end)

  it("tells with which tag the first waits", function()
    local list = waitlist.new "a test"
    assert.is_nil(list:first())
    local a, b = green.spawn(list.wait, list, nil, "a"), green.spawn(list.wait, list, 1, "b")
    green.sleep(0)
    assert.equal("a", list:first())
    a:kill()
    assert.equal("b", list:first())
    list:wake()
    assert.is_true(b:get())
    assert.is_nil(list:first())
  end)

  it("gives back what was handed to one that is closed before it runs", function()
    local given = {}
    local list = waitlist.new("a test", function(...) given[#given + 1] = table.pack(...) end)
    local function wait() return list:wait() end
    local plain, nested = green.spawn(wait), green.spawn(string.gsub, "x", ".", function()
      coroutine.wrap(wait)()
    end)
    local left, late = green.spawn(wait), green.spawn(wait)
    green.sleep(0)
    list:wake(1, nil)
    plain:close()
    list:wake "x"
    nested:close()
    assert.same({ { n = 2, 1 }, { n = 1, "x" } }, given)
    left:close() -- it was handed nothing
    list:wake "y"
    green.sleep(0)
    late:close() -- it has run
    assert.equal(2, #given)
    assert.has_error(function() waitlist.new("a test", 1) end)
  end)

  it("calls a function as the hub would", function()
    local list = waitlist.new "a test"
    local ok, err = waitlist.call(function(...)
      assert.same({ 1, 2 }, { ... })
      assert.is_nil(green.current())
      list:wait()
    end, 1, 2)
    assert.is_false(ok)
    assert.matches("cannot block here", err)
    assert.is_true((waitlist.call(green.current)))
    assert.truthy(green.current())
  end)

  it("refuses other objects", function()
    local list = waitlist.new "a test"
    for _, method in ipairs { "wait", "await", "first", "wake", "wake_all" } do
      assert.error_matches(function() list[method]({}) end, "greenlua.waitlist expected")
    end
    assert.error_matches(function() waitlist.new({}) end, "string expected")
  end)
end)

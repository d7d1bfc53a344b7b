local green = require "greenlua"
local greenlets = require "spec.support.greenlets"
local queues = require "spec.support.queues"

local drain, spawn_waiting = queues.drain, queues.spawn_waiting
local turns = greenlets.turns

describe("greenlua.queue", function()
  describe("PriorityQueue", function()
    it("gives the least first, and of equals the first", function()
      math.randomseed(11)
      local q, expected = green.PriorityQueue(nil, nil, function(a, b) return a.p < b.p end), {}
      for i = 1, 500 do
        local item = { p = math.random(20), i = i }
        expected[i] = item
        q:put(item)
      end
      table.sort(expected, function(a, b)
        if a.p ~= b.p then return a.p < b.p end
        return a.i < b.i
      end)
      for i = 1, 500 do
        assert.equal(expected[i], q:peek())
        assert.equal(expected[i], q:get())
      end
    end)

    it("compares numbers, strings and whatever has __lt", function()
      local q = green.PriorityQueue(nil, { 3, 1.5, 2 })
      assert.same({ 1.5, 2, 3 }, drain(q))
      q = green.PriorityQueue(nil, { "b", "a" })
      assert.same({ "a", "b" }, drain(q))
      local mt = { __lt = function(a, b) return a[1] < b[1] end }
      local x, y = setmetatable({ 2 }, mt), setmetatable({ 1 }, mt)
      q = green.PriorityQueue(nil, { x, y })
      assert.equal(y, q:get())
    end)

    it("gives an error of the comparison to who puts, and stays as it was", function()
      local q = green.PriorityQueue(2, { 1, 2 })
      local ok, err = pcall(q.put, q, "x", 0)
      assert.is_true(ok) -- it is full: nothing is compared
      assert.is_nil(err)
      q:get()
      assert.error_matches(function() q:put "x" end, "attempt to compare")
      assert.equal(1, #q)
      q:put(3)
      local g = green.spawn(function()
        return pcall(q.put, q, "x")
      end)
      turns()
      local next_one = spawn_waiting(q.put, q, 4)
      assert.equal(2, q:get())
      local put, why = g:get()
      assert.is_false(put)
      assert.matches("attempt to compare", why)
      assert.is_true(next_one:get())
      assert.same({ 3, 4 }, drain(q))
    end)

    it("does not let a comparator block, or touch the queue", function()
      local q, err
      q = green.PriorityQueue(nil, nil, function(a, b)
        if a == 2 then green.sleep(0) end
        if a == 3 then q:get_nowait() end
        return a < b
      end)
      q:put(1)
      q:put(5)
      q:put(6)
      err = select(2, pcall(q.put, q, 2))
      assert.matches("cannot block here", err)
      err = select(2, pcall(q.put, q, 3))
      assert.matches("must leave the queue alone", err)
      assert.same({ 1, 5, 6 }, drain(q))
      assert.error_matches(function() green.PriorityQueue(nil, nil, 1) end, "function or nil")
      assert.error_matches(function() green.Queue(nil, nil, print) end, "PriorityQueue")
    end)
  end)
end)

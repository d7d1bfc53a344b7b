local green = require "greenlua"
local greenlets = require "spec.support.greenlets"
local pools = require "spec.support.pools"

local Group, Pool, turn = green.Group, green.Pool, greenlets.turn
local fail, full_pool = pools.fail, pools.full_pool

describe("greenlua.pool", function()
  describe("apply", function()
    it("gives what the function returns, and raises its error", function()
      local list, pool = greenlets.unclaimed_errors(finally), Pool(1)
      assert.same({ 1, nil, 3 }, { pool:apply(function(...) return ... end, 1, nil, 3) })
      assert.has_error(function() pool:apply(fail, "oh") end, "oh")
      assert.same({}, list)
    end)

    it("runs inline in a worker of the same pool", function()
      local pool = Pool(1)
      local answer = pool:apply(function()
        return pool:apply(function() return green.current() end) == green.current()
      end)
      assert.is_true(answer)
    end)

    it("in its asynchronous form never waits", function()
      local pool, gate = full_pool(1)
      local g = pool:apply_async(function(n) return n + 1 end, 1)
      assert.is_false(g:ready())
      gate:set()
      assert.equal(2, g:get())
      assert.equal(3, pool:apply_async(function(n) return n + 1 end, 2):get())
    end)

    it("in its asynchronous form is waited for by join", function()
      local pool, done = Pool(1), 0
      for _ = 1, 5 do pool:apply_async(function() turn() done = done + 1 end) end
      pool:join()
      assert.equal(5, done)
    end)

    it("in its asynchronous form can be killed before it starts", function()
      local pool, gate = full_pool(1)
      local g = pool:apply_async(error, "never")
      g:kill()
      gate:set()
      turn(5)
      assert.equal(1, pool:free_count())
    end)
  end)

  describe("map", function()
    it("gives the results in the order of the list", function()
      local pool = Pool(2)
      local function slow(n) turn(5 - n) return n * n end
      assert.same({ 1, 4, 9, 16 }, pool:map(slow, { 1, 2, 3, 4 }))
      assert.same({ 1, 4, 9, 16 }, pool:map_async(slow, { 1, 2, 3, 4 }):get())
      assert.same({}, pool:map(slow, {}))
      assert.same({ 1, 4 }, Group():map(slow, { 1, 2 }))
    end)

    it("takes an iterator, all whose values are arguments", function()
      local pairs_of = coroutine.wrap(function()
        coroutine.yield(1, "a")
        coroutine.yield(2, "b")
      end)
      assert.same({ "1a", "2b" }, Pool(2):map(function(a, b) return a .. b end, pairs_of))
    end)

    it("gives false for nil", function()
      assert.same({ false, 2 }, Pool(2):map(function(n) return n > 1 and n or nil end, { 1, 2 }))
    end)

    it("raises the first error in the order of the list, once", function()
      local list, pool = greenlets.unclaimed_errors(finally), Pool(5)
      local ok, err = pcall(pool.map, pool, function(n)
        turn(5 - n)
        if n > 1 then error(n, 0) end
      end, { 1, 2, 3 })
      assert.same({ false, 2 }, { ok, err })
      pool:join()
      assert.is_true(#list <= 1)
    end)

    it("raises the iterator's error", function()
      local ok, err = pcall(Pool(2).map, Pool(2), turn, function() error("no more", 0) end)
      assert.same({ false, "no more" }, { ok, err })
    end)
  end)

  describe("imap", function()
    it("raises an element's error in its place, and goes on", function()
      local list, pool = greenlets.unclaimed_errors(finally), Pool(2)
      local results = pool:imap(function(n) return 1 // n end, { 1, 0, -1 })
      assert.equal(1, results())
      assert.has_error(function() results() end)
      assert.equal(-1, results())
      assert.is_nil(results())
      assert.is_nil(results())
      assert.same({}, list)
    end)

    it("gives several values, and false for a first nil", function()
      local results = Pool(1):imap(function(n) return n, n + 1 end, { 1 })
      assert.same({ 1, 2 }, { results() })
      results = Pool(1):imap(function() return nil, 2 end, { 1 })
      assert.same({ false, 2 }, { results() })
    end)

    it("unordered gives them in the order of their ends", function()
      local seen = {}
      for n in Pool(3):imap_unordered(function(n) turn(n) return n end, { 5, 1, 3 }) do
        seen[#seen + 1] = n
      end
      assert.same({ 1, 3, 5 }, seen)
    end)

    it("does the same in every run", function()
      local function run()
        local seen = {}
        for n in Pool(4):imap_unordered(function(n) turn(n * 7 % 5) return n end,
            { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }) do
          seen[#seen + 1] = n
        end
        return seen
      end
      local first = run()
      for _ = 1, 3 do assert.same(first, run()) end
    end)

    it("looks ahead no further than maxsize", function()
      local begun = 0
      local results = Group():imap(function(n) begun = begun + 1 return n end,
        { 1, 2, 3, 4, 5 }, 2)
      turn(5)
      assert.equal(2, begun)
      assert.equal(1, results())
      turn(5)
      assert.equal(3, begun)
      for n = 2, 5 do assert.equal(n, results()) end
      assert.is_nil(results())
    end)

    it("is lazy with an iterator without an end", function()
      local n, sum = 0, 0
      for value in Pool(2):imap(function(i) return i end, function() n = n + 1 return n end, 3) do
        sum = sum + value
        if value == 10 then break end
      end
      assert.equal(55, sum)
      local asked = n
      turn(5)
      assert.equal(asked, n)
    end)

    it("begins no more when its loop is left", function()
      local begun, pool = 0, Pool(1)
      local function task(n) begun = begun + 1 turn() return n end
      for n in pool:imap(task, { 1, 2, 3, 4 }) do
        if n == 1 then break end
      end
      pool:join()
      assert.is_true(begun <= 2)
      assert.equal(1, pool:free_count())
    end)

    it("lets its consumer be killed without losing a slot", function()
      local pool = Pool(2)
      for i = 0, 12 do
        local g = green.spawn(pool.map, pool, turn, { 1, 2, 3, 1, 2, 3 })
        turn(i)
        g:kill()
        assert.is_true(pool:join(1))
        assert.equal(2, pool:free_count())
      end
    end)

    it("serves several consumers, each result once", function()
      local results = Pool(3):imap(function(n) turn(n) return n end, { 1, 2, 3, 4, 5, 6 })
      local seen = {}
      local function consume() for n in results do seen[#seen + 1] = n end end
      green.joinall { green.spawn(consume), green.spawn(consume) }
      table.sort(seen)
      assert.same({ 1, 2, 3, 4, 5, 6 }, seen)
    end)
  end)
end)

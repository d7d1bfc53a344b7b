local green = require "greenlua"
local support = require "spec.support"
local waitable = require "spec.support.waitable"
local Event = require("greenlua.event").Event

local Group, Pool = green.Group, green.Pool

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

local never = Event()
local function sleeper() return green.spawn(never.wait, never) end

-- Errors that nobody is there for, as they are reported.
local function reports()
  local list = {}
  local before = green.on_error(function(_, err) list[#list + 1] = err end)
  finally(function() green.on_error(before) end)
  return list
end

local function fail(err, turns)
  turn(turns)
  error(err, 0)
end

-- What a `<close>` variable does at its end.
local function at_end(f) return setmetatable({}, { __close = f }) end

-- A pool whose slots are taken by who waits at a gate.
local function full_pool(size)
  local gate, pool = Event(), Pool(size)
  for _ = 1, size do pool:spawn(gate.wait, gate) end
  return pool, gate
end

local function full() -- for the battery
  local pool = full_pool(1)
  return { pool = pool, first = pool:iter()() }
end

local function let_one_go(object)
  green.kill(object.first)
end

local function no(...) assert.same({ false }, { ... }) end

describe("greenlua.pool", function()
  describe("Group:join", function()
    waitable {
      new = function() return Group { sleeper() } end,
      wait = function(group, timeout) return group:join(timeout) end,
      wake = function(group) for g in group:iter() do green.kill(g) end end,
      free = function(group) group:kill() end,
      expired = no, wakes_all = true, late = true,
    }
  end)

  describe("Group:kill", function()
    waitable {
      new = function()
        local gate = Event()
        local group = Group()
        local g = group:spawn(function()
          while not gate:is_set() do pcall(gate.wait, gate) end
        end)
        turn()
        return { group = group, gate = gate, g = g }
      end,
      wait = function(o, timeout) return o.group:kill(nil, timeout) end,
      wake = function(o) o.gate:set() end,
      free = function(o) o.gate:set() o.g:join() end,
      expired = no, wakes_all = true, late = true,
    }
  end)

  describe("Pool:add", function()
    waitable {
      new = full,
      wait = function(o, timeout)
        return o.pool:add(green.spawn(turn, 3), timeout)
      end,
      wake = let_one_go,
      free = function(o) o.pool:kill() end,
      expired = function(ok, why)
        assert.is_nil(ok)
        assert.equal(require("greenlua.queue").Full, why)
      end,
      wakes_all = true, late = true,
    }
  end)

  describe("Pool:wait_available", function()
    waitable {
      new = full,
      wait = function(o, timeout) return o.pool:wait_available(timeout) end,
      wake = let_one_go,
      free = function(o) o.pool:kill() end,
      expired = function(n) assert.equal(0, n) end,
      wakes_all = true, late = true,
    }
  end)

  describe("Pool:spawn", function()
    waitable {
      new = full,
      wait = function(o) return o.pool:spawn(turn) end,
      wake = let_one_go,
      free = function(o) o.pool:kill() end,
      no_timeout = true, wakes_all = true, late = true,
    }
  end)

  describe("Pool:map", function()
    waitable {
      new = function() return { gate = Event(), pool = Pool(3) } end,
      wait = function(o) return o.pool:map(function() o.gate:wait() end, { 1, 2 }) end,
      wake = function(o) o.gate:set() end,
      free = function(o) o.pool:kill() end,
      no_timeout = true, late = true, wakes_all = true,
    }
  end)

  describe("a Group", function()
    it("holds greenlets until they end", function()
      local group = Group()
      local a, b = group:spawn(turn, 1), group:spawn(turn, 3)
      assert.equal(2, #group)
      assert.is_true(group:has(a))
      turn(3)
      assert.is_false(group:has(a))
      assert.is_true(group:has(b))
      assert.is_true(group:join())
      assert.equal(0, #group)
    end)

    it("takes in those that run already, not those that have ended", function()
      local running, done = green.spawn(turn, 3), green.spawn(turn, 0)
      done:join()
      local group = Group { running, done }
      assert.equal(1, #group)
      assert.is_true(group:add(running))
      assert.equal(1, #group)
      group:join()
      assert.is_true(running:ready())
    end)

    it("iterates in the order in which they came", function()
      local group, made = Group(), {}
      for i = 1, 40 do made[i] = group:spawn(green.sleep, 100) end
      for i = 1, 40, 2 do group:killone(made[i]) end
      local seen = {}
      for g in group:iter() do seen[#seen + 1] = g end
      for i = 1, 20 do assert.equal(made[2 * i], seen[i]) end
      assert.equal(20, #seen)
      group:kill()
    end)

    it("lets one go with discard", function()
      local group = Group()
      local g = group:spawn(green.sleep, 100)
      group:discard(g)
      group:discard(g)
      assert.equal(0, #group)
      assert.is_true(group:join(0))
      g:kill()
    end)

    it("starts what it is given", function()
      local Task = green.Greenlet:extend "Task"
      function Task:_run(n) self.n = n return n end
      local group = Group()
      assert.equal(3, group:start(Task(3)):get())
      group.greenlet_class = Task
      local task = group:spawn(4)
      assert.is_true(Task.is(task))
      group:join()
      assert.equal(4, task.n)
    end)

    it("kills each member once", function()
      local kills, gate = 0, Event()
      local group = Group()
      group:spawn(function()
        for _ = 1, 3 do
          if not pcall(gate.wait, gate) then kills = kills + 1 end
        end
      end)
      turn()
      assert.is_false(group:kill(nil, 0))
      assert.is_false(group:kill(nil, 0.001))
      gate:set()
      assert.is_true(group:join())
      assert.equal(1, kills)
    end)

    it("kills who comes in while it is killed", function()
      local group, late = Group(), nil
      group:spawn(function()
        local _ <close> = at_end(function() late = group:spawn(green.sleep, 100) end)
        green.sleep(100)
      end)
      turn()
      assert.is_true(group:kill())
      assert.is_true(late:ready())
      group:spawn(turn):get() -- that was then
    end)

    it("kills the member that kills it, last", function()
      local group, seen = Group(), {}
      local function note(name)
        return at_end(function(_, err) seen[#seen + 1] = name .. tostring(err) end)
      end
      group:spawn(function()
        local _ <close> = note "a"
        turn()
        group:kill()
        seen[#seen + 1] = "alive"
      end)
      group:spawn(function() local _ <close> = note "b" green.sleep(100) end)
      group:join()
      table.sort(seen)
      assert.same({ "aGreenletExit", "bGreenletExit" }, seen)
    end)

    it("reports the error of a member, if nobody is there for it", function()
      local list, group = reports(), Group()
      group:spawn(fail, "oh")
      assert.is_true(group:join())
      turn()
      assert.same({ "oh" }, list)
    end)

    it("raises the first error in join, if it is asked to", function()
      local list, group = reports(), Group()
      group:spawn(fail, "second", 3)
      group:spawn(fail, "first", 1)
      local last = group:spawn(turn, 5)
      local ok, err = pcall(group.join, group, nil, true)
      assert.same({ false, "first" }, { ok, err })
      assert.is_true(last:ready())
      assert.same({}, list)
      assert.is_true(group:join(nil, true))
    end)

    it("tells a member that it cannot wait for itself", function()
      local group = Group()
      local g = group:spawn(function() return pcall(group.join, group) end)
      local ok, err = g:get()
      assert.is_false(ok)
      assert.matches("Greenlet%-%d+ cannot wait for the end of Group: 1", err)
    end)

    it("refuses what is no greenlet, and no function", function()
      local group = Group()
      assert.has_error(function() group:add(1) end,
        "bad argument #1 to 'add' (Greenlet expected, got number)")
      assert.has_error(function() Group(1) end)
      assert.has_error(function() group:spawn(1) end)
      assert.has_error(function() group:map(1, {}) end)
      assert.has_error(function() group:map(print, 1) end)
      assert.has_error(function() group:imap(print, {}, 0) end)
      assert.equal(0, #group)
      assert.equal("Group: 0", tostring(group))
      group.name = "handlers"
      assert.equal('Group "handlers": 0', tostring(group))
    end)

    it("does not mind who unlinks everything", function()
      local group = Pool(1)
      group:spawn(turn, 1):unlink_all()
      group:join()
      assert.equal(1, group:free_count())
    end)
  end)

  describe("a Pool", function()
    it("runs no more than its size", function()
      local pool, now, most = Pool(3), 0, 0
      for _ = 1, 10 do
        pool:spawn(function()
          now = now + 1
          most = math.max(most, now)
          turn(3)
          now = now - 1
        end)
      end
      pool:join()
      assert.equal(3, most)
      assert.equal(3, pool:free_count())
    end)

    it("says how full it is", function()
      local pool, gate = full_pool(2)
      assert.is_true(pool:full())
      assert.equal(0, pool:free_count())
      assert.equal("Pool: 2 of 2", tostring(pool))
      gate:set()
      pool:join()
      assert.is_false(pool:full())
      assert.equal(2, pool:wait_available())
      local unlimited = Pool()
      assert.is_false(unlimited:full())
      assert.equal(1, unlimited:free_count())
      assert.equal(1, unlimited:wait_available())
      assert.equal("Pool: 0 of any number", tostring(unlimited))
      assert.equal(1, Group():wait_available())
      assert.is_false(Group():full())
    end)

    it("of size 0 never admits", function()
      local pool = Pool(0)
      assert.is_nil((pool:add(green.current(), 0)))
      assert.is_false((green.within(0.002, pool.spawn, pool, turn)))
      assert.is_true(pool:join(0))
    end)

    it("refuses a size that is none", function()
      assert.has_error(function() Pool(-1) end, "size must not be negative: -1")
      assert.has_error(function() Pool "two" end)
      assert.has_error(function() Pool(0.5) end)
    end)

    it("lets nobody barge in", function()
      local pool, gate = full_pool(1)
      local order = {}
      local waiting = green.spawn(function()
        pool:spawn(function() order[#order + 1] = "waited" end)
      end)
      turn()
      gate:set()
      turn() -- the slot has been handed over by now
      assert.is_true(pool:full())
      pool:spawn(function() order[#order + 1] = "came later" end)
      pool:join()
      waiting:join()
      assert.same({ "waited", "came later" }, order)
    end)

    it("loses no slot to one that is closed when it has just got it", function()
      local pool, gate = full_pool(1)
      local a = green.spawn(pool.spawn, pool, turn)
      local b = green.spawn(pool.spawn, pool, turn)
      turn()
      gate:set()
      turn()
      a:close()
      b:join()
      assert.is_true(pool:join(1))
      assert.equal(1, pool:free_count())
    end)

    it("tells who joins it when the last slot comes back that way", function()
      local pool, gate = full_pool(1)
      local a = green.spawn(pool.spawn, pool, turn)
      local joiner = green.spawn(pool.join, pool)
      turn()
      gate:set()
      turn()
      assert.is_false(joiner:ready())
      a:close()
      assert.is_true(joiner:get(1))
    end)

    it("loses no slot to misuse, or to one that dies before its start", function()
      local pool, gate = full_pool(1)
      assert.has_error(function() pool:spawn(nil) end)
      local Task = green.Greenlet
      local task = Task(turn)
      local waiting = green.spawn(pool.start, pool, task)
      turn()
      task:kill()
      gate:set()
      waiting:join()
      assert.is_true(pool:join(1))
      assert.equal(1, pool:free_count())
    end)

    it("loses no slot whoever is killed, and wherever", function()
      math.randomseed(7)
      for _ = 1, 150 do
        local pool, spawners = Pool(math.random(3)), {}
        for i = 1, 8 do
          spawners[i] = green.spawn(function()
            pool:spawn(turn, math.random(0, 4))
            if math.random(2) == 1 then pool:add(green.spawn(turn, 2), 0.0001) end
            pool:apply(turn, 1)
          end)
        end
        for _ = 1, 12 do
          turn(math.random(0, 2))
          local victim = spawners[math.random(#spawners)]
          local member = pool:iter()()
          local what = math.random(4)
          if what == 1 then green.kill(victim)
          elseif what == 2 then victim:close()
          elseif what == 3 and member then green.kill(member)
          elseif member then member:close() end
        end
        green.joinall(spawners)
        assert.is_true(pool:join(1))
        assert.equal(pool.size, pool:free_count())
        assert.equal(0, #pool)
      end
    end)
  end)

  describe("apply", function()
    it("gives what the function returns, and raises its error", function()
      local list, pool = reports(), Pool(1)
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
      local list, pool = reports(), Pool(5)
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
      local list, pool = reports(), Pool(2)
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

  for name, class in pairs { Group = Group, Pool = Pool } do
    describe("a nursery, " .. name, function()
      it("waits for its children at the end of the scope", function()
        local done = 0
        do
          local group <close> = class()
          for i = 1, 3 do group:spawn(function() turn(i) done = done + 1 end) end
        end
        assert.equal(3, done)
      end)

      it("raises a child's error where the scope waits, its siblings being dead", function()
        local list, sibling, body = reports(), nil, nil
        local ok, err = pcall(function()
          local group <close> = class()
          sibling = group:spawn(green.sleep, 100)
          group:spawn(fail, "oh", 2)
          body = { pcall(green.sleep, 100) }
          error(body[2], 0)
        end)
        assert.same({ false, "oh" }, body)
        assert.same({ false, "oh" }, { ok, err })
        assert.is_true(sibling:ready())
        turn(3)
        assert.same({}, list)
      end)

      it("raises a child's error at the end of the scope", function()
        local list, sibling, child, group_ = reports(), nil, nil, nil
        local ok, err = pcall(function()
          local group <close> = class()
          group_ = group
          sibling = group:spawn(green.sleep, 100)
          child = group:spawn(fail, "oh", 2)
        end)
        assert.same({ false, "oh" }, { ok, err })
        assert.is_true(sibling:ready())
        assert.equal(child, group_.failed)
        assert.matches("in upvalue 'fail'", "in upvalue 'fail'" .. child.traceback)
        assert.same({}, list)
      end)

      it("raises an error that comes while the scope is ready to run at its end", function()
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh")
          turn() -- both are ready: the child fails first
        end)
        assert.same({ false, "oh" }, { ok, err })
        turn(2) -- nothing is left to be raised here
      end)

      it("raises it once: who catches it in the scope has had it", function()
        pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh")
          assert.same({ false, "oh" }, { pcall(green.sleep, 100) })
        end)
        turn(2)
      end)

      it("kills the children when the scope fails, and waits for them", function()
        local ended = false
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = at_end(function() turn(3) ended = true end)
            green.sleep(100)
          end)
          turn()
          error("scope", 0)
        end)
        assert.same({ false, "scope" }, { ok, err })
        assert.is_true(ended)
      end)

      it("kills the children when the scope is killed, or out of time", function()
        local child
        local function body()
          local group <close> = class()
          child = group:spawn(green.sleep, 100)
          green.sleep(100)
        end
        local g = green.spawn(body)
        turn(2)
        g:kill()
        assert.is_true(child:ready())
        assert.is_false((green.within(0.002, body)))
        assert.is_true(child:ready())
        g = green.spawn(body)
        turn(2)
        g:close()
        assert.is_true(child:ready())
      end)

      it("does so as well while it waits at the end", function()
        local child
        local function body()
          local group <close> = class()
          child = group:spawn(green.sleep, 100)
        end
        local g = green.spawn(body)
        turn(2)
        g:kill()
        assert.is_true(child:ready())
        assert.is_true(green.GreenletExit.is(g.value))
        assert.is_false((green.within(0.002, body)))
        assert.is_true(child:ready())
      end)

      it("is one in a coroutine, and in main under a C boundary", function()
        local function body()
          local group <close> = class()
          group:spawn(fail, "oh", 1)
          green.sleep(100)
        end
        local ok, err = pcall(coroutine.wrap(body))
        assert.same({ false, "oh" }, { ok, err })
        ok, err = pcall(string.gsub, "x", "x", body)
        assert.same({ false, "oh" }, { ok, err })
      end)

      it("is none without <close>, though another variable was in its place", function()
        local list = reports()
        do local group <close> = at_end(function() end) end -- luacheck: ignore
        local group = class()
        group:spawn(fail, "oh", 1)
        turn(4)
        assert.same({ "oh" }, list)
        assert.equal(nil, group.failed)
      end)

      it("leaves an error to those who are there for it", function()
        local group_
        do
          local group <close> = class()
          group_ = group
          local sibling = group:spawn(turn, 5)
          assert.has_error(function() group:spawn(fail, "oh", 1):get() end, "oh")
          assert.has_error(function() group:apply(fail, "oh", 1) end, "oh")
          assert.has_error(function() group:map(fail, { "oh" }) end, "oh")
          sibling:join()
          assert.is_true(sibling:successful())
        end
        assert.equal(nil, group_.failed)
      end)

      it("reports what fails besides", function()
        local list = reports()
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = at_end(function() error("second", 0) end)
            green.sleep(100)
          end)
          group:spawn(fail, "first", 1)
        end)
        assert.same({ false, "first" }, { ok, err })
        turn(2)
        assert.same({ "second" }, list)
      end)

      it("takes nobody in once its scope has ended", function()
        local group
        do
          local scope <close> = class()
          group = scope
        end
        local ok, err = pcall(group.spawn, group, turn)
        assert.is_false(ok)
        assert.matches("cannot spawn in " .. name .. ".*: its scope has ended", err)
      end)

      it("ends those that come in while it is given up", function()
        local late
        pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = at_end(function() late = group:spawn(green.sleep, 100) end)
            green.sleep(100)
          end)
          turn()
          error "scope"
        end)
        assert.is_true(late:ready())
      end)

      it("nests", function()
        local seen = {}
        local ok, err = pcall(function()
          local outer <close> = class()
          outer:spawn(function()
            local inner <close> = class()
            inner:spawn(function()
              local _ <close> = at_end(function() seen[#seen + 1] = "inner" end)
              green.sleep(100)
            end)
            inner:spawn(fail, "deep", 1)
          end)
          local _ <close> = at_end(function() seen[#seen + 1] = "outer" end)
          green.sleep(100)
        end)
        assert.same({ false, "deep" }, { ok, err })
        assert.same({ "inner", "outer" }, seen)
      end)

      it("in main raises where main waits #main", function()
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh", 1)
          green.sleep(100)
        end)
        assert.same({ false, "oh" }, { ok, err })
      end)
    end)
  end

  it("tells a failed scope's traceback, and the child's before it", function()
    local g
    local list = reports()
    g = green.spawn(function()
      local group <close> = Group()
      group:spawn(function() turn() error "deep down" end)
    end)
    g:join()
    turn(2)
    assert.equal(1, #list)
    assert.matches("deep down", list[1])
    assert.matches("^stack traceback.*raised in Greenlet%-%d+ by the end of its scope:.*close",
      g.traceback)
  end)

  it("in a scope holds up neither the end of a program nor os.exit", function()
    local code, out, err = support.run { "-e", [[
      local green = require "greenlua"
      green.spawn(function()
        local group <close> = green.Group()
        group:spawn(green.sleep, 100)
        green.sleep(100)
      end)
      green.sleep(0.001)
      os.exit(3, true)
    ]] }
    assert.same({ 3, "", "" }, { code, out, err })
  end)
end)

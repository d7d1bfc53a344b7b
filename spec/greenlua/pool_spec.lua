local green = require "greenlua"
local greenlets = require "spec.support.greenlets"
local pools = require "spec.support.pools"
local waitable = require "spec.support.waitable"
local Event = require("greenlua.event").Event

local Group, Pool = green.Group, green.Pool
local closing, turn = greenlets.closing, greenlets.turn
local fail, full_pool = pools.fail, pools.full_pool

local never = Event()
local function sleeper() return green.spawn(never.wait, never) end

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
        local _ <close> = closing(function() late = group:spawn(green.sleep, 100) end)
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
        return closing(function(err) seen[#seen + 1] = name .. tostring(err) end)
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
      local list, group = greenlets.unclaimed_errors(finally), Group()
      group:spawn(fail, "oh")
      assert.is_true(group:join())
      turn()
      assert.same({ "oh" }, list)
    end)

    it("raises the first error in join, if it is asked to", function()
      local list, group = greenlets.unclaimed_errors(finally), Group()
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
end)

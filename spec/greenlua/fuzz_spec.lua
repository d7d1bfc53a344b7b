-- Random interleavings of everything that can happen to a queue, a channel, a
-- semaphore: put, get, choice, kill, timeout, close, shutdown of a waiter at any
-- turn. A sequential model judges what came of it:
--
--   each item that was accepted is got once, or is still there;
--   an item that was refused is got by nobody;
--   items of one putter come in its order, where the queue has one;
--   permits taken and permits left make up all there are.

local green = require "greenlua"
local lock = require "greenlua.lock"
local native = require "greenlua.core.queue"

local SEEDS = 600
local TASKS, ROUNDS = 8, 6 -- greenlets to a seed, operations to each

local problem -- the first that was found: steps are killed, so they cannot raise it

local function must(condition, what)
  if not condition then problem = problem or what end
end

-- Runs `step(task, round)` in many greenlets that meet at random, while others
-- are killed and closed at random.
local function interleave(random, step)
  local tasks = {}
  problem = nil
  for t = 1, TASKS do
    tasks[t] = green.spawn(function()
      for round = 1, ROUNDS do
        for _ = 1, random(0, 2) do green.pcall(green.sleep, 0) end
        pcall(step, t, round)
      end
    end)
  end
  local spoilers = {}
  for s = 1, 3 do
    spoilers[s] = green.spawn(function()
      for _ = 1, 4 do
        for _ = 1, random(0, 5) do green.sleep(0) end
        local victim = tasks[random(TASKS)]
        local how = random(4)
        if how == 1 then
          if not victim:ready() then green.spawn(victim.close, victim) end
        elseif how == 2 then
          if not victim:ready() then victim:close() end
        else
          green.kill(victim)
        end
      end
    end)
  end
  green.joinall(spoilers)
  green.joinall(tasks, 0.001)
  for _, g in ipairs(tasks) do g:close() end
end

local function judge(seed)
  assert.is_nil(problem, ("seed %d: %s"):format(seed, problem))
end

local function generator(seed)
  local state = seed * 2654435761 % 4294967296
  return function(low, high)
    if not high then low, high = 1, low end
    state = (state * 1103515245 + 12345) % 2147483648
    return low + (state >> 8) % (high - low + 1)
  end
end

local timeouts = { 0, 0.0001, 0.0003 }

-- What happens to items: `pending` while a put of it is going on, then accepted
-- or refused, by what the put answered; unknown if it did not come back.
local function items()
  local model = { fate = {}, got = {}, made = 0 }

  function model.put(task, put)
    model.made = model.made + 1
    local item = { id = model.made, task = task }
    model.fate[item] = "unknown"
    local ok = put(item)
    model.fate[item] = ok and "accepted" or "refused"
  end

  function model.take(item)
    must(item.id, "not an item of ours")
    must(not model.got[item], "got twice")
    model.got[item] = true
    model.order = model.order or {}
    table.insert(model.order, item)
  end

  function model.check(rest, in_order)
    for _, item in ipairs(rest) do model.take(item) end
    local last = {}
    for item, fate in pairs(model.fate) do
      if fate == "accepted" then must(model.got[item], "an item was lost") end
      if fate == "refused" then must(not model.got[item], "a refused item was got") end
    end
    for _, item in ipairs(in_order and model.order or {}) do
      must(item.id > (last[item.task] or 0), "out of order")
      last[item.task] = item.id
    end
  end

  return model
end

local function rest_of(q)
  local rest = {}
  while true do
    local item = q:get_nowait()
    if item == nil then return rest end
    rest[#rest + 1] = item
  end
end

local function by_id(a, b) return a.id < b.id end

local kinds = {
  { "a Queue without limit", function() return green.Queue() end },
  { "a Queue of 1", function() return green.Queue(1) end },
  { "a Queue of 3", function() return green.Queue(3) end },
  { "a LifoQueue of 2", function() return green.LifoQueue(2) end },
  { "a PriorityQueue of 2", function() return green.PriorityQueue(2, nil, by_id) end },
  { "a Channel", function() return green.Channel() end },
}

-- One operation of a task on queue q or p.
local function operate(random, model, task, q, p)
  local timeout = timeouts[random(4)]
  local what = random(9)
  if what <= 3 then
    model.put(task, function(item) return (q:put(item, timeout)) end)
  elseif what <= 6 then
    local item = q:get(timeout)
    if item ~= nil then model.take(item) end
  elseif what == 7 then
    local done, item = green.select_ops({ p, q }, timeout)
    if done and item ~= nil then model.take(item) end
  elseif what == 8 then
    model.put(task, function(item)
      local which, got = green.select_ops({ { q, item }, p }, timeout)
      if which == 2 then model.take(got) end
      return which == 1
    end)
  else
    local timer <close> = green.Timeout(0.0003) -- luacheck: ignore
    local item = q:get()
    if item ~= nil then model.take(item) end
  end
end

describe("random interleavings", function()
  for _, kind in ipairs(kinds) do
    it("lose no item of " .. kind[1], function()
      for seed = 1, SEEDS do
        local random, model = generator(seed), items()
        local q, p = kind[2](), green.Queue(2)
        interleave(random, function(task)
          operate(random, model, task, q, p)
        end)
        local rest = rest_of(q)
        for _, item in ipairs(rest_of(p)) do rest[#rest + 1] = item end
        model.check(rest, false)
        local getters, putters = native.waiting(q)
        must(getters == 0 and putters == 0, "somebody is still in line")
        judge(seed)
      end
    end)
  end

  it("keep the order of each putter's items", function()
    for seed = 1, SEEDS do
      local random, model = generator(seed), items()
      local q = green.Queue(2)
      interleave(random, function(task)
        if task > 1 then
          model.put(task, function(item) return (q:put(item, timeouts[random(4)])) end)
        else -- more than one would by turns record what they got
          for _ = 1, 4 do
            local item = q:get(timeouts[random(4)])
            if item then model.take(item) end
          end
        end
      end)
      model.check(rest_of(q), true)
      judge(seed)
    end
  end)

  for _, class in ipairs { lock.Semaphore, lock.BoundedSemaphore } do
    it("lose no permit of a " .. tostring(class), function()
      for seed = 1, SEEDS do
        local random, held = generator(seed), 0
        local permits = random(3)
        local s = class(permits)
        interleave(random, function()
          local hold <close> = s:hold(timeouts[random(4)])
          if not hold then return end
          local _ <close> = setmetatable({}, { __close = function() held = held - 1 end })
          held = held + 1
          must(held <= permits, "too many hold it")
          for _ = 1, random(0, 3) do green.sleep(0) end
        end)
        judge(seed)
        assert.equal(0, held)
        assert.equal(permits, s.counter, "seed " .. seed)
      end
    end)
  end

  it("lose no RLock", function()
    for seed = 1, SEEDS do
      local random, holder = generator(seed), nil
      local l = green.RLock()
      interleave(random, function()
        local hold <close> = l:hold(timeouts[random(4)])
        if not hold then return end
        local _ <close> = setmetatable({}, { __close = function() holder = nil end })
        must(holder == nil, "two hold it")
        holder = green.current()
        local again <close> = l:hold() -- luacheck: ignore
        for _ = 1, random(0, 3) do green.sleep(0) end
      end)
      judge(seed)
      assert.is_false(l:locked(), "seed " .. seed)
    end
  end)

  it("lose no ReadWriteLock", function()
    for seed = 1, SEEDS do
      local random, readers, writers = generator(seed), 0, 0
      local l = lock.ReadWriteLock()
      interleave(random, function()
        local writes = random(3) == 1
        local hold <close> = l[writes and "writing" or "reading"](l, timeouts[random(4)])
        if not hold then return end
        local _ <close> = setmetatable({}, { __close = function()
          if writes then writers = writers - 1 else readers = readers - 1 end
        end })
        if writes then writers = writers + 1 else readers = readers + 1 end
        must(writers == 0 or (writers == 1 and readers == 0), "not alone")
        for _ = 1, random(0, 3) do green.sleep(0) end
      end)
      judge(seed)
      assert.is_false(l:locked(), "seed " .. seed)
      assert.is_true(l:acquire_write(0))
    end
  end)

  it("lose no lock of a Condition", function()
    for seed = 1, SEEDS do
      local random, inside = generator(seed), 0
      local c = green.Condition()
      interleave(random, function()
        local hold <close> = c:hold(timeouts[random(4)])
        if not hold then return end
        local _ <close> = setmetatable({}, { __close = function() inside = inside - 1 end })
        inside = inside + 1
        must(inside == 1, "not alone")
        if random(2) == 1 then
          c:notify(random(2))
        else
          inside = inside - 1
          local _ <close> = setmetatable({}, { __close = function() inside = inside + 1 end })
          c:wait(timeouts[random(4)])
        end
      end)
      judge(seed)
      assert.is_false(c:locked(), "seed " .. seed)
    end
  end)
end)

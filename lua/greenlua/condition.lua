--- Conditions and barriers: greenlets wait for one another. Both are fields of
-- `greenlua.lock`.
--
-- @module greenlua.condition

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local object = require "greenlua.object"
local lock = require "greenlua.lock"

local RLock, Semaphore = lock.RLock, lock.Semaphore
local check_timeout, describe, label = object.check_timeout, object.describe, object.label

local M = {}

-- Condition --------------------------------------------------------------------

--- Wait for something that the lock guards to change. As Python's `Condition`.
--
-- `wait` gives the lock up while it waits, and has it again when it returns or
-- raises, whatever ended the wait.
-- @usage local changed = green.Condition()
-- do
--   local _ <close> = changed:hold()
--   while #jobs == 0 do changed:wait() end
--   work(table.remove(jobs, 1))
-- end
-- @type Condition
local Condition = object.class "Condition"
M.Condition = Condition

--- Is it a Condition, or of a subclass?
-- @function Condition.is
-- @param value
-- @treturn boolean

function Condition:_init(guard)
  if guard ~= nil and not (RLock.is(guard) or Semaphore.is(guard)) then
    error(("bad argument #1 to 'Condition' (RLock or Semaphore expected, got %s)")
      :format(type(guard)), 3)
  end
  self.lock = guard or RLock()
  self._waiters = waitlist.new("condition", function() self._waiters:wake() end)
end

--- Make one: `green.Condition([lock])`. Conditions may share a lock.
-- @function Condition.__call
-- @tparam[opt] RLock|Semaphore lock an RLock of its own by default
-- @treturn Condition

--- Acquire the lock.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Condition:acquire(timeout) return self.lock:acquire(timeout) end

--- Release the lock.
function Condition:release() self.lock:release() end

--- Hold the lock for a block.
-- @tparam[opt] number|Timeout timeout
-- @treturn table to be closed, which releases; nil if the time ran out first
function Condition:hold(timeout) return self.lock:hold(timeout) end

--- Is the lock held?
-- @treturn boolean
function Condition:locked() return self.lock:locked() end

-- Takes the lock again on the way out. A kill meanwhile has to wait for that.
local Reacquire = {}

function Reacquire.__close(guard, err)
  local interrupt
  while true do
    local ok, why = pcall(guard.lock._restore, guard.lock, guard.depth)
    if ok then break end
    if not core.raised(why) then error(why, 0) end
    interrupt = interrupt or why
  end
  if interrupt ~= nil and err == nil then error(interrupt, 0) end
end

--- Wait for `notify`. The lock must be held.
-- @tparam[opt] number|Timeout timeout for the wait; taking the lock again may
-- take longer
-- @treturn boolean true; false if the time ran out first
function Condition:wait(timeout)
  if timeout ~= nil then check_timeout("wait", timeout) end
  local guard = self.lock
  local _ <close> = setmetatable({ lock = guard, depth = guard:_save() }, Reacquire)
  local woken = self._waiters:wait(timeout)
  return woken
end

--- Wait until a function gives a true value; it is called with the lock held, at
-- first and after each `notify`.
-- @tparam function predicate
-- @tparam[opt] number|Timeout timeout
-- @return what the predicate gave last
function Condition:wait_for(predicate, timeout)
  object.check_callable("wait_for", 1, predicate)
  if timeout ~= nil then check_timeout("wait_for", timeout) end
  local till = type(timeout) == "number" and core.now() + timeout
  local result = predicate()
  while not result do
    local left = till and math.max(0, till - core.now()) or timeout
    if not self:wait(left) then return predicate() end
    result = predicate()
  end
  return result
end

local function check_held(self, what)
  local guard = self.lock
  if RLock.is(guard) then
    if guard._depth > 0 and guard._owner == core.current() then return end
  elseif guard:locked() then
    return
  end
  error(("Condition: cannot %s: %s is not held"):format(what, tostring(guard)), 3)
end

--- Wake some of those who wait, the first ones. The lock must be held; they go on
-- when they have it.
-- @tparam[opt=1] integer n
function Condition:notify(n)
  if n ~= nil and (math.type(n) ~= "integer" or n < 0) then
    error(("bad argument #1 to 'notify' (number of waiters expected, got %s)")
      :format(tostring(n)), 2)
  end
  check_held(self, "notify")
  for _ = 1, n or 1 do
    if not self._waiters:wake() then break end
  end
end

--- Wake all who wait.
function Condition:notify_all()
  check_held(self, "notify")
  self._waiters:wake_all()
end

function Condition:__tostring()
  return describe(self, tostring(self.lock))
end

-- Barrier ----------------------------------------------------------------------

--- A place where a number of greenlets wait for each other: the last to come
-- lets all go on, and the next round begins. One that leaves early does not
-- count.
-- @type Barrier
local Barrier = object.class "Barrier"
M.Barrier = Barrier

--- Is it a Barrier, or of a subclass?
-- @function Barrier.is
-- @param value
-- @treturn boolean

function Barrier:_init(parties)
  if math.type(parties) ~= "integer" or parties < 1 then
    error(("bad argument #1 to 'Barrier' (number of greenlets, 1 or more, expected; got %s)")
      :format(tostring(parties)), 3)
  end
  self.parties = parties
  self._waiters = waitlist.new "barrier"
end

--- Make one: `lock.Barrier(3)`.
-- @function Barrier.__call
-- @tparam integer parties how many greenlets
-- @treturn Barrier

--- Wait for the others.
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] integer how many had to come after this one: 0 for the last, so
-- that one may do what is to be done once
-- @treturn[2] boolean false, if the time ran out first
function Barrier:wait(timeout)
  if timeout ~= nil then check_timeout("wait", timeout) end
  local missing = self.parties - #self._waiters - 1
  if missing > 0 then
    local woken = self._waiters:wait(timeout)
    return woken and missing
  end
  self._waiters:wake_all()
  return 0
end

--- How many wait now.
-- @treturn integer
function Barrier:n_waiting() return #self._waiters end

function Barrier:__tostring()
  return ("%s: %d of %d wait"):format(label(self), #self._waiters, self.parties)
end

return M

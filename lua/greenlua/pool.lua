--- Groups and pools: many greenlets under one hand.
--
-- A `Group` holds greenlets until they end; a `Pool` holds so many and no more.
-- In a `<close>` variable both are nurseries: no child outlives the scope, and no
-- error of a child is lost. After gevent's `pool`.
--
-- @usage
-- local pool = green.Pool(10)
-- for page in pool:imap_unordered(fetch, urls) do print(#page) end
-- @module greenlua.pool

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local group = require "greenlua.pool.group"
local object = require "greenlua.object"

local Group = group.Group
local check_seconds = object.check_seconds

local M = { Group = Group }

-- What a queue answers when it is full; loaded when the first pool is.
local function Full() return require("greenlua.queue").Full end

--- A group with a size: `green.Pool(10)`. What would be one too many waits for its
-- turn, and turns come in the order of arrival: nobody barges in, and no slot is
-- lost if who waits for one is killed.
--
-- It has all that a Group has. `spawn`, `start` and `add` wait while it is full.
-- `pool.size` is its size, nil for none. `#pool` counts slots that are taken, also
-- one that has just been handed to somebody who waits.
-- @type Pool
local Pool = object.class("Pool", Group)
M.Pool = Pool

function Pool:_init(size, greenlets)
  if size ~= nil and (math.type(size) ~= "integer" or size < 0) then
    error(math.type(size) == "integer" and "size must not be negative: " .. size
      or ("bad argument #1 to 'Pool' (size or nil expected, got %s)"):format(tostring(size)), 3)
  end
  Group._init(self)
  self.size = size
  self._free = size or math.huge
  self._slots = waitlist.new("a slot of a pool", function() self:_give_back() end)
  self._rooms = waitlist.new "room in a pool"
  self:_add_all(2, greenlets)
end

function Pool:__len() return self:_taken() end

function Pool:__tostring()
  return ("%s: %d of %s"):format(object.label(self), #self, self.size or "any number")
end

function Pool:_taken()
  return self.size and self.size - self._free or self._members.count
end

-- Take a slot, the next one that is free.
function Pool:_acquire(timeout)
  if self._free > 0 then
    self._free = self._free - 1
    return true
  end
  if self._slots:wait(timeout) then return true end
  return nil, Full()
end

-- A slot is free: it goes to who has waited longest.
function Pool:_release()
  if self._slots:wake() then return end
  self._free = self._free + 1
  self._rooms:wake_all()
end

-- It was handed to somebody who will never take it.
function Pool:_give_back()
  self:_release()
  self:_tell_empty()
end

--- Is it a Pool?
-- @function Pool.is
-- @param value
-- @treturn boolean

--- Is there no slot free?
-- @treturn boolean
function Pool:full() return self._free <= 0 end

--- How many slots are free?
-- @treturn integer 1 if the pool has no size
function Pool:free_count()
  return self.size and self._free or 1
end

--- Wait until a slot is free, without taking it.
-- @tparam[opt] number|Timeout timeout
-- @treturn integer how many are free; 0 if the time ran out first
function Pool:wait_available(timeout)
  check_seconds("wait_available", 1, timeout)
  local deadline = type(timeout) == "number" and core.now() + timeout
  while self:full() do -- those who came earlier may have taken it
    local left = deadline and math.max(0, deadline - core.now()) or timeout
    if not self._rooms:wait(left) then return 0 end
  end
  return self:free_count()
end

return M

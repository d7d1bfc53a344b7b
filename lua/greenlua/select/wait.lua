--- What select, poll and LuaSocket's select share.
-- For greenlua's own modules.
--
-- @module greenlua.select.wait

local core = require "greenlua.core"
local native = require "greenlua.core.select"
local sleep = require("greenlua.core.wait").sleep

local POLLIN, POLLOUT, POLLNVAL = native.POLLIN, native.POLLOUT, native.POLLNVAL

local M = {
  READY = { -- what select calls ready
    [POLLIN] = POLLIN | native.POLLHUP | native.POLLERR,
    [POLLOUT] = POLLOUT | native.POLLHUP | native.POLLERR,
  },
}

--- The descriptor of an object: -1 if it is closed, nil if it has none.
-- @tparam integer|table|userdata object a descriptor, or what has a method `getfd`
-- @treturn ?integer
function M.fd_of(object)
  if type(object) == "number" then return math.tointeger(object) end
  local t = type(object)
  local getfd = (t == "table" or t == "userdata") and object.getfd
  return getfd and math.tointeger(getfd(object))
end

-- A program that asks in a loop and never waits gives way now and then.
local STAMINA, FRUITLESS = 256, 16
local asked = 0

local function give_way(found)
  asked = asked + (found and 1 or FRUITLESS)
  if asked < STAMINA then return end
  asked = 0
  if core.current() then sleep(0) end
end

-- What an object has to tell that poll(2) does not know: input in its buffer, or
-- that it has been closed since we took its descriptor.
local function own_event(object, fd, wanted)
  if type(object) == "number" then return 0 end
  if fd < 0 or M.fd_of(object) ~= fd then return POLLNVAL end
  local dirty = wanted & POLLIN ~= 0 and object.dirty
  return dirty and dirty(object) and POLLIN or 0
end

-- Add those to the events; how many objects have any?
local function add_own(objects, fds, wanted, events)
  local n = 0
  for i, object in ipairs(objects) do
    events[i] = (events[i] or 0) | own_event(object, fds[i], wanted[i])
    if events[i] ~= 0 then n = n + 1 end
  end
  return n
end

--- Wait until one of the objects is ready, each for its events.
-- @tparam table objects a list
-- @tparam table fds their descriptors, none of them -1
-- @tparam table wanted the events that each is waited for
-- @tparam ?number|Timeout timeout
-- @treturn integer how many are ready
-- @treturn table the events of each
-- @treturn boolean have we waited?
function M.wait(objects, fds, wanted, timeout)
  local deadline = type(timeout) == "number" and core.now() + timeout
  if add_own(objects, fds, wanted, {}) > 0 then timeout, deadline = 0, nil end
  while true do
    local left = deadline and math.max(0, deadline - core.now()) or timeout
    local n, events, waited = native.poll(fds, wanted, left)
    n = math.max(n, add_own(objects, fds, wanted, events))
    if not waited then give_way(n > 0) end
    if n > 0 or timeout == 0 or (deadline and core.now() >= deadline) then
      return n, events, waited
    end
  end
end

return M

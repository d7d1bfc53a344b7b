--- Events: one greenlet tells many that something has come about.
--
-- @usage local ready = green.Event()
-- green.spawn(function() ready:wait() print "go" end)
-- ready:set()
--
-- @module greenlua.event

local waitlist = require "greenlua.core.waitlist"
local object = require "greenlua.object"

local check_timeout = object.check_timeout

local M = {}

--- A flag to wait for. After gevent's `Event`.
--
-- `set` wakes all who wait at that moment, in the order in which they came, even
-- if `clear` follows before they run; it never switches by itself.
-- @type Event
local Event = object.class "Event"
M.Event = Event

function Event:_init()
  self._set = false
end

--- Make one that is not set: `green.Event()`.
-- @function Event.__call
-- @treturn Event

--- Is it an Event, or of a subclass?
-- @function Event.is
-- @param value
-- @treturn boolean

--- Make a subclass.
-- @function Event:extend
-- @tparam string name
-- @treturn table the class

--- Set it, and wake all who wait. If it is set already, nothing happens.
function Event:set()
  if self._set then return end
  self._set = true
  local waiters = self._waiters
  if waiters then waiters:wake_all() end
  if self._links then object.notify(self) end
end

--- Unset it: from now on `wait` waits.
function Event:clear()
  self._set = false
end

--- Is it set?
-- @treturn boolean
function Event:is_set() return self._set end

--- The same, as everything that can be waited for has it.
-- @treturn boolean
function Event:ready() return self._set end

--- Wait until it is set.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Event:wait(timeout)
  if timeout ~= nil then check_timeout("wait", timeout) end
  if self._set then return true end
  local waiters = self._waiters
  if not waiters then
    waiters = waitlist.new "event"
    self._waiters = waiters
  end
  local woken = waiters:wait(timeout)
  return woken
end

--- Have `callback(event)` called by the hub, once, when it is set: it must not
-- block.
-- @function Event:rawlink
-- @tparam function callback
Event.rawlink = object.rawlink

--- Take a link back; nothing happens if there is none.
-- @function Event:unlink
-- @tparam function callback
Event.unlink = object.unlink

function Event:__tostring()
  return object.describe(self, self._set and "set" or "not set")
end

--- A value, or an error, that is yet to come. After gevent's `AsyncResult`.
--
-- Whoever waits gets it; whoever comes later gets it at once. It can be called
-- with a greenlet, so it is a link: `g:link(result)` has it take over what the
-- greenlet ends with. Set twice, it holds what came last.
--
-- Fields, read-only: `value` (the first value; nil before, and for an error),
-- `exception` (the error).
-- @usage local result = green.AsyncResult()
-- green.spawn(function() result:set "Hello!" end)
-- print(result:get())
-- @type AsyncResult
local AsyncResult = object.class "AsyncResult"
M.AsyncResult = AsyncResult

function AsyncResult:_init()
  self._state = false -- or "value", "exception"
end

--- Make one: `green.AsyncResult()`.
-- @function AsyncResult.__call
-- @treturn AsyncResult

--- Is it an AsyncResult, or of a subclass?
-- @function AsyncResult.is
-- @param value
-- @treturn boolean

--- Make a subclass.
-- @function AsyncResult:extend
-- @tparam string name
-- @treturn table the class

local function settle(self, state, value, exception, values)
  self._state, self.value, self.exception, self._values = state, value, exception, values
  if self._waiters then self._waiters:wake_all() end
  if self._links then object.notify(self) end
end

--- Set its value, or several; all who wait get them.
-- @param ... none: nil
function AsyncResult:set(...)
  settle(self, "value", (...), nil, select("#", ...) > 1 and table.pack(...) or nil)
end

--- Set an error, which `get` raises.
-- @param err any value but nil
function AsyncResult:set_exception(err)
  if err == nil then
    error("bad argument #1 to 'set_exception' (an error expected, got nil)", 2)
  end
  settle(self, "exception", nil, err)
end

--- Has it been set?
-- @treturn boolean
function AsyncResult:ready() return self._state ~= false end

--- Has it been set, and to a value?
-- @treturn boolean
function AsyncResult:successful() return self._state == "value" end

local function outcome(self)
  if self._state == "exception" then error(self.exception, 0) end
  local values = self._values
  if values then return table.unpack(values, 1, values.n) end
  return self.value
end

local function waiters(self)
  local list = self._waiters
  if not list then
    list = waitlist.new "result"
    self._waiters = list
  end
  return list
end

--- Wait until it is set, and get the value.
-- Raises the error that was set, or a Timeout if the time runs out.
-- @tparam[opt] number|Timeout timeout
-- @return its values
function AsyncResult:get(timeout)
  if timeout ~= nil then check_timeout("get", timeout) end
  if not self._state then waiters(self):await(timeout) end
  return outcome(self)
end

--- `get` with a timeout of 0.
-- @return its values
function AsyncResult:get_nowait()
  if not self._state then waiters(self):await(0) end
  return outcome(self)
end

--- Wait until it is set, to whatever it is.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function AsyncResult:wait(timeout)
  if timeout ~= nil then check_timeout("wait", timeout) end
  if self._state then return true end
  local woken = waiters(self):wait(timeout)
  return woken
end

--- Have `callback(result)` called by the hub, once, when it is set: it must not
-- block.
-- @function AsyncResult:rawlink
-- @tparam function callback
AsyncResult.rawlink = object.rawlink

--- Take a link back; nothing happens if there is none.
-- @function AsyncResult:unlink
-- @tparam function callback
AsyncResult.unlink = object.unlink

-- As a link of a greenlet, or of another result.
function AsyncResult:__call(source)
  if source:successful() then
    self:set(source:get())
  else
    self:set_exception(source.exception)
  end
end

function AsyncResult:__tostring()
  local state = "not set"
  if self._state == "value" then state = "value " .. tostring(self.value) end
  if self._state == "exception" then state = "error " .. tostring(self.exception) end
  return object.describe(self, state)
end

return M

--- Timeouts: errors that come by themselves, told apart by identity.
--
-- A Timeout belongs to the greenlet that makes (or starts) it, and runs from
-- then on. When it expires it is raised where that greenlet waits, or where it
-- waits next: busy code is not interrupted. After gevent's `Timeout`; of two at
-- the same deadline, the one that was started first is raised first.
--
-- @usage local timer <close> = green.Timeout(2)
-- local ok, err = pcall(fetch)
-- if not ok and err == timer then print "too slow" end
--
-- @module greenlua.timeout

local native = require "greenlua.core.timeout"
local object = require "greenlua.object"

local M = {}

local function check_number(name, seconds)
  if seconds == nil or (type(seconds) == "number" and seconds >= 0) then return end
  if type(seconds) == "number" then object.check_seconds(name, 1, seconds) end
  object.misuse("bad argument #1 to '%s' (number of seconds or nil expected, got %s)", name,
    native.is(seconds) and "Timeout" or type(seconds))
end

--- A timeout. Fields: `seconds`, `pending`.
-- @type Timeout
local Timeout = {
  --- Is it a Timeout?
  -- @function Timeout.is
  -- @param value
  -- @treturn boolean
  is = native.is,
}
M.Timeout = Timeout

--- Make one, and start it: `green.Timeout(2)`.
-- @function Timeout.__call
-- @tparam[opt] number seconds nil: it never expires
-- @param[opt] err what to raise instead of the Timeout itself
-- @tparam[opt] boolean ref false: it does not keep the program going
-- @treturn Timeout
setmetatable(Timeout, {
  __call = function(_, seconds, err, ref)
    check_number("Timeout", seconds)
    return native.new(seconds, err, ref)
  end,
  __tostring = function() return "class Timeout" end,
})

--- The same, except that a Timeout object is given back as it is.
-- @tparam[opt] number|Timeout seconds
-- @treturn Timeout
function Timeout.start_new(seconds)
  if native.is(seconds) then return seconds end
  check_number("start_new", seconds)
  return native.new(seconds)
end

--- Start it again, now, for the calling greenlet.
-- @function Timeout:start
-- @tparam[opt] number seconds its own by default
-- @treturn Timeout itself

--- Stop it. It can be started again. `<close>` and `close` do the same.
-- @function Timeout:cancel

--- @section end

--- Call a function that must return in time.
-- Raises a Timeout if it does not.
-- @tparam number|Timeout|nil seconds
-- @tparam function f
-- @param ... its arguments
-- @return what f returned
function M.with_timeout(seconds, f, ...)
  object.check_seconds("with_timeout", 1, seconds)
  object.check_callable("with_timeout", 2, f)
  local timer = Timeout.start_new(seconds)
  if timer == seconds then return f(...) end -- its owner cancels it
  local _ <close> = timer
  return f(...)
end

local function outcome(timer, ok, ...)
  if ok then return true, ... end
  local err = ...
  if err == timer then return false end
  error(err, 0)
end

--- Call a function that may run out of time.
-- Only this call's own Timeout is caught: others, and errors, pass through.
-- @tparam number|Timeout|nil seconds
-- @tparam function f
-- @param ... its arguments
-- @treturn[1] boolean true
-- @return[1] what f returned
-- @treturn[2] boolean false, if the time ran out
function M.within(seconds, f, ...)
  object.check_seconds("within", 1, seconds)
  object.check_callable("within", 2, f)
  local timer = Timeout.start_new(seconds)
  if timer == seconds then return true, f(...) end -- raised as it is
  local _ <close> = timer
  return outcome(timer, pcall(f, ...))
end

return M

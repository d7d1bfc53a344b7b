--- What follows a task through all that it spawns: a request's id, its user, how
-- much time it has.
--
-- A greenlet starts with what its parent has at that moment, and from then on its
-- context is its own: what it changes reaches its children to come, and nobody
-- else. Starting one costs nothing more, however much is in it. As Go's `context`
-- and Python's `contextvars` are used.
--
-- Values are shared, not copied.
--
-- @usage local context = require "greenlua.context"
-- local _ <close> = context.with { request = 7 }
-- green.spawn(function() print(context.get "request") end):join() --> 7
-- @module greenlua.context

local core = require "greenlua.core"
local object = require "greenlua.object"
local scope = require "greenlua.core.scope"

local M = {}

-- Contexts never change: a change makes a new one, so that inheriting is sharing.
local empty = {}

local function changed(values)
  local new = {}
  for key, value in pairs(scope.context() or empty) do new[key] = value end
  for key, value in pairs(values) do new[key] = value end
  return new
end

--- A value of the running greenlet's context.
-- @param key
-- @return nil if there is none
function M.get(key)
  local context = scope.context()
  return context and context[key]
end

--- Set a value, for the running greenlet and those that it starts from now on.
-- @param key
-- @param value nil takes it away
function M.set(key, value)
  if key == nil or key ~= key then
    object.misuse("bad argument #1 to 'set' (a key expected, got %s)", tostring(key))
  end
  local new = changed(empty)
  new[key] = value
  scope.set_context(next(new) ~= nil and new or nil)
end

-- What a `<close>` variable gives back at the end of its scope.
local Scope = { __name = "context" }
Scope.__index = Scope

function Scope:__close() scope.set_context(self.before) end

local function enter(context)
  local before = scope.context()
  scope.set_context(context)
  return setmetatable({ before = before }, Scope)
end

local function check_values(name, values)
  if type(values) == "table" then return end
  object.misuse("bad argument #1 to '%s' (table of values expected, got %s)", name, type(values))
end

--- Set values until the end of a scope.
-- @tparam table values
-- @return to be put in a `<close>` variable
-- @usage local _ <close> = context.with { user = "Ada" }
function M.with(values)
  check_values("with", values)
  return enter(changed(values))
end

--- Call a function with values set.
-- @tparam table values
-- @tparam function f
-- @param ... its arguments
-- @return what f returns
function M.run(values, f, ...)
  check_values("run", values)
  object.check_callable("run", 2, f)
  local _ <close> = enter(changed(values))
  return f(...)
end

--- Take the whole context along, to a greenlet that isn't started from here.
-- @treturn function called with a function and its arguments, it calls that with
-- this context
-- @usage local here = context.snapshot()
-- queue:put(function() here(answer, request) end)
function M.snapshot()
  local context = scope.context()
  return function(f, ...)
    object.check_callable("snapshot", 1, f)
    local _ <close> = enter(context)
    return f(...)
  end
end

local DEADLINE = {} -- a key that nobody else has

--- Have a deadline until the end of a scope, for the running greenlet and all that
-- follows from it. It can only become earlier. Nothing is raised: those who wait
-- ask how much time is left.
-- @tparam number seconds from now
-- @return to be put in a `<close>` variable
-- @usage local _ <close> = context.deadline(2)
-- local ok = event:wait(context.remaining())
function M.deadline(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0) then
    error(("bad argument #1 to 'deadline' (a number of seconds, not negative, expected, got %s)")
      :format(tostring(seconds)), 2)
  end
  local at = core.now() + seconds
  return enter(changed { [DEADLINE] = math.min(at, M.get(DEADLINE) or at) })
end

--- How much time is left: what every call takes as a timeout.
-- @treturn[1] number seconds; 0 if the time is over
-- @treturn[2] nil if there is no deadline
function M.remaining()
  local at = M.get(DEADLINE)
  return at and math.max(0, at - core.now())
end

return M

--- What the objects of several modules have in common: classes, timeouts as
-- arguments, links. For greenlua's own modules.
--
-- @module greenlua.object

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local is_timeout = require("greenlua.core.timeout").is

local M = {}

-- Is a level, as `error` counts for the caller, ours, or a C function between?
local function is_inside(level)
  local info = debug.getinfo(level + 1, "S")
  return info and (info.what == "C" or info.source:find "^@greenlua/")
end

--- Raise an error that blames the program: the last line of it that led here,
-- through whatever of ours.
-- @tparam string format
-- @param ... its values
function M.misuse(format, ...)
  local level = 2
  while is_inside(level) do level = level + 1 end
  error(format:format(...), level)
end

local misuse = M.misuse

local function construct(class, ...)
  local self = setmetatable({}, class)
  self:_init(...)
  return self
end

--- Check the argument of a class's `extend`, and blame its caller.
-- @param name
function M.check_class_name(name)
  if type(name) ~= "string" then
    misuse("bad argument #1 to 'extend' (name of the class expected, got %s)", type(name))
  end
end

--- Make a subclass: every class has this as a method.
-- @tparam table parent
-- @tparam string name
-- @treturn table the class
function M.extend(parent, name)
  M.check_class_name(name)
  return M.class(name, parent)
end

--- Make a table a class, whatever its instances are: it is called to construct, and has
-- `is(value)`.
-- @tparam table class
-- @tparam string name
-- @tparam ?table base what it inherits from
-- @tparam function constructor
-- @tparam function class_of gives the class of a value, or nil
-- @treturn table the class
function M.define(class, name, base, constructor, class_of)
  function class.is(value)
    local c = class_of(value)
    while c and c ~= class do c = getmetatable(c) and getmetatable(c).__index end
    return c == class
  end

  return setmetatable(class, {
    __index = base,
    __call = constructor,
    __tostring = function() return "class " .. name end,
  })
end

local function class_of(value)
  return type(value) == "table" and getmetatable(value)
end

--- Make a class whose instances are tables. It is called to construct, which
-- calls `_init`.
-- @tparam string name
-- @tparam[opt] table base what it inherits from
-- @treturn table with `is(value)`, and with `extend(name)` for subclasses
function M.class(name, base)
  local class = { __name = name }
  for event, f in pairs(base or {}) do -- metamethods aren't inherited
    if event:find "^__" and class[event] == nil then class[event] = f end
  end
  class.__index = class
  class.extend = M.extend

  return M.define(class, name, base, construct, class_of)
end

--- Have a module load its other names when they are first used.
-- @tparam table module
-- @tparam string prefix what the names of its submodules begin with: "greenlua."
-- @tparam table homes of a name: the submodule that has it, "server", with its name there
--   if that is another, "events.new"
-- @tparam table modules a set: the names of submodules
-- @treturn table the module
function M.lazy(module, prefix, homes, modules)
  return setmetatable(module, {
    __index = function(self, name)
      local value
      if homes[name] then
        local home, field = homes[name]:match "^(%w+)%.?(%w*)$"
        value = require(prefix .. home)[field ~= "" and field or name]
      elseif modules[name] then
        value = require(prefix .. name)
      end
      rawset(self, name, value)
      return value
    end,
  })
end

--- An object's class, and its name if it has one.
-- @tparam table object
-- @treturn string
function M.label(object)
  local class, name = getmetatable(object).__name, rawget(object, "name")
  return name and ("%s %q"):format(class, name) or class
end

--- An object and its state, for people, and how many wait in its `_waiters`, if it has
-- them.
-- @tparam table object
-- @tparam string state
-- @treturn string
function M.describe(object, state)
  local n = object._waiters and #object._waiters or 0
  return ("%s: %s%s"):format(M.label(object), state,
    n == 0 and "" or n == 1 and ", 1 waits" or (", %d wait"):format(n))
end

--- Check an argument that is a timeout: nil, a Timeout, or a number of seconds
-- that is not negative.
-- @tparam string method for the message
-- @tparam integer arg which argument it is
-- @param timeout
function M.check_seconds(method, arg, timeout)
  if timeout == nil or (type(timeout) == "number" and timeout >= 0) or is_timeout(timeout) then
    return
  elseif type(timeout) ~= "number" then
    misuse("bad argument #%d to '%s' (number of seconds, nil or Timeout expected, got %s)", arg,
      method, type(timeout))
  end
  misuse("bad argument #%d to '%s' (a timeout is a number of seconds, not negative; got %s)",
    arg, method, tostring(timeout))
end

--- Check a method's first argument, which is a timeout and not nil.
-- An expired Timeout is raised.
-- @tparam string method for the message
-- @param timeout
function M.check_timeout(method, timeout)
  if is_timeout(timeout) then return waitlist.check(timeout) end
  M.check_seconds(method, 1, timeout)
end

--- Check an argument that is a string, or a number in its place, as C does.
-- @tparam string method for the message
-- @tparam integer arg which argument it is
-- @param value
-- @treturn string
function M.check_string(method, arg, value)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  misuse("bad argument #%d to '%s' (string expected, got %s)", arg, method, type(value))
end

--- Check an argument that is a table.
-- @tparam string method for the message
-- @tparam integer arg which argument it is
-- @param value
-- @treturn table
function M.check_table(method, arg, value)
  if type(value) == "table" then return value end
  misuse("bad argument #%d to '%s' (table expected, got %s)", arg, method, type(value))
end

--- Can it be called?
-- @param value
-- @treturn boolean
function M.callable(value)
  local mt = type(value) ~= "function" and getmetatable(value)
  return type(value) == "function" or (type(mt) == "table" and mt.__call ~= nil)
end

--- Check an argument that is to be called.
-- @tparam string method for the message
-- @tparam integer arg which argument it is
-- @param value
function M.check_callable(method, arg, value)
  if M.callable(value) then return end
  misuse("bad argument #%d to '%s' (function or callable expected, got %s)", arg, method,
    type(value))
end

--- Have `callback(object)` called when the object becomes ready: by the hub, so
-- it must not block, and once. If it is ready now, soon.
-- @tparam table object with a method `ready`
-- @tparam function callback
function M.rawlink(object, callback)
  M.check_callable("rawlink", 1, callback)
  object._links = object._links or {}
  table.insert(object._links, { callback = callback })
  if object:ready() then core.spawn(M.notify, object) end
end

--- Take a link back; nothing happens if there is none.
-- @tparam table object
-- @tparam function callback
function M.unlink(object, callback)
  for _, links in ipairs { object._called or {}, object._links or {} } do
    for i, link in ipairs(links) do
      if link.callback == callback and not link.gone then
        link.gone = true -- `_called` is being gone through: it stays there
        if links == object._links then table.remove(links, i) end
        return
      end
    end
  end
end

local function call(link, object)
  link.gone = true
  local ok, err = waitlist.call(link.callback, object)
  if ok then return end
  local message = ("%s\n%s rawlink of %s failed\n\n"):format(tostring(err),
    os.date "!%Y-%m-%dT%H:%M:%SZ", tostring(object))
  if not core.report(message) then io.stderr:write(message) end
end

--- Call the links that an object has now, if it is ready. They may unlink each
-- other, and link again.
-- @tparam table object
function M.notify(object)
  local links = object._links
  if not links or object._called or not object:ready() then return end
  object._links, object._called = nil, links
  for _, link in ipairs(links) do
    if not link.gone then call(link, object) end
  end
  object._called = nil
end

return M

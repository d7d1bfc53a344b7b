--- Fields that each greenlet has for itself.
--
-- After gevent's `local`, except that a missing field is nil. Main is a greenlet,
-- too. What children shall have as well belongs into a `greenlua.context`.
--
-- @module greenlua.local

local scope = require "greenlua.core.scope"
local object = require "greenlua.object"

local M = {}

--- An object whose fields are different in each greenlet: `green.Local()`.
--
-- A greenlet's fields go when it ends, or when nobody knows the object any more.
-- `pairs` goes over the fields of the running greenlet.
-- @usage local stash = green.Local()
-- stash.user = "Ada"
-- green.spawn(function() print(stash.user) end):join() --> nil
-- @type Local
local Local = {}
M.Local = Local

-- The fields of the running greenlet; made, and initialised, on first use.
local function fields_of(self, class, arguments)
  local locals = scope.locals()
  local fields = locals[self]
  if not fields then
    fields = {}
    locals[self] = fields
    local init = class._init
    if init then init(self, table.unpack(arguments, 1, arguments.n)) end
  end
  return fields
end

local function construct(class, ...)
  local arguments = table.pack(...)
  if arguments.n > 0 and not class._init then
    error(("%s takes no arguments: it has no _init"):format(tostring(class)), 2)
  end
  local self = {}
  return setmetatable(self, {
    __name = class.__name,
    __class = class,
    __index = function(_, key)
      local value = fields_of(self, class, arguments)[key]
      if value == nil then value = class[key] end
      return value
    end,
    __newindex = function(_, key, value)
      fields_of(self, class, arguments)[key] = value
    end,
    __pairs = function() return next, fields_of(self, class, arguments), nil end,
    __tostring = function()
      local count = 0
      for _ in pairs(scope.locals()[self] or {}) do count = count + 1 end
      return ("%s: %d fields here"):format(class.__name, count)
    end,
  })
end

local function class_of(value)
  local mt = type(value) == "table" and getmetatable(value)
  return type(mt) == "table" and mt.__class
end

local function define(class, name, base)
  class.__name = name
  --- Is it a Local, or of this subclass?
  -- @function Local.is
  -- @param value
  -- @treturn boolean
  return object.define(class, name, base, construct, class_of)
end

define(Local, "Local")

--- Make a subclass. Its `_init(self, ...)` is called with the arguments of the
-- constructor in each greenlet that uses an object, before the first use.
-- @function Local:extend
-- @tparam string name for people
-- @treturn table the class
-- @usage local Request = green.Local:extend "Request"
-- function Request:_init(limit) self.left = limit end
-- local request = Request(3)
function Local:extend(name)
  object.check_class_name(name)
  return define({}, name, self)
end

return M

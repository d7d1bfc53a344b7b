--- Waiting for many descriptors at once, in one greenlet.
--
-- Everything here takes sockets, objects with a method `getfd`, and numbers of
-- descriptors, and lets others run meanwhile. A greenlet to each connection is
-- simpler and as fast: this is for programs that were written otherwise.
--
-- @module greenlua.select

local native = require "greenlua.core.select"
local base = require "greenlua.object"
local waiting = require "greenlua.select.wait"

local POLLIN, POLLOUT, POLLNVAL = native.POLLIN, native.POLLOUT, native.POLLNVAL
local check_seconds, misuse = base.check_seconds, base.misuse
local READY, fd_of, wait = waiting.READY, waiting.fd_of, waiting.wait

--- @table constants
-- @field POLLIN there is something to read, or the end
-- @field POLLOUT there is room to write
-- @field POLLERR an error; always told
-- @field POLLHUP the other side is gone; always told
-- @field POLLNVAL it is not open; always told
local M = {
  POLLIN = POLLIN, POLLOUT = POLLOUT, POLLNVAL = POLLNVAL,
  POLLERR = native.POLLERR, POLLHUP = native.POLLHUP,
}

local function check_fd(name, arg, object)
  local ok, fd = pcall(fd_of, object)
  if ok and fd then return fd end
  misuse("bad argument #%d to '%s' (descriptor or object with getfd expected, got %s)", arg, name,
    type(object))
end

-- select ---------------------------------------------------------------------

-- Add those of a list to what is waited for.
local function add(watch, list, arg, event)
  if list == nil then return end
  if type(list) ~= "table" then
    misuse("bad argument #%d to 'select' (list or nil expected, got %s)", arg, type(list))
  end
  for _, object in ipairs(list) do
    local fd = check_fd("select", arg, object)
    if fd >= 0 then
      local i = #watch.objects + 1
      watch.objects[i], watch.fds[i], watch.wanted[i] = object, fd, event
    end
  end
end

-- As LuaSocket's: each list says of its elements also where they are in it.
local function answer(watch, events, waited)
  local lists = { [POLLIN] = {}, [POLLOUT] = {} }
  for i, object in ipairs(watch.objects) do
    local event = watch.wanted[i]
    local closed = events[i] & POLLNVAL ~= 0
    if closed and not waited then
      misuse("bad argument to 'select' (descriptor %d is not open)", watch.fds[i])
    end
    if closed or events[i] & READY[event] ~= 0 then
      local list = lists[event]
      list[#list + 1] = object
      if type(object) ~= "number" then list[object] = #list end
    end
  end
  return lists[POLLIN], lists[POLLOUT]
end

-- The timeout is third, or fourth after the list of gevent's.
local function check_third(third, ...)
  if type(third) ~= "table" or select("#", ...) == 0 then
    check_seconds("select", 3, third)
    return third
  end
  if next(third) ~= nil then
    misuse "bad argument #3 to 'select' (exceptional conditions cannot be waited for)"
  end
  check_seconds("select", 4, (...))
  return (...)
end

--- Wait until something can be read or written: `green.select(r, w, 2)`.
-- As LuaSocket's, which it stands for: closed sockets are ignored, and both lists
-- are indexed by the objects, too. One that is closed meanwhile is ready.
-- @tparam ?table readers a list
-- @tparam ?table writers
-- @tparam[opt] number|Timeout timeout (a list in its place must be empty: the
-- exceptional ones of gevent; the timeout comes next then)
-- @treturn table those that can be read
-- @treturn table those that can be written
-- @treturn ?string `"timeout"` if the time ran out first
function M.select(readers, writers, timeout, ...)
  timeout = check_third(timeout, ...)
  local watch = { objects = {}, fds = {}, wanted = {} }
  add(watch, readers, 1, POLLIN)
  add(watch, writers, 2, POLLOUT)
  local n, events, waited = wait(watch.objects, watch.fds, watch.wanted, timeout)
  local r, w = answer(watch, events, waited)
  if n == 0 then return r, w, "timeout" end
  return r, w
end

-- poll -----------------------------------------------------------------------

--- Descriptors that are waited for again and again: `select.poll()`.
-- @type Poll
local Poll = { __name = "Poll" }
Poll.__index = Poll
M.Poll = Poll

function Poll:__tostring() return ("Poll: %d"):format(#self) end
function Poll:__len() return #self.objects end

--- Make one.
-- @treturn Poll
function M.poll()
  return setmetatable({ objects = {}, masks = {}, at = {} }, Poll)
end

local function check_mask(name, mask)
  if mask == nil then return POLLIN | POLLOUT end
  if math.type(mask) == "integer" and mask & ~(POLLIN | POLLOUT) == 0 then return mask end
  error(("bad argument #2 to '%s' (POLLIN, POLLOUT or both expected, got %s)")
    :format(name, tostring(mask)), 3)
end

local function check_known(self, name, object)
  local i = object ~= nil and self.at[object]
  if i then return i end
  error(("bad argument #1 to '%s' (%s is not registered)"):format(name, tostring(object)), 3)
end

--- Take an object in, or give it other events.
-- @tparam integer|socket object
-- @tparam[opt] integer events `POLLIN`, `POLLOUT`, or both (`|`), which is the default
function Poll:register(object, events)
  check_fd("register", 1, object)
  local mask = check_mask("register", events)
  local i = self.at[object] or #self.objects + 1
  self.objects[i], self.masks[i], self.at[object] = object, mask, i
end

--- Give an object other events. It must be registered.
-- @tparam integer|socket object
-- @tparam[opt] integer events
function Poll:modify(object, events)
  self.masks[check_known(self, "modify", object)] = check_mask("modify", events)
end

--- Take an object out. It must be registered.
-- @tparam integer|socket object
function Poll:unregister(object)
  local i = check_known(self, "unregister", object)
  table.remove(self.objects, i)
  table.remove(self.masks, i)
  self.at[object] = nil
  for j = i, #self.objects do self.at[self.objects[j]] = j end
end

--- Wait until something has happened to one of them.
-- @tparam[opt] number|Timeout timeout in seconds
-- @treturn table a list of `{ object, events }`, empty if the time ran out first
-- @usage for _, ready in ipairs(poll:poll(1)) do
--   if ready[2] & select.POLLIN ~= 0 then print(ready[1]:receive()) end
-- end
function Poll:poll(timeout)
  check_seconds("poll", 1, timeout)
  local objects = table.move(self.objects, 1, #self.objects, 1, {})
  local masks = table.move(self.masks, 1, #self.masks, 1, {})
  local fds = {}
  for i, object in ipairs(objects) do fds[i] = check_fd("poll", 1, object) end
  local _, events = wait(objects, fds, masks, timeout)
  local ready = {}
  for i, object in ipairs(objects) do
    local event = fds[i] < 0 and POLLNVAL or events[i]
    if event ~= 0 then ready[#ready + 1] = { object, event } end
  end
  return ready
end

-- `green.select(...)` is `green.select.select(...)`.
return setmetatable(M, {
  __call = function(_, ...) return M.select(...) end,
})

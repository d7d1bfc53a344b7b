--- `select` with LuaSocket's manners: whatever has no descriptor is passed over,
-- input that is buffered comes first, the rest in the order of descriptors.
-- `greenlua.socket` has it as its own.
--
-- @module greenlua.socket.select

local native = require "greenlua.core.select"
local is_timeout = require("greenlua.core.timeout").is
local waiting = require "greenlua.select.wait"

local M = {}

local POLLIN, POLLOUT, POLLNVAL = native.POLLIN, native.POLLOUT, native.POLLNVAL

local function check_timeout(timeout)
  if timeout == nil or is_timeout(timeout) then return timeout end
  local seconds = tonumber(timeout)
  if not seconds or type(timeout) == "boolean" then
    error(("bad argument #3 to 'select' (number expected, got %s)"):format(type(timeout)), 3)
  end
  return seconds >= 0 and seconds or nil
end

local function check_list(list, arg)
  if list == nil then return {} end
  if type(list) == "table" then return list end
  error(("bad argument #%d to 'select' (table expected, got %s)"):format(arg, type(list)), 3)
end

-- A number stands for itself; -1: it has none.
local function fd_of(object)
  if type(object) == "number" then return math.tointeger(object) or -1 end
  local getfd = object.getfd
  local fd = getfd and tonumber((getfd(object))) or -1
  return fd >= 0 and math.floor(fd) or -1
end

-- Add a list to what is waited for, each descriptor once. `by_fd` tells whose it
-- is: the last one's. Those whose input is buffered go to `dirty`, if there is one.
local function add(watch, list, event, by_fd, dirty)
  local i, seen = 1, {}
  while list[i] ~= nil do
    local object = list[i]
    local fd = fd_of(object)
    if fd >= 0 then
      by_fd[fd] = object
      local is_dirty = dirty and type(object) ~= "number" and object.dirty
      if is_dirty and is_dirty(object) then
        dirty[#dirty + 1] = object
        seen[fd] = true
      elseif not seen[fd] then
        seen[fd] = true
        watch[#watch + 1] = { fd = fd, event = event }
      end
    end
    i = i + 1
  end
end

local function wait(watch, by_fd, timeout)
  table.sort(watch, function(a, b) return a.fd < b.fd end)
  local objects, fds, wanted = {}, {}, {}
  for i, one in ipairs(watch) do
    objects[i], fds[i], wanted[i] = by_fd[one.fd], one.fd, one.event
  end
  return waiting.wait(objects, fds, wanted, timeout)
end

-- Each list says of its elements also where they are in it.
local function index(list)
  for i = 1, #list do
    if type(list[i]) ~= "number" then list[list[i]] = i end
  end
  return list
end

--- Waits until one of many sockets can be read or written.
-- @tparam ?table readers a list
-- @tparam ?table writers a list
-- @tparam[opt] number|Timeout timeout in seconds; a negative one is none
-- @treturn table those that can be read, by number, and their numbers by them
-- @treturn table those that can be written
-- @treturn ?string `"timeout"`
function M.select(readers, writers, timeout)
  timeout = check_timeout(timeout)
  local watch, by_fd, ready = {}, {}, { [POLLIN] = {}, [POLLOUT] = {} }
  local dirty = ready[POLLIN]
  add(watch, check_list(readers, 1), POLLIN, by_fd, dirty)
  add(watch, check_list(writers, 2), POLLOUT, by_fd)
  local found, events, waited = wait(watch, by_fd, #dirty > 0 and 0 or timeout)
  found = found + #dirty
  for i, one in ipairs(watch) do
    local closed = events[i] & POLLNVAL ~= 0
    if closed and not waited then error("select failed", 2) end
    if closed or events[i] & waiting.READY[one.event] ~= 0 then
      table.insert(ready[one.event], by_fd[one.fd])
    end
  end
  local r, w = index(ready[POLLIN]), index(ready[POLLOUT])
  if found == 0 then return r, w, "timeout" end
  return r, w
end

return M

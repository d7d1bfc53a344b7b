--- Sockets that a service manager has opened for us, and telling it how we are:
-- systemd's `LISTEN_FDS` and `NOTIFY_SOCKET` (sd\_listen\_fds(3), sd\_notify(3)).
--
-- The variables are read once, when they are first asked for, and taken out of the
-- environment: they are not for the programs that this one starts.
-- @module greenlua.server.systemd

local native = require "greenlua.core.server"

local M = {}

local FIRST = 3 -- what sd_listen_fds(3) calls SD_LISTEN_FDS_START

local inherited -- list of {fd =, name =}, those that are taken are out
local notify_socket -- false: there is none

local function number(name)
  local text = os.getenv(name)
  return text and text:find "^%d+$" and math.tointeger(tonumber(text)) or nil
end

local function names_of(text)
  local names = {}
  for name in ((text or "") .. ":"):gmatch "([^:]*):" do names[#names + 1] = name end
  return names
end

local function take_environment()
  local pid, count = number "LISTEN_PID", number "LISTEN_FDS"
  local names = names_of(os.getenv "LISTEN_FDNAMES")
  for _, name in ipairs { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" } do
    native.unsetenv(name)
  end
  inherited = {}
  if pid ~= native.getpid() or not count then return end -- another's, or none
  for i = 1, count do
    local fd = FIRST + i - 1
    -- No more than are open: a wrong number must not have us count for ever.
    if not native.set_inheritable(fd, false) then return end
    inherited[i] = { fd = fd, name = names[i] and names[i] ~= "" and names[i] or "unknown" }
  end
end

local function reason(name, kind)
  return ("the service manager has passed no %s%s"):format(
    kind and kind .. " socket" or "socket", name and (" named %q"):format(name) or "")
end

--- Take the next descriptor that the service manager has passed.
-- @tparam[opt] string name as `FileDescriptorName=` gives it; nil: any
-- @tparam[opt] string kind `"stream"` or `"datagram"`; nil: any
-- @treturn[1] integer descriptor, which is the caller's
-- @treturn[1] string its name
-- @treturn[2] nil
-- @treturn[2] string message
function M.take(name, kind)
  if not inherited then take_environment() end
  for i, entry in ipairs(inherited) do
    if (not name or entry.name == name) and (not kind or native.kind(entry.fd) == kind) then
      table.remove(inherited, i)
      return entry.fd, entry.name
    end
  end
  return nil, reason(name, kind)
end

--- Tell the service manager something, if there is one that wants to know.
-- @tparam string state `"READY=1"`, `"STOPPING=1"`, `"STATUS=…"` …
-- @treturn[1] boolean true; false if nobody wants to know
-- @treturn[2] nil
-- @treturn[2] string message
function M.notify(state)
  if notify_socket == nil then
    notify_socket = os.getenv "NOTIFY_SOCKET" or false
    native.unsetenv "NOTIFY_SOCKET"
  end
  if not notify_socket or not notify_socket:find "^[/@]." then return false end
  return native.notify(notify_socket, state)
end

return M

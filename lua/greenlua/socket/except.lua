--- LuaSocket's exceptions: `try` raises what the world does wrong, `protect` makes
-- `nil, message` of it again. What is raised by others passes through as it is,
-- kills and timeouts as well. Everything here may wait, the finalizer too.
--
-- @usage
-- local fetch = socket.protect(function(host)
--   local conn = socket.try(socket.connect(host, 80))
--   local try = socket.newtry(function() conn:close() end)
--   try(conn:send "GET / HTTP/1.0\r\n\r\n")
--   return try(conn:receive "*a")
-- end)
-- print(fetch "no.such.host.invalid") --> nil  host or service not provided, or not known
-- @module greenlua.socket.except

local M = {}

-- Marks what `try` raises; its field 1 is the message.
local Exception = { __metatable = false }

function Exception:__tostring() return tostring(self[1]) end

local getmetatable = debug.getmetatable -- not to be told `false`

local function unwrap(ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) == "table" and getmetatable(err) == Exception then return nil, err[1] end
  error(err, 0)
end

--- Makes a function that returns `nil, message` where a `try` in it fails.
-- @tparam function f
-- @treturn function
function M.protect(f)
  return function(...) return unwrap(pcall(f, ...)) end
end

--- Makes a `try` that calls a finalizer, without arguments, before it raises.
-- @tparam[opt] function finalizer
-- @treturn function `try(value, message, …)` returns its arguments if the first is
--   true, and raises the second otherwise, for `protect` to catch
function M.newtry(finalizer)
  return function(...)
    if (...) then return ... end
    if finalizer ~= nil then finalizer() end
    error(setmetatable({ (select(2, ...)) }, Exception), 0)
  end
end

return M

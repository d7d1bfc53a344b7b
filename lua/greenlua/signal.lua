--- Signals of the operating system, as greenlets.
--
-- `green.signal("SIGTERM", f)` runs f in a greenlet at each delivery. It does not
-- keep the program going. After gevent's `signal_handler`.
--
-- @module greenlua.signal

local core = require "greenlua.core"
local native = require "greenlua.core.signal"

--- A function at work on a signal.
-- @type Handler
local Handler = {}
Handler.__index = Handler

--- Stop handling: the signal has its default effect again.
function Handler:cancel()
  self.watcher:stop()
end
Handler.__close = Handler.cancel

--- @section end

local function number_of(signal)
  local number = signal
  if type(signal) == "string" then
    number = native[signal:match "^SIG" and signal or "SIG" .. signal]
  end
  if math.type(number) ~= "integer" then
    error(("bad argument #1 to 'signal' (name or number of a signal expected, got %s)")
      :format(tostring(signal)), 3)
  end
  return number
end

local M = {}
for name, number in pairs(native) do
  if math.type(number) == "integer" then M[name] = number end
end

local function serve(handler, f, ...)
  while handler.watcher:wait(handler.ref) do core.spawn(f, ...) end
end

return setmetatable(M, {
  --- Call `f(...)` in a new greenlet at each delivery of a signal:
  -- `green.signal("SIGTERM", f)`.
  -- @function __call
  -- @tparam string|integer signal "SIGTERM", "TERM" or 15
  -- @tparam function f
  -- @param ... its arguments
  -- @treturn Handler its `cancel` ends it
  __call = function(_, signal, f, ...)
    local number = number_of(signal)
    if type(f) ~= "function" and not (getmetatable(f) or {}).__call then
      error(("bad argument #2 to 'signal' (function expected, got %s)")
        :format(type(f)), 2)
    end
    local handler = setmetatable({ watcher = native.watch(number), ref = false },
      Handler)
    handler.greenlet = core.spawn(serve, handler, f, ...)
    handler.greenlet.name = "signal " .. tostring(signal)
    return handler
  end,
})

--- Server-sent events (the HTML standard, section 9.2): a response that goes on, as
-- browsers read it with `EventSource`.
--
-- @usage
-- http.serve(8080, function(req, res)
--   local events = res:events()
--   for price in prices:iter() do
--     if not events:send { event = "price", data = price } then return end
--   end
-- end)
--
-- When the client goes, the handler is ended, even while it waits for something else: its
-- greenlet is killed, as the connection is of no use any more, and its `<close>` variables
-- run. With `on_gone` it is told instead.
-- @module greenlua.http.events

local core = require "greenlua.core"
local Event = require("greenlua.event").Event
local greenlet = require "greenlua.greenlet"
local lock = require "greenlua.lock"
local object = require "greenlua.object"

local M = {}

--- A stream of events. Fields: `last_id`, the id of the last event that the client has seen
-- (its field Last-Event-ID) or nil; `gone`, an Event that is set when the client has gone.
-- @type Events
local Events = object.class "http.Events"
M.Events = Events

-- One at a time: the watcher sends comments.
local function write(self, text)
  if self.gone:is_set() or self.closed then return nil, "closed" end
  local hold <close> = self._lock:hold() -- luacheck: ignore
  if self.closed then return nil, "closed" end
  local ok, err = self._res:write(text)
  if not ok then self.gone:set() end
  return ok, err
end

local function watch(self, handler, on_gone)
  local gone
  repeat
    gone = self._res:_await_gone(self._keep_alive)
    if gone == false then write(self, ":\n\n") end
    if gone == nil then core.sleep(self._keep_alive or 3600) write(self, ":\n\n") end
  until gone or self.gone:is_set()
  self.gone:set()
  if self.closed then return end
  if on_gone then on_gone(self) else greenlet.kill(handler) end
end

local function check_options(options)
  if type(options) ~= "table" then
    error(("bad argument #2 to 'events' (table expected, got %s)"):format(type(options)), 3)
  end
  local keep_alive, on_gone = options.keep_alive, options.on_gone
  if keep_alive ~= nil and keep_alive ~= false
    and not (type(keep_alive) == "number" and keep_alive > 0) then
    error("bad argument #2 to 'events' (keep_alive: seconds or false expected)", 3)
  end
  if on_gone ~= nil and type(on_gone) ~= "function" then
    error("bad argument #2 to 'events' (on_gone: function expected)", 3)
  end
  if options.retry ~= nil and not (type(options.retry) == "number" and options.retry >= 0) then
    error("bad argument #2 to 'events' (retry: seconds expected)", 3)
  end
end

--- Is it one, or one of a subclass?
-- @function Events.is
-- @param value
-- @treturn boolean

--- @section end

--- Begin a stream of events; `res:events(options)` is the same. Options:
--
-- * `keep_alive` (15): seconds of silence until a comment is sent; false: none.
-- * `retry`: seconds after which the client shall connect again when it has been cut off.
-- * `on_gone`: `function(events)`, called instead of killing the handler.
-- @function new
-- @tparam Request req
-- @tparam Response res
-- @tparam[opt] table options
-- @treturn Events
function M.new(req, res, options)
  options = options or {}
  check_options(options)
  if res.head_sent then error("the head has been sent", 2) end
  local self = setmetatable({}, Events)
  self._res, self._lock, self.gone = res, lock.Semaphore(1), Event()
  self._keep_alive = options.keep_alive == nil and 15 or options.keep_alive or nil
  self.last_id = req:header "last-event-id"
  res:set_header("Content-Type", "text/event-stream")
  res:set_header("Cache-Control", "no-store")
  res:set_header("X-Accel-Buffering", "no") -- nginx would collect them
  res.compress = false
  local retry = options.retry and ("retry: %d\n\n"):format(math.floor(options.retry * 1000))
  if not res:write(retry or ":\n\n") then self.gone:set() end
  self._watcher = core.spawn(watch, self, core.current(), options.on_gone)
  res:_guest(self)
  return self
end

function Events:_leave()
  self.closed = true
  greenlet.kill(self._watcher)
end

local function line_of(name, value)
  value = tostring(value)
  if value:find "[\r\n%z]" then
    error(("bad argument #1 to 'send' (%s: one line expected, got %q)"):format(name, value), 4)
  end
  return ("%s: %s\n"):format(name, value)
end

local function format(event)
  local lines = {}
  if event.event ~= nil then lines[#lines + 1] = line_of("event", event.event) end
  if event.id ~= nil then lines[#lines + 1] = line_of("id", event.id) end
  if event.retry ~= nil then
    lines[#lines + 1] = ("retry: %d\n"):format(math.floor(event.retry * 1000))
  end
  if event.data ~= nil then
    local data = tostring(event.data):gsub("\r\n?", "\n")
    for line in (data .. "\n"):gmatch "([^\n]*)\n" do
      lines[#lines + 1] = "data: " .. line .. "\n"
    end
  end
  if #lines == 0 then
    error("bad argument #1 to 'send' (an event has event, data, id or retry)", 3)
  end
  return table.concat(lines) .. "\n"
end

--- Send an event; waits as long as the client is slower.
-- @tparam string|table event its data; or a table of `event` (its type), `data` (of any
--   number of lines), `id`, `retry` (seconds)
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`
function Events:send(event)
  if type(event) ~= "table" then event = { data = event } end
  return write(self, format(event))
end

--- Send a comment, which clients overlook.
-- @tparam[opt=""] string text
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`
function Events:comment(text)
  return write(self, ": " .. (text or ""):gsub("[\r\n]+", "\n: ") .. "\n\n")
end

--- Wait until the client has gone.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false: it is still there
function Events:wait(timeout)
  return self.gone:wait(timeout)
end

return M

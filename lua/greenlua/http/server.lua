--- The HTTP server.
--
-- @module greenlua.http.server

local core = require "greenlua.core.http"
local log = require "greenlua.http.log"
local object = require "greenlua.object"
local respond = require "greenlua.http.respond"
local stream = require "greenlua.server.stream"
require "greenlua.http.message"

local StreamServer = stream.StreamServer

local M = {}

--- A server: `Server(listener, handler [, options])`. It is a `StreamServer`
-- (`greenlua.server`), with its addresses, options and methods (`start`, `stop`,
-- `serve_forever` …), and speaks HTTP/1.1 with each connection.
--
-- An error of a handler is answered with a 500, and told by `report`; the client
-- sees nothing of it. If part of the response is out, the connection is cut, so that
-- the client cannot take that for the whole.
--
-- What cannot be understood, or could be understood in two ways, is refused with a 400
-- and the connection closed.
-- @type Server
local Server = StreamServer:extend "http.Server"
M.Server = Server

--- Seconds that `stop` gives to requests that are being handled.
Server.stop_timeout = 10

-- Options ------------------------------------------------------------------------

local function is_time(value)
  return value == false or (type(value) == "number" and value > 0)
end

local function is_count(value)
  return value == false or (math.type(value) == "integer" and value >= 0)
end

local function is_log(value)
  return type(value) == "function" or type(value) == "string" or type(value) == "boolean"
    or io.type(value) == "file"
end

local seconds = { "seconds, or false for no limit", is_time }
local size = { "a number, or false for no limit", is_count }
local flag = { "a boolean", function(v) return type(v) == "boolean" end }

local rate = { "bytes a second, or false", is_time }

local own = {
  header_timeout = seconds, idle_timeout = seconds, body_timeout = seconds,
  body_rate = rate, body_grace = seconds, max_body_time = seconds,
  write_timeout = seconds, write_rate = rate, write_grace = seconds,
  max_line = size, max_headers = size, max_head = size,
  max_body = size, max_drain = size, gzip = flag,
  gzip_min = { "a number of bytes", is_count },
  log = { "a function, a file, a file's name or a boolean", is_log },
  log_format = { '"combined" or "json"', function(v) return log.formats[v] ~= nil end },
}
Server._options = setmetatable(own, { __index = StreamServer._options })

local defaults = {
  header_timeout = 10, idle_timeout = 75, body_timeout = 30, write_timeout = 60,
  body_rate = 240, body_grace = 5, max_body_time = false, write_rate = 240, write_grace = 60,
  max_line = 8192, max_headers = 100, max_head = 65536, max_body = false, max_drain = 262144,
  gzip = false, gzip_min = 1024,
}

--- Make a server. Beside those of `StreamServer` there are these options:
--
-- * `header_timeout` (10): seconds for the head of a request, from its first byte on, and
--   from the connection on for the first.
-- * `idle_timeout` (75): how long a connection may wait for its next request.
-- * `body_timeout` (30), `write_timeout` (60): how long nothing may come of a body, and
--   nothing be taken of a response. false is no limit, for each of these.
-- * `body_rate` (240), `body_grace` (5): how many bytes a second a body must have on the
--   average, when it has been waited for so many seconds; only the time in which a handler
--   waits counts. false for clients who send a body as something happens. `max_body_time`
--   (false): seconds that a body is waited for in all.
-- * `write_rate` (240), `write_grace` (60): how many bytes a second the reader of a response
--   must take, and for how many seconds it may take fewer before the connection is cut, as it is
--   when `write_timeout` runs out; faster times give back what slow ones have used. Only the time
--   in which a handler waits for room counts, and what the client's system has acknowledged.
--   So a client that takes nothing has the `write_timeout`, one that takes a little now and
--   then the `write_grace`. false for clients that may pause, a player of films for instance.
-- * `max_line` (8192): bytes of the request line, and of each field.
-- * `max_headers` (100; 256 at most), `max_head` (65536): fields, and bytes, of a head.
-- * `max_body` (false): bytes of a request's body; more are refused with a 413.
-- * `max_drain` (262144): bytes that are read of a body which the handler has left, so
--   that the connection can be kept.
-- * `gzip` (false): compress what is text, and at least `gzip_min` (1024) bytes long, for
--   clients who accept that.
-- * `log` (false): an access log: a file's name, an open file, true for standard output,
--   or a function that gets a table (see `greenlua.http.log`). `log_format`: `"combined"`
--   or `"json"`.
-- * `pool` limits the connections, `tls` as for `StreamServer`: HTTP/1.1 is agreed on by
--   ALPN.
-- @usage local server = http.Server(8080, handler, { gzip = true, pool = 10000 })
-- @function Server
-- @param listener
-- @tparam function handler `function(req, res)`
-- @tparam[opt] table options
-- @treturn Server

--- Is it one of these servers?
-- @function Server.is
-- @param value
-- @treturn boolean

local function callable(value)
  local mt = type(value) ~= "function" and getmetatable(value)
  return type(value) == "function" or (type(mt) == "table" and mt.__call)
end

local function settings_of(self, options)
  local settings = { owner = self, respond = respond.respond, fail = respond.fail,
    handler = self._app, log = log.writer(options.log, options.log_format) }
  for name, value in pairs(defaults) do
    settings[name] = value
    if options[name] ~= nil then settings[name] = options[name] end
  end
  return settings
end

-- What StreamServer calls for each connection. The address costs more than all the
-- rest, and most never look at it.
local function connection_handler(native, knows)
  local serve = core.serve
  if knows then return function(conn, address) serve(conn, native, address) end end
  return function(conn) serve(conn, native) end
end

function Server:_init(listener, handler, options)
  if not callable(handler) then
    error(("bad argument #2 to 'http.Server' (function or callable expected, got %s)")
      :format(type(handler)), 3)
  end
  self._app = handler
  StreamServer._init(self, listener, function() end, options)
end

function Server:_set_up(settings)
  StreamServer._set_up(self, settings)
  self._native = core.server(settings_of(self, settings))
  self._handle = connection_handler(self._native, self._is_proxy)
end

-- HTTP/1.1 is what this server speaks, unless somebody knows better.
function Server:_prepare()
  local settings = self._settings
  local tls = settings.tls
  if type(tls) == "table" and not tls.accept and tls.alpn == nil then
    local with = { alpn = { "http/1.1" } }
    for name, value in pairs(tls) do with[name] = value end
    settings.tls = with
  end
  return StreamServer._prepare(self)
end

--- Have requests handled by another function from now on.
-- @tparam function handler
function Server:set_handle(handler)
  if not callable(handler) then
    error(("bad argument #1 to 'set_handle' (function or callable expected, got %s)")
      :format(type(handler)), 2)
  end
  self._app = handler
  self._native:set_handler(handler)
end

--- Listen and serve; see `StreamServer`.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Server:start()
  if not self.started then self._native:resume() end
  return StreamServer.start(self)
end

--- Stop: listen no more, close the connections that wait for a request, let the others
-- send their response, the last one of the connection. Who has not when the time
-- is up is killed; see `StreamServer`.
-- @tparam[opt=server.stop_timeout] number|Timeout timeout
-- @treturn boolean true; false if handlers had to be killed
function Server:stop(timeout)
  if timeout ~= nil then object.check_timeout("stop", timeout) end
  self:close()
  self._native:stop()
  for guest in pairs(self._guests or {}) do guest:_leave "stopping" end
  return StreamServer.stop(self, timeout)
end

Server.__close = function(self) self:stop() end

--- Tell of an error in a handler. By default on standard error, as the errors of
-- greenlets are told; servers of a subclass may do it elsewhere.
-- @param err what was raised
-- @tparam ?string trace where
-- @tparam ?Request req nil: it was refused, and what failed is the log
function Server:report(err, trace, req)
  local what = req and req.method .. " " .. req.target or "a refused request"
  io.stderr:write(("%s\n%s\n%s %s on %s failed with %s\n\n"):format(tostring(err),
    trace or "", os.date "!%Y-%m-%dT%H:%M:%SZ", what, object.label(self), tostring(err)))
end

--- How many connections there are, and how many requests have been served.
-- @treturn integer connections
-- @treturn integer requests
function Server:counts()
  return self._native:counts()
end

return M

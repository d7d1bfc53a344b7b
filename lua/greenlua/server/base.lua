--- What all servers have: options, their life from `start` to `stop`, limits.
--
-- @module greenlua.server.base

local core = require "greenlua.core"
local native = require "greenlua.core.server"
local waiting = require "greenlua.core.wait"
local address = require "greenlua.server.address"
local greenlet = require "greenlua.greenlet"
local handlers = require "greenlua.server.handlers"
local listener = require "greenlua.server.listener"
local object = require "greenlua.object"
local systemd = require "greenlua.server.systemd"

local M = {}

--- What servers are derived from. It knows when to listen and when to stop, and
-- which handlers run; what to do with what it listens on, a subclass says:
--
-- * `_kind`: `"stream"` or `"datagram"`.
-- * `_serve(listener, handlers)`: takes work from the listener until `self._listener` is
--   another one, or none; runs in a greenlet of the server's own. It calls
--   `self:_await_room(handlers)`, which parks while the server is full, and
--   `self:_spawn(handlers, main, conn, extra)` to have `main(session, conn, extra)` run in a
--   greenlet: main has `session` in a `<close>` variable, whose end closes `conn` (or false).
-- * `_options`: names and tests of its options, if it has more; `_set_up(options)` is given them.
--
-- Fields, read-only: `started` (it accepts), `closed` (it has nothing to listen on),
-- `address` (an Address: the real one once it has started), `host`, `port`, `path`,
-- `handlers` of its last start (`#server` is how many run). `name` may be set.
-- @type BaseServer
local BaseServer = object.class "BaseServer"
M.BaseServer = BaseServer

-- The seconds that `stop` gives handlers, if nobody says otherwise.
BaseServer.stop_timeout = 1

-- Options --------------------------------------------------------------------------

local function refuse(server, name, expected, value)
  object.misuse("bad option '%s' to '%s' (%s expected, got %s)", name, getmetatable(server).__name,
    expected, type(value) == "string" and ("%q"):format(value) or tostring(value))
end

local function is_count(value)
  return math.type(value) == "integer" and value > 0
end

local function is_time(value)
  return type(value) == "number" and value >= 0
end

-- name -> what it is, and the test for it; subclasses have more.
BaseServer._options = {
  backlog = { "a number of connections", is_count },
  reuse_port = { "a boolean", function(v) return type(v) == "boolean" end },
  name = { "a string", function(v) return type(v) == "string" end },
  mode = { "permissions (an integer up to 511, which is 0777)", function(v)
    return math.type(v) == "integer" and v >= 0 and v <= 511
  end },
  stop_timeout = { "a number of seconds, not negative", is_time },
  pool = { "a Pool, a Group, or a number of handlers", function(v)
    return is_count(v) or require("greenlua.pool").Group.is(v)
  end },
}

local function check_options(self, options)
  if options == nil then return {} end
  if type(options) ~= "table" then
    object.misuse("bad argument #3 to '%s' (a table of options expected, got %s)",
      getmetatable(self).__name, type(options))
  end
  for name, value in pairs(options) do
    local rule = self._options[name]
    if not rule then
      object.misuse("unknown option '%s' to '%s'", tostring(name), getmetatable(self).__name)
    end
    local ok, wrong = rule[2](value)
    if not ok then refuse(self, name, rule[1], wrong == nil and value or wrong) end
  end
  return options
end

-- A subclass may have a method `handle` in place of the argument.
local function set_handle(self, handle, argument)
  if handle == nil and self.handle then
    local method = self.handle
    handle = function(...) return method(self, ...) end
  end
  object.check_callable(argument == 2 and getmetatable(self).__name or "set_handle", argument,
    handle)
  self._handle = handle
end

local function publish(self, at)
  self.address, self.host, self.port, self.path = at, at.host, at.port, at.path
end

function BaseServer:_init(at, handle, options)
  self._at = address.check(at, getmetatable(self).__name)
  set_handle(self, handle, 2)
  self._settings = check_options(self, options)
  self.name = self._settings.name
  self.stop_timeout = self._settings.stop_timeout
  self:set_pool(self._settings.pool)
  self.started, self.closed = false, not self._at.socket
  self._epoch = 0 -- of opening and closing
  publish(self, listener.address(self._at))
  self:_set_up(self._settings)
end

-- For subclasses: what their options mean.
function BaseServer:_set_up() end

--- Is it a server of this class, or of a subclass?
-- @function BaseServer.is
-- @param value
-- @treturn boolean

--- Make a subclass. One with a method `handle` needs no function for it.
-- @usage local Upper = green.server.StreamServer:extend "Upper"
-- function Upper:handle(conn)
--   for line in conn:lines() do conn:send(line:upper() .. "\n") end
-- end
-- Upper(7000):serve_forever()
-- @function BaseServer:extend
-- @tparam string name
-- @treturn table the class

function BaseServer:__tostring()
  local state = self.started and "listens" or self.closed and "closed" or "listens, not started"
  return ("%s on %s: %s, %d running"):format(object.label(self), tostring(self.address), state,
    #self)
end

function BaseServer:__len()
  return self.handlers and self.handlers.count or 0
end

--- Have other connections handled by another function, from now on.
-- @tparam function handle
function BaseServer:set_handle(handle)
  set_handle(self, handle, 1)
end

--- Have handlers run in a pool, or limit their number, from now on.
-- @tparam ?Pool|integer pool nil: as many as come
function BaseServer:set_pool(pool)
  if pool ~= nil and not self._options.pool[2](pool) then
    refuse(self, "pool", self._options.pool[1], pool)
  end
  self._limit = math.type(pool) and pool or math.maxinteger
  self.pool = not math.type(pool) and pool or nil
  self._pooled = self.pool ~= nil
  if self.handlers then self.handlers:changed() end
end

--- Does it take no more, because its pool is full, or its limit reached?
-- @treturn boolean
function BaseServer:full()
  return #self >= self._limit or (self.pool and self.pool:full()) or false
end

-- Telling ----------------------------------------------------------------------

local QUIET = 10 -- seconds in which the same is not said again

--- Say that something is wrong which is not an error of this program: by default
-- a line on stderr. Of each kind one in ten seconds is said. Subclasses may say it
-- elsewhere.
-- @tparam string message
function BaseServer:warn(message)
  io.stderr:write(("%s %s on %s: %s\n"):format(os.date "!%Y-%m-%dT%H:%M:%SZ",
    object.label(self), tostring(self.address), message))
end

-- Peers may bring it about as often as they like; what they do must not fill disks.
function BaseServer:_warn(kind, message)
  self._said = self._said or {}
  local said, now = self._said[kind], core.now()
  if said and now < said.again then
    said.more = said.more + 1
    return
  end
  local more = said and said.more or 0
  self._said[kind] = { again = now + QUIET, more = 0 }
  self:warn(more == 0 and message or ("%s (and %d more since the last time)"):format(message, more))
end

-- The name of a handler that has failed.
function BaseServer:_describe(client, extra)
  return ("%s on %s, handler of %s"):format(object.label(self), tostring(self.address),
    tostring(client or self:_address_of(extra)))
end

-- For subclasses: the Address of what their `_serve` gives a session as its extra.
function BaseServer:_address_of() return "?" end

-- Taking work ------------------------------------------------------------------

-- Wait until a handler may begin.
function BaseServer:_await_room(set)
  if set.count >= self._limit then set:await_room() end
  if self.pool then self.pool:wait_available() end
end

-- Begin a handler.
function BaseServer:_spawn(...)
  if self.pool then return handlers.spawn_in(self.pool, ...) end
  return handlers.spawn(...)
end

-- The listener has failed.  What passes is waited for; the rest is raised.
function BaseServer:_failed(err)
  if err == "closed" or native.fatal[err] then
    error(("%s can listen no more on %s: %s"):format(object.label(self), tostring(self.address),
      err == "closed" and "its socket was closed by somebody else" or err), 0)
  end
  self:_warn(err, err)
  local now = core.now()
  if now > (self._trouble or 0) then self._delay = 0.005 end
  self._delay = math.min(self._delay * 2, 1)
  self._trouble = now + 2 * self._delay + 1 -- it goes on if it fails again before
  waiting.sleep(self._delay)
end

-- Life -------------------------------------------------------------------------

local function serve(self, sock, set)
  local _ <close> = setmetatable({}, { __close = function()
    if self._listener == sock then self:close() end
  end })
  self:_serve(sock, set)
end

local function open(self)
  if self._listener then return self._listener end
  if self._spent then
    return nil, "it cannot start again: what it was given to listen on is closed"
  end
  local epoch = self._epoch
  local sock, err, identity = listener.open(self._kind, self._at, self._settings)
  if not sock then return nil, err end
  if self._epoch ~= epoch then -- a name was looked for, which takes its time
    sock:close()
    return self._listener, "it was closed meanwhile"
  end
  local at = self._at
  self._spent = not (at.host or at.path)
  self._listener, self._file, self._epoch = sock, identity, epoch + 1
  if at.path then
    publish(self, address.new(at.path))
  else
    publish(self, address.of(sock))
    if at.host then at.port = self.port end -- the same one at the next start
  end
  return sock
end

local function check_serves(self)
  if self._serve then return end
  error(("%s cannot be started: it does not say how it serves (derive from StreamServer?)")
    :format(getmetatable(self).__name), 3)
end

--- Listen, and serve in greenlets of its own, until it is stopped. A server that
-- has been stopped can be started again, on the same port, unless what it listens
-- on was given to it open.
-- @treturn[1] boolean true; also if it had been started
-- @treturn[2] nil
-- @treturn[2] string `"cannot listen on …: address already in use"` …
function BaseServer:start()
  if self.started then return true end
  check_serves(self)
  local ok, err = self:_prepare()
  if not ok then return nil, err end
  local sock
  sock, err = open(self)
  if not sock then
    return nil, ("cannot listen on %s: %s"):format(tostring(self.address), err)
  end
  if self.started then return true end
  self.started, self.closed = true, false
  self.handlers = handlers.new(self)
  self._acceptor = core.spawn(serve, self, sock, self.handlers)
  self._acceptor.name = ("%s on %s"):format(object.label(self), tostring(self.address))
  return true
end

-- For subclasses: what is needed before it listens.
function BaseServer:_prepare() return true end

-- Let the listener go.
local function release(self)
  local sock, acceptor = self._listener or self._at.socket, self._acceptor
  self._listener, self._acceptor = nil, nil
  self._epoch = self._epoch + 1
  self.started, self.closed = false, true
  if acceptor and acceptor ~= core.current() then greenlet.kill(acceptor) end
  return sock
end

--- Listen no more; handlers go on. Connections that wait in the backlog, and
-- have not been accepted, are reset by the kernel: their clients read `"closed"`.
-- (A second server with `reuse_port` that started before does not help those; it
-- gets every connection that comes later.)
function BaseServer:close()
  local sock, file = release(self), self._file
  self._file = nil
  if not sock then return end
  if file then listener.unlink(self.path, file) end
  sock:close()
end

--- Stop: listen no more, then wait for the handlers to end. Those that have not when
-- the time is up are killed and waited for; one that catches the kill is closed
-- (`Greenlet:close`) a second later. A handler may stop its own server: it is not
-- waited for, nor killed. A call that is ended by an error (a kill, a Timeout) kills
-- the handlers and does not wait for them.
-- @tparam[opt=server.stop_timeout] number|Timeout timeout 0 kills at once; `math.huge`
--   waits for ever
-- @treturn boolean true; false if handlers had to be killed
function BaseServer:stop(timeout)
  if timeout ~= nil then object.check_timeout("stop", timeout) end
  timeout = timeout or self.stop_timeout
  if timeout == math.huge then timeout = nil end
  self:close()
  return not self.handlers or self.handlers:drain(timeout)
end

BaseServer.__close = function(self) self:stop() end

local function end_serving(guard)
  local self, set = guard.server, guard.set
  systemd.notify "STOPPING=1"
  set:join() -- who stops it says how long it takes
  if self.handlers == set then self:stop(guard.timeout) end
end

--- Start, and serve until the server is stopped, by `stop` or `close` in another
-- greenlet. If this greenlet is killed, or a Timeout raised in it, it stops the
-- server. A service manager is told (`READY=1`, `STOPPING=1`; see `notify`).
-- @usage assert(server:serve_forever())
-- @tparam[opt] number stop_timeout for the `stop` at the end
-- @treturn[1] boolean true when it has been stopped, and handlers have ended
-- @treturn[2] nil
-- @treturn[2] string it could not start
-- @raise what has ended it, if its listener failed
function BaseServer:serve_forever(stop_timeout)
  if stop_timeout ~= nil then object.check_timeout("serve_forever", stop_timeout) end
  check_serves(self)
  local ok, err = self:start()
  if not ok then return nil, err end
  local acceptor = self._acceptor
  local _ <close> = setmetatable({ server = self, set = self.handlers, timeout = stop_timeout },
    { __close = end_serving })
  systemd.notify "READY=1"
  waiting.get(acceptor)
  return true
end

-- The descriptor ----------------------------------------------------------------

--- The descriptor that it listens on.
-- @tparam[opt] boolean inheritable true: programs that are started from now on have it,
--   too, and may serve it (`{fd = n}`); false: they have it no more
-- @treturn[1] integer
-- @treturn[2] nil
-- @treturn[2] string `"closed"`
function BaseServer:fileno(inheritable)
  local sock = self._listener or self._at.socket
  local fd = sock and sock:getfd() or -1
  if fd < 0 then return nil, "closed" end
  if inheritable ~= nil then native.set_inheritable(fd, inheritable) end
  return fd
end

--- Give the descriptor up: it stays open, with the connections in its backlog, for
-- another server or program; this one accepts no more. Handlers go on.
-- @treturn[1] integer descriptor, the caller's from then on
-- @treturn[2] nil
-- @treturn[2] string `"closed"`
function BaseServer:detach()
  if self.closed then return nil, "closed" end
  self._file = nil
  local fd, err = release(self):detach()
  return fd, not fd and err or nil
end

return M

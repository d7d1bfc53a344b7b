--- Servers for connections.
--
-- @module greenlua.server.stream

local sockets = require "greenlua.core.socket"
local core = require "greenlua.core"
local waiting = require "greenlua.core.wait"
local address = require "greenlua.server.address"
local base = require "greenlua.server.base"
local handlers = require "greenlua.server.handlers"
local object = require "greenlua.object"
local proxy_protocol = require "greenlua.server.proxy_protocol"

local M = {}

--- A server for connections, TCP or UNIX:
-- `StreamServer(listener, handle [, options])`. Each connection is handled by
-- `handle(conn, address)` in a greenlet of its own, and closed when that ends, however.
-- After gevent's `StreamServer`.
--
-- `address` is the client's Address, with `host` and `port` (or `path`): an IPv4 client of
-- a socket for both families has its IPv4 address. Behind a proxy (see the options) it
-- is what the PROXY protocol says, `address.proxy` is the header, and `address.peer` the
-- Address that the connection really comes from. (It is made only for a function that
-- has a second parameter.)
--
-- An error of a handler is reported as every greenlet's, with the server and the
-- client in the greenlet's name, and harms nobody else; in a pool that is a nursery it
-- is the nursery's.
--
-- When descriptors or memory run out it waits for some to become free, and looks
-- again after 10 ms, 20 ms … 1 s; `warn` tells. If what it listens on is closed by
-- others, or broken, the server ends with an error: raised in `serve_forever`, or
-- reported.
--
-- It has all that a BaseServer has.
-- @type StreamServer
local StreamServer = object.class("StreamServer", base.BaseServer)
M.StreamServer = StreamServer

StreamServer._kind = "stream"

--- Is it a StreamServer, or of a subclass?
-- @function StreamServer.is
-- @param value
-- @treturn boolean

-- Options --------------------------------------------------------------------------

-- The seconds for what comes before the handler: a PROXY header, a TLS handshake.
StreamServer.handshake_timeout = 10

local function is_time(value)
  return type(value) == "number" and value > 0
end

local always = { [true] = true, require = true } -- proxy_protocol: whoever comes

local own = {
  max_accept = { "a number of connections", function(v)
    return math.type(v) == "integer" and v > 0
  end },
  handshake_timeout = { "a number of seconds", is_time },
  tls = { "a table of ssl.server's options, or the Context of a server", function(v)
    local contexts = require "greenlua.ssl.context"
    if contexts.Context.is(v) then return v.mode == "server" end
    local problem = type(v) == "table" and contexts.check("server", v)
    return type(v) == "table" and not problem, problem
  end },
  proxy_protocol = { "true, or a list of addresses and networks", function(v)
    if always[v] or type(v) ~= "table" then return always[v] end
    local networks, wrong = address.networks(v)
    return networks ~= nil, wrong
  end },
}
StreamServer._options = setmetatable(own, { __index = base.BaseServer._options })

--- Make a server. Nothing is opened before it is started.
--
-- What to listen on: a port number, or `"80"`, `":80"`, `{"", 80}`: all addresses, IPv6 and
-- IPv4 by one socket (IPv4 alone where there is no IPv6); `"*:80"`: all IPv4 addresses, as
-- `socket.bind`; `"host:80"`, `"[::1]:80"`, `{host, port}`, `{host =, port =}`; `"unix:/path"`,
-- `{path =}` (`"unix:@name"` is an abstract one); a bound or listening socket; `{fd = 3}`;
-- `"systemd"`, `"systemd:name"`: what the service manager passes (see `inherited`).
--
-- Options:
--
-- * `pool`: a Pool to run handlers in, or how many may run at once. While there is no
--   room nothing is accepted: clients wait in the backlog.
-- * `backlog` (1024): how many connections wait to be accepted.
-- * `reuse_port`: several servers, also of other processes, share the port
--   (SO\_REUSEPORT); the kernel spreads connections over them. For a reload: start the
--   new one, then stop the old one.
-- * `max_accept` (64, which is the most): how many are accepted before all others have
--   a turn.
-- * `tls`: options of `ssl.server`, or a Context. The handshake is done in the handler's
--   greenlet, and `conn` is the TLS connection.
-- * `proxy_protocol`: true or `"require"`: every connection begins with a PROXY header
--   (version 1 or 2). A list of addresses and networks (`"10.0.0.0/8"`, `"::1"`, `"unix"`):
--   those of them do, others are served as they are. What has no right header is
--   closed.
-- * `handshake_timeout` (10): seconds for the header and the handshake together.
-- * `stop_timeout` (1): see `stop`.
-- * `mode`: permissions of a UNIX socket, 384 (0600) for instance. Its file is made when
--   the server starts (that of a dead server is taken away first), and goes when it stops.
-- * `name`: for people.
-- @usage local server = green.server.StreamServer("127.0.0.1:7000", function(conn, address)
--   conn:send("hello, " .. tostring(address) .. "\n")
-- end, { pool = 1000 })
-- assert(server:serve_forever())
-- @function StreamServer
-- @param listener
-- @tparam function handle
-- @tparam[opt] table options
-- @treturn StreamServer

function StreamServer:_set_up(settings)
  self.handshake_timeout = settings.handshake_timeout
  self._max_accept = settings.max_accept or math.maxinteger -- accept has a limit of its own
  local proxy = settings.proxy_protocol
  if always[proxy] then
    self._is_proxy = function() return true end
  elseif proxy then
    self._is_proxy = address.networks(proxy)
  end
end

-- A table of options becomes a context at each start, which reads the files again.
function StreamServer:_prepare()
  local tls = self._settings.tls
  if not tls then return true end
  local context, err = require("greenlua.ssl").to_server(tls)
  self._context = context
  if context then return true end
  return nil, "no TLS: " .. tostring(err)
end

-- Before the handler -------------------------------------------------------------------

local function left(deadline) return math.max(0, deadline - core.now()) end

-- The Address of the client; nil: the connection is not to be served.
local function read_header(self, conn, peer, deadline)
  if not self._is_proxy(peer) then return peer end
  conn:settimeout(left(deadline), "t")
  local header, err = proxy_protocol.read(conn)
  conn:settimeout(-1, "t")
  if not header then
    self:_warn("proxy", ("no PROXY header from %s: %s"):format(tostring(peer), err))
    return nil
  end
  local source = header.source or peer
  local client = address.new(source.host or source.path, source.port)
  client.proxy, client.peer = header, peer
  return client
end

local function shake_hands(self, conn, peer, deadline)
  local ok, err = self._context:accept(conn, left(deadline))
  if not ok then
    self:_warn("tls", ("no TLS handshake with %s: %s"):format(tostring(peer), err))
  end
  return ok
end

-- What comes before the handler, as `read_header`.
local function introduce(self, conn, peer)
  local deadline = core.now() + self.handshake_timeout
  local client = peer
  if self._is_proxy then client = read_header(self, conn, peer, deadline) end
  if client and self._context and not shake_hands(self, conn, client, deadline) then return nil end
  return client
end

-- Handling ---------------------------------------------------------------------

-- Most handlers do not look at the address, which costs more than the rest.
local function wants_address(handle)
  if type(handle) ~= "function" then return true end
  local info = debug.getinfo(handle, "u")
  return info.nparams > 1 or info.isvararg
end

local function plain(handle)
  return function(s, conn)
    local session <close> = s -- luacheck: ignore 211
    handle(conn)
  end
end

local function addressed(handle)
  return function(s, conn, raw)
    local session <close> = s -- luacheck: ignore 211
    handle(conn, address.decode(raw))
  end
end

local function introduced(self, handle)
  return function(s, conn, raw)
    local session <close> = s
    local client = introduce(self, conn, address.decode(raw))
    if not client then return end
    session.address = client
    handle(conn, client)
  end
end

-- What handlers' greenlets run.
local function main_for(self, handle)
  if self._is_proxy or self._context then return introduced(self, handle) end
  return wants_address(handle) and addressed(handle) or plain(handle)
end

local function accept_failed(self, listener, err, shortage)
  if self._listener ~= listener then return false end -- we have closed it
  if shortage then
    self:_warn("shortage", ("cannot accept: %s; connections wait"):format(err))
  else
    self:_failed(err)
  end
  return true
end

function StreamServer:_address_of(raw) return address.decode(raw) end

function StreamServer:_serve(listener, set)
  local accept, spawn, budget = sockets.accept, handlers.spawn, self._max_accept
  local main, handler, taken = nil, nil, 0
  while true do
    if self._pooled or set.count >= self._limit then self:_await_room(set) end
    local conn, raw, shortage = accept(listener)
    if conn then
      if handler ~= self._handle then
        handler = self._handle
        main = main_for(self, handler)
      end
      if self._pooled then
        self:_spawn(set, main, conn, raw)
      else
        spawn(set, main, conn, raw)
      end
      taken = taken + 1
      if taken >= budget then
        taken = 0
        waiting.sleep(0)
      end
    elseif not accept_failed(self, listener, raw, shortage) then
      return
    end
  end
end

return M

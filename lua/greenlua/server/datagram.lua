--- Servers for datagrams.
--
-- @module greenlua.server.datagram

local waiting = require "greenlua.core.wait"
local address = require "greenlua.server.address"
local base = require "greenlua.server.base"
local object = require "greenlua.object"
local check_string = object.check_string

local M = {}

--- A server for datagrams, UDP or UNIX: `DatagramServer(listener, handle [, options])`.
-- Each is handled by `handle(data, host, port)` in a greenlet of its own; `host` is the path
-- of a UNIX peer, nil if it has none, `port` nil then. An answer goes out by
-- `server:sendto`. After gevent's `DatagramServer`.
--
-- While there is no room in its pool nothing is received: what the kernel cannot keep
-- it drops, as UDP does.
--
-- It has all that a BaseServer has.
-- @type DatagramServer
local DatagramServer = object.class("DatagramServer", base.BaseServer)
M.DatagramServer = DatagramServer

--- Is it a DatagramServer, or of a subclass?
-- @function DatagramServer.is
-- @param value
-- @treturn boolean

DatagramServer._kind = "datagram"

local LARGEST = 65535 -- bytes of a datagram
local BURST = 64

local own = {
  burst = { "a number of datagrams", function(v) return math.type(v) == "integer" and v > 0 end },
}
DatagramServer._options = setmetatable(own, { __index = base.BaseServer._options })

--- Make a server. What to listen on is written as for a StreamServer, and so are
-- the options `pool`, `reuse_port`, `stop_timeout`, `mode` and `name`; `burst` (64) is how many
-- datagrams are taken before all others have a turn.
-- @usage local server
-- server = green.server.DatagramServer(7000, function(data, host, port)
--   server:sendto(data:upper(), host, port)
-- end)
-- assert(server:serve_forever())
-- @function DatagramServer
-- @param listener
-- @tparam function handle
-- @tparam[opt] table options
-- @treturn DatagramServer

function DatagramServer:_set_up(settings)
  self._burst = settings.burst or BURST
end

-- A socket for both families calls IPv4 addresses by their names in IPv6.
local MAPPED = "::ffff:"

local function plain(host)
  return host and host:match "^::ffff:(%d+%.%d+%.%d+%.%d+)$" or host
end

local function mapped(sock, host)
  if not host:find "^%d+%.%d+%.%d+%.%d+$" or sock:getfamily() ~= "inet6" then return host end
  return MAPPED .. host
end

--- Send a datagram from where it listens. Any number of greenlets may.
-- @tparam string data
-- @tparam string host or the path of a UNIX socket
-- @tparam ?integer port
-- @treturn[1] integer its size
-- @treturn[2] nil
-- @treturn[2] string message
function DatagramServer:sendto(data, host, port)
  local sock = self._listener
  data, host = check_string("sendto", 1, data), check_string("sendto", 2, host)
  if (port ~= nil or not self.path) and type(port) ~= "number" then
    port = check_string("sendto", 3, port)
  end
  if not sock then return nil, "closed" end
  return sock:sendto(data, port and mapped(sock, host) or host, port)
end

local function main_for(handle)
  return function(s, _, from)
    local session <close> = s -- luacheck: ignore 211
    handle(from.data, from.host, from.port)
  end
end

function DatagramServer:_address_of(from)
  return address.new(from.host or "", math.tointeger(from.port))
end

function DatagramServer:_serve(sock, set)
  local main, handler, taken = nil, nil, 0
  while true do
    self:_await_room(set)
    local data, host, port = sock:receivefrom(LARGEST)
    if data then
      if handler ~= self._handle then
        handler = self._handle
        main = main_for(handler)
      end
      self:_spawn(set, main, false, { data = data, host = plain(host), port = port })
      taken = taken + 1
      if taken >= self._burst then
        taken = 0
        waiting.sleep(0)
      end
    elseif self._listener ~= sock then
      return
    else
      self:_failed(host)
    end
  end
end

return M

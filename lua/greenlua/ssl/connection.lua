--- TLS connections: sockets with a filter of OpenSSL's under them, and the methods
-- that they have besides a socket's. See `greenlua.ssl`.
--
-- @module greenlua.ssl.connection

local core = require "greenlua.core.ssl"
local object = require "greenlua.object"
local sockets = require "greenlua.core.socket"
require "greenlua.socket" -- which adds methods of its own

local M = {}

local methods = {}
for name, method in pairs(sockets.classes["tcp{client}"]) do methods[name] = method end
for _, name in ipairs {
  "exportkeyingmaterial", "getalpn", "getfinished", "getpeercertificate", "getpeerchain",
  "getpeerfinished", "getpeerverification", "getsniname", "session_reused", "setdane",
  "settlsa", "update_keys", "want",
} do
  methods[name] = core[name]
end
methods.class = "SSL:Connection"
M.methods = methods

local metatable = {}
for name, value in pairs(getmetatable(sockets.tcp())) do metatable[name] = value end
metatable.__index = methods
metatable.__name = "SSL:Connection"
function metatable:__tostring()
  return ("SSL connection: %p%s"):format(self, core.attached(self) and "" or " (closed)")
end

--- Makes a socket a TLS connection; the handshake is still to be done.
-- @param sock
-- @param context of greenlua.core.ssl
-- @tparam[opt] function prepare is called with what comes under the socket
-- @tparam[opt] string bytes that have come already
-- @treturn[1] socket the same
-- @treturn[2] nil
-- @treturn[2] string message
function M.attach(sock, context, prepare, bytes)
  local conn, err = core.connection(context)
  if not conn then return nil, err end
  if prepare then prepare(conn) end
  return sockets.filter(sock, conn, metatable, bytes)
end

--- Does the handshake, or goes on with it.
-- @function handshake
-- @param sock
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
M.handshake = sockets.handshake

--- LuaSec's: true, or false and a message.
function methods:dohandshake()
  local ok, err = sockets.handshake(self)
  if ok then return true end
  return false, err
end

local function check_map(map)
  if type(map) ~= "table" then
    error(("bad argument #1 to 'sni' (table expected, got %s)"):format(type(map)), 3)
  end
  for name, context in pairs(map) do
    if type(name) ~= "string" or type(context) ~= "userdata" then
      error("bad argument #1 to 'sni' (names and contexts expected)", 3)
    end
  end
end

--- LuaSec's: a client's name for the server, or a server's contexts by name.
function methods:sni(name, strict)
  if not core.server(self) then
    return core.sni(self, object.check_string("sni", 1, name))
  end
  check_map(name)
  core.choose(self, function(asked)
    return asked and (name[asked] or not strict and nil)
  end)
end

local description = "^(%S+)%s+(%S+)%s+Kx=(%S+)%s+Au=(%S+)%s+Enc=(%S+)%s+Mac=(%S+)"

--- What was agreed on: a table, or one field of it.
function methods:info(field)
  if not core.open(self) then return nil, "closed" end
  if field == "compression" then return nil end
  local text, bits, algbits, protocol = core.describe(self)
  local info, _ = { bits = bits, algbits = algbits }, nil
  if text then
    info.cipher, _, info.key, info.authentication, info.encryption, info.mac =
      text:match(description)
    info.protocol = protocol
    info.export = false
  end
  if field then return info[field] end
  return info
end

return M

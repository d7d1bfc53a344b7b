--- The addresses of servers: what can be written for one, and how one reads.
--
-- @module greenlua.server.address

local core = require "greenlua.core.server"
local misuse = require("greenlua.object").misuse

local M = {}

--- Where somebody is: `host` and `port`, or the `path` of a UNIX socket (`""` for
-- one without a name, as clients are). `tostring` writes it as servers read it.
-- @type Address
local Address = { __name = "Address" }
Address.__index = Address

local function printable(path)
  return (path:gsub("^\0", "@"):gsub("%c", function(c) return ("\\%d"):format(c:byte()) end))
end

function Address:__tostring()
  if self.path then return "unix:" .. printable(self.path) end
  if not self.host then return self.label or "?" end
  return (self.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(self.host, self.port)
end

function Address.__eq(a, b)
  return a.host == b.host and a.port == b.port and a.path == b.path
end

--- @section end

--- Make an Address.
-- @tparam ?string host
-- @tparam ?integer port nil: `host` is a path
-- @treturn Address
function M.new(host, port)
  if port then return setmetatable({ host = host, port = port }, Address) end
  return setmetatable({ path = host }, Address)
end

--- The Address that the system has written in bytes.
-- @tparam string raw
-- @treturn Address
function M.decode(raw)
  return M.new(core.decode(raw))
end

--- The Address of a socket, or of its peer.
-- @tparam socket sock
-- @tparam[opt="getsockname"] string method
-- @treturn Address
function M.of(sock, method)
  local host, port = sock[method or "getsockname"](sock)
  if not host then return M.new "" end
  local mapped = host:match "^::ffff:(%d+%.%d+%.%d+%.%d+)$"
  return M.new(mapped or host, math.type(port) and port or tonumber(port))
end

-- Reading ------------------------------------------------------------------------

--- What can be written, for messages.
M.forms = table.concat({ "a port", '"host:port"', '"[::1]:port"', '":port"', '"*:port"',
  "{host, port}", '"unix:/path"', '{path = "/path"}', "a bound socket", "{fd = 3}",
  '"systemd"', '"systemd:name"' }, ", ")

local function port_of(value)
  if type(value) == "string" then
    value = value:find "^%d%d?%d?%d?%d?$" and math.tointeger(tonumber(value))
  end
  local port = math.type(value) and math.tointeger(value)
  return port and port >= 0 and port <= 65535 and port or nil
end

local LONGEST = 107 -- bytes of a UNIX path, which ends with a zero

local function path_of(value)
  if type(value) ~= "string" or value == "" or #value > LONGEST then return nil end
  if value == "\0" or value:find("\0", 2, true) then return nil end
  return value
end

local function host_and_port(host, port)
  port = port_of(port)
  if type(host) ~= "string" or host:find "[\0%s%[%]]" or not port then return nil end
  return { host = host, port = port }
end

local function read_string(text)
  local path = text:match "^unix:(.*)$"
  if path then
    path = path_of((path:gsub("^@", "\0")))
    return path and { path = path }
  end
  if text == "systemd" then return { inherited = true } end
  local name = text:match "^systemd:(.+)$"
  if name then return { inherited = true, name = name } end
  if not text:find(":", 1, true) then return host_and_port("", text) end
  local host, port = text:match "^%[([^%[%]]*:[^%[%]]*)%]:(%d+)$"
  if not host then host, port = text:match "^([^:]*):(%d+)$" end
  if host then return host_and_port(host, port) end
end

local function read_table(t)
  if t.path ~= nil then
    local path = path_of(t.path)
    return path and { path = path }
  elseif t.fd ~= nil then
    return math.type(t.fd) == "integer" and t.fd >= 0 and { fd = t.fd } or nil
  end
  local host, port = t.host, t.port
  if host == nil then host = t[1] end
  if port == nil then port = t[2] end
  return host_and_port(host == nil and "" or host, port)
end

-- A userdata may refuse to be indexed.
local function is_socket(value)
  local ok, getfd = pcall(function() return value.getfd end)
  return ok and type(getfd) == "function"
end

--- Read what a server is to listen on.
-- @param value one of the forms
-- @treturn[1] table with `host` and `port`, `path`, `fd`, `socket`, or
--   `inherited` and perhaps `name`
-- @treturn[2] nil if it is no address
function M.parse(value)
  local kind = type(value)
  if kind == "string" then return read_string(value) end
  if kind == "number" then return host_and_port("", value) end
  if kind == "userdata" then return is_socket(value) and { socket = value } or nil end
  if kind ~= "table" then return nil end
  if is_socket(value) then return { socket = value } end
  return read_table(value)
end

local function shown(value)
  if type(value) == "string" then return ("%q"):format(value):gsub("\\\n", "\\n") end
  if type(value) ~= "table" then return tostring(value) end
  local words = {}
  for _, key in ipairs { 1, 2, "host", "port", "path", "fd" } do
    local v = rawget(value, key)
    if v ~= nil then
      words[#words + 1] = (type(key) == "string" and key .. " = " or "")
        .. (type(v) == "string" and ("%q"):format(v) or tostring(v))
    end
  end
  return "{" .. table.concat(words, ", ") .. "}"
end

--- As `parse`, but raises what is no address.
-- @param value
-- @tparam string class for the message
-- @treturn table
function M.check(value, class)
  local parsed = M.parse(value)
  if parsed then return parsed end
  misuse("bad argument #1 to '%s' (an address expected: %s; got %s)", class, M.forms, shown(value))
end

-- Networks -----------------------------------------------------------------------

-- All addresses as the 16 bytes of IPv6, so that a mapped one is itself.
local function bytes_of(text)
  local bytes = core.pton(text)
  if not bytes then return nil end
  return #bytes == 4 and ("\0"):rep(10) .. "\xff\xff" .. bytes or bytes, #bytes * 8
end

local function read_network(text)
  if text == "unix" then return { unix = true } end
  local number, length = text:match "^([^/]+)/(%d%d?%d?)$"
  local bytes, width = bytes_of(number or text)
  local prefix = bytes and (length and math.tointeger(tonumber(length)) or width)
  if not prefix or prefix > width then return nil end
  return { bytes = bytes, prefix = prefix + 128 - width }
end

local function contains(network, bytes)
  local whole, rest = network.prefix // 8, network.prefix % 8
  if bytes:sub(1, whole) ~= network.bytes:sub(1, whole) then return false end
  if rest == 0 then return true end
  local shift = 8 - rest
  return bytes:byte(whole + 1) >> shift == network.bytes:byte(whole + 1) >> shift
end

--- Read a list of addresses and networks: `"10.0.0.0/8"`, `"::1"`, and `"unix"`
-- for peers on a UNIX socket.
-- @tparam table list
-- @treturn[1] function (Address) -> is it in one of them?
-- @treturn[2] nil
-- @return[2] the one that is none
function M.networks(list)
  local networks = {}
  for i, text in ipairs(list) do
    networks[i] = type(text) == "string" and read_network(text)
    if not networks[i] then return nil, text end
  end
  return function(address)
    local bytes = address.host and bytes_of((address.host:gsub("%%.*", "")))
    for _, network in ipairs(networks) do
      if network.unix then
        if address.path then return true end
      elseif bytes and contains(network, bytes) then
        return true
      end
    end
    return false
  end
end

return M

--- LuaSocket's face of the resolver: `socket.dns`. `greenlua.dns` is the full one,
-- with timeouts, services, and records of all kinds. Whoever asks parks.
--
-- @usage
-- local socket = require "greenlua.socket"
-- print(socket.dns.toip "localhost") --> 127.0.0.1  table: 0x…
-- @module greenlua.socket.dns

local core = require "greenlua.core.socket"
local check_string = require("greenlua.object").check_string

local M = {}

local function resolver() return require "greenlua.dns" end

-- What the C library's gethostbyname says.
local messages = {
  NXDOMAIN = "host not found", BADNAME = "host not found",
  NODATA = "No address associated with name",
  SERVFAIL = "Host name lookup failure", TIMEOUT = "Host name lookup failure",
  UNREACHABLE = "Host name lookup failure", REFUSED = "Host name lookup failure",
}

local function failed(message, code)
  return nil, messages[code] or message
end

-- Its name, of the number of an IPv4 address.
local function by_address(address)
  local name, message, code = resolver().getnameinfo(address, nil, { namereqd = true })
  if not name then return failed(message, code) end
  return { name = name, alias = {}, ip = { address } }
end

local function by_name(host)
  local list, message, code =
    resolver().getaddrinfo(host, nil, { family = "inet", canonname = true })
  if not list then return failed(message, code) end
  local name, ip = list[1].canonname, {}
  for i, address in ipairs(list) do ip[i] = address.addr end
  return { name = name, alias = name:lower() ~= host:lower() and { host } or {}, ip = ip }
end

local function find(address)
  if address:find "^%d+%.%d+%.%d+%.%d+$" then return by_address(address) end
  return by_name(address)
end

--- The IPv4 address of a host.
-- @tparam string host a name or a number
-- @treturn[1] string the first one
-- @treturn[1] table all there is: `name`, `alias` (a list), `ip` (a list)
-- @treturn[2] nil
-- @treturn[2] string `"host not found"` …
function M.toip(host)
  local found, message = find(check_string("toip", 1, host))
  if not found then return nil, message end
  return found.ip[1], found
end

--- The name of a host.
-- @tparam string host an IPv4 address, or a name
-- @treturn[1] string its canonical name
-- @treturn[1] table as `toip`
-- @treturn[2] nil
-- @treturn[2] string `"host not found"` …
function M.tohostname(host)
  local found, message = find(check_string("tohostname", 1, host))
  if not found then return nil, message end
  return found.name, found
end

--- The addresses of a host, of both families.
-- @tparam string host a name or a number
-- @treturn[1] table a list of `{ family =, addr = }`; the family is `"inet"` or `"inet6"`
-- @treturn[2] nil
-- @treturn[2] string `"host or service not provided, or not known"` …
function M.getaddrinfo(host)
  local list, message = resolver().getaddrinfo(check_string("getaddrinfo", 1, host))
  if not list then return nil, message end
  local plain = {}
  for i, address in ipairs(list) do
    plain[i] = { family = address.family, addr = address.addr }
  end
  return plain
end

--- The names of a host's addresses, and of a service.
-- @tparam ?string host a name or a number
-- @tparam[opt] string|integer service a name or a number
-- @treturn[1] table a list of names; a number where an address has none
-- @treturn[1] ?string the service's name, if it was asked for
-- @treturn[2] nil
-- @treturn[2] string message
function M.getnameinfo(host, service)
  if host == nil and service == nil then error("host and serv cannot be both nil", 2) end
  host = host ~= nil and check_string("getnameinfo", 1, host) or nil
  service = service ~= nil and check_string("getnameinfo", 2, service) or nil
  local number = tonumber(service)
  if number then -- what the C library makes of it
    number = math.tointeger(number)
    if not number or number < 0 then return nil, "service not supported for socket type" end
    service = number & 0xffff
  end
  local list, message = resolver().getaddrinfo(host, service, { socktype = "stream" })
  if not list then return nil, message end
  local names, name = {}, nil
  for i, address in ipairs(list) do
    local found, its = resolver().getnameinfo(address.addr, address.port)
    names[i], name = found or address.addr, found and its or tostring(address.port)
  end
  if not host then names = {} end
  if service then return names, name end
  return names
end

--- The name of this machine.
-- @function gethostname
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
M.gethostname = core.gethostname

return M

--- The client's side of SOCKS 5 (RFC 1928), with user and password (RFC 1929).
-- For greenlua's own modules.
--
-- @module greenlua.http.client.socks

local now = require("greenlua.core").now
local urls = require "greenlua.http.client.url"

local M = {}

local VERSION, CONNECT = 5, 1
local NO_AUTHENTICATION, PASSWORD, NOTHING_FITS = 0, 2, 255
local PASSWORD_VERSION = 1
local IPV4, NAME, IPV6 = 1, 3, 4

local refusals = { "general failure", "not allowed by its rules", "network unreachable",
  "host unreachable", "connection refused", "TTL expired", "command not supported",
  "address type not supported" }

-- Send, and read so many bytes of an answer.
local function ask(sock, deadline, bytes, n)
  sock:settimeout(deadline and math.max(deadline - now(), 0))
  if bytes then
    local ok, err = sock:send(bytes)
    if not ok then return nil, err end
  end
  return sock:receive(n)
end

local function log_in(sock, deadline, proxy)
  local reply, err = ask(sock, deadline,
    string.pack("Bs1s1", PASSWORD_VERSION, proxy.user, proxy.password), 2)
  if not reply then return nil, err end
  if reply:byte(2) ~= 0 then return nil, "the proxy does not take the user and the password" end
  return true
end

local function greet(sock, deadline, proxy)
  local methods = proxy.user and string.char(NO_AUTHENTICATION, PASSWORD)
    or string.char(NO_AUTHENTICATION)
  local reply, err = ask(sock, deadline, string.pack("Bs1", VERSION, methods), 2)
  if not reply then return nil, err end
  local version, method = reply:byte(1, 2)
  if version ~= VERSION then return nil, "the proxy does not speak SOCKS 5" end
  if method == PASSWORD and proxy.user then return log_in(sock, deadline, proxy) end
  if method == NO_AUTHENTICATION then return true end
  if method ~= NOTHING_FITS then return nil, "the proxy's answer makes no sense" end
  return nil, proxy.user and "the proxy wants another way to log in" or
    "the proxy wants a user and a password"
end

-- Where to, as the protocol has it.
local function place(host, port)
  local address = urls.address(host)
  if not address then return string.pack(">Bs1I2", NAME, host, port) end
  return string.char(#address == 4 and IPV4 or IPV6) .. address .. string.pack(">I2", port)
end

-- The proxy tells where it has connected from, in one of three shapes.
local function skip_address(sock, deadline, kind, first)
  local left
  if kind == IPV4 then
    left = 4 + 2 - 1
  elseif kind == IPV6 then
    left = 16 + 2 - 1
  elseif kind == NAME then
    left = first + 2
  else
    return nil, "the proxy's answer makes no sense"
  end
  return ask(sock, deadline, nil, left)
end

local function request(sock, deadline, where)
  local reply, err = ask(sock, deadline, string.pack("BBB", VERSION, CONNECT, 0) .. where, 5)
  if not reply then return nil, err end
  local version, status, _, kind, first = reply:byte(1, 5)
  if version ~= VERSION then return nil, "the proxy's answer makes no sense" end
  if status ~= 0 then
    return nil, ("the proxy says: %s"):format(refusals[status] or "error " .. status)
  end
  return skip_address(sock, deadline, kind, first)
end

-- The first of the addresses, which are in the order in which to try them.
local function resolve(host, settings, deadline)
  local resolver = settings.resolver or require "greenlua.dns"
  local options = { family = settings.family, timeout = deadline and math.max(deadline - now(), 0) }
  local list, err
  if settings.resolver then
    list, err = resolver:getaddrinfo(host, nil, options)
  else
    list, err = resolver.getaddrinfo(host, nil, options)
  end
  return list and list[1].addr, err
end

--- Have the proxy connect to a place: what is sent and received then is that one's.
-- @param sock connected to the proxy
-- @tparam table url where to
-- @tparam table proxy `user`, `password`; `scheme`: of `socks5` the name is looked up here, of
--   `socks5h` by the proxy
-- @tparam table settings `resolver` and `family`, as for `socket.connect`
-- @tparam ?number deadline
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.connect(sock, url, proxy, settings, deadline)
  local host = url.host
  if proxy.scheme == "socks5" then
    local found, problem = resolve(host, settings, deadline)
    if not found then return nil, problem end
    host = found
  end
  local ok, err = greet(sock, deadline, proxy)
  if ok then ok, err = request(sock, deadline, place(host, url.port)) end
  return ok and true, err
end

return M

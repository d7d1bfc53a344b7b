--- A client's side of the opening handshake.
--
-- @module greenlua.websocket.client

local core = require "greenlua.core.websocket"
local extension = require "greenlua.websocket.extension"
local now = require("greenlua.core").now
local proxies = require "greenlua.http.client.proxy"
local socket = require "greenlua.socket"
local timeouts = require "greenlua.core.timeout"

local M = {}

local MAX_HEAD <const>, MAX_BODY <const> = 65536, 65536
local TIMEOUT <const> = 30

-- URLs -----------------------------------------------------------------------------------

local schemes = { ws = 80, wss = 443, http = 80, https = 443 }

local function bad_url(url, why)
  error(("bad argument #1 to 'connect' (%s: %q)"):format(why, tostring(url)), 4)
end

local function parse(url)
  if type(url) ~= "string" then bad_url(url, "a URL expected") end
  local scheme, authority, target = url:match "^(%a+)://([^/?#]*)([^#]*)"
  scheme = scheme and scheme:lower()
  if not schemes[scheme] then bad_url(url, "ws: or wss: expected") end
  if url:find "[%c ]" then bad_url(url, "no spaces, no control characters") end
  if url:find("#", 1, true) then bad_url(url, "no fragment is allowed") end
  local user, place = authority:match "^(.*)@(.*)$"
  place = place or authority
  local host, port = place:match "^%[([%x:.%%]+)%]:?(%d*)$"
  if not host then host, port = place:match "^([^:%[%]]+):?(%d*)$" end
  if not host then bad_url(url, "no host") end
  port = tonumber(port) or schemes[scheme]
  if port > 65535 then bad_url(url, "bad port") end
  if target == "" or target:sub(1, 1) ~= "/" then target = "/" .. target end
  local tls = scheme == "wss" or scheme == "https"
  return { tls = tls, scheme = tls and "https" or "http", host = host,
    port = math.tointeger(port), place = place, target = target, user = user }
end

-- The request ----------------------------------------------------------------------------

local function add(lines, name, value)
  value = tostring(value)
  if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" or value:find "%c" then
    error(("bad argument #2 to 'connect' (headers: bad field %q)"):format(tostring(name)), 5)
  end
  lines[#lines + 1] = name .. ": " .. value
end

local function base64(text)
  local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local encoded = text:gsub("..?.?", function(s)
    local a, b, c = s:byte(1, 3)
    local v, out = a << 16 | (b or 0) << 8 | (c or 0), {}
    for i = 1, 4 do
      local digit = (v >> (24 - 6 * i)) & 63
      out[i] = i <= #s + 1 and digits:sub(digit + 1, digit + 1) or "="
    end
    return table.concat(out)
  end)
  return encoded
end

local function request(at, key, settings)
  local lines = { ("GET %s HTTP/1.1"):format(at.target), "Host: " .. at.place,
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " .. key }
  if settings.protocols and settings.protocols[1] then
    add(lines, "Sec-WebSocket-Protocol", table.concat(settings.protocols, ", "))
  end
  local offer = extension.offer(settings.compress)
  if offer then add(lines, "Sec-WebSocket-Extensions", offer) end
  if settings.origin then add(lines, "Origin", settings.origin) end
  if at.user and at.user ~= "" then add(lines, "Authorization", "Basic " .. base64(at.user)) end
  for name, value in pairs(settings.headers or {}) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do add(lines, name, one) end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- The response -----------------------------------------------------------------------------

local function parse_head(head)
  local status, reason, rest = head:match "^HTTP/1%.1 (%d%d%d) ?([^\r\n]*)\r\n(.*)$"
  if not status then return nil end
  local response = { status = math.tointeger(tonumber(status)), reason = reason, headers = {} }
  for line in rest:gmatch "([^\r\n]+)\r\n" do
    local name, value = line:match "^([%w!#$%%&'*+%-.^_`|~]+):[ \t]*(.-)[ \t]*$"
    if not name then return nil end
    name = name:lower()
    local before = response.headers[name]
    response.headers[name] = before and before .. ", " .. value or value
  end
  return response
end

local function has_token(value, token)
  for one in (value or ""):lower():gmatch "[^%s,]+" do
    if one == token then return true end
  end
  return false
end

local function is_offered(protocol, settings)
  for _, one in ipairs(settings.protocols or {}) do
    if one == protocol then return true end
  end
  return false
end

-- nil: all is well; otherwise what is wrong.
local function check(response, key)
  local h = response.headers
  if not has_token(h.upgrade, "websocket") then return "no 'Upgrade: websocket'" end
  if not has_token(h.connection, "upgrade") then return "no 'Connection: Upgrade'" end
  if h["sec-websocket-accept"] ~= core.accept(key) then return "a wrong Sec-WebSocket-Accept" end
end

-- What comes of the body of a refusal without much waiting.
local function read_body(sock, response)
  local length = (response.headers["content-length"] or ""):match "^%d%d?%d?%d?%d?$"
  local size = length and math.tointeger(tonumber(length)) or 0
  if size > MAX_BODY or size == 0 then return "" end
  local body, _, partial = sock:receive(size)
  return body or partial
end

local function read_response(sock, key, settings)
  local head, err = sock:read_until("\r\n\r\n", MAX_HEAD)
  if not head then return nil, err end
  local response = parse_head(head .. "\r\n")
  if not response then return nil, "the server does not speak HTTP" end
  if response.status ~= 101 then
    response.body = read_body(sock, response)
    return nil, ("the server answers %d %s"):format(response.status, response.reason), response
  end
  local why = check(response, key)
  if why then return nil, "the handshake fails: " .. why, response end
  local protocol = response.headers["sec-websocket-protocol"]
  if protocol and not is_offered(protocol, settings) then
    return nil, "the handshake fails: protocol '" .. protocol .. "' was not offered", response
  end
  return response
end

-- All of it ------------------------------------------------------------------------------

-- Bytes pass through a proxy: a tunnel, or SOCKS.
local function open_through(proxy, at, settings, deadline)
  local ssl, place, problem = require "greenlua.ssl", { proxy = proxy }, nil
  if at.tls then place.context, problem = ssl.to_client(settings.tls or true) end
  if not problem and proxy.scheme == "https" then
    place.proxy_context, problem = ssl.to_client(settings.proxy_tls or true)
  end
  if problem then return nil, problem end
  local conn, err = require("greenlua.http.client.connection").open(at, place,
    { timeouts = {}, connect = settings.connect or {}, limits = {} },
    not timeouts.is(deadline) and deadline or nil)
  if not conn then return nil, err end
  local sock = conn:give_away()
  sock:settimeout()
  return sock
end

local function open(at, settings, deadline)
  if settings.socket then return settings.socket end
  local proxy, problem = proxies.find(at, settings.proxy)
  if problem then return nil, problem end
  if proxy then return open_through(proxy, at, settings, deadline) end
  local o = {}
  for name, value in pairs(settings.connect or {}) do o[name] = value end
  o.host, o.port = o.host or at.host, o.port or at.port
  o.timeout = timeouts.is(deadline) and deadline or deadline and math.max(0, deadline - now())
  if at.tls then o.tls = settings.tls or true end
  return socket.connect(o)
end

local function handshake(sock, at, settings)
  local key = core.key()
  local sent, failure = sock:send(request(at, key, settings))
  if not sent then return nil, failure end
  local response, err, refusal = read_response(sock, key, settings)
  if not response then return nil, err, refusal end
  local agreed, why = extension.confirm(response.headers["sec-websocket-extensions"],
    settings.compress)
  if not agreed then return nil, "the handshake fails: " .. why, response end
  return response, agreed
end

--- Connect; see `websocket.connect`.
-- @tparam string url
-- @tparam table settings
-- @tparam function attach `attach(socket, agreed, fields)`
-- @treturn[1] WebSocket
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?table response
function M.connect(url, settings, attach)
  local at = parse(url)
  request(at, "", settings) -- misuse is told before anything is sent
  local limit, deadline = settings.timeout, nil
  if limit == nil then limit = TIMEOUT end
  if limit then deadline = timeouts.is(limit) and limit or now() + limit end
  local sock, err = open(at, settings, deadline)
  if not sock then return nil, err end
  local keep = false
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    if not keep then sock:close() end
  end })
  -- LuaSocket's two limits: of each call, and of all since they were set.
  if deadline and not timeouts.is(deadline) then
    sock:settimeout(math.max(0, deadline - now()), "t")
  end
  local response, agreed, refusal = handshake(sock, at, settings)
  if not response then return nil, agreed, refusal end
  sock:settimeout(nil, "t")
  keep = true
  return attach(sock, agreed, { protocol = response.headers["sec-websocket-protocol"],
    response = response })
end

return M

--- One connection of a client: making it, through a proxy and with TLS where that is
-- asked for. For greenlua's own modules.
--
-- @module greenlua.http.client.connection

local core = require "greenlua.core.http"
local now = require("greenlua.core").now
local relays = require "greenlua.http.client.relay"
local socket = require "greenlua.socket"
local socks = require "greenlua.http.client.socks"
local urls = require "greenlua.http.client.url"

local M = {}

local Connection = { __name = "connection" }
Connection.__index = Connection

local function wrap(sock, limits, relay)
  return setmetatable({ sock = sock, reader = core.reader(sock, limits), relay = relay },
    Connection)
end

--- Nobody uses it for now.
-- @treturn boolean can it be used again?
function Connection:rest()
  return not self.relay or self.relay:rest()
end

--- Has the other side neither closed nor said anything? Then somebody uses it.
function Connection:is_good()
  if self.relay and not self.relay:resume() then return false end
  return self.reader:rewind()
end

--- Let sends wait so long, and not beyond a deadline.
-- @tparam ?number patience seconds of one
-- @tparam ?number deadline
function Connection:limit_sends(patience, deadline)
  local left = deadline and math.max(deadline - now(), 0)
  if left and (not patience or left < patience) then patience = left end
  self.sock:settimeout(patience)
end

function Connection:close()
  if self.sock then self.sock:close() end
  if self.relay then self.relay:close() end
  self.sock, self.relay = nil, nil
end

--- Somebody else's from now on.
-- @return socket
function Connection:give_away()
  local sock = self.sock
  self.sock, self.relay = nil, nil
  return sock
end

local function remaining(phase, deadline)
  local left = deadline and math.max(deadline - now(), 0)
  if phase and left then return math.min(phase, left) end
  return phase or left
end

-- A socket that is not handed on is closed.
local guard = { __close = Connection.close }

local function open_socket(to, options, timeout)
  if to.unix then
    local sock = socket.unix()
    sock:settimeout(timeout)
    local ok, err = sock:connect(to.unix)
    if ok then return sock end
    sock:close()
    return nil, err
  end
  local settings = {}
  for name, value in pairs(options.connect) do settings[name] = value end
  settings.host, settings.port, settings.timeout, settings.tls = to.host, to.port, timeout, nil
  return socket.connect(settings)
end

-- "CONNECT": what answers with anything but a success opens no tunnel.
local function ask_for_tunnel(conn, url, proxy, deadline)
  local at = ("%s:%d"):format(urls.bracketed(url.host), url.port)
  local lines = { "CONNECT ", at, " HTTP/1.1\r\nHost: ", at, "\r\n" }
  if proxy.authorization then
    lines[#lines + 1] = "Proxy-Authorization: " .. proxy.authorization .. "\r\n"
  end
  lines[#lines + 1] = "\r\n"
  conn:limit_sends(nil, deadline)
  local ok, err = conn.sock:send(lines)
  if not ok then return nil, err end
  conn.reader:patience(nil, deadline)
  local status, reason
  repeat
    ok, status, reason = conn.reader:head()
    if not ok then return nil, status end
  until status >= 200
  if status >= 300 then return nil, ("the proxy says %d %s"):format(status, reason) end
  if not conn.reader:rewind() then return nil, "the proxy says more than it was asked" end
  return true
end

local function tunnel(sock, url, proxy, options, deadline)
  return ask_for_tunnel(wrap(sock, options.limits), url, proxy, deadline)
end

local function deadline_of(phase, deadline)
  local left = remaining(phase, deadline)
  return left and now() + left
end

-- To the proxy, if there is one, and through it.
local function reach(held, url, place, options, deadline)
  local proxy, timeouts = place.proxy, options.timeouts
  local sock, err = open_socket(proxy or url, options, remaining(timeouts.connect, deadline))
  if not sock then return nil, err, "connect" end
  held.sock = sock
  if not proxy then return true end
  if place.proxy_context then
    sock:settimeout()
    sock, err = place.proxy_context:connect(sock, proxy.host, remaining(timeouts.tls, deadline))
    if not sock then return nil, err, "proxy" end
    held.sock = sock
  end
  local ok, before = true, deadline_of(timeouts.connect, deadline)
  if proxy.socks then
    ok, err = socks.connect(sock, url, proxy, options.connect, before)
  elseif not place.forwarder then
    ok, err = tunnel(sock, url, proxy, options, before)
  end
  return ok, err, "proxy"
end

local function secure(held, url, place, options, deadline)
  local err
  if place.proxy_context then
    held.relay, err = relays.new(held.sock)
    if not held.relay then return nil, err, "tls" end
    held.sock = held.relay.near
  end
  local sock = held.sock
  sock:settimeout()
  sock, err = place.context:connect(sock, url.host, remaining(options.timeouts.tls, deadline))
  if not sock then return nil, err, "tls" end
  held.sock = sock
  return true
end

--- Connect.
-- @tparam table url
-- @tparam table place `proxy`; `forwarder`: the same, if it is to pass requests on, not bytes;
--   contexts of TLS for it, `proxy_context`, and for the server, `context`
-- @tparam table options `timeouts`, `connect`, `limits`
-- @tparam ?number deadline
-- @treturn[1] table connection
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string `"connect"`, `"proxy"`, `"tls"`
function M.open(url, place, options, deadline)
  local held <close> = setmetatable({}, guard)
  local ok, err, phase = reach(held, url, place, options, deadline)
  if ok and place.context then ok, err, phase = secure(held, url, place, options, deadline) end
  if not ok then return nil, err, phase end
  local conn = wrap(held.sock, options.limits, held.relay)
  held.sock, held.relay = nil, nil
  return conn
end

return M

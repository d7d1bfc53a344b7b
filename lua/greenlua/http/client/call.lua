--- From a request to its response: connections that turn out to be dead, retries,
-- redirects. For greenlua's own modules.
--
-- @module greenlua.http.client.call

local connections = require "greenlua.http.client.connection"
local core = require "greenlua.core.http"
local exchange = require "greenlua.http.client.exchange"
local now = require("greenlua.core").now
local proxies = require "greenlua.http.client.proxy"
local requests = require "greenlua.http.client.request"
local sleep = require("greenlua").sleep
local tls = require "greenlua.http.client.tls"
local urls = require "greenlua.http.client.url"

local M = {}

-- --- one attempt ----------------------------------------------------------------

local function remaining(phase, deadline)
  local left = deadline and math.max(deadline - now(), 0)
  return phase and left and math.min(phase, left) or phase or left
end

-- Connections with the same key are as good as one another.
local function key_of(request, place)
  local proxy, through = place.proxy, ""
  if proxy then through = ("%s %s"):format(urls.origin(proxy), place.proxy_context or "") end
  if place.forwarder then return "proxy " .. through end
  if proxy then
    through = ("%s %q %q"):format(through, proxy.user or "", proxy.password or "")
  end
  return ("%s %s %s"):format(urls.origin(request.url), through, place.context or "")
end

-- A lease that nobody took over.
local guard = { __close = function(self) if self.lease then self.lease:release(false) end end }

local function connect(call, request, lease, place)
  local client = call.client
  -- for as long as the addresses of its contexts stand in the key
  lease.host.place = place
  return connections.open(request.url, place, {
    timeouts = call.timeouts, connect = client.options.connect or {}, limits = client.options,
  }, call.deadline)
end

local function expects(call, request)
  local limit, body = call.expect, request.body
  if not body or body.length == 0 or request.version == "1.0" or call.no_expect then
    return false
  end
  local asked = request.seen.expect
  if asked then return asked:lower() == "100-continue" end
  if type(limit) == "number" then return (body.length or 0) >= limit end
  return limit
end

-- A part of something compressed cannot be decompressed.
local function may_decode(call, request)
  return call.gzip and request.seen["accept-encoding"] == nil and not request.seen.range
end

local function head_of(call, request, place, state)
  state.expects = expects(call, request)
  return requests.head(request, place.forwarder, {
    cookie = call.cookies and call.cookies:header(request.url),
    gzip = may_decode(call, request), agent = call.agent, expects = state.expects,
  })
end

local function try(call, request, place, state)
  local lease, err =
    call.client.pool:acquire(place.key, remaining(call.timeouts.pool, call.deadline), state.fresh)
  if not lease then return nil, err, "pool" end
  local response, phase
  local held <close> = setmetatable({ lease = lease }, guard)
  state.reused = lease.conn ~= nil
  if not lease.conn then
    lease.conn, err, phase = connect(call, request, lease, place)
    if not lease.conn then return nil, err, phase end
  end
  lease.conn.reader:patience()
  state.head = head_of(call, request, place, state)
  response, err, phase = exchange.run(request, lease, {
    timeouts = call.timeouts, url = urls.format(request.url),
    decode = may_decode(call, request),
  }, state, call.deadline)
  if response then held.lease = nil end
  return response, err, phase
end

-- --- again and again ------------------------------------------------------------

local idempotent = {
  GET = true, HEAD = true, OPTIONS = true, TRACE = true, PUT = true, DELETE = true,
}

local function can_repeat(call, request, state)
  local body = request.body
  if body and body.begun and not body.again then return false end
  if not state.sent or call.idempotent then return true end
  return call.idempotent == nil and idempotent[request.method]
end

local function is_transient(err, phase, state)
  if phase == "connect" then return true end
  return err == "closed" and not state.begun
end

-- Seconds that the server asks to be left alone; nil: no reason to come back.
local function retry_after(response)
  if response.status ~= 429 and response.status ~= 503 then return nil end
  local text = response.headers["retry-after"]
  if not text then return nil end
  if text:find "^%d+$" then return tonumber(text) end
  local at = core.date_value(text)
  return at and math.max(at - os.time(), 0)
end

local function has_time(call, seconds)
  return not call.deadline or now() + seconds < call.deadline
end

local DRAIN = 64 << 10 -- bytes: a short body is read for the sake of the connection

local function discard(response)
  local res <close> = response
  if (res.content_length or math.huge) <= DRAIN then res:read("a", DRAIN) end
end

-- Is it to be asked again? How long to wait before that.
local function pause(call, request, state, response, err, phase)
  if call.tries >= call.retries or not can_repeat(call, request, state) then return nil end
  local seconds
  if response then
    seconds = retry_after(response)
    if seconds and seconds > call.max_retry_after then return nil end
  elseif is_transient(err, phase, state) then
    seconds = math.min(0.1 * 2 ^ call.tries, 5)
  end
  return seconds and has_time(call, seconds) and seconds or nil
end

local function is_stale(call, request, state, err)
  return state.reused and not state.begun and err == "closed" and not call.refreshed
    and can_repeat(call, request, state)
end

-- How a request gets there: `proxy`; `forwarder`, if that is one that passes requests on;
-- `context` and `proxy_context` of TLS; `key`.
local function place_of(call, request)
  local proxy, problem = proxies.find(request.url, call.proxy)
  if problem then return nil, problem, "proxy" end
  local place, secure = { proxy = proxy }, request.url.scheme == "https"
  if proxy and not proxy.socks and not secure then place.forwarder = proxy end
  if proxy and proxy.scheme == "https" then
    place.proxy_context, problem = tls.context(call.proxy_tls)
    if not place.proxy_context then return nil, problem, "proxy" end
  end
  if secure then
    place.context, problem = tls.context(call.tls, call.verify)
    if not place.context then return nil, problem, "tls" end
  end
  place.key = key_of(request, place)
  return place
end

local function send(call, request)
  local place, problem, at = place_of(call, request)
  if not place then return nil, problem, at end
  call.tries, call.refreshed = 0, false
  while true do
    local state = { fresh = call.refreshed }
    local response, err, phase = try(call, request, place, state)
    if not response and is_stale(call, request, state, err) then
      call.refreshed = true
    elseif response and response.status == 417 and state.expects and request.body.again then
      discard(response)
      call.no_expect = true
    else
      local seconds = pause(call, request, state, response, err, phase)
      if not seconds then return response, err, phase end
      if response then discard(response) end
      call.tries = call.tries + 1
      sleep(seconds)
    end
  end
end

-- --- redirects ------------------------------------------------------------------

local redirecting = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function remember(call, request, response)
  if not call.cookies then return end
  for _, text in ipairs(response:header_list "set-cookie") do
    call.cookies:store(request.url, text)
  end
end

local function redirect(request, response)
  local url, problem = urls.resolve(request.url, response.headers.location)
  if not url then return nil, ("redirect to %q: %s"):format(response.headers.location, problem) end
  local next_one = requests.redirected(request, url, response.status)
  local body = next_one.body
  if body and body.begun and not body.again then
    return nil, "the redirect wants the body again, which can be sent only once"
  end
  return next_one
end

--- Send a request, again if that is right, and follow where it leads.
-- @tparam table call what holds for all of it: `client`, `timeouts`, `deadline` and options
-- @tparam table request
-- @treturn[1] Response
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string the phase
function M.follow(call, request)
  local history = {}
  while true do
    local response, err, phase = send(call, request)
    if not response then return nil, err, phase end
    local res <close> = setmetatable({}, { __close = function(self) -- luacheck: ignore
      if not self.kept then response:close() end
    end })
    remember(call, request, response)
    if call.redirects == 0 or not redirecting[response.status] or not response.headers.location then
      response.history, res.kept = history, true
      return response
    end
    if #history >= call.redirects then return nil, "too many redirects", "redirect" end
    local next_one
    next_one, err = redirect(request, response)
    if not next_one then return nil, err, "redirect" end
    history[#history + 1] = { status = response.status, url = response.url }
    discard(response)
    request = next_one
  end
end

return M

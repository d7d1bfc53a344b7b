--- A client for HTTP/1.1: connections are kept, TLS is verified, bodies stream both ways.
--
-- @usage
-- local http = require "greenlua.http"
--
-- local res = assert(http.get "https://www.lua.org/")
-- print(res.status, res.headers["content-type"], #res.body)
--
-- local client <close> = http.client { headers = { Accept = "application/json" }, timeout = 10 }
-- local res = assert(client:post("https://example.org/orders", { json = { apples = 3 } }))
-- print(res:json().id)
--
-- local res <close> = assert(client:get { url = "https://example.org/events", stream = true })
-- for line in res:lines() do print(line) end
--
-- What is wrong with a request is raised. What the world does wrong comes back as nil, a
-- message (`"connection refused"`, `"timeout"`, `"closed"`, `"certificate verify failed: …"`,
-- `"bad response: …"`, `"too large"`, `"too many redirects"` …) and the phase in which it
-- happened: `"pool"`, `"connect"`, `"proxy"`, `"tls"`, `"send"`, `"header"`, `"body"`,
-- `"redirect"`. A status such as 404 is no failure: see `res.ok`.
--
-- A greenlet that is killed, or whose Timeout expires, in the midst of a request leaves
-- nothing behind: its connection is closed. See `greenlua.http.client.response` for what
-- comes back.
--
-- @module greenlua.http.client

local green = require "greenlua"
local exchange = require "greenlua.http.client.exchange"
local now = require("greenlua.core").now
local object = require "greenlua.object"
local proxies = require "greenlua.http.client.proxy"
local requests = require "greenlua.http.client.request"
local tls = require "greenlua.http.client.tls"
local urls = require "greenlua.http.client.url"

local M = {}

local defaults = {
  max_per_host = 100, max_connections = 500, idle_timeout = 60,
  redirects = 10, retries = 0, max_body = 64 << 20, gzip = true, expect = 1 << 20,
  agent = "greenlua", max_line = 16384, max_head = 65536, max_headers = 200,
  max_retry_after = 60,
}

local default_timeouts = { connect = 30, tls = 30, send = 60, header = 120, body = 60 }

-- --- options --------------------------------------------------------------------

local kinds = {
  -- of a client or of a request
  headers = "table", timeout = "number", timeouts = "table", redirects = "integer boolean",
  auth = "table", bearer = "string", proxy = "string boolean", cookies = "boolean table",
  gzip = "boolean", tls = "boolean table", verify = "boolean", retries = "integer",
  max_body = "integer boolean", version = "string", unix = "string", expect = "boolean integer",
  agent = "string boolean", stream = "boolean", max_retry_after = "number",
}
local of_client = {
  max_per_host = "integer", max_connections = "integer", idle_timeout = "number",
  connect = "table", max_line = "integer", max_head = "integer", max_headers = "integer",
}
local of_request = {
  method = "string", url = "string", query = "table string", body = "any", json = "any",
  form = "table", idempotent = "boolean",
}
local phases = { pool = true, connect = true, tls = true, send = true, header = true, body = true }

local function wrong(what, ...)
  error(("bad request (%s)"):format(what:format(...)), 0)
end

local function check_number(name, value)
  if type(value) == "number" and not (value >= 0) then
    wrong("%s: a number, not negative, expected; got %s", name, value)
  end
end

local function check_timeouts(timeouts)
  for name, seconds in pairs(timeouts or {}) do
    if not phases[name] then wrong("timeouts: unknown phase '%s'", tostring(name)) end
    if seconds ~= false and not (type(seconds) == "number" and seconds > 0) then
      wrong("timeouts: %s: seconds, more than 0, or false; got %s", name, tostring(seconds))
    end
  end
end

local function check_options(options, more)
  for name, value in pairs(options) do
    local expected = kinds[name] or more[name]
    if not expected then wrong("unknown option '%s'", tostring(name)) end
    local kind = type(value)
    local fits = expected == "any" or (" " .. expected .. " "):find(" " .. kind .. " ", 1, true)
      or (kind == "number" and expected:find(math.type(value), 1, true))
      or (name == "timeout" and green.Timeout.is(value))
    if not fits then wrong("%s: %s expected, got %s", name, expected:gsub(" ", " or "), kind) end
    check_number(name, value)
  end
  check_timeouts(options.timeouts)
  if type(options.cookies) == "table" and not options.cookies.header then
    wrong "cookies: a Jar or true expected"
  end
end

local function merge_timeouts(...)
  local merged = {}
  for i = 1, select("#", ...) do
    for name, seconds in pairs(select(i, ...) or {}) do merged[name] = seconds end
  end
  for name, seconds in pairs(merged) do
    if not seconds then merged[name] = nil end
  end
  return merged
end

-- --- a client -------------------------------------------------------------------

--- A client. `Client(options)`, or `http.client(options)`.
--
-- Options of a client, each of which can be given for a request, too:
--
-- * `headers`: name -> value, a list of values, or false for none; or a list of `{name, value}`.
-- * `timeout`: seconds for the whole request, the body included; or a Timeout, which is
--   raised. `timeouts`: seconds for `pool` (to wait for a connection; no limit),
--   `connect` (30), `tls` (30), `send` (60: of a send that makes no progress), `header` (120:
--   from the request's end to
--   the response's head), `body` (60: without a byte). `false` is no limit.
-- * `redirects` (10): how many are followed; 0 or false: none.
-- * `auth`: `{ user, password }`; `bearer`: a token. Not told to other servers after a redirect.
-- * `proxy`: a URL; false: none; otherwise `http_proxy`, `https_proxy`, `all_proxy` and
--   `no_proxy` of the environment count.
-- * `cookies`: true, or a `Jar`: what servers set is sent back to them.
-- * `gzip` (true): compression is asked for and undone.
-- * `tls`: options of `ssl.client`, or a Context; `verify`: false takes any certificate.
-- * `retries` (0): how often a request that can be repeated is, if it was refused or cut
--   off before anything came back; or if the answer is 429 or 503 with a Retry-After of
--   `max_retry_after` (60) seconds at most. A kept connection that turns out to have been
--   closed is replaced in any case.
-- * `max_body` (64 MiB): of a whole body, decompressed; false: no limit.
-- * `expect` (1048576): bodies of so many bytes ask the server first (100-continue); true
--   always, false never.
-- * `unix`: the path of a UNIX socket; or the URL says it: `http+unix://%2Frun%2Fx.sock/path`.
-- * `version`: `"1.0"` speaks HTTP/1.0. `agent`: the User-Agent. `stream`: see `request`.
--
-- Options of a client only: `max_per_host` (100) and `max_connections` (500): who wants more waits;
-- `idle_timeout` (60 seconds) of kept connections, 0: none are kept; `connect`: more options for
-- `socket.connect` (`resolver`, `family`, `local_host` …); `max_line`, `max_head`, `max_headers` of
-- responses.
-- @type Client
local Client = object.class "http.Client"
M.Client = Client

--- Is it a Client?
-- @function Client.is
-- @param value
-- @treturn boolean

local function jar_of(cookies)
  if cookies ~= true then return cookies or nil end
  return require("greenlua.http.client.cookies").Jar()
end

function Client:_init(options)
  options = options or {}
  local ok, problem = pcall(check_options, options, of_client)
  if not ok then error(problem, 3) end
  self.options = setmetatable({}, { __index = defaults })
  for name, value in pairs(options) do self.options[name] = value end
  self.options.cookies = jar_of(options.cookies)
  self.timeouts = merge_timeouts(default_timeouts, options.timeouts)
  self.pool = require("greenlua.http.client.pool").Pool(self.options)
  self.cookies = self.options.cookies
end

--- How many connections there are at this moment, and how many of them nobody uses.
-- @treturn integer
-- @treturn integer
function Client:counts()
  return self.pool.total, self.pool.idle
end

--- Close the kept connections; those in use are closed when their responses end. No
-- request can be made any more.
function Client:close()
  self.pool:close()
end

function Client:__close() self:close() end

function Client:__tostring()
  return ("http.Client: %d connections, %d idle%s"):format(self.pool.total, self.pool.idle,
    self.pool.closed and ", closed" or "")
end

-- --- one attempt ----------------------------------------------------------------

local function remaining(phase, deadline)
  local left = deadline and math.max(deadline - now(), 0)
  return phase and left and math.min(phase, left) or phase or left
end

local function key_of(request, proxy, context)
  local url = request.url
  if proxy and url.scheme == "http" then return "proxy " .. urls.origin(proxy) end
  return ("%s %s %s"):format(urls.origin(url), proxy and urls.origin(proxy) or "",
    context and tostring(context) or "")
end

-- A lease that nobody took over.
local guard = { __close = function(self) if self.lease then self.lease:release(false) end end }

local function connect(call, request, lease, place)
  local client = call.client
  -- for as long as its address stands in the key
  lease.host.context = place.context
  return require("greenlua.http.client.connection").open(request.url, place.proxy, {
    timeouts = call.timeouts, context = place.context, connect = client.options.connect,
    limits = client.options,
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

local function head_of(call, request, place, state)
  state.expects = expects(call, request)
  return requests.head(request, place.proxy, {
    cookie = call.cookies and call.cookies:header(request.url),
    gzip = call.gzip, agent = call.agent, expects = state.expects,
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
    decode = call.gzip and request.seen["accept-encoding"] == nil,
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
  local at = require("greenlua.core.http").date_value(text)
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

local function place_of(call, request)
  local proxy, problem = proxies.find(request.url, call.proxy)
  if problem then return nil, problem, "proxy" end
  local place = { proxy = proxy }
  if request.url.scheme == "https" then
    place.context, problem = tls.context(call.tls, call.verify)
    if not place.context then return nil, problem, "tls" end
  end
  place.key = key_of(request, proxy, place.context)
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
      green.sleep(seconds)
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

local function follow(call, request)
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

-- --- requests -------------------------------------------------------------------

local function perform(call, request)
  local response, err, phase = follow(call, request)
  if not response or call.stream or response.status == 101 then return response, err, phase end
  local res <close> = response
  local body
  body, err, phase = res:read("a", call.max_body or nil)
  if not body then return nil, err, phase end
  res.body = body
  return res
end

-- Another greenlet's Timeout may be what ends it, so it is waited for from here.
local function perform_within(timeout, ...)
  local results
  local g = green.spawn(function(...) return { perform(...) } end, ...)
  local _ <close> = setmetatable({}, { __close = function()
    local late = not results and g:successful() and g.value[1]
    if late then late:close() end
    if not results then g:close() end
  end })
  results = g:get(timeout)
  return table.unpack(results, 1, 3)
end

local function first_of(a, b)
  if a ~= nil then return a end
  return b
end

local function new_call(client, o)
  local call = { client = client, timeouts = merge_timeouts(client.timeouts, o.timeouts) }
  for _, name in ipairs {
    "timeout", "redirects", "proxy", "gzip", "tls", "verify", "retries", "max_body", "expect",
    "agent", "stream", "max_retry_after", "idempotent",
  } do
    call[name] = first_of(o[name], client.options[name])
  end
  call.redirects = call.redirects == true and defaults.redirects or call.redirects or 0
  call.cookies = jar_of(first_of(o.cookies, client.options.cookies))
  if type(call.timeout) == "number" then call.deadline = now() + call.timeout end
  return call
end

local function prepare(client, o, method)
  if client.pool.closed then wrong "the client is closed" end
  check_options(o, of_request)
  local call = new_call(client, o)
  local merged = setmetatable({}, { __index = function(_, name)
    return first_of(o[name], client.options[name])
  end })
  rawset(merged, "headers", o.headers or {})
  return call, requests.new(merged, o.method or method, client.options.headers)
end

local function options_of(url, options)
  if type(url) == "table" then return url end
  local o = { url = url }
  if options ~= nil and type(options) ~= "table" then
    error(("bad request (options: table expected, got %s)"):format(type(options)), 4)
  end
  for name, value in pairs(options or {}) do o[name] = value end
  return o
end

local function run(client, method, url, options)
  local o = options_of(url, options)
  local ok, call, request = pcall(prepare, client, o, method)
  if not ok then error(call, 3) end
  if green.Timeout.is(call.timeout) then return perform_within(call.timeout, call, request) end
  return perform(call, request)
end

--- Make a request.
--
-- Options, besides those of a client: `url`; `method` (`"GET"`); `query`: a table of parameters, or
-- a string, added to the URL; one of `body` (a string, a list of strings, an iterator:
-- a function that returns strings, then nil; or an open file), `json` (a value) or `form` (a
-- table); `idempotent`: may it be repeated (see `retries`) if its method does not say so?
-- `stream`: true gives the response as soon as its head is there, to be read and closed by
-- the caller; otherwise it has a `body`.
--
-- An iterator runs in a greenlet of its own, and is asked as fast as the server reads. Its
-- errors are raised here.
-- @usage
-- local res = assert(client:request { method = "PATCH", url = url, json = { name = "Ada" } })
-- @tparam string|table url or all options
-- @tparam[opt] table options
-- @treturn[1] Response see `greenlua.http.client.response`
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string the phase
function Client:request(url, options) return run(self, "GET", url, options) end

--- `request` with the method GET.
-- @tparam string|table url
-- @tparam[opt] table options
function Client:get(url, options) return run(self, "GET", url, options) end

--- `request` with the method HEAD.
-- @tparam string|table url
-- @tparam[opt] table options
function Client:head(url, options) return run(self, "HEAD", url, options) end

--- `request` with the method POST.
-- @tparam string|table url
-- @tparam[opt] table options
function Client:post(url, options) return run(self, "POST", url, options) end

--- `request` with the method PUT.
-- @tparam string|table url
-- @tparam[opt] table options
function Client:put(url, options) return run(self, "PUT", url, options) end

--- `request` with the method DELETE.
-- @tparam string|table url
-- @tparam[opt] table options
function Client:delete(url, options) return run(self, "DELETE", url, options) end

--- @section end

local default

--- The client of those who have none: what `M.get` and the others use.
-- @treturn Client
function M.default()
  if not default or default.pool.closed then default = Client() end
  return default
end

for _, method in ipairs { "request", "get", "head", "post", "put", "delete" } do
  M[method] = function(...) return Client[method](M.default(), ...) end
end

return setmetatable(M, {
  __call = function(_, options) return Client(options) end,
  __index = function(_, name)
    if name == "Jar" then return require("greenlua.http.client.cookies").Jar end
  end,
})

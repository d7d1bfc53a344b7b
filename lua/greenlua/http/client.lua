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

local calls = require "greenlua.http.client.call"
local green = require "greenlua"
local now = require("greenlua.core").now
local object = require "greenlua.object"
local requests = require "greenlua.http.client.request"
local settings = require "greenlua.http.client.options"

local M = {}

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
--   `no_proxy` of the environment count, as for curl. `http://` and `https://` (TLS on the way
--   to the proxy) pass requests on, or open tunnels by CONNECT for `https:`; `socks5://` is
--   SOCKS 5 with names that are looked up here, `socks5h://` with names that the proxy looks
--   up. All of them may have a user and a password: `socks5h://user:password@proxy.example:1080`.
-- * `proxy_tls`: options of `ssl.client`, or a Context, for an `https://` proxy.
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
  if cookies ~= true then return cookies end
  return require("greenlua.http.client.cookies").Jar()
end

function Client:_init(options)
  options = options or {}
  local ok, problem = pcall(settings.check, options, settings.of_client)
  if not ok then error(problem, 3) end
  self.options = setmetatable({}, { __index = settings.defaults })
  for name, value in pairs(options) do self.options[name] = value end
  self.options.cookies = jar_of(options.cookies)
  self.timeouts = settings.merge_timeouts(settings.timeouts, options.timeouts)
  self.pool = require("greenlua.http.client.pool").Pool(self.options)
  self.cookies = self.options.cookies
  self._inherit = { __index = self.options }
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

-- --- requests -------------------------------------------------------------------

local function perform(call, request)
  local response, err, phase = calls.follow(call, request)
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

local no_fields = {}

-- What holds for this request: its options, then the client's, then everybody's.
local function new_call(client, o)
  local call = setmetatable({}, client._inherit)
  for name, value in pairs(o) do call[name] = value end
  call.client, call.headers = client, o.headers or no_fields
  call.timeouts = o.timeouts and settings.merge_timeouts(client.timeouts, o.timeouts)
    or client.timeouts
  local redirects = call.redirects
  call.redirects = redirects == true and settings.defaults.redirects or redirects or 0
  call.cookies = jar_of(call.cookies)
  if type(call.timeout) == "number" then call.deadline = now() + call.timeout end
  return call
end

local function prepare(client, o, method)
  if client.pool.closed then error("bad request (the client is closed)", 0) end
  settings.check(o, settings.of_request)
  local call = new_call(client, o)
  return call, requests.new(call, o.method or method, client.options.headers)
end

local function options_of(url, options)
  if type(url) == "table" then return url end
  local o = { url = url }
  if options ~= nil and type(options) ~= "table" then
    error(("bad request (options: table expected, got %s)"):format(type(options)), 3)
  end
  for name, value in pairs(options or {}) do o[name] = value end
  return o
end

local function run(client, method, url, options)
  local o = options_of(url, options)
  local ok, call, request = pcall(prepare, client, o, method)
  if not ok then error(call, 2) end
  if green.Timeout.is(call.timeout) then return perform_within(call.timeout, call, request) end
  return perform(call, request)
end

--- Make a request.
--
-- Options, besides those of a client: `url`; `method` (`"GET"`); `query`: a table of parameters, or
-- a string, added to the URL; one of `body` (a string, a list of strings, an iterator:
-- a function that returns strings, then nil; or an open file), `json` (a value) or `form` (a
-- table); `trailers`: fields that follow the body, which is sent in chunks then, or a
-- function that returns them when all of it has been sent; `idempotent`: may it be repeated
-- (see `retries`) if its method does not say so?
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

--- `Client:request` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.request(...) return Client.request(M.default(), ...) end

--- `Client:get` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.get(...) return Client.get(M.default(), ...) end

--- `Client:head` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.head(...) return Client.head(M.default(), ...) end

--- `Client:post` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.post(...) return Client.post(M.default(), ...) end

--- `Client:put` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.put(...) return Client.put(M.default(), ...) end

--- `Client:delete` of the default client.
-- @tparam string|table url
-- @tparam[opt] table options
function M.delete(...) return Client.delete(M.default(), ...) end

return setmetatable(M, {
  __call = function(_, options) return Client(options) end,
  __index = function(_, name)
    if name == "Jar" then return require("greenlua.http.client.cookies").Jar end
  end,
})

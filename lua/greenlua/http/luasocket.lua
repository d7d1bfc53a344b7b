--- LuaSocket's `socket.http` (and LuaSec's `ssl.https`) on greenlua's client: the same calls
-- and results, with connections that are kept, TLS that is verified, and nothing that
-- blocks the thread.
--
-- @usage
-- local http = require "greenlua.http.luasocket"
-- local body, status, headers = http.request "http://www.lua.org/"
--
-- Different: `create` is not called; the headers that are sent besides the program's own are
-- greenlua's; https may not lead to http.
-- @module greenlua.http.luasocket

local client = require "greenlua.http.client"
local object = require "greenlua.object"
local urls = require "greenlua.http.client.url"

--- @table constants
-- @field TIMEOUT seconds of each wait; may be set
-- @field PROXY a URL; may be set
-- @field USERAGENT may be set
local M = { TIMEOUT = 60, USERAGENT = "greenlua (LuaSocket 3.1.0)" }

local own

local function default()
  if not own or own.pool.closed then
    own = client { redirects = 0, gzip = false, expect = false, max_body = false }
  end
  return own
end

-- Explicit components override those of the URL.
local function url_of(reqt)
  local text = reqt.url
  if text and not text:find "^%a[%w+.-]*://" then text = nil end
  if not text and not reqt.host then return nil, "invalid host 'nil'" end
  local url, problem = urls.parse(text or "http://localhost/")
  if not url then return nil, problem end
  url.scheme = reqt.scheme or url.scheme
  for _, name in ipairs { "host", "port", "user", "password" } do
    if reqt[name] and reqt[name] ~= "" then url[name] = reqt[name] end
  end
  url.port = tonumber(url.port)
  if reqt.path then
    url.target = reqt.path .. (reqt.query and "?" .. reqt.query or "")
    if url.target:sub(1, 1) ~= "/" then url.target = "/" .. url.target end
  end
  if not text and not reqt.port and url.scheme == "https" then url.port = 443 end
  return url
end

local function lower(headers)
  local all = { accept = false, ["user-agent"] = M.USERAGENT }
  for name, value in pairs(headers or {}) do all[name:lower()] = value end
  return all
end

-- The body of a request: what the source fails with is told in `state`.
local function body_of(source, state)
  if not source then return nil end
  return function()
    local chunk, err = source()
    if not chunk and err then
      state.failure = err
      error(state, 0)
    end
    return chunk
  end
end

local function step_once(source, sink)
  local chunk, problem = source()
  local ok, why = sink(chunk, problem)
  if chunk and ok then return 1 end
  return nil, problem or why
end

local function pump(source, sink, step)
  while true do
    local ok, err = step(source, sink)
    if not ok then
      if err then return nil, err end
      return 1
    end
  end
end

local function null_sink() return 1 end

local function results_of(response)
  local headers = {}
  for name, value in pairs(response.headers) do
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  for name, value in pairs(response.trailers or {}) do
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return headers, ("HTTP/%s %d %s"):format(response.version, response.status, response.reason)
end

local function receive(response, reqt)
  if reqt.method == "HEAD" or response.status == 204 or response.status == 304 then return 1 end
  local function source() return response:read_some() end
  return pump(source, reqt.sink or null_sink, reqt.step or step_once)
end

local redirecting = { [301] = true, [302] = true, [303] = true, [307] = true }

local function target_of_redirect(reqt, url, response, hops)
  local location = (response.headers.location or ""):gsub("%s", "")
  local method = reqt.method
  if reqt.redirect == false or reqt.source or location == "" or not redirecting[response.status]
    or (method and method ~= "GET" and method ~= "HEAD")
    or (reqt.maxredirects ~= false and hops >= (reqt.maxredirects or 5)) then
    return nil
  end
  local target = urls.resolve(url, location)
  if not target or (url.scheme == "https" and target.scheme ~= "https") then return nil end
  return target, location
end

local function send(reqt, url, state)
  local wait = M.TIMEOUT
  local body = body_of(reqt.source, state)
  return default():request {
    url = urls.format(url), method = reqt.method and reqt.method:upper() or "GET", body = body,
    headers = lower(reqt.headers), stream = true, proxy = reqt.proxy or M.PROXY or false,
    auth = url.user and url.password and { url.user, url.password } or nil,
    timeouts = { connect = wait, tls = wait, send = wait, header = wait, body = wait },
  }
end

local function try_to_send(reqt, url)
  local state = {}
  local ok, response, err = pcall(send, reqt, url, state)
  if ok then return response, err end
  if response == state then return nil, state.failure end
  error(response, 0)
end

local function ask(reqt, url, hops)
  local answer, err = try_to_send(reqt, url)
  if not answer then return nil, err end
  local response <close> = answer
  local target, location = target_of_redirect(reqt, url, response, hops)
  if target then
    response:close()
    local ok, code, headers, status = ask({
      sink = reqt.sink, headers = reqt.headers, proxy = reqt.proxy, step = reqt.step,
      maxredirects = reqt.maxredirects,
    }, target, hops + 1)
    if ok then headers.location = headers.location or location end
    return ok, code, headers, status
  end
  local ok, why = receive(response, reqt)
  if not ok then return nil, why end
  return 1, response.status, results_of(response)
end

local function request_table(reqt)
  if reqt.create then error("bad request (create: connections are made by greenlua)", 3) end
  local url, problem = url_of(reqt)
  if not url then return nil, problem end
  return ask(reqt, url, 0)
end

local function string_source(text)
  return function()
    local all = text
    text = nil
    return all
  end
end

--- Make a request: LuaSocket's `http.request`.
-- @tparam string|table request a URL, or a table with `url`, `method`, `headers`, `source`,
--   `sink`, `step`, `proxy`, `redirect`, `maxredirects`
-- @tparam[opt] string body to be posted as a form
-- @treturn[1] string|integer body; 1 if the request was a table
-- @treturn[1] integer status
-- @treturn[1] table headers, their names in lower case
-- @treturn[1] string status line
-- @treturn[2] nil
-- @treturn[2] string message
function M.request(request, body)
  if type(request) ~= "string" then
    return request_table(object.check_table("request", 1, request))
  end
  local pieces = {}
  local reqt = {
    url = request,
    sink = function(chunk)
      pieces[#pieces + 1] = chunk
      return 1
    end,
  }
  if body then
    body = object.check_string("request", 2, body)
    reqt.method, reqt.source = "POST", string_source(body)
    reqt.headers = {
      ["content-length"] = #body, ["content-type"] = "application/x-www-form-urlencoded",
    }
  end
  local ok, code, headers, status = request_table(reqt)
  if not ok then return nil, code end
  return table.concat(pieces), code, headers, status
end

--- Close the connections that are kept.
function M.close()
  if own then own:close() end
end

return M

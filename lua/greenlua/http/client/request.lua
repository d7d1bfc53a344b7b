--- The head of a request: checked once, written for each place it is sent to.
-- For greenlua's own modules.
--
-- @module greenlua.http.client.request

local base64 = require "greenlua.http.client.base64"
local bodies = require "greenlua.http.client.body"
local forms = require "greenlua.http.forms"
local trailers = require "greenlua.http.trailers"
local urls = require "greenlua.http.client.url"

local M = {}

local function bad(what, ...)
  error(("bad request (%s)"):format(what:format(...)), 0)
end

local function is_token(text)
  return type(text) == "string" and text:find "^[%w!#$%%&'*+%-.^_`|~]+$" ~= nil
end

local function add(list, name, value)
  if not is_token(name) then bad("headers: %q is no field name", tostring(name)) end
  if type(value) ~= "string" and type(value) ~= "number" then
    bad("headers: %s: string or number expected, got %s", name, type(value))
  end
  value = tostring(value)
  if value:find "[\0-\8\10-\31\127]" then bad("headers: %s: a control character", name) end
  list[#list + 1] = { name, value, name:lower() }
end

local function add_field(list, name, value)
  if type(value) == "table" then
    for _, one in ipairs(value) do add(list, name, one) end
  elseif value ~= false then
    add(list, name, value)
  end
end

-- {{name, value}, …} keeps its order, the rest is sorted: the same request is the same
-- bytes every time.
local function list_fields(fields)
  local list, names = {}, {}
  if next(fields) == nil then return list end
  for i, pair in ipairs(fields) do
    if type(pair) ~= "table" then bad("headers[%d]: {name, value} expected", i) end
    add(list, pair[1], pair[2])
  end
  for name, value in pairs(fields) do
    if type(name) == "string" then
      names[#names + 1] = { name, value }
    elseif math.type(name) ~= "integer" then
      bad("headers: %s is no field name", tostring(name))
    end
  end
  table.sort(names, function(a, b) return a[1] < b[1] end)
  for _, pair in ipairs(names) do add_field(list, pair[1], pair[2]) end
  return list
end

local function names_of(list, fields)
  local seen = {}
  for _, field in ipairs(list) do seen[field[3]] = field[2] end
  for name, value in pairs(fields or {}) do
    if value == false then seen[name:lower()] = false end
  end
  return seen
end

-- The client's fields, except those that the request has itself.
local function merge(own, defaults)
  local list = list_fields(own or {})
  local seen = names_of(list, own)
  if not defaults then return list, seen end
  for _, field in ipairs(list_fields(defaults)) do
    if seen[field[3]] == nil then table.insert(list, field) end
  end
  return list, names_of(list, own)
end

local function trailer_lines(fields)
  local lines = {}
  for _, field in ipairs(list_fields(fields)) do
    if not trailers.allowed(field[1]) then bad("trailers: %s must precede the body", field[1]) end
    lines[#lines + 1] = ("%s: %s\r\n"):format(field[1], field[2])
  end
  return table.concat(lines)
end

-- What gives the lines of a trailer when the body has been sent; and the names, if they are known.
local function trailer_of(given)
  if given == nil then return nil end
  local mt = getmetatable(given)
  if type(given) == "table" and not (type(mt) == "table" and mt.__call) then
    local lines, names = trailer_lines(given), {}
    for name in lines:gmatch "([^:\n]+):[^\n]*\n" do names[#names + 1] = name end
    return function() return lines end, names[1] and table.concat(names, ", ")
  end
  return function()
    local fields = given()
    if type(fields) ~= "table" then bad("trailers: table expected, got %s", type(fields)) end
    return trailer_lines(fields)
  end
end

local function credentials(auth, bearer)
  if bearer ~= nil then
    if type(bearer) ~= "string" or bearer:find "[%c ]" then bad "bearer: a token expected" end
    return "Bearer " .. bearer
  end
  if not auth then return nil end
  local user, password = auth[1] or auth.user, auth[2] or auth.password or ""
  if type(user) ~= "string" or type(password) ~= "string" or user:find(":", 1, true) then
    bad "auth: { user, password } expected, the user without a colon"
  end
  return base64.basic(user, password)
end

local function add_query(url, query)
  if query == nil then return end
  if type(query) == "table" then query = forms.encode(query) end
  if type(query) ~= "string" then bad("query: table or string expected, got %s", type(query)) end
  if query:find "[%c #]" then bad "query: a space, a '#' or a control character" end
  if query == "" then return end
  url.target = url.target .. (url.target:find("?", 1, true) and "&" or "?") .. query
end

local function parse(o)
  if type(o.url) ~= "string" then bad("url: string expected, got %s", type(o.url)) end
  local url, problem = urls.parse(o.url)
  if not url then bad("url %q: %s", o.url, problem) end
  if o.unix ~= nil then
    if type(o.unix) ~= "string" then bad("unix: the path of a socket expected") end
    url.unix = o.unix
  end
  add_query(url, o.query)
  return url
end

local function number_of(text)
  local n = text and text:find "^%d+$" and #text < 19 and math.tointeger(tonumber(text))
  if text and not n then bad("headers: Content-Length: a number expected, got %q", text) end
  return n or nil
end

--- Check what a program asks for.
-- @tparam table o options
-- @tparam string method
-- @tparam ?table defaults the client's fields
-- @treturn table
function M.new(o, method, defaults)
  if not is_token(method) then bad("method: %q is none", tostring(method)) end
  if method == "CONNECT" then bad "method: CONNECT is what proxies are for" end
  local version = o.version or "1.1"
  if version ~= "1.1" and version ~= "1.0" then bad("version: %q is not spoken", version) end
  local url = parse(o)
  local fields, seen = merge(o.headers, defaults)
  if seen["transfer-encoding"] then bad "headers: the client chooses the Transfer-Encoding" end
  local trailer, names = trailer_of(o.trailers)
  local body = bodies.of(o, number_of(seen["content-length"] or nil), trailer)
  if body and not body.length and version == "1.0" then
    bad "body: HTTP/1.0 must know its length"
  end
  return {
    method = method, url = url, fields = fields, seen = seen, body = body, version = version,
    trailer = names,
    authorization = credentials(o.auth or (url.user and { url.user, url.password }), o.bearer),
    trusted = true,
  }
end

-- Not for other eyes than the first server's.
local private = { authorization = true, cookie = true, host = true, ["proxy-authorization"] = true }

local about_body = {
  ["content-type"] = true, ["content-length"] = true, ["content-encoding"] = true,
  ["content-language"] = true, ["content-location"] = true, ["content-md5"] = true, expect = true,
  trailer = true,
}

--- The request that a redirect asks for.
-- @tparam table request
-- @tparam table url
-- @tparam integer status
-- @treturn table
function M.redirected(request, url, status)
  local next_one = {}
  for name, value in pairs(request) do next_one[name] = value end
  next_one.url = url
  next_one.trusted = request.trusted and urls.origin(url) == urls.origin(request.url)
  local changes = status == 303 and request.method ~= "HEAD" and request.method ~= "GET"
    or (status == 301 or status == 302) and request.method == "POST"
  if changes then next_one.method, next_one.body = "GET", nil end
  next_one.fields = {}
  for _, field in ipairs(request.fields) do
    local drop = changes and about_body[field[3]] or not next_one.trusted and private[field[3]]
    if not drop then table.insert(next_one.fields, field) end
  end
  next_one.seen = names_of(next_one.fields)
  for name, value in pairs(request.seen) do
    if value == false then next_one.seen[name] = false end
  end
  return next_one
end

local function target(request, proxy)
  if not proxy then return request.url.target end
  return ("http://%s%s"):format(urls.authority(request.url), request.url.target)
end

local function framing(request, put)
  local body = request.body
  if body and not body.length then
    put("Trailer", request.trailer)
    put("Transfer-Encoding", "chunked")
  elseif body then
    put("Content-Length", body.length)
  elseif request.method == "POST" or request.method == "PUT" or request.method == "PATCH" then
    put("Content-Length", 0)
  end
  if body and body.type then put("Content-Type", body.type) end
end

--- The bytes of the head.
-- @tparam table request
-- @tparam ?table proxy that is to pass it on
-- @tparam table more `cookie`, `gzip`, `expects`, `agent`
-- @treturn string
function M.head(request, proxy, more)
  local seen = request.seen
  local lines = { ("%s %s HTTP/%s\r\n"):format(request.method, target(request, proxy),
    request.version) }
  local function put(name, value)
    if value and seen[name:lower()] == nil then
      lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
    end
  end
  put("Host", urls.authority(request.url))
  for _, field in ipairs(request.fields) do
    local joins = field[3] == "cookie" and more.cookie
    lines[#lines + 1] = ("%s: %s%s\r\n"):format(field[1], field[2], joins and "; " .. joins or "")
  end
  put("User-Agent", more.agent)
  put("Accept", "*/*")
  put("Accept-Encoding", more.gzip and "gzip")
  put("Authorization", request.trusted and request.authorization)
  put("Cookie", more.cookie)
  put("Proxy-Authorization", proxy and proxy.authorization)
  framing(request, put)
  put("Expect", more.expects and "100-continue")
  lines[#lines + 1] = "\r\n"
  return table.concat(lines)
end

return M

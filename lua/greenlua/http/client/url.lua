--- URLs, as a client of HTTP needs them (RFC 3986).
-- For greenlua's own modules.
--
-- @module greenlua.http.client.url

local core = require "greenlua.core.http"
local dns = require "greenlua.core.dns"

local M = {}

local ports = { http = 80, https = 443 }

local function quote(text)
  return ("%q"):format(text):gsub("\\\n", "\\n")
end

-- "user:password@"
local function split_userinfo(authority)
  local userinfo, rest = authority:match "^(.*)@(.-)$"
  if not userinfo then return nil, nil, authority end
  local user, password = userinfo:match "^([^:]*):?(.*)$"
  return core.unescape(user), core.unescape(password), rest
end

local function split_port(text)
  local host, port = text:match "^(%[[^%]]*%]):?(%d*)$"
  if not host then host, port = text:match "^([^:%[%]]*):?(%d*)$" end
  return host, port
end

local function check_address(host)
  local address = host:sub(2, -2):gsub("%%25", "%%")
  local number, zone = address:match "^([^%%]*)(.*)$"
  if dns.parse(number) ~= "inet6" or not (zone == "" or zone:find "^%%[%w%-._~]+$") then
    return nil, ("%s is no IPv6 address"):format(quote(address))
  end
  return address
end

local function check_host(host)
  if host:find "^%[" then return check_address(host) end
  if host == "" then return nil, "there is no host" end
  if host:find "[\128-\255]" then
    return nil, ("the host %s must be written in ASCII (xn--…)"):format(quote(host))
  end
  host = core.unescape(host):lower()
  if host:find "[^%w%-._]" or #host > 254 then return nil, ("%s is no host"):format(quote(host)) end
  return host
end

-- What may not stand in a request line is escaped; escapes stay.
local function clean(target)
  return (target:gsub('[^%w%-._~!$&\'()*+,;=:@/?%%%[%]|]', function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

local function split(text)
  local scheme, rest = text:match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return nil end
  rest = rest:gsub("#.*", "")
  local authority, target = rest:match "^([^/?]*)(.*)$"
  return scheme:lower(), authority, target
end

--- Take a URL apart. Its fragment is dropped.
-- @tparam string text
-- @tparam[opt] table schemes which are known, and their ports
-- @treturn[1] table `scheme` (`"http"`, `"https"`), `host` (an IPv6 address without
--   brackets), `port`, `target` (path and query), `user`, `password`, `unix` (a path)
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function M.parse(text, schemes)
  schemes = schemes or ports
  if text:find "%c" then return nil, "a control character" end
  local scheme, authority, target = split((text:match "^ *(.-) *$"))
  if not scheme then return nil, "no scheme: http://… or https://… is expected" end
  local unix = scheme:match "^(https?)%+unix$"
  if not schemes[unix or scheme] then
    return nil, ("the scheme %s is not known"):format(quote(scheme))
  end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  local url = { scheme = unix or scheme, target = clean(target) }
  if unix then
    url.unix, url.host, url.port = core.unescape(authority), "localhost", ports[unix]
    if url.unix == "" then return nil, "there is no path of a socket" end
    return url
  end
  local host, port, problem
  url.user, url.password, authority = split_userinfo(authority)
  host, port = split_port(authority)
  if not host then return nil, ("%s is no host with a port"):format(quote(authority)) end
  url.host, problem = check_host(host)
  if not url.host then return nil, problem end
  url.port = port == "" and schemes[scheme] or #port < 6 and math.tointeger(tonumber(port)) or 0
  if url.port < 1 or url.port > 65535 then return nil, ("%s is no port"):format(port) end
  return url
end

--- The bytes of an address, 4 or 16, without its zone.
-- @tparam string host
-- @treturn ?string nil: it is none
function M.address(host)
  host = host:gsub("%%.*", "")
  local family = dns.parse(host)
  if not family then return nil end
  local digits = dns.reverse(host) -- "1.0.0.127.in-addr.arpa", "1.0.0.….ip6.arpa"
  if family == "inet" then
    local d, c, b, a = digits:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)"
    return string.char(a, b, c, d)
  end
  local hex = digits:gsub("%.ip6%.arpa$", ""):gsub("%.", ""):reverse()
  return (hex:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

--- The host as a URL has it.
function M.bracketed(host)
  return host:find(":", 1, true) and ("[%s]"):format((host:gsub("%%", "%%25"))) or host
end

--- Host and port, the port only if it is not the usual one: what a Host field says.
function M.authority(url)
  local host = M.bracketed((url.host:gsub("%%.*", "")))
  if url.port == ports[url.scheme] then return host end
  return host .. ":" .. url.port
end

--- What two URLs must share to trust each other: scheme, host and port.
function M.origin(url)
  if url.unix then return ("%s+unix://%s"):format(url.scheme, url.unix) end
  return ("%s://%s:%d"):format(url.scheme, url.host, url.port)
end

--- The text of a URL, without user and password.
function M.format(url)
  if url.unix then
    local path = url.unix:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)
    return ("%s+unix://%s%s"):format(url.scheme, path, url.target)
  end
  local port = url.port == ports[url.scheme] and "" or ":" .. url.port
  return ("%s://%s%s%s"):format(url.scheme, M.bracketed(url.host), port, url.target)
end

-- RFC 3986, 5.2.4
local function remove_dots(path)
  local out = {}
  local last
  for segment in path:gmatch "/([^/]*)" do
    last = segment
    if segment == ".." then
      out[#out] = nil
    elseif segment ~= "." then
      out[#out + 1] = segment
    end
  end
  if last == "." or last == ".." then out[#out + 1] = "" end
  return "/" .. table.concat(out, "/")
end

local function merge(base, reference)
  local path, query = reference:match "^([^?]*)(.*)$"
  local base_path, base_query = base.target:match "^([^?]*)(.*)$"
  if path == "" then return base_path .. (query ~= "" and query or base_query) end
  if path:sub(1, 1) ~= "/" then path = base_path:match "^(.*/)" .. path end
  return remove_dots(path) .. query
end

--- What a reference means, found in a document at `base`.
-- @tparam table base as `parse` has it
-- @tparam string reference
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function M.resolve(base, reference)
  reference = reference:match "^%s*(.-)%s*$"
  if reference:find "^%a[%w+.-]*:" then return M.parse(reference) end
  if reference:find "^//" then return M.parse(base.scheme .. ":" .. reference) end
  if reference:find "%c" then return nil, "a control character" end
  reference = reference:gsub("#.*", "")
  return {
    scheme = base.scheme, host = base.host, port = base.port, unix = base.unix,
    target = clean(merge(base, reference)),
  }
end

return M

--- What a client remembers for servers (RFC 6265, §5).
--
-- @usage
-- local jar = http.client.Jar()
-- local client = http.client { cookies = jar }
-- @module greenlua.http.client.cookies

local core = require "greenlua.core.http"
local is_address = require("greenlua.core.dns").parse
local object = require "greenlua.object"

local M = {}

local LENGTH, PER_DOMAIN, TOTAL = 4096, 50, 3000

--- Cookies of many servers.
-- @type Jar
local Jar = object.class "Jar"
M.Jar = Jar

function Jar:_init()
  self._domains, self._count, self._created = {}, 0, 0
end

--- Is it a Jar?
-- @function Jar.is
-- @param value
-- @treturn boolean

local function split_path(target)
  return target:match "^[^?]*"
end

-- RFC 6265, 5.1.4
local function default_path(target)
  local path = split_path(target)
  if path:sub(1, 1) ~= "/" then return "/" end
  return path:match "^(/.*)/" or "/"
end

local function path_matches(path, wanted)
  if path == wanted then return true end
  return path:sub(1, #wanted) == wanted
    and (wanted:sub(-1) == "/" or path:sub(#wanted + 1, #wanted + 1) == "/")
end

local function domain_matches(host, domain)
  return host == domain or (host:sub(-#domain - 1) == "." .. domain and not is_address(host))
end

local function attributes(text)
  local found = {}
  for name, value in text:gmatch ";%s*([^;=]*)=?([^;]*)" do
    found[name:match "^%s*(.-)%s*$":lower()] = value:match "^%s*(.-)%s*$"
  end
  return found
end

local function expiry(found, time)
  local age = found["max-age"]
  if age and age:find "^%-?%d+$" then
    return tonumber(age) <= 0 and 0 or time + tonumber(age)
  end
  -- many servers write the date with dashes
  local date = found.expires and found.expires:gsub("(%d%d)-(%a%a%a)-(%d%d%d%d)", "%1 %2 %3")
  return date and core.date_value(date) or nil
end

-- nil: the host may not set it for that domain.
local function domain_of(found, host)
  local domain = (found.domain or ""):lower():gsub("^%.", "")
  if domain == "" or domain == host then return host, found.domain == nil or domain == "" end
  if not domain:find(".", 1, true) or not domain_matches(host, domain) then return nil end
  return domain, false
end

local function parse(url, text, time)
  local pair, rest = text:match "^([^;]*)(.*)$"
  local name, value = pair:match "^%s*(.-)%s*=%s*(.-)%s*$"
  if not name or name == "" or #name + #value > LENGTH or text:find "[\0-\8\10-\31\127]" then
    return nil
  end
  local found = attributes(rest)
  local domain, host_only = domain_of(found, url.host)
  if not domain or (found.secure and url.scheme ~= "https") then return nil end
  local path = found.path
  if not path or path:sub(1, 1) ~= "/" then path = default_path(url.target) end
  return {
    name = name, value = value, domain = domain, host_only = host_only, path = path,
    secure = found.secure ~= nil, http_only = found.httponly ~= nil, expires = expiry(found, time),
  }
end

local function key_of(cookie) return cookie.name .. "\0" .. cookie.path end

function Jar:_remove(domain, key)
  local cookies = self._domains[domain]
  if not cookies or not cookies[key] then return end
  cookies[key] = nil
  self._count = self._count - 1
  if not next(cookies) then self._domains[domain] = nil end
end

-- The one that was made first goes.
local function evict(self, domain)
  local oldest, at
  for name, cookies in pairs(domain and { [domain] = self._domains[domain] } or self._domains) do
    for _, cookie in pairs(cookies) do
      if not oldest or cookie.created < oldest.created then oldest, at = cookie, name end
    end
  end
  self:_remove(at, key_of(oldest))
end

local function count(cookies)
  local n = 0
  for _ in pairs(cookies) do n = n + 1 end
  return n
end

local function put(self, cookie)
  local cookies = self._domains[cookie.domain] or {}
  local old = cookies[key_of(cookie)]
  self._created = self._created + 1
  cookie.created = old and old.created or self._created
  if not old then
    if count(cookies) >= PER_DOMAIN then evict(self, cookie.domain) end
    if self._count >= TOTAL then evict(self) end
    self._count = self._count + 1
  end
  cookies = self._domains[cookie.domain] or cookies
  self._domains[cookie.domain] = cookies
  cookies[key_of(cookie)] = cookie
end

--- Remember what a response set.
-- @tparam table url where it came from, as the client has it
-- @tparam string text of a Set-Cookie field
-- @tparam[opt] number time seconds since 1970
-- @treturn boolean was it taken?
function Jar:store(url, text, time)
  time = time or os.time()
  local cookie = parse(url, text, time)
  if not cookie then return false end
  if cookie.expires and cookie.expires <= time then
    self:_remove(cookie.domain, key_of(cookie))
  else
    put(self, cookie)
  end
  return true
end

local function fits(cookie, url, path)
  return (not cookie.host_only or cookie.domain == url.host)
    and (not cookie.secure or url.scheme == "https") and path_matches(path, cookie.path)
end

-- Longer paths first, then whoever was made first.
local function before(a, b)
  if #a.path ~= #b.path then return #a.path > #b.path end
  return a.created < b.created
end

local function collect(self, url, time)
  local found, path = {}, split_path(url.target)
  for domain, cookies in pairs(self._domains) do
    if domain_matches(url.host, domain) then
      for _, cookie in pairs(cookies) do
        local fresh = not cookie.expires or cookie.expires > time
        if fresh and fits(cookie, url, path) then found[#found + 1] = cookie end
      end
    end
  end
  table.sort(found, before)
  return found
end

--- What a request for a URL carries.
-- @tparam table url
-- @tparam[opt] number time seconds since 1970
-- @treturn ?string the value of a Cookie field
function Jar:header(url, time)
  local parts = {}
  for i, cookie in ipairs(collect(self, url, time or os.time())) do
    parts[i] = cookie.name .. "=" .. cookie.value
  end
  return parts[1] and table.concat(parts, "; ")
end

--- All cookies, as a list of tables with `name`, `value`, `domain`, `path`, `expires`, `secure`,
-- `http_only`, `host_only`.
-- @treturn table
function Jar:all()
  local list = {}
  for _, cookies in pairs(self._domains) do
    for _, cookie in pairs(cookies) do list[#list + 1] = cookie end
  end
  table.sort(list, function(a, b) return a.created < b.created end)
  return list
end

--- Forget all.
function Jar:clear()
  self._domains, self._count = {}, 0
end

function Jar:__len() return self._count end

function Jar:__tostring() return ("Jar: %d cookies"):format(self._count) end

return M

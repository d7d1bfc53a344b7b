--- Cookies (RFC 6265).
--
-- @module greenlua.http.cookies

local core = require "greenlua.core.http"
local object = require "greenlua.object"

local M = {}

--- Read a Cookie field.
-- @usage cookies.parse "a=1; b=2" --> { a = "1", b = "2" }
-- @tparam string text
-- @treturn table the first of each name
function M.parse(text)
  text = object.check_string("parse", 1, text)
  local found = {}
  for pair in text:gmatch "[^;]+" do
    local name, value = pair:match "^%s*([^=%s]+)%s*=%s*(.*)$"
    value = value and (value:match "^(.*%S)" or "") -- in one go, however many spaces
    if name and found[name] == nil then found[name] = value:match '^"(.*)"$' or value end
  end
  return found
end

local function refuse(what, value)
  error(("bad %s of a cookie: %q"):format(what, tostring(value)), 4)
end

local function attribute(parts, name, value)
  if value == nil then return end
  value = tostring(value)
  if value:find "[%c;]" then refuse(name, value) end
  parts[#parts + 1] = name .. "=" .. value
end

local same_sites = { strict = "Strict", lax = "Lax", none = "None" }

local function same_site(value)
  if value == nil then return nil end
  return same_sites[tostring(value):lower()] or refuse("same_site", value)
end

--- Write a Set-Cookie field. HttpOnly and SameSite=Lax unless the options say otherwise.
--
-- Options: `path` (`"/"`), `domain`, `max_age` (seconds), `expires` (seconds since 1970),
-- `secure`, `http_only` (true), `same_site` (`"Lax"`, `"Strict"`, `"None"`; false for none).
-- @tparam string name
-- @tparam ?string value nil: one that has expired
-- @tparam[opt] table options
-- @treturn string
function M.format(name, value, options)
  options = options or {}
  if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" then
    refuse("name", name)
  end
  if value ~= nil and tostring(value):find '[%c%s",;\\\127-\255]' then refuse("value", value) end
  local parts = { name .. "=" .. tostring(value == nil and "" or value) }
  attribute(parts, "Path", options.path or "/")
  attribute(parts, "Domain", options.domain)
  attribute(parts, "Max-Age", value == nil and 0 or options.max_age)
  attribute(parts, "Expires", value == nil and core.date(0)
    or options.expires and core.date(options.expires))
  if options.secure then parts[#parts + 1] = "Secure" end
  if options.http_only ~= false then parts[#parts + 1] = "HttpOnly" end
  if options.same_site ~= false then
    attribute(parts, "SameSite", same_site(options.same_site or "Lax"))
  end
  return table.concat(parts, "; ")
end

return M

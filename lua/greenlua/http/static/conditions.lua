--- Conditional requests and ranges (RFC 9110, §13 and §14).
--
-- @module greenlua.http.static.conditions

local core = require "greenlua.core.http"

local M = {}

local function opaque(tag) return (tag:gsub("^W/", "")) end

-- Is the tag in a list, or the list "*"? `weak`: as good as the same will do.
local function listed(list, tag, weak)
  if list:match "^%s*%*%s*$" then return true end
  for mark, found in list:gmatch '(W?/?)("[^"]*")' do
    if found == opaque(tag) and (weak or (mark == "" and not tag:find "^W/")) then return true end
  end
  return false
end

local function changed_since(text, modified)
  local at = core.date_value(text)
  return at and modified > at
end

--- What a request's conditions come to.
-- @tparam Request req
-- @tparam string tag of the file
-- @tparam integer modified
-- @treturn ?integer 304 or 412; nil: send it
function M.status(req, tag, modified)
  local match, none = req:header "if-match", req:header "if-none-match"
  local unmodified = req:header "if-unmodified-since"
  if match and not listed(match, tag, false) then return 412 end
  if not match and unmodified and changed_since(unmodified, modified) then return 412 end
  if none then
    if listed(none, tag, true) then return 304 end
    return nil
  end
  local since = req:header "if-modified-since"
  if since and changed_since(since, modified) == false then return 304 end
  return nil
end

-- If-Range: does the client have a part of this very file?
local function same_file(req, tag, modified)
  local value = req:header "if-range"
  if not value then return true end
  if value:find '^"' then return value == tag end
  return core.date_value(value) == modified
end

local MOST = 16 -- ranges: more are no sensible request

local function read_range(text, size)
  local first, last = text:match("%S.*"):match "^(%d*)%s*-%s*(%d*)%s*$"
  if not first or (first == "" and last == "") or #first > 18 or #last > 18 then return nil end
  first, last = math.tointeger(tonumber(first)), math.tointeger(tonumber(last))
  if first and last and first > last then return nil end
  if not first then -- the last so many
    if last == 0 then return false end
    first, last = math.max(0, size - last), size - 1
  end
  if first >= size then return false end
  return { first, math.min(last or size - 1, size - 1) }
end

--- The ranges that a request asks for.
-- @tparam Request req
-- @tparam integer size
-- @tparam string tag
-- @tparam integer modified
-- @treturn[1] table list of `{ first, last }`, offsets from 0
-- @treturn[2] boolean false: none of them can be had (416)
-- @treturn[3] nil all of the file is to be sent
function M.ranges(req, size, tag, modified)
  local value = req.method == "GET" and req:header "range"
  local text = value and value:match "^%s*[bB][yY][tT][eE][sS]%s*=(.+)$"
  if not text or not same_file(req, tag, modified) then return nil end
  local list, asked, bytes = {}, 0, 0
  for part in (text .. ","):gmatch "([^,]*)," do
    if part:find "%S" then
      local range = read_range(part, size)
      asked = asked + 1
      if range == nil or asked > MOST then return nil end
      if range then
        list[#list + 1] = range
        bytes = bytes + range[2] - range[1] + 1
      end
    end
  end
  if asked == 0 then return nil end
  if #list == 0 then return false end
  if #list > 1 and bytes > size then return nil end -- the whole is shorter
  return list
end

return M

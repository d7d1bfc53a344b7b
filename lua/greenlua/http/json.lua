--- JSON, through lua-cjson, which must be installed.
--
-- @module greenlua.http.json

local M = {}

local LIBRARY = "cjson"
local cjson

local function library()
  if cjson then return cjson end
  local ok, found = pcall(require, LIBRARY)
  if not ok then error("JSON needs lua-cjson, which is not installed", 0) end
  cjson = found.new() -- settings of our own
  return cjson
end

--- JSON's null.
-- @treturn lightuserdata
function M.null()
  return library().null
end

--- What a value is in JSON. Raises what cannot be encoded.
-- @param value
-- @treturn string
function M.encode(value)
  return library().encode(value)
end

--- What JSON means.
-- @tparam string text
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function M.decode(text)
  local ok, value = pcall(library().decode, text)
  if ok then return value end
  return nil, "bad JSON: " .. tostring(value):gsub("^.-:%d+: ", "")
end

--- Read a request's body. If the message is raised (`assert(req:json())`), the answer
-- is a 400.
-- @tparam Request req
-- @tparam[opt=1048576] integer max bytes
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(req, max)
  local text, err = req:read("a", max or 1 << 20)
  if not text then return nil, err end
  local value, why = M.decode(text)
  if why then req._refusal = { why, 400 } end
  return value, why
end

--- Send a value.
-- @tparam Response res
-- @param value
-- @tparam[opt] integer status
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.send(res, value, status)
  local text = library().encode(value)
  if status then res.status = status end
  if not res:get_header "Content-Type" then res:set_header("Content-Type", "application/json") end
  return res:send(text)
end

return M

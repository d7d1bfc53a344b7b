--- JSON for requests and responses. Values are encoded here; decoding is lua-cjson's,
-- which must be installed for that.
--
-- A table is an array if its keys are 1 … n, and otherwise an object. An empty one is
-- an object; `json.array {}` is an array.
--
-- @module greenlua.http.json

local core = require "greenlua.core.json"
local object = require "greenlua.object"

local M = {}

local LIBRARY = "cjson"
local cjson

local function library()
  if cjson then return cjson end
  local ok, found = pcall(require, LIBRARY)
  if not ok then error("reading JSON needs lua-cjson, which is not installed", 0) end
  cjson = found.new() -- settings of our own
  cjson.decode_max_depth(200)
  cjson.decode_invalid_numbers(false)
  return cjson
end

--- JSON's null, in tables: a light userdata, the same as lua-cjson's.
M.null = core.null

--- Have a table be an array even if it is empty.
-- @usage res:json { found = json.array(list) }
-- @tparam table list gets a metatable
-- @treturn table list
function M.array(list)
  return setmetatable(object.check_table("array", 1, list), core.array)
end

--- What a value is in JSON. Raises what has no form there: functions, NaN, tables that
-- contain themselves, …
-- @usage json.encode { a = { 1, 2.5, "x" } } --> {"a":[1,2.5,"x"]}
-- @function encode
-- @param value
-- @treturn string
M.encode = core.encode

--- What JSON means.
-- @tparam string text
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function M.decode(text)
  local decode = library().decode
  local ok, value = pcall(decode, text)
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
  local text = core.encode(value)
  if status then res.status = status end
  if not res:get_header "Content-Type" then res:set_header("Content-Type", "application/json") end
  return res:send(text)
end

return M

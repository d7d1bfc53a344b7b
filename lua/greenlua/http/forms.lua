--- Queries and forms.
--
-- @module greenlua.http.forms

local core = require "greenlua.core.http"
local object = require "greenlua.object"

local M = {}

--- How many bytes of a form are read, files not counted, and how many fields, if
-- nobody says otherwise.
M.MAX_BYTES = 1 << 20

--- See `MAX_BYTES`.
M.MAX_FIELDS = 1000

local function pairs_of(text)
  local next_pair = text:gmatch "([^&]+)"
  return function()
    local pair = next_pair()
    if not pair then return nil end
    local name, value = pair:match "^([^=]*)=(.*)$"
    return core.unescape(name or pair, true), core.unescape(value or "", true)
  end
end

--- Decode `a=1&b=2`.
-- @tparam string text
-- @treturn table name -> value: the first of each name
function M.decode(text)
  text = object.check_string("decode", 1, text)
  local fields, n = {}, 0
  for name, value in pairs_of(text) do
    if fields[name] == nil then fields[name] = value end
    n = n + 1
    if n >= M.MAX_FIELDS then break end
  end
  return fields
end

--- All values of a name.
-- @tparam string text
-- @tparam string wanted
-- @treturn table
function M.list(text, wanted)
  text = object.check_string("list", 1, text)
  local values = {}
  for name, value in pairs_of(text) do
    if name == wanted then values[#values + 1] = value end
  end
  return values
end

local function escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(c)
    return c == " " and "+" or ("%%%02X"):format(c:byte())
  end))
end

--- Encode fields as a query or a form has them, sorted by name.
-- @usage forms.encode { q = "a b", page = 2 } --> page=2&q=a+b
-- @tparam table fields name -> value, or a list of values
-- @treturn string
function M.encode(fields)
  object.check_table("encode", 1, fields)
  local names, out = {}, {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = fields[name]
    for _, v in ipairs(type(value) == "table" and value or { value }) do
      out[#out + 1] = escape(name) .. "=" .. escape(v)
    end
  end
  return table.concat(out, "&")
end

--- Read a request's form, URL-encoded or multipart.
--
-- Fields are strings. A file that was uploaded is a table: `name`, `filename` (as the
-- client says: not a path to be trusted), `content_type`, `size`, and `path`, a temporary
-- file that is removed after the request unless it has been renamed (see
-- `greenlua.http.multipart`).
--
-- If the message is raised (`assert(req:form())`), the answer is a 415, 413 or 400.
--
-- Options: `max_bytes` (1 MiB, without files), `max_file` (nil), `max_files` (20),
-- `directory` for the files.
-- @tparam Request req
-- @tparam[opt] table options
-- @treturn[1] table name -> value, the first of each name
-- @treturn[1] table list of `{ name =, value = }`, all of them
-- @treturn[2] nil
-- @treturn[2] string `"not a form"`, `"too large"`, `"closed"`, `"timeout"` …
function M.read(req, options)
  options = options or {}
  if req.content_type == "multipart/form-data" then
    return require("greenlua.http.multipart").read(req, options)
  elseif req.content_type ~= "application/x-www-form-urlencoded" then
    req._refusal = { "not a form", 415 }
    return nil, "not a form"
  end
  local text, err = req:read("a", options.max_bytes or M.MAX_BYTES)
  if not text then return nil, err end
  local list = {}
  for name, value in pairs_of(text) do
    if #list >= M.MAX_FIELDS then
      req._refusal = { "too large", 413 }
      return nil, "too large"
    end
    list[#list + 1] = { name = name, value = value }
  end
  return M.decode(text), list
end

return M

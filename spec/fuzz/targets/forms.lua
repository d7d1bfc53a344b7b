-- Forms, in any pieces: what is read does not depend on these, and is what the references
-- read.
--
-- Options: 0: URL-encoded; 1: the parts in small pieces; 2: few parts; 3: passed over, not read.

local forms = require "greenlua.http.forms"
local input = require "spec.fuzz.input"
local multipart = require "greenlua.http.multipart"
local reference = require "spec.fuzz.reference.multipart"

local check = input.check

local Request = {}
Request.__index = Request

function Request:read_some()
  self.at = self.at + 1
  return self.pieces[self.at]
end

function Request:read(_, max)
  local text = table.concat(self.pieces)
  if #text > max then return nil, "too large" end
  return text
end

function Request:header(name)
  return name == "content-type" and self.field or nil
end

function Request:_refuse_body(status)
  self._body_status = status
end

local function request(pieces, field)
  return setmetatable({ pieces = pieces, at = 0, field = field,
    content_type = field:match "^[^;]*" }, Request)
end

local function read_part(part, has)
  if has(3) then return nil end
  if not has(1) then return part:read() end
  local list = {}
  while true do
    local piece, err = part:read_some()
    if err then return nil, err end
    if not piece then return table.concat(list) end
    check(piece ~= "", "an empty piece")
    list[#list + 1] = piece
  end
end

-- What is read, and the error that ends it.
local function read_parts(req, has)
  local list = {}
  local ok, err = pcall(function()
    for part in multipart.parts(req, { max_parts = has(2) and 2 or nil }) do
      local mine = { name = part.name, filename = part.filename, headers = part.headers }
      mine.data, mine.err = read_part(part, has)
      list[#list + 1] = mine
    end
  end)
  if ok then return list end
  check(type(err) == "string" and not err:find "%.lua:%d", "an error", err)
  check(req._body_status, "no refusal", err)
  return list, err
end

local function same_headers(got, wanted)
  for name, value in pairs(got) do check(wanted[name] == value, "headers", name, value) end
  for name in pairs(wanted) do check(got[name], "headers", name) end
end

local function same_parts(got, wanted)
  check(#got == #wanted, "parts", #got, #wanted)
  for i, part in ipairs(got) do
    for _, name in ipairs { "name", "filename", "data", "err" } do
      check(part[name] == wanted[i][name], name, part[name], wanted[i][name])
    end
    same_headers(part.headers, wanted[i].headers)
  end
end

local function check_parts(list, err, bytes, has)
  local wanted, whole = reference.parts(bytes, "x-y")
  if not err then check(whole, "it has no end") end
  if has(2) and #wanted > 2 then check(err, "too many parts were taken") end
  for i, part in ipairs(list) do
    if not wanted[i] then
      check(i == #list and (part.err or err), "a part that nobody sent", part.data)
    elseif not has(3) then
      check(part.data == wanted[i].data, "data", part.data, wanted[i].data)
    end
  end
end

local function fuzz_parts(has, pieces, bytes)
  local field = 'multipart/form-data; boundary="x-y"'
  local list, err = read_parts(request(pieces, field), has)
  local other, other_err = read_parts(request({ bytes }, field), has)
  same_parts(list, other)
  check(err == other_err, "the end", err, other_err)
  check_parts(list, err, bytes, has)
end

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function fuzz_pairs(pieces, bytes)
  local fields, list = forms.read(request(pieces, "application/x-www-form-urlencoded"))
  local n, first = 0, {}
  for pair in bytes:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    n = n + 1
    if n > forms.MAX_FIELDS then return check(not fields, "too many fields were taken") end
    name, value = decoded(name), decoded(value)
    check(list[n] and list[n].name == name and list[n].value == value, "a field", name, value)
    first[name] = first[name] or value
    check(fields[name] == first[name], "a field", name, fields[name])
  end
  check(#list == n, "fields", #list, n)
  local again = forms.decode(forms.encode(fields))
  for name, value in pairs(fields) do check(again[name] == value, "encode", name, value) end
end

return function(text)
  local has, cuts, bytes = input.split(text, 1)
  local pieces = input.pieces(cuts, bytes)
  if has(0) then fuzz_pairs(pieces, bytes) else fuzz_parts(has, pieces, bytes) end
end

-- HTTP/1.1 messages as RFC 9112 has them, read from a whole string: short rather than fast,
-- and as strict as can be. What greenlua makes of a stream must be the same.

local M = {}

local TOKEN <const> = "[%w!#$%%&'*+%-.^_`|~]+"
local REQUEST_LINE <const> = "^(" .. TOKEN .. ") ([\33-\34\36-\126]+) HTTP/1%.([01])$"

-- The lines of a head that begins at `at`, and where it ends; nil: it does not.
local function head_lines(bytes, at)
  local lines = {}
  while true do
    local line, after = bytes:match("^([^\r\n]*)\r\n()", at)
    if not line then return nil end
    at = after
    if line == "" then return lines, at end
    lines[#lines + 1] = line
  end
end

local function read_fields(lines, from)
  local fields = {}
  for i = from, #lines do
    local name, value = lines[i]:match("^(" .. TOKEN .. "):(.*)$")
    if not name or value:find "[%z\1-\8\10-\31\127]" then return nil end
    fields[#fields + 1] = { name, value:match "^[ \t]*(.-)[ \t]*$" }
  end
  return fields
end

local function values_of(fields, wanted)
  local list = {}
  for _, field in ipairs(fields) do
    if field[1]:lower() == wanted then list[#list + 1] = field[2] end
  end
  return list
end
M.values_of = values_of

local function has_token(fields, name, wanted)
  for _, value in ipairs(values_of(fields, name)) do
    for token in value:gmatch "[^,]+" do
      if token:match "^[ \t]*(.-)[ \t]*$":lower() == wanted then return true end
    end
  end
  return false
end

-- "none", "length" with the number, or "chunked"; nil: it can be read in two ways.
local function framing(fields, minor)
  local lengths = values_of(fields, "content-length")
  local codings = values_of(fields, "transfer-encoding")
  if #lengths + #codings > 1 then return nil end
  if codings[1] then
    if codings[1]:lower() ~= "chunked" or minor == 0 then return nil end
    return "chunked"
  end
  if not lengths[1] then return "none" end
  if not lengths[1]:find "^%d+$" or #lengths[1] > 18 then return nil end
  return "length", math.tointeger(tonumber(lengths[1]))
end

-- Chunks from `at` on: the body, where it ends, and the trailer; or what there is of it.
local function read_chunks(bytes, at)
  local parts = {}
  while true do
    local size, rest, after = bytes:match("^(%x+)([^\r\n]*)\r\n()", at)
    if not size or #size > 15 or not (rest:find "^[ \t]*$" or rest:find "^[ \t]*;")
      or rest:find "[%z\1-\8\10-\31]" then
      return table.concat(parts), nil
    end
    size, at = tonumber(size, 16), after
    if size == 0 then break end
    parts[#parts + 1] = bytes:sub(at, at + size - 1)
    if bytes:sub(at + size, at + size + 1) ~= "\r\n" then return table.concat(parts), nil end
    at = at + size + 2
  end
  local lines, stop = head_lines(bytes, at)
  local fields = lines and read_fields(lines, 1)
  if not fields then return table.concat(parts), nil end
  return table.concat(parts), stop, fields
end

-- The body: m.body, m.complete, m.trailers; where the next message begins.
local function read_body(m, bytes, at, kind, length)
  m.framing, m.body, m.complete = kind, "", true
  if kind == "chunked" then
    local stop
    m.body, stop, m.trailers = read_chunks(bytes, at)
    m.complete = stop ~= nil
    return stop
  elseif kind == "length" then
    m.body = bytes:sub(at, at + length - 1)
    m.complete = #m.body == length
    return at + length
  elseif kind == "to end" then
    m.body = bytes:sub(at)
    return #bytes + 1
  end
  return at
end

local function read_request(bytes, at)
  local lines, after = head_lines(bytes, at)
  if not lines or not lines[1] then return nil end
  local method, target, minor = lines[1]:match(REQUEST_LINE)
  local fields = method and read_fields(lines, 2)
  if not fields then return nil end
  local m = { method = method, target = target, minor = tonumber(minor), fields = fields }
  local kind, length = framing(fields, m.minor)
  if not kind or #values_of(fields, "host") > 1 then return nil end
  if m.minor == 1 and not values_of(fields, "host")[1] then return nil end
  m.last = method == "CONNECT" or has_token(fields, "connection", "close")
    or m.minor == 0 and not has_token(fields, "connection", "keep-alive")
  return m, read_body(m, bytes, after, kind, length)
end

--- The path and the query of a request.
function M.split_target(m)
  if m.method == "CONNECT" then return "", "" end
  local rest = m.target:match "^%a[%w+.-]*://[^/?]*(.*)$" or m.target
  return rest:match "^[^?]*", rest:match "%?(.*)$" or ""
end

--- The requests in a string, as far as they can be read: a list of tables with `method`,
-- `target`, `minor`, `fields` (a list of pairs), `body`, `complete`, `trailers`, and `last`: no
-- other may follow.
function M.requests(bytes)
  local list, at = {}, 1
  while at do
    while bytes:sub(at, at + 1) == "\r\n" do at = at + 2 end
    local m
    m, at = read_request(bytes, at)
    list[#list + 1] = m
    if m and (m.last or not m.complete) then break end
  end
  return list
end

--- One response at a place, to a request with that method (it opens no tunnel): a table, and
-- where the next one begins; nil: there is none that is whole up to its body.
function M.response(bytes, at, method)
  local lines, after = head_lines(bytes, at)
  if not lines or not lines[1] then return nil end
  local minor, status, reason = lines[1]:match "^HTTP/1%.([01]) ([1-9]%d%d)(.*)$"
  local fields = status and read_fields(lines, 2)
  if not fields or not (reason == "" or reason:find "^ ") then return nil end
  local m = { status = tonumber(status), minor = tonumber(minor), fields = fields }
  local kind, length = framing(fields, m.minor)
  if not kind then return nil end
  if method == "HEAD" or m.status < 200 or m.status == 204 or m.status == 304 then
    kind = "none"
  elseif kind == "none" then
    kind = "to end"
  end
  return m, read_body(m, bytes, after, kind, length)
end

return M

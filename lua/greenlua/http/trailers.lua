--- The fields that follow a body (RFC 9110, §6.5).
--
-- @module greenlua.http.trailers

local M = {}

-- What frames, routes or authorizes a message must have been known before its body:
-- whoever sends it behind it wants it overlooked by somebody.
local forbidden = {}
for name in ([[authorization cache-control connection content-encoding content-length
  content-range content-type cookie expect host if-match if-modified-since if-none-match
  if-range if-unmodified-since keep-alive max-forwards proxy-authorization
  proxy-connection range set-cookie te trailer transfer-encoding upgrade]]):gmatch "%S+" do
  forbidden[name] = true
end

--- May a field of that name be in a trailer?
-- @tparam string name
-- @treturn boolean
function M.allowed(name)
  return not forbidden[name:lower()]
end

local Trailers = {}
Trailers.__index = Trailers

function Trailers:field(n)
  local found = self[n]
  if found then return found[1], found[2] end
end

function Trailers:header(name)
  local values = {}
  name = name:lower()
  for _, field in ipairs(self) do
    if field[1]:lower() == name then values[#values + 1] = field[2] end
  end
  return values[1] and table.concat(values, ", ")
end

--- Read the lines of a trailer; what it may not hold is left out.
-- @tparam string lines each with its CRLF
-- @treturn table with the methods `header(name)` and `field(n)`
function M.parse(lines)
  local list = {}
  for name, value in lines:gmatch "([^:\r\n]+):[ \t]*([^\r\n]*)\r\n" do
    if M.allowed(name) then list[#list + 1] = { name, value:match "^(.*[^ \t])" or "" } end
  end
  return setmetatable(list, Trailers)
end

return M

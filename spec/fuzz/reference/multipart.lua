-- A multipart body (RFC 2046, 5.1.1), read from a whole string.

local M = {}

--- The parts: a list of tables with `head`, the lines of its fields, and `data`; and whether
-- the body ends as it must. A part that is cut is left out.
function M.parts(body, boundary)
  local delimiter, parts = "\r\n--" .. boundary, {}
  local text = "\r\n" .. body
  local _, at = text:find(delimiter, 1, true)
  while at do
    if text:sub(at + 1, at + 2) == "--" then return parts, true end
    local after = text:match("^%s-\r\n()", at + 1)
    if not after then return parts, false end
    -- the line end that ends the delimiter may be the one that ends an empty head
    local head_end, data_at = text:find("\r\n\r\n", after - 2, true)
    if not head_end then return parts, false end
    -- and the one that ends the head may begin the next delimiter
    local stop, last = text:find(delimiter, data_at - 1, true)
    if not stop then return parts, false end
    parts[#parts + 1] = { head = text:sub(after, head_end - 1),
      data = text:sub(data_at + 1, stop - 1) }
    at = last
  end
  return parts, false
end

return M

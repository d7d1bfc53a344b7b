--- Base64 (RFC 4648), for credentials.
-- For greenlua's own modules.
--
-- @module greenlua.http.client.base64

local M = {}

local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local alphabet = {}
for i = 0, 63 do alphabet[i] = letters:sub(i + 1, i + 1) end

--- Encode.
-- @tparam string text
-- @treturn string
function M.encode(text)
  local padding = (3 - #text % 3) % 3
  local out = (text .. ("\0"):rep(padding)):gsub("...", function(three)
    local a, b, c = three:byte(1, 3)
    local n = a << 16 | b << 8 | c
    return alphabet[n >> 18] .. alphabet[n >> 12 & 63] .. alphabet[n >> 6 & 63] .. alphabet[n & 63]
  end)
  return out:sub(1, #out - padding) .. ("="):rep(padding)
end

--- What proves a user who has a password (RFC 7617).
-- @tparam string user
-- @tparam string password
-- @treturn string
function M.basic(user, password)
  return "Basic " .. M.encode(user .. ":" .. (password or ""))
end

return M

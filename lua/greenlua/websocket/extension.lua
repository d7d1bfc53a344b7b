--- permessage-deflate (RFC 7692): what the two sides agree on.
--
-- The option `compress` is true, or a table of
--
-- * `level` (6): of zlib, 1 to 9;
-- * `min` (128): bytes; shorter messages are sent as they are;
-- * `server_no_context_takeover`, `client_no_context_takeover` (false): each message is
--   compressed by itself: that is less effective, and the memory is shared;
-- * `server_max_window_bits`, `client_max_window_bits` (15): 9 to 15; less memory.
-- @module greenlua.websocket.extension

local M = {}

local NAME <const> = "permessage-deflate"
local LEVEL <const>, MIN <const> = 6, 128

-- Extensions and their parameters, in order: { name, parameters } or nil if that is none.
-- A parameter without a value is true.
local function parse(value)
  local list = {}
  for text in (value .. ","):gmatch "([^,]*)," do
    local name, rest = text:match "^%s*([%w!#$%%&'*+%-.^_`|~]+)%s*(.*)$"
    if name then
      local parameters, ok = {}, true
      for parameter in rest:gmatch "[^;]+" do
        local key, given = parameter:match "^%s*([%w_%-]+)%s*=?%s*\"?([%w%-]*)\"?%s*$"
        if not key or parameters[key] ~= nil then ok = false
        else parameters[key] = parameter:find("=", 1, true) and given or true end
      end
      list[#list + 1] = { name, ok and parameters or false }
    end
  end
  return list
end

-- The number of a parameter's bits; nil: it is none.
local function bits(value)
  if type(value) ~= "string" or not value:find "^[89]$"
    and not value:find "^1[0-5]$" then return end
  return math.tointeger(tonumber(value))
end

local known = {
  server_no_context_takeover = true, client_no_context_takeover = true,
  server_max_window_bits = true, client_max_window_bits = true,
}

local function is_sound(parameters, by_server)
  if not parameters then return false end
  for name, value in pairs(parameters) do
    if not known[name] then return false end
    if name:find "takeover" then
      if value ~= true then return false end
    elseif not (bits(value) or (value == true and name == "client_max_window_bits"
      and not by_server)) then
      return false
    end
  end
  return true
end

local function own(compress)
  local options = type(compress) == "table" and compress or {}
  for name, value in pairs(options) do
    local ok = known[name] or name == "level" or name == "min"
    if name:find "bits" then ok = math.type(value) == "integer" and value >= 9 and value <= 15
    elseif name == "level" then ok = math.type(value) == "integer" and value >= 1 and value <= 9
    elseif name == "min" then ok = math.type(value) == "integer" and value >= 0
    elseif ok then ok = type(value) == "boolean" end
    if not ok then
      error(("bad option 'compress' (%s = %s)"):format(tostring(name), tostring(value)), 4)
    end
  end
  return options
end

-- zlib compresses nothing with a window of 256 bytes: such messages go as they are.
local function sending(n)
  return n >= 9 and n or 0
end

local function accept_one(offer, o)
  local server = math.min(o.server_max_window_bits or 15, bits(offer.server_max_window_bits) or 15)
  local client = 15
  local answer = { NAME }
  local server_fresh = o.server_no_context_takeover or offer.server_no_context_takeover or false
  local client_fresh = o.client_no_context_takeover or offer.client_no_context_takeover or false
  if server < 9 then return end
  if server_fresh then answer[#answer + 1] = "server_no_context_takeover" end
  if client_fresh then answer[#answer + 1] = "client_no_context_takeover" end
  if server < 15 then answer[#answer + 1] = "server_max_window_bits=" .. server end
  if offer.client_max_window_bits then
    client = math.min(o.client_max_window_bits or 15, bits(offer.client_max_window_bits) or 15)
    if client < 15 then answer[#answer + 1] = "client_max_window_bits=" .. client end
  end
  return table.concat(answer, "; "), {
    send_bits = server, send_fresh = server_fresh,
    receive_bits = client, receive_fresh = client_fresh,
    level = o.level or LEVEL, min = o.min or MIN,
  }
end

--- A server's answer to what a client offers.
-- @tparam ?string offers the field Sec-WebSocket-Extensions
-- @tparam boolean|table compress the option
-- @treturn[1] string the field to answer with
-- @treturn[1] table settings for the core
-- @treturn[2] nil: nothing is agreed on
function M.accept(offers, compress)
  if not compress then return end
  local o = own(compress)
  for _, offer in ipairs(offers and parse(offers) or {}) do
    if offer[1]:lower() == NAME and is_sound(offer[2], false) then
      local answer, settings = accept_one(offer[2], o)
      if answer then return answer, settings end
    end
  end
end

--- What a client offers.
-- @tparam boolean|table compress
-- @treturn ?string
function M.offer(compress)
  if not compress then return end
  local o = own(compress)
  local offer = { NAME }
  for _, name in ipairs { "server_no_context_takeover", "client_no_context_takeover" } do
    if o[name] then offer[#offer + 1] = name end
  end
  if o.server_max_window_bits then
    offer[#offer + 1] = "server_max_window_bits=" .. o.server_max_window_bits
  end
  offer[#offer + 1] = o.client_max_window_bits
    and "client_max_window_bits=" .. o.client_max_window_bits or "client_max_window_bits"
  return table.concat(offer, "; ")
end

--- What a server's answer to that means.
-- @tparam ?string answer the field Sec-WebSocket-Extensions
-- @tparam boolean|table compress
-- @treturn[1] table settings for the core; empty: nothing is compressed
-- @treturn[2] nil
-- @treturn[2] string the answer is wrong
function M.confirm(answer, compress)
  local list = answer and parse(answer) or {}
  if #list == 0 then return {} end
  local parameters = list[1][2]
  if not compress or #list > 1 or list[1][1]:lower() ~= NAME or not is_sound(parameters, true) then
    return nil, "the server answers with extensions that were not offered: " .. answer
  end
  local o = own(compress)
  local server = bits(parameters.server_max_window_bits) or 15
  if server > (o.server_max_window_bits or 15)
    or (o.server_no_context_takeover and not parameters.server_no_context_takeover) then
    return nil, "the server does not agree to compress as asked: " .. answer
  end
  local client = math.min(bits(parameters.client_max_window_bits) or 15,
    o.client_max_window_bits or 15)
  return {
    send_bits = sending(client), receive_bits = server, level = o.level or LEVEL,
      min = o.min or MIN,
    send_fresh = parameters.client_no_context_takeover or o.client_no_context_takeover or false,
    receive_fresh = parameters.server_no_context_takeover or false,
  }
end

return M

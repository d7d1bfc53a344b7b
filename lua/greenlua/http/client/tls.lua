--- The TLS contexts of clients. For greenlua's own modules.
--
-- @module greenlua.http.client.tls

local M = {}

local trusting, usual -- for `verify = false`, and for everybody
local made = setmetatable({}, { __mode = "k" }) -- options -> context

local function make(options)
  local all = { alpn = { "http/1.1" } }
  for name, value in pairs(options) do all[name] = value end
  return require("greenlua.ssl").client(all)
end

--- The context that a request's options mean: the same for the same table.
-- @tparam ?boolean|table|Context tls
-- @tparam ?boolean verify
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string which file cannot be read, and why
function M.context(tls, verify)
  if type(tls) == "table" and tls.connect then return tls end
  local err
  if type(tls) ~= "table" then
    if verify == false then
      if not trusting then trusting, err = make { verify = false } end
      return trusting, err
    end
    if not usual then usual, err = make {} end
    return usual, err
  end
  local known = made[tls]
  if not known then
    local options = {}
    for name, value in pairs(tls) do options[name] = value end
    if verify == false then options.verify = false end
    known, err = make(options)
    made[tls] = known
  end
  return known, err
end

return M

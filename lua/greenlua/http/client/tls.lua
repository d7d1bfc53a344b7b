--- The TLS contexts of clients. For greenlua's own modules.
--
-- @module greenlua.http.client.tls

local M = {}

-- options -> context: verifying, or not
local contexts = {
  [true] = setmetatable({}, { __mode = "k" }), [false] = setmetatable({}, { __mode = "k" }),
}
local nothing = {} -- the options of those who have none

local function make(options, verify)
  local all = { alpn = { "http/1.1" } }
  for name, value in pairs(options) do all[name] = value end
  if not verify then all.verify = false end
  return require("greenlua.ssl").client(all)
end

--- The context that a request's options mean: the same for the same table.
-- @tparam ?boolean|table|Context tls
-- @tparam[opt=true] boolean verify
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string which file cannot be read, and why
function M.context(tls, verify)
  if type(tls) == "table" and tls.connect then return tls end
  local options, verifies = type(tls) == "table" and tls or nothing, verify ~= false
  local made, err = contexts[verifies], nil
  local context = made[options]
  if not context then
    context, err = make(options, verifies)
    made[options] = context
  end
  return context, err
end

return M

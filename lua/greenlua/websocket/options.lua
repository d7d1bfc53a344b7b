--- The options of WebSockets.
--
-- @module greenlua.websocket.options

local timeouts = require "greenlua.core.timeout"

local M = {}

local function is_seconds(value)
  return value == false or (type(value) == "number" and value > 0)
end

local function is_size(value)
  return math.type(value) == "integer" and value >= 0
end

local function is_list(value)
  if type(value) ~= "table" then return false end
  for _, one in ipairs(value) do
    if type(one) ~= "string" or not one:find "^[%w!#$%%&'*+%-.^_`|~]+$" then return false end
  end
  return true
end

local function is_origin(value)
  return type(value) == "string" or type(value) == "function" or type(value) == "table"
end

local function is_table(value)
  return type(value) == "table"
end

local common = {
  protocols = { "a list of tokens", is_list },
  origin = { "a string, a list or a function", is_origin },
  max_message = { "a number of bytes", is_size },
  max_queue = { "a number of bytes", is_size },
  overflow = { '"wait" or "close"', function(v) return v == "wait" or v == "close" end },
  send_timeout = { "seconds or false", is_seconds },
  ping_interval = { "seconds or false", is_seconds },
  pong_timeout = { "seconds or false", is_seconds },
  close_timeout = { "seconds", function(v) return type(v) == "number" and v >= 0 end },
  compress = { "a boolean or a table", function(v) return type(v) == "boolean" or is_table(v) end },
}

local known = {
  upgrade = common,
  connect = setmetatable({
    origin = { "a string", function(v) return type(v) == "string" end },
    headers = { "a table", is_table },
    timeout = { "seconds, false or a Timeout", function(v)
      return is_seconds(v) or v == 0 or timeouts.is(v)
    end },
    tls = { "a table or a Context", function(v) return v == true or is_table(v)
      or type(v) == "userdata" end },
    proxy = { "a URL or false", function(v) return v == false or type(v) == "string" end },
    proxy_tls = { "a table or a Context", is_table },
    connect = { "a table", is_table },
    socket = { "a connected socket", function(v) return type(v) == "userdata" end },
  }, { __index = common }),
}

local defaults = {
  max_message = 1 << 20, max_queue = 1 << 20, overflow = "wait", send_timeout = 60,
  ping_interval = 30, pong_timeout = 30, close_timeout = 5, compress = false,
}

--- Check options.
-- @tparam string whose `"upgrade"` or `"connect"`
-- @tparam integer arg for the message
-- @tparam ?table options
-- @treturn table with the defaults
function M.check(whose, arg, options)
  if options ~= nil and type(options) ~= "table" then
    error(("bad argument #%d to '%s' (table expected, got %s)"):format(arg, whose, type(options)),
      3)
  end
  local settings = {}
  for name, value in pairs(defaults) do settings[name] = value end
  for name, value in pairs(options or {}) do
    local rule = known[whose][name]
    if not rule then
      error(("bad argument #%d to '%s' (unknown option '%s')"):format(arg, whose, tostring(name)),
        3)
    end
    if not rule[2](value) then
      error(("bad argument #%d to '%s' (%s: %s expected, got %s)"):format(arg, whose, name, rule[1],
        tostring(value)), 3)
    end
    settings[name] = value
  end
  return settings
end

return M

--- The options of clients and requests, and what is right for them.
-- For greenlua's own modules.
--
-- @module greenlua.http.client.options

local green = require "greenlua"

local M = {}

--- What holds if nobody says otherwise.
M.defaults = {
  max_per_host = 100, max_connections = 500, idle_timeout = 60,
  redirects = 10, retries = 0, max_body = 64 << 20, gzip = true, expect = 1 << 20,
  agent = "greenlua", max_line = 16384, max_head = 65536, max_headers = 200,
  max_retry_after = 60,
}

--- Seconds by phase.
M.timeouts = { connect = 30, tls = 30, send = 60, header = 120, body = 60 }

local kinds = {
  -- of a client or of a request
  headers = "table", timeout = "number", timeouts = "table", redirects = "integer boolean",
  auth = "table", bearer = "string", proxy = "string boolean", cookies = "boolean table",
  gzip = "boolean", tls = "boolean table", proxy_tls = "table", verify = "boolean",
  retries = "integer", max_body = "integer boolean", version = "string", unix = "string",
  expect = "boolean integer",
  agent = "string boolean", stream = "boolean", max_retry_after = "number",
}
--- What may be given to a client only.
M.of_client = {
  max_per_host = "integer", max_connections = "integer", idle_timeout = "number",
  connect = "table", max_line = "integer", max_head = "integer", max_headers = "integer",
}
--- What may be given for a request only.
M.of_request = {
  method = "string", url = "string", query = "table string", body = "any", json = "any",
  form = "table", idempotent = "boolean", trailers = "table function",
}
local at_least_one = { "max_per_host", "max_connections" }

local phases = { pool = true, connect = true, tls = true, send = true, header = true, body = true }

local function wrong(what, ...)
  error(("bad request (%s)"):format(what:format(...)), 0)
end

local function check_number(name, value)
  if type(value) == "number" and not (value >= 0) then
    wrong("%s: a number, not negative, expected; got %s", name, value)
  end
end

local function check_timeouts(timeouts)
  for name, seconds in pairs(timeouts) do
    if not phases[name] then wrong("timeouts: unknown phase '%s'", tostring(name)) end
    if seconds ~= false and not (type(seconds) == "number" and seconds > 0) then
      wrong("timeouts: %s: seconds, more than 0, or false; got %s", name, tostring(seconds))
    end
  end
end

local function wrong_kind(name, expected, value)
  wrong("%s: %s expected, got %s", name, expected:gsub(" ", " or "), type(value))
end

-- "table string" -> { table = true, string = true }: made once
local sets = setmetatable({}, { __index = function(self, text)
  local set = {}
  for kind in text:gmatch "%S+" do set[kind] = true end
  self[text] = set
  return set
end })

--- Check options; raises what is wrong with them.
-- @tparam table options
-- @tparam table more what may be given besides those of both
function M.check(options, more)
  for name, value in pairs(options) do
    local expected = kinds[name] or more[name]
    if not expected then wrong("unknown option '%s'", tostring(name)) end
    local set = sets[expected]
    if not (set[type(value)] or set.any or set[math.type(value)]
      or (name == "timeout" and green.Timeout.is(value))) then
      wrong_kind(name, expected, value)
    end
    check_number(name, value)
  end
  if options.timeouts then check_timeouts(options.timeouts) end
  for _, name in ipairs(at_least_one) do
    if options[name] == 0 then wrong("%s: at least 1 expected", name) end
  end
  if type(options.cookies) == "table" and not options.cookies.header then
    wrong "cookies: a Jar or true expected"
  end
end

--- Seconds by phase, the last table's first; false takes one out.
function M.merge_timeouts(...)
  local merged = {}
  for i = 1, select("#", ...) do
    for name, seconds in pairs(select(i, ...) or {}) do merged[name] = seconds end
  end
  for name, seconds in pairs(merged) do
    if not seconds then merged[name] = nil end
  end
  return merged
end

return M

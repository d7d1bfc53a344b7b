--- Access logs.
--
-- A function as `log` gets a table for each request: `address` (of the client), `method`,
-- `target`, `version`, `status`, `bytes` (of the body), `seconds`, `referer`, `agent`, `time`
-- (since 1970), `user`. A request that was refused before a handler saw it has `status`,
-- `address` and `reason` only.
--
-- @module greenlua.http.log

local address = require "greenlua.server.address"

local M = {}

local function host_of(at)
  return at and (at.host or at.path ~= "" and at.path) or "-"
end

-- Nothing that a client sends ends a line, or a field, of the log.
local function quoted(text)
  if text == nil then return "-" end
  return (text:gsub('[%c"\\\127-\255]', function(c) return ("\\x%02X"):format(c:byte()) end))
end

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function json_string(text)
  if not utf8.len(text) then
    text = text:gsub("[\128-\255]", function(c) return utf8.char(c:byte()) end)
  end
  return '"' .. text:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local json_fields = { "address", "method", "target", "version", "status", "bytes", "seconds",
  "referer", "agent", "user", "reason" }

local formats = {}

--- The formats of lines: a function for each name.
-- @table formats
M.formats = formats

--- The line that Apache calls combined.
-- @tparam table e
-- @treturn string
function formats.combined(e)
  local request = e.method and ("%s %s HTTP/%s"):format(e.method, quoted(e.target), e.version)
    or "-"
  return ('%s - %s [%s] "%s" %d %s "%s" "%s"\n'):format(e.address, quoted(e.user),
    os.date("!%d/%b/%Y:%H:%M:%S +0000", e.time), request, e.status, e.bytes or "-",
    quoted(e.referer), quoted(e.agent))
end

--- An object of JSON on a line.
-- @tparam table e
-- @treturn string
function formats.json(e)
  local fields = { ('"time":"%s"'):format(os.date("!%Y-%m-%dT%H:%M:%SZ", e.time)) }
  for _, name in ipairs(json_fields) do
    local value = e[name]
    if value ~= nil then
      local text = type(value) == "string" and json_string(value)
        or math.type(value) == "float" and ("%.6f"):format(value) or tostring(value)
      fields[#fields + 1] = ('"%s":%s'):format(name, text)
    end
  end
  return "{" .. table.concat(fields, ",") .. "}\n"
end

local function refused(sock, status, why)
  return { time = os.time(), status = status, reason = why,
    address = host_of(address.of(sock, "getpeername")) }
end

local function served(req, res, elapsed)
  return { time = os.time(), address = host_of(req.remote_address), method = req.method,
    target = req.target, version = req.version, status = res.status, bytes = res.bytes_sent,
    seconds = elapsed, referer = req:header "referer", agent = req:header "user-agent",
    user = req.user ~= nil and tostring(req.user) or nil }
end

local function output_of(log)
  if log == true then return io.stdout end
  if io.type(log) then return log end
  local file = assert(io.open(log, "a"))
  file:setvbuf "line"
  return file
end

--- Make what the server calls after each request.
-- @param log the server's option
-- @tparam ?string format
-- @treturn ?function
function M.writer(log, format)
  if not log then return nil end
  local write = log
  if type(log) ~= "function" then
    local output, line = output_of(log), formats[format or "combined"]
    write = function(entry) output:write(line(entry)) end
  end
  return function(req, res, elapsed, status, why)
    write(req and served(req, res, elapsed) or refused(res, status, why))
  end
end

return M

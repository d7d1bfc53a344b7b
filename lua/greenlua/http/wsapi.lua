--- WSAPI applications (Kepler: Orbit, Sailor, …) as handlers.
--
-- Applications of Lua 5.1's time also want what Lua has dropped since: `setfenv`, `module`,
-- `unpack`. That is for the program to give them. A body that comes in chunks has no length
-- that could be told beforehand: those who go by CONTENT_LENGTH see none.
--
-- @usage http.serve(8080, http.wsapi.handler(require "myapp"))
-- @module greenlua.http.wsapi

local M = {}

local function header_variables(req, env)
  for name, value in pairs(req.headers) do
    -- A name with "_" could pretend to be another one.
    if not name:find("_", 1, true) then
      local key = "HTTP_" .. name:upper():gsub("-", "_")
      env[key] = env[key] and req:header(name) or value
    end
  end
  env.HTTP_CONTENT_TYPE, env.HTTP_CONTENT_LENGTH = nil, nil
  env.HTTP_PROXY = nil -- "httpoxy": programs take it for their own setting
end

local Input = {}
Input.__index = Input

--- What applications read the body from.
function Input:read(n)
  if n == nil then return self.req:read "a" end
  return self.req:read(n)
end

local Errors = {}
Errors.__index = Errors

function Errors.write(_, ...)
  io.stderr:write(...)
end

-- What is not there is "": applications rely on that.
local Environment = {}

function Environment.__index() return "" end
function Environment:__call(name) return self[name] end

-- What follows the place that the application is mounted at.
local function path_info(path, script)
  local rest = path:sub(1, #script) == script and path:sub(#script + 1)
  if rest == "" then return "/" end
  return rest and (script == "" or rest:sub(1, 1) == "/") and rest or path
end

local function environment(req, script)
  local server, remote = req.server, req.remote_address
  local env = {
    REQUEST_METHOD = req.method, QUERY_STRING = req.query_string,
    SERVER_PROTOCOL = "HTTP/" .. req.version, SERVER_SOFTWARE = "greenlua",
    GATEWAY_INTERFACE = "CGI/1.1", REQUEST_URI = req.target, SCRIPT_NAME = script,
    PATH_INFO = path_info(req.path, script), HTTPS = req.socket.info and "on" or nil,
    SERVER_NAME = req.host or "", SERVER_PORT = tostring(server.port or ""),
    REMOTE_ADDR = remote and remote.host or "",
    REMOTE_PORT = remote and tostring(remote.port) or "",
    CONTENT_TYPE = req:header "content-type" or "",
    CONTENT_LENGTH = tostring(req.content_length or ""),
  }
  header_variables(req, env)
  env.input = setmetatable({ req = req, length = req.content_length or 0 }, Input)
  env.error = setmetatable({}, Errors)
  return setmetatable(env, Environment)
end

local function set_headers(res, headers)
  for name, value in pairs(headers or {}) do
    if name:lower() ~= "transfer-encoding" then res:set_header(name, value) end
  end
end

local function status_of(status)
  return math.tointeger(tonumber(tostring(status):match "^%d+")) or 500
end

--- A handler that runs an application: `app(env)` returns status, headers, and an
-- iterator over the body.
-- @tparam function|table app a table: its `run`
-- @tparam[opt=""] string script the path that the application is mounted at
-- @treturn function
function M.handler(app, script)
  local run = type(app) == "table" and app.run or app
  return function(req, res)
    local status, headers, body = run(environment(req, script or ""))
    res.status = status_of(status)
    set_headers(res, headers)
    return body
  end
end

return M

--- WSAPI applications (Kepler: Orbit, Sailor, …) as handlers.
--
-- @usage http.serve(8080, http.wsapi.handler(require("myapp").run))
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

local function environment(req, script)
  local server, remote = req.server, req.remote_address
  local path = req.path
  local env = {
    REQUEST_METHOD = req.method, QUERY_STRING = req.query_string,
    SERVER_PROTOCOL = "HTTP/" .. req.version, SERVER_SOFTWARE = "greenlua",
    GATEWAY_INTERFACE = "CGI/1.1", REQUEST_URI = req.target, SCRIPT_NAME = script,
    PATH_INFO = path:sub(1, #script) == script and path:sub(#script + 1) or path,
    SERVER_NAME = req.host or "", SERVER_PORT = tostring(server.port or ""),
    REMOTE_ADDR = remote and remote.host or "",
    REMOTE_PORT = remote and tostring(remote.port) or "",
    CONTENT_TYPE = req:header "content-type" or "",
    CONTENT_LENGTH = tostring(req.content_length or ""),
  }
  header_variables(req, env)
  env.input, env.error = setmetatable({ req = req }, Input), setmetatable({}, Errors)
  return setmetatable(env, { __call = function(self, name) return rawget(self, name) or "" end })
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
-- @tparam function app
-- @tparam[opt=""] string script the path that the application is mounted at
-- @treturn function
function M.handler(app, script)
  return function(req, res)
    local status, headers, body = app(environment(req, script or ""))
    res.status = status_of(status)
    set_headers(res, headers)
    return body
  end
end

return M

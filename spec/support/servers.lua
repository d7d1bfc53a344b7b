-- Servers for specs:  local servers = require "spec.support.servers"

local green = require "greenlua"
local socket = require "greenlua.socket"

local M = {}

--- A started StreamServer on a port of its own, or on `options.at`.
function M.stream(handle, options)
  options = options or {}
  local at = options.at or "127.0.0.1:0"
  options.at = nil
  local server = green.server.StreamServer(at, handle, options)
  assert(server:start())
  return server
end

--- A connection to a server, over IPv4 if nothing else is said.
function M.connect(server, host)
  if server.path then
    local conn = socket.unix()
    assert(conn:connect(server.path))
    return conn
  end
  return assert(socket.connect(host or "127.0.0.1", server.port))
end

M.await = require "spec.support.await"

--- What the warnings of a server say from now on: a list.
function M.warnings(server)
  local list = {}
  function server.warn(_, message) list[#list + 1] = message end
  return list
end

--- Runs `f` with errors of greenlets kept from stderr: {greenlet's name, error} of
-- each.
function M.errors(f)
  local list = {}
  local before = green.on_error(function(g, err) list[#list + 1] = { g.name, err } end)
  local _ <close> = setmetatable({}, { __close = function() green.on_error(before) end })
  f()
  green.sleep(0)
  green.sleep(0)
  return list
end

--- Handles a connection: echoes lines.
function M.echo(conn)
  for line in conn:lines() do
    if not conn:send(line .. "\n") then break end
  end
end

return M

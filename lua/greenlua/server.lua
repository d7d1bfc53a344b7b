--- Servers: what listens, and has every connection or datagram handled in a
-- greenlet. After gevent's `server`.
--
-- @usage
-- local green = require "greenlua"
--
-- local server = green.server.StreamServer("127.0.0.1:7000", function(conn, address)
--   for line in conn:lines() do conn:send("you said: " .. line .. "\n") end
-- end)
-- assert(server:serve_forever())
--
-- Beyond gevent's: `stop` waits for handlers with and without a pool; a bare port
-- serves IPv6 and IPv4; UNIX sockets, `reuse_port`, PROXY protocol, socket activation by
-- a service manager.
--
-- **A reload without a lost connection.** With `reuse_port` the new process starts its
-- server, then the old one is told to stop: those who connect meanwhile are served
-- by either, but what waits in the old one's backlog is reset. Nothing is lost if both
-- have the same socket: `server:fileno(true)` lets a program that is started have the
-- descriptor, which it serves as `{fd = n}`; once it does, the old one stops. The
-- backlog is that of the socket, and goes on as long as somebody has it.
-- @module greenlua.server

local systemd = require "greenlua.server.systemd"
local sockets = require "greenlua.core.socket"

local M = {
  BaseServer = require("greenlua.server.base").BaseServer,
  StreamServer = require("greenlua.server.stream").StreamServer,
  DatagramServer = require("greenlua.server.datagram").DatagramServer,
}

--- Take the next socket that the service manager has passed (systemd's socket
-- activation: `LISTEN_FDS`). A server does it by itself for `"systemd"` and
-- `"systemd:name"`.
-- @tparam[opt] string name as its unit's `FileDescriptorName=` says; nil: any
-- @treturn[1] socket
-- @treturn[1] string its name
-- @treturn[2] nil
-- @treturn[2] string message
function M.inherited(name)
  if name ~= nil and type(name) ~= "string" then
    error(("bad argument #1 to 'inherited' (name or nil expected, got %s)"):format(type(name)), 2)
  end
  local fd, found = systemd.take(name)
  if not fd then return nil, found end
  local sock, err = sockets.fromfd(fd)
  return sock, sock and found or err
end

--- Tell the service manager how this program is (sd\_notify(3)). `serve_forever` says
-- `READY=1` and `STOPPING=1` by itself.
-- @tparam string state `"STATUS=Warming up"`, `"RELOADING=1"` …
-- @treturn[1] boolean true; false if nobody wants to know
-- @treturn[2] nil
-- @treturn[2] string message
function M.notify(state)
  if type(state) ~= "string" then
    error(("bad argument #1 to 'notify' (string expected, got %s)"):format(type(state)), 2)
  end
  return systemd.notify(state)
end

return M

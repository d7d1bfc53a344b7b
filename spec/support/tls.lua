-- TLS connections for specs:  local tls = require "spec.support.tls"

local await = require "spec.support.await"
local certificates = require "spec.support.certificates"
local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"

local M = {}

--- Contexts of both sides, and who vouches for the server: authority (to be closed), server,
-- client, and the server's certificate and key.
-- @usage local ca, server, client = tls.parties()
function M.parties(names)
  local ca = certificates.authority()
  local pair = ca:issue("localhost", names)
  return ca, assert(ssl.server(pair)), assert(ssl.client { ca = ca.certificate }), pair
end

--- Shakes hands over a pair of sockets: client and server, or nil and the message
-- for the one that failed.
-- @usage local c, s, why_c, why_s = tls.couple(client_context, server_context, "localhost")
function M.couple(client, server, name, timeout)
  local a, b = sockets.couple()
  local g = green.spawn(server.accept, server, b, timeout or 60)
  local conn, why = client:connect(a, name, timeout or 60)
  local peer, why_not = g:get()
  return conn, peer, why, why_not
end

--- A server that gives each connection's `handle(conn)`, and its port. It ends
-- with its `close`.
function M.serve(context, handle)
  local listener, port = sockets.listen()
  green.spawn(function()
    for sock in listener.accept, listener do
      green.spawn(function()
        local conn <close> = context:accept(sock, 60) or nil
        if conn then handle(conn) end
      end)
    end
  end)
  return listener, port
end

function M.connect(port) return assert(socket.connect("127.0.0.1", port)) end

local Program = {}
Program.__index = Program

--- Starts a program that is not greenlua, by the shell: it has `input` to write to,
-- and `output()` gives what it wrote so far. `guard` is of the port that it listens on.
function M.start(command, guard)
  local path = os.tmpname()
  local pidfile = path .. ".pid"
  local input = assert(io.popen(("echo $$ >%s; exec env -u LD_PRELOAD timeout 180 %s >%s 2>&1")
    :format(pidfile, command, path), "w"))
  input:setvbuf "no"
  return setmetatable({ input = input, path = path, pidfile = pidfile, guard = guard }, Program)
end

function Program:output()
  local file <close> = assert(io.open(self.path))
  return file:read "a"
end

--- Waits until it has written something that matches.
function Program:await(pattern)
  return await(function() return self:output():match(pattern) end,
    function() return ("it never said %q but:\n%s"):format(pattern, self:output()) end)
end

--- Ends it.
function Program:close()
  if not self.input then return end
  os.execute(("kill $(cat %s) 2>/dev/null"):format(self.pidfile))
  self.input:close()
  if self.guard then self.guard:close() end
  os.remove(self.path)
  os.remove(self.pidfile)
  self.input = nil
end
Program.__close = Program.close
Program.__gc = Program.close

return M

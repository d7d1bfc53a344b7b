-- Connections for specs:  local sockets = require "spec.support.sockets"

local await = require "spec.support.await"
local socket = require "greenlua.socket"

local M = {}

--- Two ends of a TCP connection over the loopback.
function M.couple()
  local server <close>, port = M.listen() -- luacheck: ignore
  local client = assert(socket.connect("127.0.0.1", port))
  return client, assert(server:accept())
end

--- A server on a port of its own: server, port.
function M.listen()
  local server = assert(socket.bind("127.0.0.1", 0))
  return server, select(2, server:getsockname())
end

--- Two ends of a pair of sockets, for the battery (see waitable): whose other end the
-- garbage collector has not got yet.
function M.ends()
  local a, b = socket.pair()
  return { sock = a, peer = b }
end

--- The same, where no more can be sent by `sock`.
function M.full_ends()
  local ends = M.ends()
  M.stuff(ends.sock)
  ends.sock:settimeout()
  return ends
end

function M.free(ends)
  ends.peer:close()
  ends.sock:close()
end

--- Keeps a port of 127.0.0.1 for a program that is to listen there: until the guard's
-- close nobody else is given it, and nobody's own end of a connection is there.
-- @usage local port, guard <close> = sockets.reserve_port()
function M.reserve_port()
  local guard = assert(socket.tcp4())
  guard:setoption("reuseaddr", true) -- of both sides: then one may listen where the other is bound
  assert(guard:bind("127.0.0.1", 0))
  return math.tointeger(select(2, guard:getsockname())), guard
end

--- Sends pieces of `size` bytes until no more goes: how many bytes went. The
-- socket polls afterwards.
function M.stuff(sock, size)
  sock:settimeout(0)
  local chunk, total = ("0123456789"):rep((size or 100000) // 10), 0
  while true do
    local sent, _, index = sock:send(chunk)
    total = total + (sent or index)
    if not sent then return total end
  end
end

--- The port on which a program says that it listens (see support.start).
function M.port_of(program)
  local port
  await(function()
    local running = program:running()
    port = tonumber((program:output():match "port (%d+)"))
    return port or not running
  end)
  return port or error("it does not listen:\n" .. table.concat({ program:output() }, "\n"))
end

--- Waits for the end of a program: what it wrote.
function M.await_end(program)
  await(function() return not program:running() end)
  return program:output()
end

return M

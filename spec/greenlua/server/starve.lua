-- A server without a descriptor left: see load_spec.lua.

local green = require "greenlua"
local socket = require "greenlua.socket"

local gate = green.Event()
local server = green.server.StreamServer("127.0.0.1:0", function(conn)
  gate:wait()
  conn:send "ok"
end)
assert(server:start())
green.sleep(0)

-- Clients first, then descriptors until there are no more.
local clients = {}
for i = 1, 20 do
  clients[i] = assert(socket.tcp4())
  clients[i]:settimeout(0)
end
local fillers = {}
repeat
  local file = io.open "/dev/null"
  fillers[#fillers + 1] = file
until not file
fillers[#fillers]:close() -- one can be accepted
for _, client in ipairs(clients) do
  client:connect("127.0.0.1", server.port)
  client:settimeout(60)
end
while #server < 1 do green.sleep(0.001) end
green.sleep(0.03) -- it looks again
assert(#server == 1)
print "served 1"
gate:set() -- each handler's descriptor is the next one's
for _, client in ipairs(clients) do assert(client:receive "*a" == "ok") end
print "served all"
assert(server:stop())

-- Sends back whatever it receives, to as many peers as there are. Try it with
--
--     nc localhost 8007
--
-- and end it with Ctrl-C.
--
-- usage: echo_server.lua [port [address]]

local green = require "greenlua"
local socket = require "greenlua.socket"

local port, address = tonumber(arg[1]) or 8007, arg[2] or "*"

local function echo(peer)
  local conn <close> = peer
  while true do
    local data = conn:receive_some()
    if not data or not conn:send(data) then break end
  end
end

local server <close> = assert(socket.bind(address, port, 1024))
io.stdout:setvbuf "line"
print(("listening on %s port %d"):format(server:getsockname()))

-- A closed socket accepts no more: that ends the loop below.
for _, name in ipairs { "INT", "TERM" } do green.signal(name, server.close, server) end

for peer in server.accept, server do green.spawn(echo, peer) end

print "bye"
green.shutdown() -- closes every greenlet, and so every connection

-- Whoever connects here talks to another server. One greenlet copies each way,
-- and either side may close its half first. To see what the echo server echoes:
--
--     port_forwarder.lua 8008 localhost 8007
--     nc localhost 8008
--
-- usage: port_forwarder.lua port target_host target_port [address]

local green = require "greenlua"
local socket = require "greenlua.socket"

local port, host, target, address = tonumber(arg[1]), arg[2], tonumber(arg[3]), arg[4] or "*"
if not (port and host and target) then
  io.stderr:write "usage: port_forwarder.lua port target_host target_port [address]\n"
  os.exit(2)
end

local function copy(from, to)
  while true do
    local data = from:receive_some()
    if not data or not to:send(data) then break end
  end
  to:shutdown "send" -- there is no more to come this way
end

local function forward(peer)
  local near <close> = peer
  local far <close>, err = socket.connect(host, target) -- luacheck: ignore
  if not far then
    print(("cannot connect to %s port %d: %s"):format(host, target, err))
    return
  end
  local back = green.spawn(copy, far, near)
  copy(near, far)
  back:join()
end

local server <close> = assert(socket.bind(address, port, 1024))
io.stdout:setvbuf "line"
print(("forwarding from %s port %d"):format(server:getsockname()))

for _, name in ipairs { "INT", "TERM" } do green.signal(name, server.close, server) end

for peer in server.accept, server do green.spawn(forward, peer) end

print "bye"
green.shutdown()

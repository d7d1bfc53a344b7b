-- A server of WebSockets without a descriptor left: see crowd_spec.lua.

local green = require "greenlua"
local http = require "greenlua.http"
local socket = require "greenlua.socket"
local websocket = require "greenlua.websocket"

local server = http.Server("127.0.0.1:0", websocket.handler(function(ws)
  for message in ws:messages() do ws:send(message) end
end))
assert(server:start())

local url = ("ws://127.0.0.1:%d/"):format(server.port)
local first = assert(websocket.connect(url))

-- Sockets for the others, then descriptors until there are no more but one.
local socks, fillers = {}, {}
for i = 1, 10 do socks[i] = assert(socket.tcp4()) end
repeat
  local file = io.open "/dev/null"
  fillers[#fillers + 1] = file
until not file
fillers[#fillers]:close()

local others, room = {}, green.Event()
for i, sock in ipairs(socks) do
  others[i] = green.spawn(function()
    assert(sock:connect("127.0.0.1", server.port))
    local ws <close> = assert(websocket.connect(url, { socket = sock, timeout = 60 }))
    room:wait()
    ws:send("from " .. i)
    return ws:receive(60)
  end)
end

while #server < 2 do green.sleep(0.001) end
green.sleep(0.03) -- it looks again
for _ = 1, 20 do -- whoever is there already is served as ever
  first:send "hello"
  assert(first:receive(60) == "hello")
end
print "served the first"
room:set()
for i, g in ipairs(others) do assert(g:get() == "from " .. i) end -- each makes room for the next
print "served all"
first:close()
assert(server:stop())

-- A pool of greenlets that each listen to a socket, and take no more of them than
-- there is room for.

local green = require "greenlua"
local socket = require "greenlua.socket"

local SocketPool = {}
SocketPool.__index = SocketPool

function SocketPool.new(size)
  return setmetatable({ pool = green.Pool(size) }, SocketPool)
end

local function listen(sock)
  for line in sock:lines() do print("received " .. line) end
end

function SocketPool:add_handler(sock)
  if self.pool:full() then error("At maximum pool size", 0) end
  self.pool:spawn(listen, sock)
end

function SocketPool:shutdown()
  self.pool:kill()
end

local sockets = SocketPool.new(2)
local first, to_first = socket.pair()
local second, _ = socket.pair() -- the other ends stay open
local third, _ = socket.pair()

sockets:add_handler(first)
sockets:add_handler(second)
to_first:send "hello\n"
green.sleep(0.01)
print(pcall(sockets.add_handler, sockets, third))
sockets:shutdown()
print("listening: " .. #sockets.pool)

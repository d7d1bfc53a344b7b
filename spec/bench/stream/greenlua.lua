local green = require "greenlua"
local socket = require "greenlua.socket"
local chunk = ("x"):rep(65536)

local handle = ({
  sink = function(conn)
    repeat until not conn:receive_some(65536)
    conn:close()
  end,
  source = function(conn)
    repeat until not conn:send(chunk)
    conn:close()
  end,
})[os.getenv "MODE"]

local server = assert(socket.bind("127.0.0.1", tonumber(os.getenv "PORT")))
while true do green.spawn(handle, assert(server:accept())) end

local green = require "greenlua"
local socket = require "greenlua.socket"

local function handle(conn)
  while true do
    local data = conn:receive_some(65536)
    if not data or not conn:send(data) then break end
  end
  conn:close()
end

local server = assert(socket.bind("127.0.0.1", tonumber(os.getenv "PORT"), 4096))
while true do green.spawn(handle, assert(server:accept())) end

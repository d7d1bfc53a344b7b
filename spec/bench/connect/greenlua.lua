local green = require "greenlua"
local socket = require "greenlua.socket"

local function handle(conn)
  local line = conn:receive "*l"
  if line then conn:send(line .. "\n") end
  conn:close()
end

local server = assert(socket.bind("127.0.0.1", tonumber(os.getenv "PORT"), 4096))
while true do green.spawn(handle, assert(server:accept())) end

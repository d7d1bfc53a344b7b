-- Every reply is a write of its own.
local green = require "greenlua"
local socket = require "greenlua.socket"

local function handle(conn)
  assert(conn:setoption("coalesce", false))
  while true do
    local line = conn:receive "*l"
    if not line or not conn:send(line .. "\n") then break end
  end
  conn:close()
end

local server = assert(socket.bind("127.0.0.1", tonumber(os.getenv "PORT"), 4096))
while true do green.spawn(handle, assert(server:accept())) end

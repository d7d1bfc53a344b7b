local green = require "greenlua"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"

local tmp = os.getenv "TMP"
local ctx = assert(ssl.server { certificate = tmp .. "/tls.pem", key = tmp .. "/tls.key" })

local function handle(sock)
  local conn = ctx:accept(sock)
  if not conn then return end
  conn:receive_some()
  conn:close()
end

local server = assert(socket.bind("127.0.0.1", tonumber(os.getenv "PORT"), 4096))
while true do green.spawn(handle, assert(server:accept())) end

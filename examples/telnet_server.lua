-- Greets whoever comes, and counts. Try it with
--
--     nc 127.0.0.1 5000
--
-- usage: telnet_server.lua [port]

local green = require "greenlua"

local function handle(conn)
  conn:send "Hello from a telnet!\n"
  for i = 0, 4 do conn:send(i .. "\n") end
end -- which closes the connection

local server <close> = green.server.StreamServer({ "127.0.0.1", arg[1] or 5000 }, handle)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())

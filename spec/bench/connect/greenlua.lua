local green = require "greenlua"

local function handle(conn)
  local line = conn:receive "*l"
  if line then conn:send(line .. "\n") end
end

local server = green.server.StreamServer("127.0.0.1:" .. os.getenv "PORT", handle, { backlog = 4096 })
assert(server:serve_forever())

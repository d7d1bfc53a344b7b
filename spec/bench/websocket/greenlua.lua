local http = require "greenlua.http"
local websocket = require "greenlua.websocket"

assert(http.serve("127.0.0.1:" .. os.getenv "PORT", websocket.handler(function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end)))

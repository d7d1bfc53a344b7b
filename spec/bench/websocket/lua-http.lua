-- lua-http (daurnimator), which runs on cqueues
local http_server = require "http.server"
local websocket = require "http.websocket"

local srv = assert(http_server.listen {
  host = "127.0.0.1",
  port = tonumber(os.getenv "PORT"),
  tls = false,
  reuseaddr = true,
  max_concurrent = 20000,
  onstream = function(_, stream)
    local ws = assert(websocket.new_from_stream(stream, assert(stream:get_headers())))
    assert(ws:accept())
    for message, kind in ws:each() do assert(ws:send(message, kind)) end
    ws:close()
  end,
  onerror = function() end,
})
assert(srv:listen())
assert(srv:loop())

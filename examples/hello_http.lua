-- A web page. Try it with a browser, or
--
--     curl http://127.0.0.1:8000/
--
-- usage: hello_http.lua [port]

local http = require "greenlua.http"

local function handle(req, res)
  if req.path ~= "/" then return 404, "Not Found\n" end
  res:set_header("Content-Type", "text/html; charset=utf-8")
  return "<b>hello world</b>\n"
end

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, handle)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())

-- Sends back whatever it receives, over TLS. Without a certificate it makes one for
-- this machine, by openssl. It says how to connect; end it with Ctrl-C.
--
-- usage: tls_echo.lua [port [certificate.pem key.pem]]

local green = require "greenlua"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"

local port, certificate, key = tonumber(arg[1]) or 8443, arg[2], arg[3]

-- A certificate that vouches for itself, and its key, as text.
local function make_certificate()
  local pipe <close> = assert(io.popen(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30" ..
    " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1" ..
    " -keyout - 2>/dev/null"))
  local text = pipe:read "a"
  local key_text = text:match "%-+BEGIN PRIVATE KEY.-END PRIVATE KEY%-+\n"
  return assert(text:match "%-+BEGIN CERTIFICATE.-END CERTIFICATE%-+\n", "is openssl there?"),
    key_text
end

if not certificate then certificate, key = make_certificate() end
local context = assert(ssl.server { certificate = certificate, key = key })

local function echo(sock)
  local peer <close> = sock
  local conn, why = context:accept(peer, 10)
  if not conn then return print("no handshake: " .. why) end
  while true do
    local data = conn:receive_some()
    if not data or not conn:send(data) then break end
  end
end

local server <close> = assert(socket.bind("127.0.0.1", port, 1024))
io.stdout:setvbuf "line"
print(("listening on %s port %d"):format(server:getsockname()))
print(("try: openssl s_client -quiet -connect localhost:%d"):format(
  (select(2, server:getsockname()))))

-- A closed socket accepts no more: that ends the loop below.
for _, name in ipairs { "INT", "TERM" } do green.signal(name, server.close, server) end

for sock in server.accept, server do green.spawn(echo, sock) end

print "bye"
green.shutdown()

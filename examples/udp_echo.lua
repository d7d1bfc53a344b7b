-- Datagrams: whatever comes goes back to where it came from.
--
--     udp_echo.lua                                     both sides, in one program
--     udp_echo.lua server [port [address]]             until it is interrupted
--     udp_echo.lua client host port message...         each is sent until it comes back
--
-- A datagram may get lost, on its way or on its way back, so the client asks again.

local green = require "greenlua"
local socket = require "greenlua.socket"

local function listen(port, address)
  local sock = address and address:find ":" and socket.udp6() or socket.udp4()
  assert(sock:setsockname(address or "127.0.0.1", port))
  return sock
end

local function serve(sock)
  while true do
    local datagram, host, port = sock:receivefrom(65535)
    if datagram then
      sock:sendto(datagram, host, port)
    elseif host == "closed" then
      return
    end
  end
end

local function ask(sock, message)
  for attempt = 1, 5 do
    sock:send(message)
    local answer, err = sock:receive(65535)
    if answer then return answer end
    if err ~= "timeout" then green.sleep(0.2 * attempt) end -- nobody listens yet
  end
  return nil, "no answer"
end

local function echo_all(host, port, messages)
  local sock <close> = socket.udp()
  assert(sock:setpeername(host, port)) -- datagrams of others are none of ours
  sock:settimeout(0.5)
  for _, message in ipairs(messages) do
    local answer, err = ask(sock, message)
    print(message, answer or err)
    if not answer then return false end
  end
  return true
end

local mode, host, port = arg[1], arg[2], arg[3]
if not mode then
  local server <close> = listen(0)
  green.spawn(serve, server)
  local _, its_port = server:getsockname()
  echo_all("127.0.0.1", its_port, { "one", "two", "three" })
elseif mode == "server" then
  local server <close> = listen(tonumber(host) or 8007, port)
  io.stdout:setvbuf "line"
  print(("echoing on %s port %d"):format(server:getsockname()))
  for _, name in ipairs { "INT", "TERM" } do green.signal(name, server.close, server) end
  serve(server)
  print "bye"
elseif mode == "client" and host and tonumber(port) and arg[4] then
  os.exit(echo_all(host, tonumber(port), table.move(arg, 4, #arg, 1, {})), true)
else
  io.stderr:write "usage: udp_echo.lua [server [port [address]] | client host port message...]\n"
  os.exit(2)
end

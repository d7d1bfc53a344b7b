-- A chat room. Two greenlets serve each peer: one reads what the peer says, one
-- writes what the others said, so that neither waits for the other. Try it with
--
--     nc localhost 6001
--
-- from several terminals, and end it with Ctrl-C.
--
-- usage: chat.lua [port [address]]

local green = require "greenlua"
local socket = require "greenlua.socket"
local waitlist = require "greenlua.core.waitlist"

local port, address = tonumber(arg[1]) or 6001, arg[2] or "*"
local MOST = 1000 -- lines that wait for a peer who doesn't read

-- The lines that are still to be written to a peer.
local Outbox = {}
Outbox.__index = Outbox

function Outbox.new()
  return setmetatable({ lines = {}, news = waitlist.new "news" }, Outbox)
end

function Outbox:put(line)
  if #self.lines < MOST then self.lines[#self.lines + 1] = line end
  self.news:wake()
end

function Outbox:take()
  while not self.lines[1] do self.news:wait() end
  local lines = self.lines
  self.lines = {}
  return lines
end

local outboxes = {} -- by name

local function tell(text, except)
  for name, outbox in pairs(outboxes) do
    if name ~= except then outbox:put(text .. "\n") end
  end
end

local function write(conn, outbox)
  repeat until not conn:send(outbox:take()) -- all that waits, in one go
end

local function ask_name(conn)
  conn:send "What is your name? "
  local name = conn:receive "*l"
  while name and (name == "" or outboxes[name]) do
    conn:send "That one is taken. Another? "
    name = conn:receive "*l"
  end
  return name
end

local function serve(peer)
  local conn <close> = peer
  local name = ask_name(conn)
  if not name then return end
  local outbox = Outbox.new()
  local writer = green.spawn(write, conn, outbox)
  tell(("* %s has come"):format(name))
  outboxes[name] = outbox
  for line in conn:lines() do tell(("%s: %s"):format(name, line), name) end
  outboxes[name] = nil
  writer:kill()
  tell(("* %s has gone"):format(name))
end

local server <close> = assert(socket.bind(address, port, 1024))
io.stdout:setvbuf "line"
print(("listening on %s port %d"):format(server:getsockname()))

for _, signal in ipairs { "INT", "TERM" } do green.signal(signal, server.close, server) end

for peer in server.accept, server do green.spawn(serve, peer) end

print "bye"
green.shutdown()

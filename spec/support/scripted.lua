-- Servers that say what they are told to, for specs of clients:
--
--   local scripted = require "spec.support.scripted"
--   local server <close> = scripted.server "HTTP/1.1 200 OK\r\n\r\nbody"

local green = require "greenlua"
local sockets = require "spec.support.sockets"

local M = {}

local Server = {}
Server.__index = Server

--- Reads a request: its head, and as much body as its Content-Length says.
function M.read(peer)
  local head = peer:read_until "\r\n\r\n"
  if not head then return nil end
  local length = tonumber(head:match "[Cc]ontent%-[Ll]ength: (%d+)" or 0)
  return head .. "\r\n\r\n", length > 0 and peer:receive(length) or ""
end

local function handle(self, peer, n)
  local conn <close> = peer
  local script = self.script
  if type(script) == "function" then return script(conn, n, self) end
  for _, reply in ipairs(type(script) == "table" and script or { script }) do
    local head, body = M.read(conn)
    if not head then return end
    table.insert(self.requests, head)
    table.insert(self.bodies, body)
    conn:send(reply)
  end
end

--- A server on a port of its own. Its script is a string, sent in answer to one request, after
-- which the connection is closed; a list of those; or a function(connection, number of the
-- connection, server).
-- `requests` has the heads that came, `bodies` their bodies, `accepted` counts connections.
function M.server(script)
  local listener, port = sockets.listen()
  local self = setmetatable({
    listener = listener, port = port, script = script, requests = {}, bodies = {}, accepted = 0,
    greenlets = {}, url = "http://127.0.0.1:" .. port,
  }, Server)
  self.acceptor = green.spawn(function()
    for peer in listener.accept, listener do
      self.accepted = self.accepted + 1
      table.insert(self.greenlets, green.spawn(handle, self, peer, self.accepted))
    end
  end)
  return self
end

function Server:close()
  self.listener:close()
  for _, g in ipairs(self.greenlets) do g:close() end
  self.acceptor:close()
end
Server.__close = Server.close

return M

-- Raw WebSockets for specs:  local raw = require "spec.support.websocket"

local socket = require "greenlua.socket"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

local M = {}

M.KEY, M.ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

--- A server whose WebSockets are `handle(ws, req)`'s.
function M.server(handle, options)
  return web.server(websocket.handler(handle, options))
end

--- One that sends back what it gets.
function M.echo(options)
  return M.server(function(ws)
    for message, kind in ws:messages() do ws:send(message, kind) end
  end, options)
end

function M.url(server, path) return ("ws://127.0.0.1:%d%s"):format(server.port, path or "/") end

function M.head(fields, path)
  local lines = { ("GET %s HTTP/1.1"):format(path or "/"), "Host: localhost" }
  local all = { Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
    ["Sec-WebSocket-Key"] = M.KEY }
  for name, value in pairs(fields or {}) do all[name] = value end
  for name, value in pairs(all) do
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- A connection on which the handshake is over, and the server's head.
function M.open(server, fields, path)
  local conn = web.connect(server)
  conn:send(M.head(fields, path))
  local head = assert(conn:read_until "\r\n\r\n")
  assert(head:find "^HTTP/1.1 101 ", head)
  return conn, head
end

--- Two ends of one connection, without HTTP: raw, and a WebSocket of the core's.
function M.accept_one(settings)
  local core = require "greenlua.core.websocket"
  local listener <close> = assert(socket.bind("127.0.0.1", 0))
  local conn = assert(socket.connect("127.0.0.1", (select(2, listener:getsockname()))))
  local peer = assert(listener:accept())
  conn:settimeout(60)
  conn:setoption("recv-buffer-size", 65536) -- so that a peer that takes nothing is soon felt
  peer:setoption("send-buffer-size", 65536)
  settings.close_timeout = settings.close_timeout or 1
  return conn, core.new(peer, settings, { close_timeout = settings.close_timeout,
    overflow = settings.overflow or "wait", send_timeout = settings.send_timeout, _waiting = 0 })
end

M.MASK = "\x12\x34\x56\x78"

function M.masked(payload)
  local i = 0
  return (payload:gsub(".", function(c)
    i = i % 4 + 1
    return string.char(c:byte() ~ M.MASK:byte(i))
  end))
end

local opcodes = { more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }

--- A frame. `how`: fin = false, rsv = 1 … 7, mask = false (as servers send), size = what
-- the header says, long = 2 or 8 bytes for it.
function M.frame(opcode, payload, how)
  how = how or {}
  local first = (how.fin == false and 0 or 0x80) | (how.rsv or 0) << 4 | (opcodes[opcode] or opcode)
  local size, bit = how.size or #payload, how.mask == false and 0 or 0x80
  local header
  if how.long == 8 or size > 0xFFFF then
    header = string.pack(">BBI8", first, bit | 127, size)
  elseif how.long == 2 or size > 125 then
    header = string.pack(">BBI2", first, bit | 126, size)
  else
    header = string.pack("BB", first, bit | size)
  end
  if bit == 0 then return header .. payload end
  return header .. M.MASK .. M.masked(payload)
end

function M.close(code, reason)
  return M.frame("close", code and string.pack(">I2", code) .. (reason or "") or "")
end

local names = { [0] = "more", "text", "binary", [8] = "close", [9] = "ping", [10] = "pong" }

--- Reads a frame: its name with what is unusual of it, its payload; nil at the end.
function M.read(conn)
  local two = conn:receive(2)
  if not two then return nil end
  local first, size = two:byte(1, 2)
  local name, masked = names[first & 15] or tostring(first & 15), size & 0x80 ~= 0
  size = size & 127
  if size == 126 then size = string.unpack(">I2", assert(conn:receive(2)))
  elseif size == 127 then size = string.unpack(">I8", assert(conn:receive(8))) end
  local mask = masked and assert(conn:receive(4))
  local payload = size > 0 and assert(conn:receive(size)) or ""
  if masked then
    local i = 0
    payload = payload:gsub(".", function(c)
      i = i % 4 + 1
      return string.char(c:byte() ~ mask:byte(i))
    end)
    name = name .. " masked"
  end
  if first & 0x80 == 0 then name = name .. " and more" end
  if first & 0x70 ~= 0 then name = name .. " rsv" .. (first >> 4 & 7) end
  return name, payload
end

--- Reads to the end: "text hello", "close 1000" …
function M.read_all(conn)
  local list = {}
  for name, payload in M.read, conn do
    if name:find "^close" and #payload >= 2 then
      payload = tostring(string.unpack(">I2", payload))
    elseif #payload > 60 then
      payload = "of " .. #payload
    end
    list[#list + 1] = payload == "" and name or name .. " " .. payload
  end
  return list
end

return M

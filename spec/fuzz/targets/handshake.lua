-- The opening handshake of WebSockets, as a server and as a client, and frames behind it.
--
-- Options: 0: a client; 1: compression is wanted; 2: subprotocols; 3: only the same origin.
-- In what a client gets "$" stands for the answer to its key.

local core = require "greenlua.core.http"
local frames = require "spec.fuzz.reference.websocket"
local green = require "greenlua"
local input = require "spec.fuzz.input"
local reference = require "spec.fuzz.reference.http"
local respond = require "greenlua.http.respond"
local socket = require "greenlua.socket"
local websocket = require "greenlua.websocket"
local accept = require("greenlua.core.websocket").accept

local check = input.check

local owner = { report = function(_, err, trace) error(tostring(err) .. (trace or ""), 0) end }

local function server_of(options)
  local handler = websocket.handler(function(ws)
    for message, kind in ws:messages() do ws:send(message, kind) end
  end, options)
  return core.server { owner = owner, respond = respond.respond, fail = respond.fail,
    handler = handler, header_timeout = 10, idle_timeout = 75, body_timeout = 30,
    write_timeout = 60, body_rate = 240, body_grace = 5, max_body_time = false, max_line = 8192,
    max_headers = 100, max_head = 65536, max_body = false, max_drain = 1000, gzip = false,
    gzip_min = 1024 }
end

local function options_of(has)
  return { compress = has(1), protocols = has(2) and { "chat", "b" } or nil,
    origin = has(3) and "same" or nil, ping_interval = 20, pong_timeout = 10, close_timeout = 1 }
end

local function check_upgrade(m, request, has)
  local function one(name) return reference.values_of(m.fields, name)[1] end
  local key = reference.values_of(request.fields, "sec-websocket-key")[1] or ""
  check(request.method == "GET" and request.minor == 1, "a handshake", request.method)
  check(one "sec-websocket-accept" == accept(key), "Sec-WebSocket-Accept", key)
  check(#key == 24, "a key", key)
  check(has(2) or not one "sec-websocket-protocol", "a protocol")
  check(has(1) or not one "sec-websocket-extensions", "an extension")
end

-- Ordinary responses, then perhaps a 101 and frames.
local function check_replies(reply, requests, has)
  local at, n = 1, 0
  while at <= #reply do
    n = n + 1
    local request = requests[n]
    local m, after = reference.response(reply, at, request and request.method)
    check(m, "no response", reply:sub(at))
    check(request or m.status >= 400, "a response that nobody asked for", m.status)
    at = after or #reply + 1
    if m.status == 101 then
      check_upgrade(m, request, has)
      return frames.check_sent(reply:sub(at), { client = false, compress = has(1) })
    end
    check(m.status >= 400, "a status", m.status)
  end
end

local function serve(has, cuts, bytes)
  local a, b = socket.pair()
  local serving = green.spawn(core.serve, b, server_of(options_of(has)))
  local sending = green.spawn(input.send, a, input.pieces(cuts, bytes))
  local reply, _, partial = a:receive "*a"
  sending:join()
  a:close()
  serving:join()
  b:close()
  check_replies(reply or partial, reference.requests(bytes), has)
end

local function receive(ws)
  while true do
    local message, kind = ws:receive()
    if not message then return check(kind == "closed", "an end", kind) end
    ws:send(message, kind)
  end
end

local function speak(peer, cuts, bytes)
  local head = peer:read_until "\r\n\r\n"
  local key = head and head:match "\r\nSec%-WebSocket%-Key: (%S+)"
  if key then bytes = bytes:gsub("%$", (accept(key):gsub("%%", "%%%%"))) end
  input.send(peer, input.pieces(cuts, bytes))
end

local function connect(has, cuts, bytes)
  local a, b = socket.pair()
  local options = options_of(has)
  options.origin, options.socket, options.timeout = nil, a, 10
  local speaking = green.spawn(speak, b, cuts, bytes)
  local ws, err, refusal = websocket.connect("ws://h/", options)
  if ws then
    check(has(1) or not ws.compressed, "compressed")
    check(not ws.protocol or has(2) and (ws.protocol == "chat" or ws.protocol == "b"), "protocol",
      ws.protocol)
    receive(ws)
  else
    check(type(err) == "string", "no message")
    check(not refusal or math.type(refusal.status) == "integer", "a refusal")
  end
  a:close()
  speaking:join()
  b:close()
end

return function(text)
  local has, cuts, bytes = input.split(text, 1)
  if has(0) then connect(has, cuts, bytes) else serve(has, cuts, bytes) end
end

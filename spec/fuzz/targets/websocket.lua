-- A WebSocket, as a server or as a client, that gets any bytes: its messages are those that the
-- reference reads, its end is the one that they deserve, and what it sends are frames that may
-- come from such a one.
--
-- Options: 0: a client; 1: compression; 2: each message compressed anew; 3: pieces; 4: small
-- limits; 5: it sends back what it gets; 6: the peer does not end the stream.

local core = require "greenlua.core.websocket"
local green = require "greenlua"
local input = require "spec.fuzz.input"
local reference = require "spec.fuzz.reference.websocket"
local socket = require "greenlua.socket"
require "greenlua.websocket"

local check = input.check

local function receive(ws, has, messages)
  local parts = {}
  while true do
    local message, kind, last
    if has(3) then
      message, kind, last = ws:receive_some(5)
    else
      message, kind = ws:receive(5)
      last = true
    end
    if not message then
      if kind == "timeout" then
        ws:close(4000)
      else
        check(kind == "closed", "an end", kind)
        return ws.code, ws.reason
      end
    else
      parts[#parts + 1] = message
      if last then
        messages[#messages + 1] = { kind = kind, data = table.concat(parts) }
        parts = {}
        if has(5) then ws:send(messages[#messages].data, kind) end
      end
    end
  end
end

-- UTF-8 as the core has it, in pieces, and as Lua has it.
local function check_text(data)
  local pieces = input.pieces("#!", data)
  check(require "fuzz.core".utf8(pieces) == (utf8.len(data) ~= nil), "UTF-8", data)
  check(core.utf8(data) == (utf8.len(data) ~= nil), "UTF-8", data)
end

local function check_messages(got, wanted, code, compress)
  for i, message in ipairs(got) do
    local other = wanted[i]
    check(other and message.kind == other.kind, "a message that nobody sent", message.kind,
      message.data)
    if not other.squeezed then
      check(message.data == other.data, "data", message.data, other.data)
    end
    if message.kind == "text" then check_text(message.data) end
  end
  if code == 4000 then return end
  if not (compress and #got < #wanted) then check(#got == #wanted, "messages", #got, #wanted) end
end

-- The code, and another one that is as good: text is looked at as it comes, so a failure of it
-- may be seen before one of a frame, or of the end.
local function check_code(code, wanted, open, cut_head, squeezed)
  if code == wanted or code == 4000 then return end
  if cut_head and (code == 1002 or code == 1006) then return end
  if squeezed and (code == 1007 or code == 1009) then return end
  if code == 1007 and open and open.kind == "text" and not utf8.len(open.data) then return end
  check(false, "the end", code, wanted)
end

local function any_squeezed(messages, open)
  for _, message in ipairs(messages) do
    if message.squeezed then return true end
  end
  return open and open.squeezed
end

return function(text)
  local has, cuts, bytes = input.split(text, 2)
  local how = { client = has(0), compress = has(1), max = has(4) and 60 or 1 << 20 }
  local most = how.max
  if has(3) then how.max = math.huge end -- of pieces, no message is too long
  local conn, peer = socket.pair()
  local ws = core.new(peer, { client = how.client, receive_bits = has(1) and 15 or 0,
    receive_fresh = has(2), send_bits = has(1) and 15 or 0, send_fresh = has(2), level = 1,
    min = 4, max_message = most, max_queue = has(4) and 100 or 1 << 20, close_timeout = 1,
    ping_interval = 20, pong_timeout = 10 },
    { close_timeout = 1, overflow = "wait", _waiting = 0 })
  local messages = {}
  local user = green.spawn(receive, ws, has, messages)
  local sending = green.spawn(input.send, conn, input.pieces(cuts, bytes), has(6))
  local sent, _, partial = conn:receive "*a"
  local code = user:get()
  sending:join()
  conn:close()
  ws:_cut()
  local wanted, wanted_code, open, cut_head = reference.read(bytes, how)
  local squeezed = any_squeezed(wanted, open)
  reference.check_sent(sent or partial, how)
  check_messages(messages, wanted, code, squeezed)
  check_code(code, wanted_code, open, cut_head, squeezed)
end

-- Frames as RFC 6455 has them, read from a whole string.

local check = require("spec.fuzz.input").check

local M = {}

local function unmask(payload, mask)
  local i = 0
  return (payload:gsub(".", function(c)
    i = i % 4 + 1
    return string.char(c:byte() ~ mask:byte(i))
  end))
end

--- One frame at a place: a table, and where the next one begins; nil: its head is not whole.
-- What there is of a frame that is not whole has `cut`, and its payload is what has come.
function M.frame(bytes, at)
  local first, second = bytes:byte(at, at + 1)
  if not second then return nil end
  local f = { fin = first & 0x80 ~= 0, rsv = first >> 4 & 7, opcode = first & 15,
    masked = second & 0x80 ~= 0, size = second & 127 }
  at = at + 2
  local form = f.size == 126 and ">I2" or f.size == 127 and ">I8"
  if form then
    if #bytes < at + form:byte(3) - 48 - 1 then return nil end
    local short = f.size == 126 and 126 or 65536
    f.size, at = form:unpack(bytes, at)
    f.wrong = f.size < 0 or f.size < short -- not the shortest way to say it
  end
  local mask
  if f.wrong then return f, at end
  if f.masked then
    mask, at = bytes:sub(at, at + 3), at + 4
    if #mask < 4 then return nil end
  end
  f.payload = bytes:sub(at, at + f.size - 1)
  f.cut = #f.payload < f.size
  if mask then f.payload = unmask(f.payload, mask) end
  return f, at + f.size
end

--- May that code stand in a close frame?
function M.is_code(code)
  return code >= 1000 and code <= 1003 or code >= 1007 and code <= 1014
    or code >= 3000 and code <= 4999
end

local function read_close(payload)
  if payload == "" then return 1005 end
  if #payload == 1 then return nil, 1002 end
  local code = (">I2"):unpack(payload)
  if not M.is_code(code) then return nil, 1002 end
  if not utf8.len(payload:sub(3)) then return nil, 1007 end
  return code
end

-- What must fail a connection at the head of a frame.
local function is_wrong(f, how, open)
  local control = f.opcode >= 8
  local starts = f.opcode == 1 or f.opcode == 2
  return f.wrong or f.masked == how.client or f.opcode > 10 or f.opcode > 2 and f.opcode < 8
    or f.rsv ~= 0 and not (f.rsv == 4 and starts and how.compress)
    or control and (not f.fin or f.size > 125)
    or not control and starts == (open ~= nil)
end

--- What comes of the bytes that a server, or with `how.client` a client, gets: a list of
-- messages with `kind`, `data` and, with `how.compress`, `squeezed`, whose data are as they
-- came; and the code of the end: the peer's, one of 1002, 1007, 1009 if the connection is to be
-- failed, 1006 if it is cut: then also the message that is cut. Last, whether the end is in
-- a frame of which nothing but the head has come: 1002 is then as good as 1006.
function M.read(bytes, how)
  local messages, at, open = {}, 1, nil
  while true do
    local f, after = M.frame(bytes, at)
    if not f then
      -- what is wrong of a head may be seen before all of it is there
      return messages, 1006, open, #bytes >= at
    end
    if is_wrong(f, how, open) then
      return messages, 1002, open, f.cut and f.payload == ""
    end
    if f.opcode < 3 then
      open = open or { kind = f.opcode == 1 and "text" or "binary", data = "",
        squeezed = f.rsv == 4 }
      if not open.squeezed and f.size + #open.data > how.max then
        return messages, 1009, open, f.payload == ""
      end
      open.data = open.data .. f.payload
      if f.cut then return messages, 1006, open end
      if f.fin then
        if open.kind == "text" and not open.squeezed and not utf8.len(open.data) then
          return messages, 1007, open
        end
        messages[#messages + 1], open = open, nil
      end
    elseif f.cut then
      return messages, 1006, open
    elseif f.opcode == 8 then
      local code, wrong = read_close(f.payload)
      return messages, code or wrong, open
    end
    at = after
  end
end

local function check_close(f)
  if f.size == 0 then return end
  check(f.size > 1 and M.is_code((">I2"):unpack(f.payload)), "code", f.payload)
  check(utf8.len(f.payload:sub(3)), "reason", f.payload)
end

local function check_head(f, how)
  check(f and not f.cut and not f.wrong, "half a frame")
  check(f.masked == how.client, "the mask of a frame")
  check(f.rsv == 0 or f.rsv == 4 and how.compress and (f.opcode == 1 or f.opcode == 2), "rsv",
    f.rsv)
  check(f.opcode <= 2 or f.opcode >= 8 and f.opcode <= 10, "opcode", f.opcode)
  check(f.opcode < 3 or f.fin and f.size <= 125, "a control frame")
end

--- What a server, or with `how.client` a client, has sent: whole frames that may come from such
-- a one, and nothing after a close.
function M.check_sent(bytes, how)
  local at, open, closed = 1, false, false
  while at <= #bytes do
    local f, after = M.frame(bytes, at)
    check_head(f, how)
    check(not closed, "a frame after the close")
    if f.opcode < 3 then
      check((f.opcode == 0) == open, "a message in another")
      open = not f.fin
    end
    if f.opcode == 1 and f.fin and f.rsv == 0 then check(utf8.len(f.payload), "text", f.payload) end
    if f.opcode == 8 then
      closed = true
      check_close(f)
    end
    at = after
  end
end

return M

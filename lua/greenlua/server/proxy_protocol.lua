--- The PROXY protocol: how a load balancer tells a server whose connection it
-- passes on. Versions 1 and 2, as HAProxy's `proxy-protocol.txt` has them.
--
-- `parse` is a pure function of the bytes that have come; `read` takes a header
-- off a connection. Whatever is not exactly what the text allows is an error: the
-- text forbids to guess.
-- @usage
-- local proxy_protocol = require "greenlua.server.proxy_protocol"
-- local header, after = proxy_protocol.parse "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\nGET /"
-- print(header.source, after) --> 192.0.2.1:5000  41
-- @module greenlua.server.proxy_protocol

local core = require "greenlua.core.server"
local address = require "greenlua.server.address"

local M = {}

--- A line of version 1 is not longer than this, its end included.
M.LONGEST_LINE = 107

--- A header of version 2 that says it has more bytes than this is refused; the
-- text asks for less than 536.
M.LONGEST_REST = 4096

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

-- Version 1 ------------------------------------------------------------------------

local function number_of(text, width)
  local bytes = core.pton(text)
  return bytes and #bytes == width and core.ntop(bytes)
end

local function port_of(text)
  if not (text == "0" or text:find "^[1-9]%d?%d?%d?%d?$") then return nil end
  local port = math.tointeger(tonumber(text))
  return port <= 65535 and port or nil
end

local function parse_line(line)
  if line == "PROXY UNKNOWN" or line:find "^PROXY UNKNOWN " then
    return { version = 1, command = "PROXY", tlvs = {} }
  end
  local kind, from, to, from_port, to_port =
    line:match "^PROXY TCP([46]) ([%x.:]+) ([%x.:]+) (%d+) (%d+)$"
  if not kind then return nil, "malformed header" end
  local width = kind == "4" and 4 or 16
  from, to = number_of(from, width), number_of(to, width)
  if not (from and to) then return nil, "malformed address" end
  from_port, to_port = port_of(from_port), port_of(to_port)
  if not (from_port and to_port) then return nil, "malformed port" end
  return { version = 1, command = "PROXY", tlvs = {}, transport = "stream",
    source = address.new(from, from_port), destination = address.new(to, to_port) }
end

local function parse_v1(buffer)
  local at = buffer:find("\r\n", 1, true)
  if at and at + 1 <= M.LONGEST_LINE then
    local header, err = parse_line(buffer:sub(1, at - 1))
    return header, header and at + 2 or err
  end
  if at or #buffer >= M.LONGEST_LINE then return nil, "header too long" end
  return nil, nil, buffer:byte(-1) == 13 and 1 or 2
end

-- Version 2 ------------------------------------------------------------------------

local polynomial = {} -- of CRC32c, by bytes
for i = 0, 255 do
  local crc = i
  for _ = 1, 8 do crc = crc & 1 == 1 and crc >> 1 ~ 0x82f63b78 or crc >> 1 end
  polynomial[i] = crc
end

--- The CRC32c of a string.
-- @tparam string text
-- @treturn integer
function M.crc32c(text)
  local crc = 0xffffffff
  for i = 1, #text do crc = crc >> 8 ~ polynomial[(crc ~ text:byte(i)) & 0xff] end
  return crc ~ 0xffffffff
end

-- type -> name, for those that are strings
local named = { [0x01] = "alpn", [0x02] = "authority", [0x05] = "unique_id", [0x30] = "netns" }
local of_tls = { [0x21] = "version", [0x22] = "common_name", [0x23] = "cipher",
  [0x24] = "signature_algorithm", [0x25] = "key_algorithm" }

-- Call f(type, value, where the value begins) for each of `text` from `from` on;
-- false if they do not fit.
local function each_tlv(text, from, f)
  while from <= #text do
    if from + 2 > #text then return false end
    local kind, length = (">BI2"):unpack(text, from)
    if from + 2 + length > #text then return false end
    f(kind, text:sub(from + 3, from + 2 + length), from + 3)
    from = from + 3 + length
  end
  return true
end

local function read_tls(value)
  if #value < 5 then return nil end
  local client, verify = (">BI4"):unpack(value)
  local tls = { tls = client & 1 ~= 0, verified = client & 6 ~= 0 and verify == 0,
    certificate = client & 6 ~= 0 }
  local ok = each_tlv(value, 6, function(kind, v)
    if of_tls[kind] then tls[of_tls[kind]] = v end
  end)
  return ok and tls or nil
end

-- The first thing that is wrong with the header's TLVs, or nil.
local function read_tlvs(header, text, from)
  local wrong
  local function say(what) wrong = wrong or what end
  local function look(kind, value, at)
    local tlvs = header.tlvs
    tlvs[#tlvs + 1] = { type = kind, value = value }
    if named[kind] then
      header[named[kind]] = value
      if kind == 0x05 and #value > 128 then say "unique id too long" end
    elseif kind == 0x20 then
      header.tls = read_tls(value)
      if not header.tls then say "malformed TLS information" end
    elseif kind == 0x03 then
      local sum = #value == 4 and (">I4"):unpack(value)
      if sum ~= M.crc32c(text:sub(1, at - 1) .. "\0\0\0\0" .. text:sub(at + 4)) then
        say "wrong checksum"
      end
    end
  end
  if not each_tlv(text, from, look) then return "malformed TLVs" end
  return wrong
end

local function path_of(bytes)
  return (bytes:byte() == 0 and bytes:gsub("\0+$", "") or bytes:gsub("\0.*$", ""))
end

-- family -> bytes of both addresses, how to read them
local families = {
  [1] = { 12, function(b)
    return address.new(core.ntop(b:sub(1, 4)), (">I2"):unpack(b, 9)),
      address.new(core.ntop(b:sub(5, 8)), (">I2"):unpack(b, 11))
  end },
  [2] = { 36, function(b)
    return address.new(core.ntop(b:sub(1, 16)), (">I2"):unpack(b, 33)),
      address.new(core.ntop(b:sub(17, 32)), (">I2"):unpack(b, 35))
  end },
  [3] = { 216, function(b)
    return address.new(path_of(b:sub(1, 108))), address.new(path_of(b:sub(109, 216)))
  end },
}

local function read_addresses(header, text, family, transport)
  local size, read = table.unpack(families[family] or {})
  if not size then return 0 end
  if #text < 16 + size then return nil end
  if header.command == "PROXY" and transport > 0 then
    header.source, header.destination = read(text:sub(17, 16 + size))
    header.transport = transport == 1 and "stream" or "datagram"
  end
  return size
end

local function parse_whole(text)
  local version, kind = text:byte(13, 14)
  local command, family, transport = version & 15, kind >> 4, kind & 15
  if command > 1 then return nil, "unknown command" end
  if family > 3 or transport > 2 then return nil, "unknown family" end
  local header = { version = 2, command = command == 1 and "PROXY" or "LOCAL", tlvs = {} }
  local size = read_addresses(header, text, family, transport)
  if not size then return nil, "header too short for its addresses" end
  -- What follows an unspecified address need not be TLVs.
  local plain = family == 0 or header.command == "LOCAL"
  local wrong = read_tlvs(header, text, 17 + size)
  if wrong and plain and wrong == "malformed TLVs" then
    header.tlvs = {}
    wrong = nil
  end
  if wrong then return nil, wrong end
  return header, #text + 1
end

local function parse_v2(buffer)
  if #buffer >= 13 and buffer:byte(13) >> 4 ~= 2 then return nil, "unknown version" end
  if #buffer < 16 then return nil, nil, 16 - #buffer end
  local length = (">I2"):unpack(buffer, 15)
  if length > M.LONGEST_REST then return nil, "header too long" end
  if #buffer < 16 + length then return nil, nil, 16 + length - #buffer end
  return parse_whole(buffer:sub(1, 16 + length))
end

-- Both -----------------------------------------------------------------------------

local function begins(buffer, prefix)
  local n = math.min(#buffer, #prefix)
  return buffer:sub(1, n) == prefix:sub(1, n)
end

--- Parse what a connection begins with.
--
-- A header has `version` (1, 2), `command` (`"PROXY"`, or `"LOCAL"`: the proxy's own
-- connection), `source` and `destination` (Address; nil if the proxy does not know,
-- or for `"LOCAL"`), `transport` (`"stream"`, `"datagram"`), `tlvs` (a list of
-- `{type =, value =}` in their order), and of those that the text names: `alpn`,
-- `authority`, `unique_id`, `netns`, and `tls` (a table with `tls`, `certificate`,
-- `verified`, `version`, `common_name`, `cipher`, …).
-- @tparam string buffer what has come so far
-- @treturn[1] table the header
-- @treturn[1] integer where the rest begins
-- @treturn[2] nil
-- @treturn[2] string what is wrong: it is no header, and will never be one
-- @treturn[3] nil
-- @treturn[3] nil
-- @treturn[3] integer so many bytes are missing at least
function M.parse(buffer)
  if begins(buffer, SIGNATURE) then
    if #buffer < #SIGNATURE then return nil, nil, #SIGNATURE - #buffer end
    return parse_v2(buffer)
  end
  if not begins(buffer, "PROXY ") then return nil, "no header" end
  if #buffer < #SIGNATURE then return nil, nil, #SIGNATURE - #buffer end
  return parse_v1(buffer)
end

--- Take a header off a connection, and nothing else.
-- @tparam socket conn its timeout counts for each part
-- @treturn[1] table as `parse` gives it
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"closed"`, or what is wrong with it
function M.read(conn)
  local buffer = ""
  while true do
    local header, err, missing = M.parse(buffer)
    if header then return header end
    if err then return nil, err end
    local more, why
    -- a line, at once, unless half of its end is there: it is too short then
    if #buffer == #SIGNATURE and buffer:byte() == 80 and buffer:byte(-1) ~= 13 then
      more, why = conn:read_until("\r\n", M.LONGEST_LINE - 2 - #buffer)
      if more then more = more .. "\r\n" end
      if why == "too long" then why = "header too long" end
    else
      more, why = conn:receive(missing)
    end
    if not more then return nil, why end
    buffer = buffer .. more
  end
end

return M

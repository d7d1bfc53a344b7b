-- Names and addresses, as servers, files, proxies and programs write them. The first byte of an
-- input says what it is.

local address = require "greenlua.server.address"
local core = require "greenlua.core.dns"
local input = require "spec.fuzz.input"
local native = require "fuzz.core"
local proxy_protocol = require "greenlua.server.proxy_protocol"
local server = require "greenlua.core.server"
local socket = require "greenlua.socket"
local green = require "greenlua"

local check = input.check
local kinds = {}

-- Numbers -------------------------------------------------------------------------------

-- inet_pton(3) knows the strict forms; whoever is lenient reads those alike.
local function check_number(text)
  local family, shown = core.parse(text)
  local bytes = server.pton(text)
  if bytes then
    check(family == (#bytes == 4 and "inet" or "inet6"), "a family", text, family)
    check(server.pton(shown) == bytes, "a number", text, shown)
    check(server.ntop(bytes) == shown, "a number", text, shown)
  end
  if family then
    local again, once_more = core.parse(shown)
    check(again == family and once_more == shown, "a number", text, shown)
    local name = check(core.reverse(text), "a name of an address", text)
    check(name:find "^[%x.]+ip6%.arpa$" or name:find "^[%d.]+in%-addr%.arpa$", "a name", name)
  end
  return family, shown
end

function kinds.n(text) check_number(text) end

-- Addresses of servers, and networks ----------------------------------------------------

function kinds.a(text)
  local at = address.parse(text)
  if at and at.path then
    check(#at.path > 0 and #at.path <= 107 and not at.path:find("\0", 2, true), "a path", at.path)
  elseif at and at.host then
    check(at.port >= 0 and at.port <= 65535, "a port", at.port)
    local shown = tostring(address.new(at.host, at.port))
    local again = address.parse(shown)
    check(again and again.host == at.host and again.port == at.port, "an address", text, shown)
  else
    check(not at or at.inherited, "an address", text)
  end
end

-- A network in which all but the last part of each is; the first line is the address.
function kinds.w(text)
  local host, rest = text:match "^([^\n]*)\n(.*)$"
  if not host then return end
  local list, bytes = {}, server.pton(host)
  for line in rest:gmatch "[^\n]+" do list[#list + 1] = line end
  local contains, wrong = address.networks(list)
  if not contains then return check(type(wrong) == "string", "no message") end
  local inside = contains(address.new(host, 1))
  if not bytes then return end
  local function bits(b)
    if #b == 4 then b = ("\0"):rep(10) .. "\xff\xff" .. b end
    return (b:gsub(".", function(c)
      local t = {}
      for i = 7, 0, -1 do t[#t + 1] = c:byte() >> i & 1 end
      return table.concat(t)
    end))
  end
  local wanted = false
  for _, text_of in ipairs(list) do
    local number, length = text_of:match "^([^/]*)/?(%d*)$"
    local other = number and server.pton(number)
    if other then
      local n = (tonumber(length) or #other * 8) + 128 - #other * 8
      if bits(bytes):sub(1, n) == bits(other):sub(1, n) then wanted = true end
    end
  end
  check(inside == wanted, "in a network", text)
end

-- The PROXY protocol ------------------------------------------------------------------------

local function same_header(a, b)
  for _, name in ipairs { "version", "command", "transport", "alpn", "authority", "unique_id" } do
    check(a[name] == b[name], name)
  end
  check(tostring(a.source) == tostring(b.source), "source", tostring(a.source))
  check(tostring(a.destination) == tostring(b.destination), "destination")
  check(#a.tlvs == #b.tlvs, "TLVs")
end

-- However little has come, the verdict is the same, or not known yet; and what is read of a
-- connection is the header, not a byte more.
local function read_in_pieces(bytes, cuts, wanted, after, err)
  local a, b = socket.pair()
  local sending = green.spawn(input.send, a, input.pieces(cuts, bytes))
  local header, why = proxy_protocol.read(b)
  if wanted then
    same_header(check(header, "refused", why), wanted)
    local rest, _, partial = b:receive "*a"
    check((rest or partial) == bytes:sub(after), "what follows", rest or partial)
  else
    check(not header, "taken", err)
    -- less than the shortest header is waited for, whatever it is; and a line by two bytes
    local open = not err or #bytes < 16 or err == "header too long"
    check(why == err or why == "closed" and open, "why not", why, err)
  end
  b:close()
  sending:join()
  a:close()
end

function kinds.p(text)
  local cuts, bytes = text:match "^([^\n]?[^\n]?[^\n]?)\n(.*)$"
  if not cuts then return end
  local header, after, missing = proxy_protocol.parse(bytes)
  check(header or after or missing, "no verdict")
  for n = 0, math.min(#bytes, 300) do
    local h, a, m = proxy_protocol.parse(bytes:sub(1, n))
    if h then
      check(header and a == after and n >= a - 1, "taken early", n)
      same_header(h, header)
    elseif a then
      check(not header and a == after, "refused early", n, a, after)
    else
      check(m > 0 and (not header or n + m <= after - 1), "too many bytes are missing", n, m)
    end
  end
  local from = header and bytes:match "^PROXY TCP4 (%S+) "
  if from then check(header.source.host == from, "source", from) end
  read_in_pieces(bytes, cuts, header, header and after, not header and after or nil)
end

-- Files -------------------------------------------------------------------------------------

local function words(line)
  local list = {}
  for word in line:gmatch "[^ \t\r]+" do list[#list + 1] = word end
  return list
end

-- The name that is looked for is in the first line.
function kinds.h(text)
  local name, file = text:match "^([^\n%z]*)\n(.*)$"
  if not name or name == "" then return end
  local wanted, seen, canonical = {}, {}, nil
  for line in file:gsub("%z", " "):gmatch "[^\n]+" do
    local list = words((line:gsub("#.*", "")))
    local family, shown = nil, nil
    if list[1] then family, shown = core.parse(list[1]) end
    for i = 2, family and #list or 0 do
      if list[i]:lower() == name:gsub("%.$", ""):lower() then
        canonical = canonical or list[2]
        if not seen[shown] then wanted[#wanted + 1], seen[shown] = shown, true end
      end
    end
  end
  local found, canon = native.hosts(file, name)
  check((found ~= nil) == (wanted[1] ~= nil), "known", name)
  if not found then return end
  check(canon == canonical, "canonical", canon, canonical)
  check(table.concat(found, " ") == table.concat(wanted, " "), "addresses",
    table.concat(found, " "), table.concat(wanted, " "))
end

function kinds.r(text)
  local c = native.resolvconf(text)
  check(#c.servers > 0, "no server")
  for _, at in ipairs(c.servers) do
    local number, port = at:match "^(%S+) (%d+)$"
    check(core.parse(number), "a server", at)
    check(tonumber(port) >= 1 and tonumber(port) <= 65535, "a port", at)
  end
  for _, domain in ipairs(c.search) do
    check(domain ~= "" and not domain:find "[ \t\r\n]" and not domain:find "%.$", "a domain",
      domain)
  end
  check(c.ndots >= 0 and c.ndots <= 15, "ndots", c.ndots)
  check(c.attempts >= 1 and c.attempts <= 5, "attempts", c.attempts)
  check(c.timeout >= 1 and c.timeout <= 30, "timeout", c.timeout)
  core.is_server(text)
end

-- Messages ------------------------------------------------------------------------------

-- RFC 1035, 4.1.4: the labels of a name, and where it ends; nil: it is malformed. A pointer
-- leads to before where the one before it led.
local function read_name(bytes, at)
  local labels, stop, total, limit = {}, nil, 0, at
  while true do
    local size = bytes:byte(at + 1)
    if not size then return nil end
    if size >= 0xc0 then
      if at + 2 > #bytes then return nil end
      stop = stop or at + 2
      at = (">I2"):unpack(bytes, at + 1) & 0x3fff
      if at >= limit then return nil end
      limit = at
    elseif size == 0 then
      return labels, stop or at + 1
    else
      local label = bytes:sub(at + 2, at + 1 + size)
      total = total + size + 1
      if size > 63 or #label < size or total > 254 then return nil end
      labels[#labels + 1], at = label, at + 1 + size
    end
  end
end

local function text_of(labels)
  local list = {}
  for i, label in ipairs(labels) do
    list[i] = label:gsub(".", function(c)
      if c:find '[.\\"();@$]' then return "\\" .. c end
      return (c <= " " or c >= "\127") and ("\\%03d"):format(c:byte()) or nil
    end):gsub("\n", "\\010")
  end
  return list[1] and table.concat(list, ".") or "."
end

local function read_record(bytes, at)
  local labels, after = read_name(bytes, at)
  if not labels or after + 10 > #bytes then return nil end
  local kind, class, ttl, size = (">I2I2I4I2"):unpack(bytes, after + 1)
  local data = bytes:sub(after + 11, after + 10 + size)
  if #data < size then return nil end
  if ttl > 0x7fffffff then ttl = 0 end
  return { kind, class, ttl, text_of(labels), data }, after + 10 + size
end

local function check_message(bytes)
  local got, whole = native.message(bytes)
  local labels, at
  if #bytes >= 12 and bytes:byte(3) >= 128 and (">I2"):unpack(bytes, 5) == 1 then
    labels, at = read_name(bytes, 12)
  end
  check((got ~= nil) == (labels ~= nil and at + 4 <= #bytes), "a message")
  if not got then return end
  check(got.name == text_of(labels), "the question", got.name, text_of(labels))
  check(got.qtype == (">I2"):unpack(bytes, at + 1), "its type", got.qtype)
  local n, counts = 0, { (">I2I2I2"):unpack(bytes, 7) }
  at = at + 4
  for section = 1, 3 do
    for _ = 1, counts[section] do
      local record, after = read_record(bytes, at)
      if not record then return check(not whole and #got == n, "a record too much", n) end
      n, at = n + 1, after
      local mine = check(got[n], "a record is missing", n)
      check(mine[1] == section, "its section", mine[1])
      for i = 1, 5 do check(mine[i + 1] == record[i], "a record", mine[i + 1], record[i]) end
    end
  end
  check(whole and #got == n, "records", #got, n)
end

local types = { 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 256, 257, 255, 99 }

function kinds.m(text)
  check_message(text)
  for _, kind in ipairs(types) do
    for _, record in ipairs(native.records(text, kind)) do
      check(kind == 255 or record.type == kind, "a type", record.type, kind)
      check(type(record.name) == "string" and record.ttl >= 0, "a record")
      if record.type == 1 or record.type == 28 then
        check(server.pton(record.addr), "addr", record.addr)
      end
      if record.strings then check(table.concat(record.strings) == record.text, "strings") end
    end
  end
end

return function(text)
  local kind = kinds[text:sub(1, 1)]
  if kind then kind(text:sub(2)) end
end

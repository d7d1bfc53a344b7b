-- A resolver whose server answers anything, by UDP, before it answers that it has failed: what
-- is found is sound, and it always comes to an end.
--
-- "====" and a line end divide datagrams. Options: 0 to 2: the type that is asked for; 3: the
-- addresses of a host are; 4: the id is what the datagram says; 5: asked twice.

local dns = require "greenlua.dns"
local green = require "greenlua"
local input = require "spec.fuzz.input"
local nameserver = require "spec.support.nameserver"
local pton = require("greenlua.core.server").pton
local socket = require "greenlua.socket"

local check = input.check

local types = { [0] = "A", "AAAA", "CNAME", "MX", "TXT", "SRV", "SOA", "NAPTR" }
local udp = assert(socket.udp4())
assert(udp:setsockname("127.0.0.1", 0))
local address = "127.0.0.1:" .. math.tointeger(select(2, udp:getsockname()))

local function answer(datagrams, keep_id)
  while true do
    local message, host, port = udp:receivefrom()
    local q = nameserver.parse(message)
    for _, text in ipairs(datagrams) do
      udp:sendto(keep_id and text or message:sub(1, 2) .. text:sub(3), host, port)
    end
    datagrams = {}
    udp:sendto(nameserver.reply(q, { rcode = 2 }), host, port)
  end
end

local function check_failure(err, code)
  check(type(err) == "string" and type(code) == "string" and code:find "^%u+$", "a failure", err,
    code)
end

local function check_name(name)
  check(type(name) == "string" and name ~= "" and not name:find "[%z\1-\32\127-\255]", "a name",
    name)
end

local sound = {
  A = function(r) check(#pton(r.addr) == 4, "addr", r.addr) end,
  AAAA = function(r) check(#pton(r.addr) == 16, "addr", r.addr) end,
  CNAME = function(r) check_name(r.target) end,
  MX = function(r) check_name(r.exchange) end,
  TXT = function(r) check(r.text == table.concat(r.strings), "text", r.text) end,
  SRV = function(r) check_name(r.target) end,
  SOA = function(r) check_name(r.mname) end,
  NAPTR = function(r) check_name(r.replacement) end,
}

local function resolve(resolver, kind)
  local list, err, code = resolver:resolve("a.example", kind)
  if not list then return check_failure(err, code) end
  check(#list > 0, "no record")
  for _, record in ipairs(list) do
    check_name(record.name)
    check(record.ttl >= 0 and record.ttl < 1 << 31, "ttl", record.ttl)
    check(record.type == kind, "type", record.type, kind)
    sound[kind](record)
  end
end

local function find(resolver)
  local list, err, code = resolver:getaddrinfo("a.example", 80, { canonname = true })
  if not list then return check_failure(err, code) end
  check(#list > 0, "no address")
  check_name(list[1].canonname)
  for _, at in ipairs(list) do
    check(#pton(at.addr) == (at.family == "inet" and 4 or 16) and at.port == 80, "an address",
      at.addr)
  end
end

return function(text)
  local has, _, bytes = input.split(text, 2)
  local datagrams = {}
  for part in (bytes .. "====\n"):gmatch "(.-)====\n" do
    if #datagrams < 8 then datagrams[#datagrams + 1] = part end
  end
  local kind = types[(has(0) and 1 or 0) + (has(1) and 2 or 0) + (has(2) and 4 or 0)]
  local server = green.spawn(answer, datagrams, has(4))
  local resolver = dns.Resolver { servers = { address }, attempts = 1, hosts = "" }
  for _ = 1, has(5) and 2 or 1 do
    if has(3) then find(resolver) else resolve(resolver, kind) end
  end
  resolver:close()
  server:close()
  server:join()
  -- what has come too late
  udp:settimeout(0)
  repeat until not udp:receivefrom()
  udp:settimeout()
end

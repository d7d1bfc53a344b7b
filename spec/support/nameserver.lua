-- Name servers for specs:  local nameserver = require "spec.support.nameserver"
--
-- An honest one is dnsmasq. A liar is a greenlet that answers as a function says.

local await = require "spec.support.await"
local green = require "greenlua"
local socket = require "greenlua.socket"

local M = {}

-- --- dnsmasq ------------------------------------------------------------------

local Server = {}
Server.__index = Server

local function free_port()
  local udp <close> = assert(socket.udp4())
  assert(udp:setsockname("127.0.0.1", 0))
  return math.tointeger(select(2, udp:getsockname()))
end

local function is_up(port)
  local dns = require "greenlua.dns"
  local r <close> = dns.Resolver { servers = { "127.0.0.1:" .. port }, attempts = 1 }
  local _, _, code = r:resolve("is.it.there", "A", { timeout = 0.5 })
  return code ~= "TIMEOUT" and code ~= "UNREACHABLE"
end

local function start_once(port, settings)
  local pipe = assert(io.popen(([[
    exec 2>&1
    env -u LD_PRELOAD dnsmasq --keep-in-foreground --port=%d --conf-file=/dev/null --no-resolv \
      --no-hosts --no-poll --listen-address=127.0.0.1,::1 --bind-interfaces --pid-file= \
      --user= --log-facility=/dev/null %s >/dev/null &
    echo $!]]):format(port, settings)))
  local pid = pipe:read "n"
  pipe:close()
  local function ended() return not os.execute(("kill -0 %d 2>/dev/null"):format(pid)) end
  await(function() return is_up(port) or ended() end)
  return not ended() and pid or nil
end

--- Starts dnsmasq with options of its own, on the port `server.port` of the
-- loopback (UDP and TCP, IPv4 and IPv6).
function M.start(settings)
  for _ = 1, 5 do -- somebody else may have been given the port
    local port = free_port()
    local pid = start_once(port, settings or "")
    if pid then
      return setmetatable({ port = port, pid = pid, address = "127.0.0.1:" .. port }, Server)
    end
  end
  error "dnsmasq does not start"
end

function Server:close()
  if not self.pid then return end
  os.execute(("kill %d 2>/dev/null"):format(self.pid))
  self.pid = nil
end
Server.__close = Server.close

-- --- messages -------------------------------------------------------------------

--- A name on the wire.
function M.name(text)
  local labels = {}
  for label in text:gmatch "[^.]+" do labels[#labels + 1] = string.pack("s1", label) end
  return table.concat(labels) .. "\0"
end

--- The id, name, type and the whole question of a query.
function M.parse(query)
  local labels, at = {}, 13
  while query:byte(at) ~= 0 do
    local label
    label, at = string.unpack("s1", query, at)
    labels[#labels + 1] = label
  end
  local kind = string.unpack(">I2", query, at + 1)
  return {
    id = string.unpack(">I2", query), name = table.concat(labels, "."), type = kind,
    question = query:sub(13, at + 4), edns = string.unpack(">I2", query, 11) > 0,
  }
end

--- A record; its owner is the question's name, or `owner`.
function M.record(kind, ttl, data, owner)
  return (owner and M.name(owner) or "\xc0\x0c")
    .. string.pack(">I2I2I4s2", kind, 1, ttl, data)
end

--- A reply to a parsed query: `id`, `question`, `flags` (0x8180), `rcode`, lists
-- `answers` and `authority` of records; what is missing is as it ought to be.
function M.reply(q, o)
  o = o or {}
  local answers, authority = o.answers or {}, o.authority or {}
  return string.pack(">I2I2I2I2I2I2", o.id or q.id, (o.flags or 0x8180) | (o.rcode or 0), 1,
    o.count or #answers, #authority, 0) .. (o.question or q.question) .. table.concat(answers)
    .. table.concat(authority)
end

-- --- liars ----------------------------------------------------------------------

local Liar = {}
Liar.__index = Liar

local function send_all(udp, replies, host, port)
  if type(replies) == "string" then replies = { replies } end
  for _, reply in ipairs(replies or {}) do udp:sendto(reply, host, port) end
end

local function serve_tcp(self, conn)
  local guard <close> = conn -- luacheck: ignore
  local head = conn:receive(2)
  local message = head and conn:receive((string.unpack(">I2", head)))
  if not message then return end
  local reply = self.answer_tcp(M.parse(message), message)
  if reply then conn:send(string.pack(">s2", reply)) end
end

-- Both sockets have the same port, on which somebody else may be.
local function listen(with_tcp)
  for _ = 1, 20 do
    local udp = assert(socket.udp4())
    assert(udp:setsockname("127.0.0.1", 0))
    local port = math.tointeger(select(2, udp:getsockname()))
    local tcp = with_tcp and socket.bind("127.0.0.1", port)
    if tcp or not with_tcp then return udp, tcp, port end
    udp:close()
  end
  error "no port is free"
end

--- A server that answers a parsed query with what `answer` returns: a message,
-- a list of them, or nil for nothing. It may wait. `answer_tcp` does so for TCP.
-- `liar.queries` counts.
function M.lie(answer, answer_tcp)
  local self = setmetatable({ queries = 0, answer_tcp = answer_tcp, asked = {} }, Liar)
  self.udp, self.tcp, self.port = listen(answer_tcp)
  self.address = "127.0.0.1:" .. self.port
  self.greenlets = { green.spawn(function()
    while true do
      local message, host, port = self.udp:receivefrom()
      if not message then return end
      local q = M.parse(message)
      self.queries = self.queries + 1
      self.asked[#self.asked + 1] = q
      self.greenlets[#self.greenlets + 1] = green.spawn(function()
        send_all(self.udp, answer(q, message), host, port)
      end)
    end
  end) }
  if answer_tcp then
    self.greenlets[#self.greenlets + 1] = green.spawn(function()
      for conn in self.tcp.accept, self.tcp do
        self.greenlets[#self.greenlets + 1] = green.spawn(serve_tcp, self, conn)
      end
    end)
  end
  return self
end

function Liar:close()
  self.udp:close()
  if self.tcp then self.tcp:close() end
  for _, g in ipairs(self.greenlets) do g:kill() end
end
Liar.__close = Liar.close

--- An IPv4 or IPv6 address's record.
function M.a(ttl, a, b, c, d) return M.record(1, ttl, string.char(a, b, c, d)) end

function M.aaaa(ttl, last) return M.record(28, ttl, ("\0"):rep(15) .. string.char(last)) end

return M

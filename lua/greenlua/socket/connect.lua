--- Connecting to a host that has many addresses, some of which may be dead.
--
-- "Happy eyeballs", RFC 8305: IPv6 and IPv4 addresses are looked up at the same
-- time, and tried by turns. Whoever has not answered after a while gets company:
-- the next attempt starts beside it, and at once if an attempt fails. The first
-- connection wins, the others are closed. `socket.connect` does this when it is
-- given a table.
--
-- @module greenlua.socket.connect

local green = require "greenlua"
local now = require("greenlua.core").now
local core = require "greenlua.core.dns"
local sockets = require "greenlua.core.socket"

local M = {
  --- Seconds that the other addresses wait for the first IPv6 one (RFC 8305 §3).
  resolution_delay = 0.05,
  --- Seconds until the next attempt starts beside one that has not ended (§5).
  attempt_delay = 0.25,
}

local creators = { inet = sockets.tcp4, inet6 = sockets.tcp6 }

-- One race: what its greenlets say arrives in `events`.
local Race = {}
Race.__index = Race

function Race:spawn(f, ...)
  local g = green.spawn(function(...)
    local ok, err = pcall(f, self, ...)
    if not ok and not self.over then self.events:put { raised = err } end
  end, ...)
  self.greenlets[#self.greenlets + 1] = g
end

-- The end, however it comes: nothing is left but the winner.
function Race:__close()
  self.over = true
  for sock in pairs(self.sockets) do sock:close() end
  for _, g in ipairs(self.greenlets) do green.kill(g) end
end

local function lookup(race, family)
  local o = race.options
  local list, err, code = core.lookup(race.resolver, o.host, family)
  race.events:put { family = family, found = list or {}, err = err, code = code }
end

-- A socket that is connected to an address, or nil and why not.
local function open(race, address, timeout)
  local o = race.options
  local sock, err = creators[address.family]()
  if not sock then return nil, err end
  race.sockets[sock] = true
  sock:settimeout(timeout)
  local ok = true
  if o.local_host then ok, err = sock:bind(o.local_host, o.local_port or 0) end
  if ok then ok, err = sock:connect(address.addr, o.port) end
  if ok then return sock end
  race.sockets[sock] = nil
  sock:close()
  return nil, err
end

local function attempt(race, address)
  local sock, err = open(race, address)
  race.events:put { attempt = true, sock = sock, err = err }
end

-- The address to try next: families by turns, the preferred one first.
function Race:next_address()
  local lists = self.addresses
  local other = self.turn == "inet6" and "inet" or "inet6"
  local from = lists[self.turn][1] and self.turn or other
  local address = table.remove(lists[from], 1)
  if address then self.turn = from == "inet6" and "inet" or "inet6" end
  return address
end

function Race:start_next()
  local address = self:next_address()
  if not address then return false end
  self.running = self.running + 1
  self.next_at = now() + (self.options.attempt_delay or M.attempt_delay)
  self:spawn(attempt, address)
  return true
end

function Race:has_address()
  return self.addresses.inet[1] or self.addresses.inet6[1]
end

-- May it begin? Yes when IPv6 is known, or everything is; else a little later.
function Race:set_start()
  if not self:has_address() or self.begun then return end
  if self.lookups == 0 or self.addresses.inet6[1] then
    self.next_at = 0
  elseif not self.next_at then
    self.next_at = now() + (self.options.resolution_delay or M.resolution_delay)
  end
end

-- Whose turn is first? As RFC 6724 has it, when both are known before we begin.
function Race:set_turn()
  local six, four = self.addresses.inet6[1], self.addresses.inet[1]
  if six and four and not self.begun then self.turn = core.sort({ six, four })[1].family end
end

function Race:take(event)
  if event.raised then error(event.raised, 0) end
  if event.attempt then
    self.running = self.running - 1
    self.err, self.code = event.err, nil
    self.next_at = 0 -- a failure lets the next one start
    return event.sock
  end
  self.lookups = self.lookups - 1
  table.move(event.found, 1, #event.found, #self.addresses[event.family] + 1,
    self.addresses[event.family])
  if not self.begun and #event.found == 0 and (not self.err or event.code ~= "NODATA") then
    self.err, self.code = event.err, event.code
  end
  self:set_turn()
  self:set_start()
end

function Race:is_lost()
  return self.running == 0 and self.lookups == 0 and not self:has_address()
end

-- Seconds until there is something to do but to wait; nil: nothing.
function Race:patience()
  local at = self.deadline
  if self:has_address() and self.next_at then at = math.min(at or math.huge, self.next_at) end
  return at and math.max(at - now(), 0)
end

function Race:run()
  while not self:is_lost() do
    local event = self.events:get(self:patience())
    local sock = event and self:take(event)
    if sock then return sock end
    if self.deadline and now() >= self.deadline then return nil, "timeout" end
    if self.next_at and self:has_address() and now() >= self.next_at then
      self.begun = true
      self:start_next()
    end
  end
  return nil, self.err, self.code
end

local function new_race(options, deadline)
  return setmetatable({
    options = options, deadline = deadline,
    resolver = options.resolver and options.resolver._core,
    events = green.Queue(), greenlets = {}, sockets = {},
    addresses = { inet = {}, inet6 = {} }, turn = "inet6",
    lookups = 0, running = 0, begun = false,
  }, Race)
end

local function connect_by_name(race)
  local family = race.options.family or "unspec"
  for _, one in ipairs { "inet6", "inet" } do
    if family == "unspec" or family == one then
      race.lookups = race.lookups + 1
      race:spawn(lookup, one)
    end
  end
  return race:run()
end

-- A number needs no race.
local function connect_tcp(options, deadline)
  local race <close> = new_race(options, deadline)
  local kind, addr = core.parse(options.host)
  local sock, err, code
  if not kind then
    sock, err, code = connect_by_name(race)
  elseif options.family and options.family ~= "unspec" and options.family ~= kind then
    return nil, "host or service not provided, or not known", "NODATA"
  else
    sock, err = open(race, { family = kind, addr = addr },
      deadline and math.max(deadline - now(), 0))
  end
  if not sock then return nil, err, code end
  race.sockets[sock] = nil
  sock:settimeout()
  return sock
end

-- Anything that connects is a context.
local function is_context(tls)
  return type(tls) == "table" and tls.connect ~= nil
end

local function context_of(tls)
  if is_context(tls) then return tls end
  return require("greenlua.ssl").to_client(tls)
end

local function connect(options, deadline)
  local context, failure
  if options.tls then
    context, failure = context_of(options.tls)
    if not context then return nil, failure end
  end
  local sock, err, code = connect_tcp(options, deadline)
  if not sock or not context then return sock, err, code end
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    if sock then sock:close() end
  end })
  local conn, why = context:connect(sock, options.host, deadline and math.max(deadline - now(), 0))
  if not conn then return nil, why end
  sock = nil
  return conn
end

-- Another greenlet's Timeout may be what ends it, so it is waited for from here.
local function connect_within(timeout, options)
  local results
  local g = green.spawn(function() return { connect(options) } end)
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    local late = not results and g:successful() and g.value[1]
    if late then late:close() end
    green.kill(g)
  end })
  results = g:get(timeout)
  return table.unpack(results, 1, 3)
end

local function bad(field, expected, value, level)
  error(("bad argument #1 to 'connect' (%s: %s expected, got %s)"):format(field, expected,
    type(value) == "string" and ("%q"):format(value) or tostring(value)), level or 4)
end

local function check_port(field, port)
  if type(port) == "string" then
    if not tonumber(port) then return end -- a service
    port = tonumber(port)
  end
  local number = math.type(port) and math.tointeger(port)
  if not number or number < 0 or number > 65535 then
    bad(field, "a port or the name of a service", port, 5)
  end
end

local known_options = {}
for name in ([[host port timeout tls local_host local_port family attempt_delay resolution_delay
    resolver]]):gmatch "%S+" do
  known_options[name] = true
end

local function check(o)
  for name in pairs(o) do
    if not known_options[name] then
      error(("bad argument #1 to 'connect' (unknown option '%s')"):format(tostring(name)), 3)
    end
  end
  if type(o.host) ~= "string" then bad("host", "a string", o.host) end
  check_port("port", o.port)
  if o.local_port ~= nil then check_port("local_port", o.local_port) end
  if o.local_host ~= nil and type(o.local_host) ~= "string" then
    bad("local_host", "a string", o.local_host)
  end
  if o.resolver ~= nil and not green.dns.Resolver.is(o.resolver) then
    bad("resolver", "a dns.Resolver", o.resolver)
  end
  local tls = o.tls
  if tls and tls ~= true and type(tls) ~= "table" then
    bad("tls", "true, a table of options or a Context", tls)
  elseif is_context(tls) and tls.mode == "server" then
    bad("tls", "the context of a client", tls)
  end
  local family, timeout = o.family, o.timeout
  if family and family ~= "unspec" and not creators[family] then
    bad("family", "'unspec', 'inet' or 'inet6'", family)
  end
  if timeout ~= nil and not green.Timeout.is(timeout)
    and not (type(timeout) == "number" and timeout >= 0) then
    bad("timeout", "seconds, not negative, or a Timeout", timeout)
  end
  for _, field in ipairs { "attempt_delay", "resolution_delay" } do
    local delay = o[field]
    if delay ~= nil and not (type(delay) == "number" and delay >= 0) then
      bad(field, "seconds", delay)
    end
  end
end

--- Connects: see `socket.connect`.
-- @tparam table options
--
-- * `host`, `port`.
-- * `timeout`: seconds for all of it (the names, the attempts, the TLS handshake);
--   or a Timeout, which is raised.
-- * `tls`: true; a table of options for `ssl.client`; or a context.
-- * `local_host`, `local_port` to connect from.
-- * `family`: `"inet"` or `"inet6"` for one kind only.
-- * `attempt_delay` (0.25), `resolution_delay` (0.05): seconds, as above.
-- * `resolver`: a `dns.Resolver` in place of the system's.
-- @treturn[1] client without a timeout of its own
-- @treturn[2] nil
-- @treturn[2] string why the last attempt failed: `"connection refused"`, `"timeout"` …
-- @treturn[2] ?string a code, if it is the name that could not be found
function M.connect(options)
  check(options)
  local timeout = options.timeout
  if green.Timeout.is(timeout) then return connect_within(timeout, options) end
  return connect(options, timeout and now() + timeout)
end

return M

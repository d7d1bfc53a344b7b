--- Names and addresses. Whoever asks parks; the others run meanwhile.
--
-- Names are looked up on the hub's loop by c-ares: without threads, any number
-- of them at once (128 are on their way at a time, the others wait in line), and
-- two who ask for the same share one question. The hosts file and `resolv.conf`
-- are honoured (servers, search list, `ndots`, `timeout`, `attempts`, `rotate`,
-- `use-vc`; `LOCALDOMAIN` and `RES_OPTIONS` too), and changes of them are
-- noticed. Answers are kept as long as their TTL says.
--
-- Numbers, `"localhost"` and what the hosts file has are answered at once.
--
-- The environment has a say, looked at when a name is first looked up:
--
-- * `GREENLUA_RESOLVER`: `ares` (what is said above) or `thread`, where the C
--   library's getaddrinfo is called on a thread of a small pool: for names that
--   only it can find (mDNS, LDAP …). `resolve` asks name servers in any case. A
--   thread cannot be stopped, so the program's end waits for those that ask.
-- * `GREENLUA_RESOLV_CONF`, `GREENLUA_HOSTS`: other files in place of
--   `/etc/resolv.conf` and `/etc/hosts`; for containers, and for tests.
--
-- Failures are `nil, message, code`. The codes are `"NXDOMAIN"` (no such name),
-- `"NODATA"` (a name, but nothing of that kind), `"SERVFAIL"`, `"REFUSED"`,
-- `"NOTIMP"`, `"FORMERR"` (what servers answer), `"TIMEOUT"`, `"UNREACHABLE"` (no
-- server), `"BADRESP"` (a malformed answer), `"BADNAME"` (that cannot be a name),
-- `"SERVICE"` (no such service), `"CANCELLED"` (the resolver was closed),
-- `"NOMEM"`. A timeout is a number of seconds, which ends with `nil, "timeout",
-- "TIMEOUT"`, or a `Timeout`, which is raised. Who is killed or runs out of
-- time leaves nothing behind.
--
-- Names are ASCII: other alphabets are in their punycode form (`xn--…`).
--
-- @usage
-- local dns = require "greenlua.dns"
--
-- for _, a in ipairs(assert(dns.getaddrinfo("localhost", 80))) do
--   print(a.family, a.addr, a.port)
-- end
-- @usage
-- for _, mx in ipairs(assert(dns.resolve("example.org", "MX", { timeout = 5 }))) do
--   print(mx.preference, mx.exchange, mx.ttl)
-- end
-- @module greenlua.dns

local now = require("greenlua.core").now
local core = require "greenlua.core.dns"
local is_timeout = require("greenlua.core.timeout").is
local object = require "greenlua.object"

local unknown = "host or service not provided, or not known"

local types = {
  A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, MX = 15, TXT = 16, AAAA = 28,
  SRV = 33, NAPTR = 35, DS = 43, SSHFP = 44, DNSKEY = 48, TLSA = 52, SVCB = 64, HTTPS = 65,
  ANY = 255, URI = 256, CAA = 257,
}
local type_names = {}
for name, number in pairs(types) do type_names[number] = name end

local protocols = { stream = "tcp", dgram = "udp" }
local families = { unspec = true, inet = true, inet6 = true }

-- Whose mistake it is: that of the function's caller, who has come by tail calls.
local function misuse(method, n, expected, value, level)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, method, expected,
    type(value) == "string" and ("%q"):format(value) or type(value)), level or 4)
end

local known_options = {}
for name in ([[family socktype timeout passive canonname numerichost numericserv addrconfig
    namereqd search servers]]):gmatch "%S+" do
  known_options[name] = true
end

local function check_options(method, n, options)
  if options == nil then return {} end
  if type(options) ~= "table" then misuse(method, n, "a table of options", options) end
  for name in pairs(options) do
    if not known_options[name] then misuse(method, n, "an option", tostring(name)) end
  end
  local family, socktype, timeout = options.family, options.socktype, options.timeout
  if timeout ~= nil and not is_timeout(timeout)
    and not (type(timeout) == "number" and timeout >= 0) then
    misuse(method, n, "timeout: seconds, not negative, or a Timeout", tostring(timeout))
  end
  if family ~= nil and not families[family] then
    misuse(method, n, "family 'unspec', 'inet' or 'inet6'", family)
  end
  if socktype ~= nil and not protocols[socktype] then
    misuse(method, n, "socktype 'stream' or 'dgram'", socktype)
  end
  return options
end

-- The number of a port or service; nil: there is none of that name.
local function port_of(method, port, socktype)
  if port == nil then return 0 end
  local number = tonumber(port)
  if number then
    number = math.tointeger(number)
    if not number or number < 0 or number > 65535 then
      misuse(method, 2, "a port from 0 to 65535", tostring(port))
    end
    return number
  end
  if type(port) ~= "string" then misuse(method, 2, "a port or the name of a service", port) end
  if port:find "\0" then return nil end
  if socktype then return core.service(port, protocols[socktype]) end
  return core.service(port, "tcp") or core.service(port, "udp")
end

-- Nobody's address: one's own (to bind to if `passive`).
local function own_addresses(options)
  local list = {}
  local function add(family, passive, loopback)
    if options.family == family or (options.family or "unspec") == "unspec" then
      list[#list + 1] = { family = family, addr = options.passive and passive or loopback }
    end
  end
  add("inet6", "::", "::1")
  add("inet", "0.0.0.0", "127.0.0.1")
  return list
end

-- Only addresses of families that this machine itself has.
local function of_our_families(list)
  local ours, has = {}, {}
  for _, address in ipairs(list) do
    local family = address.family
    if has[family] == nil then has[family] = core.has_family(family) end
    if has[family] then ours[#ours + 1] = address end
  end
  return #ours > 0 and ours or list
end

local function find(resolver, host, options)
  if host == nil then return own_addresses(options) end
  if options.numerichost and not core.parse(host) then return nil, unknown, "BADNAME" end
  local list, canonical, code =
    core.lookup(resolver, host, options.family or "unspec", options.timeout)
  if list and options.addrconfig then list = of_our_families(list) end
  return list, canonical, code
end

local function getaddrinfo(resolver, host, port, options)
  options = check_options("getaddrinfo", 3, options)
  if host ~= nil and type(host) ~= "string" then misuse("getaddrinfo", 1, "a string", host, 3) end
  local number = port_of("getaddrinfo", port, options.socktype)
  if not number or (options.numericserv and port and not tonumber(port)) then
    return nil, "service not supported for socket type", "SERVICE"
  end
  if host == nil and port == nil then return nil, unknown, "BADNAME" end
  local list, canonical, code = find(resolver, host, options)
  if not list then return nil, canonical, code end
  for _, address in ipairs(list) do
    address.port, address.socktype = number, options.socktype
  end
  if options.canonname then list[1].canonname = canonical or host end
  return list
end

-- The number of a type: "MX", "TYPE15" or 15.
local function type_of(method, kind)
  if kind == nil then return types.A end
  local number = math.tointeger(kind)
  if type(kind) == "string" then
    local upper = kind:upper()
    number = types[upper] or math.tointeger(tonumber(upper:match "^TYPE(%d+)$"))
  end
  if not number or number < 1 or number > 65535 then
    misuse(method, 2, "a type of records", kind)
  end
  return number
end

local function with_names(records)
  for _, record in ipairs(records) do
    record.type = type_names[record.type] or ("TYPE%d"):format(record.type)
  end
  return records
end

local function query(resolver, name, number, timeout)
  local records, message, code = core.query(resolver, name, number, timeout)
  if records then return with_names(records) end
  return nil, message, code
end

-- By the rules of the search list. The failure is the one that says most.
local function search(resolver, name, number, timeout)
  local message, code = "not a valid name", "BADNAME"
  local deadline = type(timeout) == "number" and now() + timeout
  for i, candidate in ipairs(core.search(resolver, name)) do
    if deadline then timeout = math.max(deadline - now(), 0) end
    local records, why, what = query(resolver, candidate, number, timeout)
    if records then return records end
    if i == 1 or code == "NXDOMAIN" then message, code = why, what end
    if what ~= "NXDOMAIN" and what ~= "NODATA" and what ~= "SERVFAIL" then
      return nil, why, what
    end
  end
  return nil, message, code
end

local function resolve(resolver, name, kind, options)
  options = check_options("resolve", 3, options)
  if type(name) ~= "string" then misuse("resolve", 1, "a string", name, 3) end
  local number = type_of("resolve", kind)
  if name:find "\0" then return nil, "not a valid name", "BADNAME" end
  if number == types.PTR then name = core.reverse(name) or name end
  local ask = options.search and search or query
  return ask(resolver, name, number, options.timeout)
end

-- The name of a number: of the hosts file, of the C library, or of name servers.
local function name_of(resolver, text, timeout)
  local known = core.hosts_name(resolver, text)
  if known then return known end
  if core.has_threads(resolver) then return core.nameinfo(resolver, text, nil, timeout) end
  local records, message, code = query(resolver, core.reverse(text), types.PTR, timeout)
  return records and records[1].target, message, code
end

local function getnameinfo(resolver, addr, port, options)
  options = check_options("getnameinfo", 3, options)
  if type(addr) ~= "string" then misuse("getnameinfo", 1, "a string", addr, 3) end
  local number = port_of("getnameinfo", port)
  local family, text = core.parse(addr)
  if not number or not family then return nil, unknown, "BADNAME" end
  local service = port ~= nil and tostring(number) or nil
  if service and not options.numericserv then
    service = core.service_name(number, protocols[options.socktype or "stream"]) or service
  end
  if options.numerichost then return text, service end
  local name, message, code = name_of(resolver, text, options.timeout)
  if name then return name, service end
  if not options.namereqd and (code == "NXDOMAIN" or code == "NODATA") then
    return text, service
  end
  return nil, message, code
end

--- A resolver of one's own: other servers, a cache of its own. What it does not
-- say is as if there were no `resolv.conf`. `close`, or the collector, ends what
-- it is still asked.
--
-- It has the module's functions as methods: `getaddrinfo`, `getnameinfo`,
-- `resolve`, `query`, `clear_cache`, `stats`.
-- @usage
-- local own <close> = dns.Resolver { servers = { "127.0.0.1:5353" }, timeout = 1 }
-- print(own:getaddrinfo("example.org"))
-- @type Resolver
local Resolver = object.class "Resolver"

local numbers = {
  ndots = { 0, 15 }, attempts = { 1, 100 }, timeout = { 0.001, 3600 }, parallel = { 1, 10000 },
}
local others = {
  servers = "table", search = "table", rotate = "boolean", tcp = "boolean",
  threads = "boolean", resolv_conf = "string", hosts = "string",
}

local function check_servers(method, n, servers, level)
  if type(servers) ~= "table" then misuse(method, n, "servers: table", servers, level) end
  for _, server in ipairs(servers) do
    if type(server) ~= "string" or not core.is_server(server) then
      misuse(method, n, "servers: numeric addresses, with a port or without", server, level)
    end
  end
end

local function check_settings(settings)
  for name, value in pairs(settings) do
    local range = numbers[name]
    if range then
      if not (type(value) == "number" and value >= range[1] and value <= range[2]) then
        misuse("Resolver", 1, ("%s from %g to %g"):format(name, range[1], range[2]),
          tostring(value), 5)
      end
    elseif not others[name] then
      misuse("Resolver", 1, "an option of a resolver", tostring(name), 5)
    elseif type(value) ~= others[name] then
      misuse("Resolver", 1, ("%s: %s"):format(name, others[name]), value, 5)
    end
  end
  check_servers("Resolver", 1, settings.servers or {}, 6)
  for _, domain in ipairs(settings.search or {}) do
    if type(domain) ~= "string" then misuse("Resolver", 1, "search: names", domain, 5) end
  end
end

--- Makes one: `dns.Resolver { servers = … }`.
-- @function Resolver:_init
-- @tparam[opt] table options
--
-- * `servers`: a list, `"192.0.2.1"`, `"192.0.2.1:5353"`, `"[2001:db8::1]:5353"`.
-- * `timeout` (5) seconds of the first attempt, later ones have more; `attempts`
--   (2) at each server; `rotate`: servers take turns; `tcp`: never UDP.
-- * `search`: a list of domains; `ndots` (1).
-- * `parallel` (128): queries on their way at a time.
-- * `resolv_conf`: the path of a file to take all of these from instead.
-- * `hosts`: the path of a hosts file; without it there is none.
-- * `threads`: addresses are found by the C library, as `GREENLUA_RESOLVER=thread`.
function Resolver:_init(options)
  options = options or {}
  if type(options) ~= "table" then misuse("Resolver", 1, "a table of options", options) end
  check_settings(options)
  self._core = core.new {
    servers = options.servers, search = options.search, timeout = options.timeout,
    attempts = options.attempts, ndots = options.ndots, rotate = options.rotate,
    tcp = options.tcp, parallel = options.parallel, resolv_conf = options.resolv_conf,
    hosts = options.hosts, threads = options.threads,
  }
end

--- Ends it: who still waits gets `nil, "closed"`, code `"CANCELLED"`.
function Resolver:close() core.close(self._core) end
Resolver.__close = Resolver.close

--- Is it a Resolver?
-- @function Resolver.is
-- @param value
-- @treturn boolean

--- As `dns.getaddrinfo`.
function Resolver:getaddrinfo(host, port, options)
  return getaddrinfo(self._core, host, port, options)
end

--- As `dns.getnameinfo`.
function Resolver:getnameinfo(addr, port, options)
  return getnameinfo(self._core, addr, port, options)
end

--- As `dns.resolve`, but for the option `servers`.
function Resolver:resolve(name, kind, options)
  return resolve(self._core, name, kind, options)
end

--- The same as `resolve`.
-- @function Resolver:query
Resolver.query = Resolver.resolve

--- As `dns.clear_cache`.
function Resolver:clear_cache() core.clear(self._core) end

local function stats(resolver)
  local asked, hits, cached, out, waiting = core.stats(resolver)
  return { asked = asked, hits = hits, cached = cached, out = out, waiting = waiting }
end

--- As `dns.stats`.
function Resolver:stats() return stats(self._core) end

--- @section end

local dns = { Resolver = Resolver, gethostname = core.hostname }

--- The addresses of a host, in the order in which to try them (RFC 6724).
-- @usage local list = dns.getaddrinfo("localhost", "http", { family = "inet6" })
-- @tparam ?string host a name or a number; nil: this machine
-- @tparam[opt=0] integer|string port or the name of a service
-- @tparam[opt] table options
--
-- * `family`: `"inet"` or `"inet6"` for one kind only.
-- * `socktype`: `"stream"` or `"dgram"`, for services that differ.
-- * `timeout`: seconds, or a Timeout.
-- * `passive`: without a host, addresses to bind to.
-- * `canonname`: the first entry gets the field `canonname`.
-- * `numerichost`, `numericserv`: nobody is asked.
-- * `addrconfig`: only families of which this machine has an address itself.
-- @treturn[1] table a list of `{ family =, addr =, port = }`
-- @treturn[2] nil
-- @treturn[2] string `"host or service not provided, or not known"`,
--   `"temporary failure in name resolution"`, `"timeout"` …
-- @treturn[2] string code
function dns.getaddrinfo(host, port, options) return getaddrinfo(nil, host, port, options) end

--- The name of an address (and of a port).
-- @tparam string addr
-- @tparam[opt] integer|string port
-- @tparam[opt] table options `timeout`; `namereqd`: without a name it fails,
--   rather than giving the number; `numerichost`, `numericserv`: numbers are asked
--   for; `socktype`
-- @treturn[1] string name
-- @treturn[1] ?string service, if there was a port
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string code
function dns.getnameinfo(addr, port, options) return getnameinfo(nil, addr, port, options) end

--- The records of a name. The name is taken as it stands, unless `search` is set.
--
-- Each record has `name`, `type`, `ttl` (seconds that are left) and
--
-- * A, AAAA: `addr`
-- * CNAME, NS, PTR: `target`
-- * MX: `preference`, `exchange`
-- * TXT: `text`, and its pieces as a list, `strings`
-- * SRV: `priority`, `weight`, `port`, `target`
-- * SOA: `mname`, `rname`, `serial`, `refresh`, `retry`, `expire`, `minimum`
-- * CAA: `flags`, `tag`, `value`; URI: `priority`, `weight`, `target`; NAPTR: `order`,
--   `preference`, `flags`, `service`, `regexp`, `replacement`
-- * others: `data`, its bytes
-- @tparam string name for PTR it may be an address
-- @tparam[opt="A"] string|integer kind `"AAAA"`, `"MX"` …, `"TYPE65280"` or 65280
-- @tparam[opt] table options
--
-- * `timeout`: seconds, or a Timeout.
-- * `search`: the name may be one of the search list's domains.
-- * `servers`: ask these, as in `Resolver`; their answers are not kept.
-- @treturn[1] table list of records
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string code
function dns.resolve(name, kind, options)
  if type(options) ~= "table" or options.servers == nil then
    return resolve(nil, name, kind, options)
  end
  check_servers("resolve", 3, options.servers, 4)
  local own <close> = Resolver { servers = options.servers }
  return resolve(own._core, name, kind, options)
end

--- The same as `resolve`.
-- @function query
dns.query = dns.resolve

--- Forgets all answers.
function dns.clear_cache() core.clear() end

--- Lets a resolver take the place of the system's, for sockets too.
-- @tparam ?Resolver resolver nil: as it was in the beginning, with an empty cache
function dns.use(resolver)
  if resolver ~= nil and not Resolver.is(resolver) then
    error(("bad argument #1 to 'use' (Resolver expected, got %s)"):format(type(resolver)), 2)
  end
  core.use(resolver and resolver._core)
end

--- What there is to know about the system's resolver.
-- @treturn table `asked` (questions sent), `hits` (answers that were known
--   already), `cached` (answers kept), `out` and `waiting` (queries on their way, and
--   in line)
function dns.stats() return stats() end

--- This machine's name.
-- @function gethostname
-- @treturn string

return dns

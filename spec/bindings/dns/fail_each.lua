-- Fails each allocation in turn while names are looked up, as fail_each.lua does
-- for the rest. Prints how many there were. c-ares' own allocations don't fail.

local green = require "greenlua"
local core = require "greenlua.core"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local socket = require "greenlua.socket"

assert(green.joinall)

local server <close> = nameserver.start(
  "--local=/test/ --host-record=a.test,127.0.0.1 --txt-record=a.test,one --cname=c.test,a.test")
local hosts = os.tmpname()
local file = assert(io.open(hosts, "w"))
file:write "127.0.0.7 mine.test\n"
file:close()

local known = { NOMEM = true, TIMEOUT = true, UNREACHABLE = true, NXDOMAIN = true, BADRESP = true }

-- Either an answer, or one of the failures that a lack of memory brings.
local function check(list, message, code)
  assert(list or known[code] or message == "not enough memory", message)
  return list
end

-- What has lost its memory on the way is waited for in vain: not long.
local function program(patience)
  local own <close> = dns.Resolver { servers = { server.address }, timeout = patience, attempts = 1,
    search = { "nowhere.test", "test" }, hosts = hosts }
  local some = {
    green.spawn(function() return check(own:getaddrinfo("a", 80)) end),
    green.spawn(function() return check(own:resolve("a.test", "TXT")) end),
    green.spawn(function() return check(own:resolve("c.test")) end),
  }
  check(own:getaddrinfo("mine.test", 80))
  check(own:getaddrinfo("localhost", 80))
  check(own:getnameinfo "127.0.0.7")
  dns.use(own)
  local sock <close> = socket.tcp()
  local _, err = sock:connect("a.test", server.port)
  assert(err == nil or type(err) == "string")
  local conn = socket.connect { host = "a.test", port = server.port, timeout = patience }
  if conn then conn:close() end
  dns.use()
  local threads <close> = dns.Resolver { threads = true }
  check(threads:getaddrinfo(dns.gethostname(), 80))
  check(threads:getnameinfo "127.0.0.1")
  for _, g in ipairs(some) do g:join(60) end
  return some
end

local function attempt(n)
  core.fail_allocation(n)
  local ok, err = pcall(program, n > 0 and 0.02 or 60)
  local left = core.fail_allocation(0)
  pcall(dns.use)
  assert(ok or tostring(err):find "not enough memory", err)
  for _, g in ipairs(core.live()) do
    if g ~= green.current() then g:close() end
  end
  if ok and n == 0 then
    for _, g in ipairs(err) do assert(g:successful() and g.value, g.exception) end
  end
  return ok and left > 0
end

green.on_error(function(_, err) assert(tostring(err):find "not enough memory", err) end)
for _ = 1, 2 do attempt(0) end
local n = 0
repeat n = n + 1 until attempt(n)
attempt(0)
os.remove(hosts)
print(n - 1)

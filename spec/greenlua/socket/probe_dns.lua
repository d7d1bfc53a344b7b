-- As probe.lua, for names that the machine itself knows. What greenlua does
-- differently by intent is not asked: of aliases it tells the one that was asked for.

local socket = require(arg[1])
local ask = dofile "spec/greenlua/socket/ask.lua"
local line, call, section = ask.line, ask.call, ask.section
local dns = socket.dns

section "names"
for _, name in ipairs { "toip", "tohostname", "gethostname", "getaddrinfo", "getnameinfo" } do
  line(name, type(dns[name]))
end
call("gethostname", dns.gethostname)

section "toip and tohostname"
for _, name in ipairs { "toip", "tohostname" } do
  for _, host in ipairs { "localhost", "127.0.0.1" } do
    call(name .. " " .. host, function()
      local first, all = dns[name](host)
      return first, all.name, all.ip, type(all.alias)
    end)
  end
  call(name .. " no such host", dns[name], "no..such.host")
end

for _, bad in ipairs { {}, true, print } do
  call("misused", function() return (dns.toip(bad)) end)
  call("misused", function() return (dns.tohostname(bad)) end)
end

section "getaddrinfo"
for _, host in ipairs { "127.0.0.1", "::1", "1.2.3.4", "2001:db8::1" } do
  call(host, dns.getaddrinfo, host)
end
call("localhost", function()
  local seen = {}
  for _, address in ipairs(assert(dns.getaddrinfo "localhost")) do
    seen[address.addr] = address.family
  end
  return seen["127.0.0.1"]
end)
call("no such host", dns.getaddrinfo, "no..such.host")
call("misused", function() return (dns.getaddrinfo {}) end)

section "getnameinfo"
call("both", dns.getnameinfo, "127.0.0.1", "80")
call("both", dns.getnameinfo, "127.0.0.1", "http")
call("both", dns.getnameinfo, "127.0.0.1", 80)
call("host", dns.getnameinfo, "127.0.0.1")
call("service", dns.getnameinfo, nil, "80")
call("no service", dns.getnameinfo, "127.0.0.1", "no such service")
call("large service", dns.getnameinfo, "127.0.0.1", "70000")
call("no service", dns.getnameinfo, "127.0.0.1", 0.5)
call("no service", dns.getnameinfo, "127.0.0.1", "-1")
call("no host", dns.getnameinfo, "no..such.host")
call("misused", dns.getnameinfo)

local green = require "greenlua"
local dns = require "greenlua.dns"
local now = require("greenlua.core").now

local n = tonumber(os.getenv "N")
local resolver = dns.Resolver { servers = { "127.0.0.1:" .. os.getenv "PORT" } }
local found = 0

local function look_up(i)
  local list = assert(resolver:getaddrinfo(("h%d.bench.test"):format(i), 80, { family = "inet" }))
  assert(list[1].addr == "10.1.2.3")
  found = found + 1
end

local began = now()
local all = {}
for i = 1, n do all[i] = green.spawn(look_up, i) end
green.joinall(all, nil, true)
assert(found == n)
print(("resolve_rps %.0f names/s"):format(n / (now() - began)))

-- Looks up many names at the same time, ten by default, and prints each as its
-- answer comes:
--
--     greenlua examples/resolve_many.lua -n 50 example.org example.net
--     greenlua examples/resolve_many.lua <names.txt
--
-- Without names, and nothing on stdin: localhost, and this machine.

local green = require "greenlua"
local dns = require "greenlua.dns"

local at_once, names = 10, { table.unpack(arg) }
if names[1] == "-n" then
  at_once = assert(math.tointeger(tonumber(names[2])), "-n: a number expected")
  table.remove(names, 1)
  table.remove(names, 1)
end
if #names == 0 then
  for line in io.lines() do names[#names + 1] = line:match "%S+" end
end
if #names == 0 then names = { "localhost", assert(dns.gethostname()) } end

local function look_up(name)
  local list, err, code = dns.getaddrinfo(name, nil, { timeout = 10 })
  if not list then
    print(("%s: %s (%s)"):format(name, err, code))
    return
  end
  local addresses = {}
  for i, address in ipairs(list) do addresses[i] = address.addr end
  print(name .. " -> " .. table.concat(addresses, " "))
end

local pool = green.Pool(at_once)
for _, name in ipairs(names) do pool:spawn(look_up, name) end
pool:join()

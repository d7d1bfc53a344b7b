-- Fails each allocation in turn while TLS connections are made, used and ended.
-- Prints how many there were. See allocation_spec.lua.
-- usage: tls.lua CERTIFICATE KEY AUTHORITY

local core = require "greenlua.core"
local green = require "greenlua"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"

local pair = { certificate = arg[1], key = arg[2] }
local known = ssl.client { ca = arg[3] }

-- What has lost its memory on the way is waited for in vain: not long.
local function program(patience)
  local server = assert(ssl.server(pair))
  local a, b = socket.pair()
  if not a then error(b, 0) end
  local g = green.spawn(server.accept, server, b, patience)
  local conn, why = known:connect(a, "localhost", patience)
  local peer, why_not = g:get()
  if not conn then error(why, 0) end
  if not peer then error(why_not, 0) end
  conn:settimeout(patience)
  peer:settimeout(patience)
  conn:send { "hello\n", ("x"):rep(100000) }
  assert(peer:receive() == "hello", "not enough memory")
  peer:settimeout(0)
  local _, err = peer:receive(100000)
  if err and err ~= "timeout" then error(err, 0) end
  -- More than the kernel takes.
  conn:settimeout(0)
  repeat _, err = conn:send(("x"):rep(1 << 18)) until err
  conn:close()
  peer:close()
end

-- OpenSSL's own words for what its callbacks could not do.
local expected = {
  "not enough memory", "Cannot allocate memory", "Out of memory", "closed", "timeout",
  "internal error", "malloc failure",
}

local function check(err)
  for _, text in ipairs(expected) do
    if tostring(err):find(text, 1, true) then return end
  end
  error("an unexpected error: " .. tostring(err))
end

local function attempt(n)
  core.fail_allocation(n)
  local ok, err = pcall(program, 0.1)
  local left = core.fail_allocation(0)
  if not ok then check(err) end
  for _, g in ipairs(core.live()) do
    if g ~= green.current() then g:close() end
  end
  collectgarbage()
  green.sleep(0.0001)
  return ok and left > 0
end

green.on_error(function() end)
for _ = 1, 3 do assert(attempt(0) ~= nil) end
local n = 0
repeat n = n + 1 until attempt(n)
program(60) -- all works
print(n - 1)

-- Arguments that nobody should pass, for misuse_spec.lua: numbers at the edges,
-- strings of all kinds, functions that fail, tables of any keys, other objects.

local green = require "greenlua"

local numbers = {
  0, -1, 1, 2, 3, 0.5, -0.5, 255, 65535, 65536, 1 << 31, 1 << 53, math.maxinteger,
  math.mininteger, 1e300, -1e300, math.huge, -math.huge, 0 / 0, 1e-300,
}

-- Addresses are of the loopback only.
local strings = {
  "", "x", "\0", "a\0b", " ", "%", "*", "*a", "*l", "a", "l", "n", "0", "-1", "1e300", "nan", "80",
  "127.0.0.1", "::1", "0.0.0.0", "127.0.0.1:0", "[::1]:0", ":0", "localhost", "inet", "inet6",
  "unspec", "b", "t", "both", "send", "receive", "reuseaddr", "keepalive", "linger", "A", "MX",
  "TYPE1", "client", "server", "required", "none", "1.2", "http/1.1", "tlsv1_2", "any",
  "unix:x", "unix:@", "systemd", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
  ("x"):rep(300), ("0"):rep(70000), ("a."):rep(200),
}

local functions = {
  function() end,
  function(...) return ... end,
  function() return {} end,
  function() error "raised by an argument" end,
  function() error() end,
  function() green.sleep(0) end,
  coroutine.yield,
}

-- The keys of option tables. Not `fd`, `keylog`, `threads`: they name what belongs
-- to others.
local keys = {
  1, 2, 3, "host", "port", "path", "timeout", "family", "socktype", "tls", "verify", "ca", "alpn",
  "certificate", "key", "password", "sni", "servers", "search", "attempts", "ndots", "rotate",
  "tcp", "parallel", "hosts", "pool", "backlog", "reuse_port", "mode", "stop_timeout",
  "max_accept", "handshake_timeout", "proxy_protocol", "burst", "name", "protocol", "options",
  "depth", "ciphers", "curves", "multiaddr", "interface", "on", "local_host", "local_port",
  "attempt_delay", "resolver", "getfd", "canonname", "passive", "namereqd", "sessions", "__close",
}

return function(random, objects)
  local value

  local function any(list) return list[random(#list)] end

  local function new_table(depth)
    local t = {}
    for _ = 1, random(4) - 1 do
      local v = value(depth + 1)
      t[any(keys)] = v
    end
    if random(10) == 1 then
      setmetatable(t, { __index = function() error "refused to be indexed" end })
    end
    return t
  end

  local kinds = {
    function() return nil end,
    function() return random(2) == 1 end,
    function() return any(numbers) end,
    function() return any(numbers) end,
    function() return any(strings) end,
    function() return any(strings) end,
    function() return any(functions) end,
    function() return any(objects) end,
    function() return coroutine.create(any(functions)) end,
    function(depth) return depth < 3 and new_table(depth) or {} end,
    function(depth) return depth < 3 and new_table(depth) or {} end,
  }

  function value(depth) return any(kinds)(depth or 0) end

  return value
end

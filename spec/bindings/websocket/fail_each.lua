-- Fails each allocation in turn while messages go both ways. From the one that fails on all
-- fail, until the peer has given up. Prints how many there were. See
-- allocation_spec.lua.

local green = require "greenlua"
local core = require "greenlua.core"
local native = require "greenlua.core.websocket"
local raw = require "spec.support.websocket"
local socket = require "greenlua.socket"

local big = ("x"):rep(100000)

local streams = {
  raw.frame("text", "hello") .. raw.frame("ping", "p") .. raw.close(1000),
  raw.frame("binary", big) .. raw.close(1000),
  raw.frame("text", "one ", { fin = false }) .. raw.frame(0, "two") .. raw.close(1000),
  raw.frame("text", "\xf2\x48\xcd\xc9\xc9\x07\x00", { rsv = 4 }) .. raw.close(1000),
  raw.frame("text", "\xff"),
}

local function use(ws)
  for message, kind in ws._next, ws do assert(ws:_send(message, kind) ~= nil) end
end

local function talk(bytes, compress)
  local a, b = socket.pair()
  if not a then error(b, 0) end
  local mine <close> = a
  local its <close> = b
  local ws = native.new(its, { close_timeout = 0.02, receive_bits = 15, send_bits = compress,
    level = 1, min = 0, send_fresh = compress == 9 }, {})
  local user <close> = green.spawn(use, ws)
  mine:settimeout(0.05)
  mine:send(bytes)
  mine:shutdown "send"
  mine:receive "*a"
  user:join(0.05)
  ws:_drop()
end

local function attempt(bytes, compress, n)
  core.fail_allocation(n)
  local ok, err = pcall(talk, bytes, compress)
  local left = core.fail_allocation(0)
  if not ok and not tostring(err):find "not enough memory" then error(err, 0) end
  for _, g in ipairs(core.live()) do
    if g ~= green.current() then g:close() end
  end
  return ok and left > 0
end

green.on_error(function() end)
local total = 0
for _, bytes in ipairs(streams) do
  for _, compress in ipairs { 0, 9, 15 } do
    local n = 1
    while not attempt(bytes, compress, n) do n = n + (n < 150 and 1 or 5) end
    total = total + n
    talk(bytes, compress)
  end
end
print(total)

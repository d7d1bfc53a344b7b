local green = require "greenlua"
local socket = require "greenlua.socket"
local n, size = tonumber(os.getenv "N"), tonumber(os.getenv "SIZE")

local q = green.Queue(size)
local t = socket.gettime()
green.joinall {
  green.spawn(function() for i = 1, n do q:put(i) end end),
  green.spawn(function() for i = 1, n do assert(q:get() == i) end end),
}
print(("queue %.1f ns/item"):format((socket.gettime() - t) / n * 1e9))

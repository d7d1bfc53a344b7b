-- Each switch leaves a callback of string.gsub: a C call stands on the stack, so
-- that a yield is not possible.
local green = require "greenlua"
local socket = require "greenlua.socket"
local half = tonumber(os.getenv "N") // 2
local sleep = green.sleep

local function task()
  (("x"):rep(half)):gsub(".", function() sleep(0) end)
end

local t = socket.gettime()
green.joinall { green.spawn(task), green.spawn(task) }
print(("switch %.1f ns/switch"):format((socket.gettime() - t) / half / 2 * 1e9))

local green = require "greenlua"
local socket = require "greenlua.socket"
local half = tonumber(os.getenv "N") // 2
local sleep = green.sleep

local function task()
  for _ = 1, half do sleep(0) end
end

local t = socket.gettime()
green.joinall { green.spawn(task), green.spawn(task) }
print(("switch %.1f ns/switch"):format((socket.gettime() - t) / half / 2 * 1e9))

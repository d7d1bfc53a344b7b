-- Each switch leaves a callback of string.gsub: a C call stands on the stack, so
-- that a yield is not possible.  (One call, many switches: gsub is not measured.)
local green = require "greenlua"
local socket = require "greenlua.socket"
local half = tonumber(os.getenv "N") // 2
local sleep = green.sleep

local function task()
  ("x"):gsub(".", function()
    for _ = 1, half do sleep(0) end
  end)
end

local t = socket.gettime()
green.joinall { green.spawn(task), green.spawn(task) }
print(("switch %.1f ns/switch"):format((socket.gettime() - t) / half / 2 * 1e9))

-- A Timeout runs from its construction. When the time is up it is raised where
-- its greenlet waits; `err == timer` tells it from any other error.
--
-- usage: timeouts.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 10

local function wait() green.sleep(seconds) end

local timer <close> = green.Timeout(seconds)
local ok, err = pcall(function() green.spawn(wait):join() end)
if not ok and err == timer then
  print "Could not complete"
end

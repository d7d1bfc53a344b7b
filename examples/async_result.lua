-- An AsyncResult is an Event that brings a value along: whoever gets it waits
-- until somebody has set it.
--
-- usage: async_result.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 3
local result = green.AsyncResult()

local function setter()
  green.sleep(seconds)
  result:set "Hello!"
end

local function waiter()
  print(result:get())
end

green.joinall { green.spawn(setter), green.spawn(waiter) }

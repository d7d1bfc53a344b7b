-- Ways to start a greenlet, and how to get what it returns.
--
-- usage: spawning.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 1

local function say(message, delay)
  green.sleep(delay)
  print(message)
end

local hello = green.Greenlet.spawn(say, "Hello", seconds)
local alive = green.spawn(say, "I live!", 2 * seconds) -- the same, shorter
local sum = green.spawn(function(x) return x + 1 end, 2)

green.joinall { hello, alive, sum }
assert(sum.value == 3)

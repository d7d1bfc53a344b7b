-- One greenlet has something to prepare, three wait for it. Setting an Event
-- wakes all who wait.
--
-- usage: event.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 3
local ready = green.Event()

local function setter()
  print "A: Hey wait for me, I have to do something"
  green.sleep(seconds)
  print "Ok, I'm done"
  ready:set()
end

local function waiter()
  print "I'll wait for you"
  ready:wait()
  print "It's about time"
end

green.joinall {
  green.spawn(setter),
  green.spawn(waiter), green.spawn(waiter), green.spawn(waiter),
}

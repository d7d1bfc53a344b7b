-- Lua's own coroutines work inside a greenlet as they always do. Here one
-- consumes what the greenlet around it produces, and it may itself block: that
-- parks the greenlet, never confuses the two.
--
-- usage: generators.lua [tasks [seconds]]

local green = require "greenlua"

local tasks = math.tointeger(tonumber(arg[1])) or 3
local seconds = tonumber(arg[2]) or 1

local consumer = coroutine.wrap(function()
  print "Wait to getting a task"
  while true do
    local task = coroutine.yield()
    green.sleep(0)
    print("Got " .. task)
  end
end)

local function produce()
  consumer() -- to its first yield
  for id = 0, tasks - 1 do
    green.sleep(seconds)
    print(("Send a task %d to consumer"):format(id))
    consumer("task " .. id)
  end
end

green.spawn(produce):join()

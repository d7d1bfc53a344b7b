-- The same five tasks one after the other, then all at once: those are done in
-- the order in which their waits end.

local green = require "greenlua"

local function task(id)
  green.sleep(math.random(0, 2) * 0.001)
  print(("Task %d done"):format(id))
end

local function synchronous()
  for id = 0, 4 do task(id) end
end

local function asynchronous()
  local tasks = {}
  for id = 0, 4 do table.insert(tasks, green.spawn(task, id)) end
  green.joinall(tasks)
end

print "Synchronous:"
synchronous()

print "Asynchronous:"
asynchronous()

-- A boss puts tasks into a queue, three workers take them out. `sleep(0)` after
-- each task lets the next worker have the next one.

local green = require "greenlua"
local queue = require "greenlua.queue"

local tasks = queue.Queue()

local function worker(name)
  while not tasks:empty() do
    local task = tasks:get()
    print(("Worker %s got task %d"):format(name, task))
    green.sleep(0)
  end
  print "Quitting time!"
end

local function boss()
  for task = 1, 9 do tasks:put_nowait(task) end
end

green.spawn(boss):join()

green.joinall {
  green.spawn(worker, "steve"),
  green.spawn(worker, "john"),
  green.spawn(worker, "nancy"),
}

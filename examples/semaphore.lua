-- Of the workers in a pool only two at a time have the semaphore. Whoever
-- releases it hands it to the one who has waited longest. `hold` is for a block:
-- its end releases, whichever way it comes.

local green = require "greenlua"
local lock = require "greenlua.lock"

local semaphore = lock.BoundedSemaphore(2)

local function worker1(n)
  semaphore:acquire()
  print(("Worker %d acquired semaphore"):format(n))
  green.sleep(0)
  semaphore:release()
  print(("Worker %d released semaphore"):format(n))
end

local function worker2(n)
  do
    local _ <close> = semaphore:hold()
    print(("Worker %d acquired semaphore"):format(n))
    green.sleep(0)
  end
  print(("Worker %d released semaphore"):format(n))
end

local pool = green.Pool()
pool:map(worker1, { 0, 1 })
pool:map(worker2, { 3, 4, 5 })

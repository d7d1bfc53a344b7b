-- Two greenlets take turns. A greenlet runs until it waits for something;
-- `sleep(0)` waits for nothing but its next turn.

local green = require "greenlua"

local function foo()
  print "Running in foo"
  green.sleep(0)
  print "Explicit context switch to foo again"
end

local function bar()
  print "Explicit context to bar"
  green.sleep(0)
  print "Implicit context switch back to bar"
end

green.joinall { green.spawn(foo), green.spawn(bar) }

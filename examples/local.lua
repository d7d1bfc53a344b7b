-- Each greenlet has fields of its own in a Local.

local green = require "greenlua"

local stash = green.Local()

local function f1()
  stash.x = 1
  print(stash.x)
end

local function f2()
  stash.y = 2
  print(stash.y)
  if stash.x == nil then print "x is not local to f2" end
end

green.joinall { green.spawn(f1), green.spawn(f2) }

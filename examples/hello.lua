-- Three greetings, as if each had the program to itself. `sleep` lets the others
-- run, so all three take as long as the slowest.
--
-- usage: hello.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 1

local function greet(name, delay)
  print("good morning, " .. name)
  green.sleep(delay)
  print("good night, " .. name)
end

green.joinall {
  green.spawn(greet, "Ada", 3 * seconds),
  green.spawn(greet, "Alan", 1 * seconds),
  green.spawn(greet, "Grace", 2 * seconds),
}
print "everybody sleeps"

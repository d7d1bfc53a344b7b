-- A class of greenlets: `_init` takes the constructor's arguments, `_run` is
-- what an instance does.
--
-- usage: subclassing.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 3

local Greeter = green.Greenlet:extend "Greeter"

function Greeter:_init(message, delay)
  self.message = message
  self.delay = delay
end

function Greeter:_run()
  print(self.message)
  green.sleep(self.delay)
end

local g = Greeter("Hi there!", seconds)
g:start()
g:join()

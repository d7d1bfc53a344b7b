-- A group of greenlets that are waited for together. Each is in it until it ends.

local green = require "greenlua"

local function talk(message)
  for _ = 1, 2 do print(message) end
end

local g1 = green.spawn(talk, "bar")
local g2 = green.spawn(talk, "foo")
local g3 = green.spawn(talk, "fizz")

local group = green.Group()
group:add(g1)
group:add(g2)
group:join()

group:add(g3)
group:join()

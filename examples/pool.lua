-- A pool is a group with a size: no more than two greenlets run at a time.

local green = require "greenlua"

local pool = green.Pool(2)

local function hello_from()
  print("Size of pool " .. #pool)
end

pool:map(hello_from, { 0, 1, 2 })

-- Greenlets are deterministic: with the same input the same program schedules them
-- in the same order, each time. So four runs of a pool give the same results in the
-- same order, though that order is not the one of the input.

local green = require "greenlua"

local function echo(i)
  green.sleep(0.001)
  return i
end

local function run()
  local results = {}
  for i in green.Pool(10):imap_unordered(echo, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }) do
    results[#results + 1] = i
  end
  return table.concat(results, " ")
end

local first, second, third, fourth = run(), run(), run(), run()
local same = first == second and second == third and third == fourth
print(same and "True" or "False")

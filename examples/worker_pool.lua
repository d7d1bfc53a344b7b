-- Jobs for a few workers. Results come in the order of the jobs; an error comes in
-- the place of its result, and the others go on.

local green = require "greenlua"

local jobs = { 16, 9, -4, 25, "six", 36 }

local function root(n)
  green.sleep(0.001) -- as if it were hard
  if type(n) ~= "number" then error(("%s is no number"):format(n), 0) end
  if n < 0 then error(("%d has no root"):format(n), 0) end
  return n, math.sqrt(n)
end

local pool = green.Pool(3)
local results = pool:imap(root, jobs)
for _ = 1, #jobs do
  local ok, n, answer = pcall(results)
  if ok then
    print(("the root of %d is %g"):format(n, answer))
  else
    print("failed: " .. n)
  end
end

-- In a `<close>` variable a pool is a nursery: the end of the scope waits for the
-- workers, and the first error ends them all.
print(pcall(function()
  local workers <close> = green.Pool(3)
  for _, n in ipairs(jobs) do workers:spawn(root, n) end
end))

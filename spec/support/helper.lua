-- What busted loads before the specs: from here on the body of each `it` runs in
-- a greenlet, and what it leaves behind fails it (see spec/support/greenlet.lua).

local busted = require "busted"
local greenlet = require "spec.support.greenlet"

busted.subscribe({ "test", "start" }, function(element)
  if element.descriptor == "it" then greenlet.wrap(element) end
  return nil, true
end)

-- busted takes the trace where the error reached it, which is the same line of
-- the support code each time.
local function correct_trace(element, _, _, trace)
  local real = greenlet.trace(element)
  if real and trace then
    for key, value in pairs(real) do trace[key] = value end
  end
  return nil, true
end
for _, status in ipairs { "failure", "error", "pending" } do
  busted.subscribe({ status, "it" }, correct_trace, { priority = 1 })
end

-- Waits for what comes in its own time, on a machine however slow: what another
-- process does, what a peer sees.
--
--   local await = require "spec.support.await"
--   await(function() return #server == 0 end)
--
-- The limit is there only so that a test that hangs says where.

local core = require "greenlua.core"
local green = require "greenlua"

local LIMIT = 120

--- Lets everybody run until `ready()` is true: what that gave.
-- @tparam function ready
-- @tparam[opt] function why what to add to the error when it never is
return function(ready, why)
  local till = core.now() + LIMIT
  repeat
    local found = ready()
    if found then return found end
    green.sleep(0.002)
  until core.now() > till
  error("it has not come to that" .. (why and ": " .. why() or ""), 2)
end

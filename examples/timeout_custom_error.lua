-- A Timeout can raise an error of the program's own. `<close>` stops it at the
-- end of the block, whichever way that ends.
--
-- usage: timeout_custom_error.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 5

local TooLong = setmetatable({}, { __tostring = function() return "TooLong" end })

local ok, err = pcall(function()
  local _ <close> = green.Timeout(seconds, TooLong)
  green.sleep(2 * seconds)
end)
assert(not ok and err == TooLong)
print(("%s raised"):format(err))

-- A generator of numbers that are the same in every run and on every machine:
--
--   local random = require "spec.support.random"(seed)
--   random(6) --> 1 … 6

return function(seed)
  local state = seed * 2654435761 % 0x100000000 | 1
  return function(n)
    state = state ~ state << 13 & 0xffffffff
    state = state ~ state >> 17
    state = state ~ state << 5 & 0xffffffff
    return state % n + 1
  end
end

-- What specs of pools share.

local green = require "greenlua"
local turn = require("spec.support.greenlets").turn

local M = {}

-- Fails after some turns.
function M.fail(err, turns)
  turn(turns)
  error(err, 0)
end

-- A pool whose slots are taken by who waits at a gate: the pool, the gate.
function M.full_pool(size)
  local gate, pool = green.Event(), green.Pool(size)
  for _ = 1, size do pool:spawn(gate.wait, gate) end
  return pool, gate
end

return M

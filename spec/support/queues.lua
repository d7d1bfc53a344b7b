-- What specs of queues share.

local green = require "greenlua"
local greenlets = require "spec.support.greenlets"

local M = {}

-- A greenlet that has begun to wait in f.
function M.spawn_waiting(f, ...)
  local g = green.spawn(f, ...)
  greenlets.turns()
  assert(not g:ready(), "it does not wait")
  return g
end

-- All that can be had at once.
function M.drain(q)
  local items = {}
  while true do
    local item = q:get_nowait()
    if item == nil then return items end
    items[#items + 1] = item
  end
end

return M

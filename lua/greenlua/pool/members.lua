--- A set that remembers the order in which its elements came.
-- For greenlua's own modules.
--
-- @module greenlua.pool.members

local M = {}

local Members = {}
Members.__index = Members

--- Make an empty one.
-- @treturn table `count` says how many there are
function M.new()
  return setmetatable({ count = 0, last = 0, at = {}, list = {} }, Members)
end

function Members:has(element)
  return self.at[element] ~= nil
end

function Members:add(element)
  self.last = self.last + 1
  self.at[element] = self.last
  self.list[self.last] = element
  self.count = self.count + 1
end

-- Close the gaps once there are more of them than elements.
function Members:compact()
  if self.last <= 2 * self.count + 16 then return end
  local list, at = self:all(), {}
  for i, element in ipairs(list) do at[element] = i end
  self.list, self.at, self.last = list, at, #list
end

-- false: it was not in.
function Members:remove(element)
  local i = self.at[element]
  if not i then return false end
  self.at[element] = nil
  self.list[i] = nil
  self.count = self.count - 1
  self:compact()
  return true
end

-- A list of them, which stays as it is.
function Members:all()
  local all, n = {}, 0
  for i = 1, self.last do
    local element = self.list[i]
    if element ~= nil then
      n = n + 1
      all[n] = element
    end
  end
  return all
end

return M

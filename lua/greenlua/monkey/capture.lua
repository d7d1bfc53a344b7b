--- Who holds original functions where no one can exchange them. Part of
-- `greenlua.monkey`.
-- @module greenlua.monkey.capture

local M = {}

-- Enough for large programs, and an end for endless ones.
local MAX_OBJECTS, MAX_DEPTH, MAX_LEVELS = 20000, 4, 200

-- An object is looked at once, for the module that comes first to it; an original is
-- told of once for a module.
local Search = {}
Search.__index = Search

function Search:found(value, where)
  local name = self.originals[value]
  if not name or self.told[name] then return end
  self.told[name] = true
  self.list[#self.list + 1] = { module = self.name, original = name, where = where }
end

function Search:push(value, text, depth)
  local kind = type(value)
  if kind ~= "function" and kind ~= "table" then return end
  if self.seen[value] or self.originals[value] or depth > MAX_DEPTH then return end
  if #self.work >= MAX_OBJECTS then return end
  self.seen[value] = true
  self.work[#self.work + 1] = { value = value, text = text, depth = depth }
end

function Search:look_at(value, text, kind, depth)
  if value == nil then return end
  self:found(value, text .. kind)
  self:push(value, text, depth)
end

function Search:function_(item)
  for i = 1, 255 do
    local name, value = debug.getupvalue(item.value, i)
    if not name then break end
    if name ~= "_ENV" then
      self:look_at(value, item.text, name ~= "" and (" (its upvalue '%s')"):format(name) or
        (" (its upvalue %d)"):format(i), item.depth + 1)
    end
  end
end

function Search:table_(item)
  local home, keys = self.homes[item.value] or {}, {}
  for key in next, item.value do
    if type(key) == "string" and not home[key] then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    self:look_at(rawget(item.value, key), item.text .. "." .. key, "", item.depth + 1)
  end
end

function Search:run(name, module)
  self.name, self.told, self.work = name, {}, {}
  self:found(module, name)
  self:push(module, name, 0)
  local i = 1
  while self.work[i] do
    local item = self.work[i]
    if type(item.value) == "function" then self:function_(item) else self:table_(item) end
    i = i + 1
  end
end

-- Variables of the functions that have led here; those of this library aside.
function Search:locals()
  for level = 3, MAX_LEVELS do
    local info = debug.getinfo(level, "Sl")
    if not info then return end
    local ours = info.source:find("^@greenlua/")
    for i = 1, ours and 0 or 255 do
      local name, value = debug.getlocal(level, i)
      if not name then break end
      if name:find "^[%a_]" and value ~= nil and self.originals[value] then
        self.list[#self.list + 1] = {
          original = self.originals[value],
          where = ("the local '%s' at %s:%d"):format(name, info.short_src, info.currentline),
        }
      end
    end
  end
end

--- Look for originals in everything that has been loaded, and in the variables of
-- the functions that are being called.
-- @tparam table originals value -> its name
-- @tparam table homes table -> set of its fields that are going to be exchanged
-- @tparam table skipped set of names of modules that are going to be exchanged
-- @treturn table list of `{ module =, original =, where = }`
function M.find(originals, homes, skipped)
  local search = setmetatable({
    originals = originals, homes = homes, list = {}, seen = {}, work = {},
  }, Search)
  if next(originals) == nil then return search.list end
  local names = {}
  for name, module in pairs(package.loaded) do
    if type(name) == "string" and not skipped[name] and not name:find "^greenlua%f[.\0]" then
      names[#names + 1] = name
      search.seen[module] = true -- no module is searched as a part of another one
    elseif type(name) == "string" then
      search.seen[module] = true
    end
  end
  search.seen[package.loaded] = true
  search.seen[package.preload] = true
  table.sort(names)
  for _, name in ipairs(names) do
    local module = package.loaded[name]
    search.seen[module] = nil
    search:run(name, module)
    search.seen[module] = true
  end
  search:locals()
  return search.list
end

return M

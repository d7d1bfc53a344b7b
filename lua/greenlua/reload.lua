--- New code for a module, while greenlets run in the old one.
--
-- `reload` loads a module's source again and puts its functions into the module
-- that is there, so that connections, queues and whatever else it keeps live on.
-- What is what:
--
-- * **Functions** are the new ones: in the module's table, in the classes and other
--   tables that it defines, in local variables that they share, in metatables.
-- * **State** is kept: local variables at the module's top level, and fields of its
--   tables, that hold anything else. A table keeps its identity, and objects their
--   class. A variable that was nil takes its new value, and new ones come in.
-- * **Constants** are new: names without small letters (`MAX_LINE`, `_VERSION`).
-- * What the new source has no longer stays.
--
-- A greenlet goes on in the old function until that returns; what it calls through
-- the module, a method or a local variable is the new one. A function value that
-- somebody keeps for himself (`green.spawn(M.serve)` has called it; a table of
-- callbacks) is the old one for as long as he does. So a loop that shall change
-- calls its body by name: `while true do M.step() end`.
--
-- The source runs from top to bottom, as with `require`: what it does besides
-- defining (to listen on a port, to spawn) it does again. Put that into a function
-- that is called once.
--
-- It needs Lua's `debug` library.
--
-- @module greenlua.reload

local M = {}

-- One reload: what replaces what. The keys of `tables` are new, the values old;
-- `cells` is the same for upvalues, told by debug.upvalueid.
local Change = {}
Change.__index = Change

local function is_constant(name)
  return type(name) == "string" and name:find "%u" and not name:find "%l"
end

local function is_lua(f)
  return type(f) == "function" and debug.getinfo(f, "S").what ~= "C"
end

local function has_function(t)
  for _, value in next, t do
    if type(value) == "function" then return true end
  end
end

-- May the fields of one go into the other? An object with a class is state: its
-- class is what changes.
local function is_code(t)
  return not debug.getmetatable(t) or has_function(t)
end

-- The upvalues of a function: name -> index.
local function upvalues(f)
  local found = {}
  for i = 1, 255 do
    local name = debug.getupvalue(f, i)
    if not name then break end
    if name ~= "_ENV" then found[name] = i end
  end
  return found
end

-- What is to stand where `old` did and the new source has `new`.
function Change:choose(name, old, new)
  if old == nil then return new end
  if type(old) == "function" and type(new) == "function" then
    self:match_functions(old, new)
    return new
  end
  if type(old) == "table" and type(new) == "table" then
    self:match_tables(old, new)
    return old
  end
  if is_constant(name) or type(new) == "function" then return new end
  return old
end

function Change:match_functions(old, new)
  if old == new or self.seen[new] or not (is_lua(old) and is_lua(new)) then return end
  self.seen[new] = true
  local there = upvalues(old)
  for name, i in pairs(upvalues(new)) do
    local j = there[name]
    local cell = debug.upvalueid(new, i)
    if j and not self.cells[cell] then
      self.cells[cell] = { old, j }
      local _, before = debug.getupvalue(old, j)
      local _, after = debug.getupvalue(new, i)
      self.values[#self.values + 1] = { old, j, self:choose(name, before, after) }
    end
  end
end

function Change:match_tables(old, new)
  if old == new or self.tables[new] then return end
  self.tables[new] = old
  local before, after = debug.getmetatable(old), debug.getmetatable(new)
  if is_code(new) then
    for key, value in next, new do
      local chosen = self:choose(key, rawget(old, key), value)
      self.fields[#self.fields + 1] = { old, key, chosen }
    end
  end
  if type(before) == "table" and type(after) == "table" then
    self:match_tables(before, after)
  elseif before == nil and after ~= nil then
    self.metatables[#self.metatables + 1] = { old, after }
  end
end

-- Let what is new refer to the tables and variables that are kept.
function Change:adapt(value, seen)
  if self.tables[value] then return self.tables[value] end
  if seen[value] then return value end
  if type(value) == "table" and self.made[value] then
    seen[value] = true
    local replaced = {}
    for key, field in next, value do
      local kept = self:adapt(field, seen)
      if kept ~= field then replaced[key] = kept end
    end
    for key, kept in next, replaced do rawset(value, key, kept) end
    local meta = debug.getmetatable(value)
    if type(meta) == "table" then debug.setmetatable(value, self:adapt(meta, seen)) end
  elseif is_lua(value) then
    seen[value] = true
    for _, i in pairs(upvalues(value)) do
      local cell = self.cells[debug.upvalueid(value, i)]
      if cell then
        debug.upvaluejoin(value, i, cell[1], cell[2])
      else
        local _, held = debug.getupvalue(value, i)
        local kept = self:adapt(held, seen)
        if kept ~= held then debug.setupvalue(value, i, kept) end
      end
    end
  end
  return value
end

-- All that can be reached from `value`, not what `old` holds: the tables that the
-- new source has made, as a set.
local function reach(value, found, old)
  if found[value] or old[value] then return end
  if type(value) == "table" then
    found[value] = true
    for _, field in next, value do reach(field, found, old) end
    reach(debug.getmetatable(value), found, old)
  elseif is_lua(value) then
    found[value] = true
    for _, i in pairs(upvalues(value)) do
      reach(select(2, debug.getupvalue(value, i)), found, old)
    end
  end
end

local function everything_loaded()
  local all = { [_G] = true, [package] = true }
  for _, module in pairs(package.loaded) do all[module] = true end
  return all
end

function Change:apply()
  local seen = {}
  for _, f in ipairs(self.fields) do rawset(f[1], f[2], self:adapt(f[3], seen)) end
  for _, m in ipairs(self.metatables) do
    debug.setmetatable(m[1], self:adapt(m[2], seen))
  end
  for _, v in ipairs(self.values) do
    debug.setupvalue(v[1], v[2], self:adapt(v[3], seen))
  end
end

local function replace(old, new)
  local known = everything_loaded()
  local change = setmetatable({
    tables = {}, cells = {}, seen = {}, fields = {}, values = {}, metatables = {}, made = {},
  }, Change)
  local result = change:choose("", old, new)
  reach(new, change.made, known)
  change:apply()
  return change:adapt(result, {})
end

-- What `require` would call, and with what.
local function find_loader(name)
  local tried = {}
  for _, searcher in ipairs(package.searchers) do
    local loader, extra = searcher(name)
    if type(loader) == "function" then return loader, extra end
    if type(loader) == "string" then tried[#tried + 1] = loader end
  end
  return nil, ("module '%s' not found:\n\t%s"):format(name, table.concat(tried, "\n\t"))
end

local function message_of(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- Load a module again, into the one that is there.
--
-- If its source cannot be loaded, or fails, nothing has changed.
--
-- @usage
--    green.signal("SIGHUP", function() print(green.reload "handlers") end)
-- @tparam string name as for `require`; a module that is not loaded is loaded
-- @return[1] what `require` gives from now on: the same table as before
-- @treturn[2] nil
-- @return[2] the error
function M.reload(name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'reload' (name of a module expected, got %s)")
      :format(type(name)), 2)
  end
  local old = package.loaded[name]
  local found, loader, extra = pcall(find_loader, name) -- a searcher may raise
  if not found then return nil, loader end
  if not loader then return nil, extra end
  local ok, new = xpcall(loader, message_of, name, extra)
  if not ok then
    package.loaded[name] = old
    return nil, new
  end
  if new == nil then new = package.loaded[name] end
  if new == nil then new = true end
  package.loaded[name] = old
  if old ~= nil and new ~= old then new = replace(old, new) end
  package.loaded[name] = new
  return new
end

return M

--- Is an object in a `<close>` variable? Groups ask when a child fails.
--
-- Lua tells nobody, so we look: for the variable in the frames of the greenlet,
-- and for the instruction that marks it in the function's code. That happens
-- when an error has to be delivered, never before.
--
-- @module greenlua.pool.closing

local scope = require "greenlua.core.scope"

local M = {}

-- The code of a function (not a stripped one): what string.dump gives, read from the front. All but
-- the sizes of the header is the same in every Lua 5.4.
local reader = {}
reader.__index = reader

function reader:byte()
  self.at = self.at + 1
  return self.text:byte(self.at - 1)
end

-- A size: seven bits a byte, the last byte has the eighth set.
function reader:size()
  local n = 0
  repeat
    local b = self:byte()
    n = n << 7 | b & 0x7f
  until b & 0x80 ~= 0
  return n
end

function reader:skip(n)
  self.at = self.at + n
end

function reader:string()
  local n = self:size()
  if n == 0 then return nil end
  self:skip(n - 1)
  return self.text:sub(self.at - n + 1, self.at - 1)
end

local function skip_constants(r)
  for _ = 1, r:size() do
    local kind = r:byte()
    if kind == 0x04 or kind == 0x14 then r:string()
    elseif kind == 0x03 or kind == 0x13 then r:skip(8) end
  end
end

-- The line of each instruction: a difference to the one before, or -128, and it
-- is in a list of its own.
local function read_lines(r, line)
  local steps, absolute, lines = {}, {}, {}
  for i = 1, r:size() do steps[i] = string.unpack("b", string.char(r:byte())) end
  for _ = 1, r:size() do
    local pc = r:size()
    absolute[pc + 1] = r:size()
  end
  for i, step in ipairs(steps) do
    line = step == -128 and absolute[i] or line + step
    lines[i] = line
  end
  return lines
end

-- A function's instructions, their lines, and its variables; the functions
-- inside it are read over.
local function read_function(r)
  r:string() -- its source
  local line = r:size()
  r:size()
  r:skip(3)
  local code = {}
  for i = 1, r:size() do
    code[i], r.at = string.unpack("I4", r.text, r.at)
  end
  skip_constants(r)
  r:skip(3 * r:size()) -- upvalues
  for _ = 1, r:size() do read_function(r) end
  local lines = read_lines(r, line)
  local variables = {}
  for i = 1, r:size() do
    variables[i] = { name = r:string(), from = r:size() + 1, to = r:size() }
  end
  for _ = 1, r:size() do r:string() end -- names of upvalues
  return code, lines, variables
end

-- The header: signature, version, format, six bytes of data, three sizes, and
-- two numbers of eight bytes. Then the number of upvalues.
local HEADER = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1

-- The marked variables of a function: name, register, first and last line.
local function marks_of(f, mark)
  local found = {}
  local r = setmetatable({ text = string.dump(f), at = HEADER + 1 }, reader)
  local code, lines, variables = read_function(r)
  for _, v in ipairs(variables) do
    local instruction = code[v.from] -- the mark is the first in its scope
    if instruction and instruction & 0x7f == mark then
      found[#found + 1] = { name = v.name, register = instruction >> 7 & 0xff,
        first = lines[v.from], last = lines[v.to] }
    end
  end
  return found
end

-- The opcode of the mark, learnt from a function of which it is known.
local function learn()
  local function example(value)
    local marked <close> = value -- luacheck: ignore
    return nil
  end
  for opcode = 0, 127 do
    local ok, found = pcall(marks_of, example, opcode)
    if not ok then return nil end
    if found[1] and found[1].name == "marked" then return opcode end
  end
end

local mark = learn()
local known = setmetatable({}, { __mode = "k" }) -- function -> its marks

local function is_marked(f, name, register, line)
  local marks = known[f]
  if not marks then
    local ok, found = pcall(marks_of, f, mark)
    marks = ok and found or {}
    known[f] = marks
  end
  for _, v in ipairs(marks) do
    if v.name == name and v.register == register and v.first <= line
      and line <= v.last then
      return true
    end
  end
  return false
end

local function holds(thread, level, info, object)
  for i = 1, 255 do
    local name, value = debug.getlocal(thread, level, i)
    if not name then return false end
    if rawequal(value, object)
      and is_marked(info.func, name, i - 1, info.currentline) then
      return true
    end
  end
end

local function is_in(thread, object)
  for level = 0, math.huge do
    local info = debug.getinfo(thread, level, "Slf")
    if not info then return false end
    if info.what ~= "C" and holds(thread, level, info, object) then
      return true
    end
  end
end

--- Does a greenlet have the object in a `<close>` variable now?
-- @tparam Greenlet g
-- @param object
-- @treturn boolean
function M.is_scope(g, object)
  if not mark then return false end
  for _, thread in ipairs(scope.threads(g) or {}) do
    if is_in(thread, object) then return true end
  end
  return false
end

return M

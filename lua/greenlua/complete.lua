--- What Tab does at the prompt.
--
-- Names are looked up as `.` and `:` would, but no function is called for it:
-- an `__index` counts if it is a table.
--
-- @module greenlua.complete

local MAX_LEVELS = 10 -- of __index: there may be a circle

-- The tables in which a field of `value` is looked for, in their order.
local function homes(value)
  local found = {}
  while value ~= nil and #found < MAX_LEVELS do
    local mt = debug.getmetatable(value)
    if type(value) == "table" then found[#found + 1] = value end
    value = type(mt) == "table" and rawget(mt, "__index") or nil
    if type(value) ~= "table" then break end
  end
  return found
end

local function field(value, name)
  for _, home in ipairs(homes(value)) do
    local found = rawget(home, name)
    if found ~= nil then return found end
  end
end

-- The names of the fields of `value` that begin with `start`, sorted.
local function fields(value, start, only_functions)
  local names, seen = {}, {}
  for _, home in ipairs(homes(value)) do
    for name, what in next, home do
      if type(name) == "string" and not seen[name] and name:find "^[%a_][%w_]*$"
        and name:sub(1, #start) == start
        and (not only_functions or type(what) == "function") then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

local function common_start(names)
  local first, last = names[1], names[#names]
  local n = 0
  while n < #first and first:byte(n + 1) == last:byte(n + 1) do n = n + 1 end
  return first:sub(1, n)
end

local function columns(names, width)
  local longest = 0
  for _, name in ipairs(names) do longest = math.max(longest, #name) end
  local per_row = math.max(1, width // (longest + 2))
  local rows = {}
  for i, name in ipairs(names) do
    local row = (i - 1) // per_row + 1
    rows[row] = (rows[row] or "") .. name .. (" "):rep(longest + 2 - #name)
  end
  for i, row in ipairs(rows) do rows[i] = row:gsub("%s+$", "\n") end
  return table.concat(rows)
end

--- Complete the name at the end of a line.
-- @tparam string text the line up to the cursor
-- @tparam integer width of the terminal, in columns
-- @treturn ?string what to add to the line, if that is certain
-- @treturn ?string otherwise all that it could become, in columns
return function(text, width)
  if not text:find "%S" then return "  " end -- Tab indents
  local path = text:match "[%a_][%w_.:]*$"
  if not path then return end
  if text:sub(1, #text - #path):find "[%w%]%).:'\"]$" then return end
  local value = _G
  local before, separator, start = path:match "^(.*)([.:])([%w_]*)$"
  for name in (before or ""):gmatch "[^.:]+" do value = field(value, name) end
  local names = fields(value, start or path, separator == ":")
  if #names == 0 then return end
  local addition = common_start(names):sub(#(start or path) + 1)
  if addition ~= "" then return addition end
  return nil, columns(names, width)
end

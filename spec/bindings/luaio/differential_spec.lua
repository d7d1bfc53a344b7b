-- The io library under greenlua --monkey does what it does under lua5.4, whatever
-- its files are: one script is run, and all that it prints is compared.

local support = require "spec.support"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- `how` is a command line for the shell, with SCRIPT for the program and its script.
local function outcome(how, program)
  local path = os.tmpname()
  local _ <close> = -- luacheck: ignore
    setmetatable({}, { __close = function() os.remove(path) end })
  local line = how:gsub("SCRIPT", ("env -u LD_PRELOAD -u LUA_CPATH timeout 180 %s %s"):format(
    program, "spec/bindings/luaio/everything.lua"))
  local _, kind, code = os.execute(("export LC_ALL=C; (%s) >%s 2>&1"):format(line, path))
  return (read(path):gsub(program:match "^%S+":gsub("%p", "%%%0"), "PROGRAM")), kind, code
end

local INPUT = [[printf 'first line\n 12 0x10 rest\nabcdef\nl1\nl2\nstop\ntail\ntail2']]

-- The first lines that are not the same, not all of a megabyte.
local function difference(a, b)
  if a == b then return end
  local next_a, next_b = a:gmatch "[^\n]*", b:gmatch "[^\n]*"
  while true do
    local line_a, line_b = next_a(), next_b()
    if line_a ~= line_b then return tostring(line_a):sub(1, 200), tostring(line_b):sub(1, 200) end
  end
end

local ways = {
  ["pipes"] = INPUT .. " | SCRIPT | cat",
  ["a slow writer and a slow reader"] = "{ printf 'first line\\n 1'; sleep 0.02; " ..
    "printf '2 0x10 rest\\nab'; sleep 0.02; printf 'cdef\\nl1\\nl2\\nstop\\ntail\\n'; " ..
    "sleep 0.02; printf tail2; } | SCRIPT | { sleep 0.05; cat; }",
  ["files"] = INPUT .. " >$$.in; SCRIPT <$$.in >$$.out; cat $$.out; rm -f $$.in $$.out",
  ["/dev/null and a pipe"] = "SCRIPT </dev/null | cat",
}

describe("io, os.execute and print do the same with and without --monkey, on", function()
  local names = {}
  for name in pairs(ways) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it(name, function()
      local stem = os.tmpname()
      local how = ways[name]:gsub("%$%$", stem)
      local out, kind, code = outcome(how, "lua5.4")
      for _, program in ipairs { support.greenlua, support.greenlua .. " --monkey" } do
        local our_out, our_kind, our_code = outcome(how, program)
        assert.same({}, { difference(out, our_out) })
        assert.same({ kind, code }, { our_kind, our_code })
      end
      os.remove(stem)
    end)
  end
end)

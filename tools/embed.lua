-- Turns Lua sources into C:  lua5.4 embed.lua OUTPUT.c ROOT FILE.lua...
-- The result defines gr_embedded, as bindings/embedded.h declares it.

local output, root = arg[1], arg[2]

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function module_name(path)
  return (path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

-- Octal escapes have three digits at most, so what follows can't join them; and
-- "?" is escaped because of trigraphs.
local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\", ["?"] = "\\?" }
local function literal(line)
  return '"' .. line:gsub('[%c"\\?\128-\255]', function(c)
    return escapes[c] or ("\\%03o"):format(c:byte())
  end) .. '"'
end

local rows = {}
for i = 3, #arg do
  local path = arg[i]:sub(#root + 2)
  local source = read(arg[i])
  assert(load(source, "@" .. arg[i], "t")) -- a syntax error fails the build, not the user
  local lines = {}
  for line in source:gmatch "[^\n]*\n?" do
    if line ~= "" then lines[#lines + 1] = "     " .. literal(line) end
  end
  if #lines == 0 then lines[1] = '     ""' end
  rows[#rows + 1] = ("    {%s, %s,\n%s,\n     %d},\n"):format(
    literal(module_name(path)), literal(path), table.concat(lines, "\n"), #source)
end

local file <close> = assert(io.open(output, "wb"))
assert(file:write("/* Made by tools/embed.lua. */\n#include \"embedded.h\"\n\n",
  "const struct gr_embedded gr_embedded[] = {\n", table.concat(rows), "    {0}};\n"))

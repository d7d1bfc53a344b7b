-- What the io library, os.execute and print do, printed: the same under lua5.4,
-- greenlua and greenlua --monkey. See spec/bindings/luaio/differential_spec.lua.

local function show(...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = tostring(list[i]):gsub("0x%x+", "ADDRESS") end
  io.stdout:write(table.concat(list, "|"), "\n")
end

local function try(f, ...) show(pcall(f, ...)) end

local function title(text) show("-- " .. text) end

local function pipe(text, mode) return assert(io.popen("printf '" .. text .. "'", mode)) end

title "patterns, from pipes"
for _, case in ipairs {
  { "one\\ntwo\\n\\nlast", { "l" }, { "L" }, { "l" }, { "l" }, { "l" }, { "a" } },
  { "12 0x1F -3.5e2 nan 7", { "n", "n", "n" }, { "n" }, { "l" }, { "n" } },
  { "abcdefgh", { 3 }, { 0 }, { 2, "a" }, { 0 }, { "a" }, { "l" }, { 5 } },
  { "", { "a" }, { "l" }, { 0 } },
  { "12\\n34\\nxx", { "n", "l", "n", "l", "n" }, { "a" } },
  { "1e+", { "n" }, { "a" } },
  { "0x", { "n" }, { "a" } },
  { "-", { "n" } },
  { "99999999999999999999 1", { "n", "n" } },
  { "a\\0b\\nc", { "*l" }, { "*L" } },
  { "  7", { "*n" }, { "*a" }, { "*n" } },
} do
  local p = pipe(case[1])
  for i = 2, #case do try(p.read, p, table.unpack(case[i])) end
  try(p.close, p)
end

title "iterators"
for line in pipe("a\\nb\\n\\nc"):lines() do show(line) end
for a, b in pipe("ab\\n12 cd\\n"):lines(1, "l") do show(a, b) end
for n in pipe("1 2 3 x 4"):lines "n" do show(n) end
try(function() for l in pipe("abc"):lines "q" do show(l) end end)
try(function() for l in pipe("abc"):lines {} do show(l) end end)

title "closed"
local p = pipe "x\\n"
local iterator = p:lines()
p:close()
try(iterator)
for _, name in ipairs { "lines", "read", "write", "close", "seek", "flush", "setvbuf" } do
  try(p[name], p, "no")
end
show(tostring(p), io.type(p))

title "misuse"
p = pipe "abc"
show(io.type(p), (tostring(p)))
try(p.read, p, "x")
try(p.read, p, {})
try(p.read, p, "*z")
try(p.read)
try(p.read, 1)
try(p.seek, p, "set", 0)
try(p.seek, p)
try(p.write, p, "x")
try(p.setvbuf, p, "full", 10)
try(p.read, p, "a")
p:close()
for _, args in ipairs { {}, { "x", "rw" }, { "x", 1 }, { {} } } do
  try(io.popen, table.unpack(args))
end
try(getmetatable(io.stdout).__gc, 1)
try(getmetatable(io.stdout).__index.lines, 1)
try(io.open, "/no/such/file")
try(io.open, "x", "rz")
try(io.open)
try(io.input, "/no/such")
try(io.output, "/no/such/folder/x")
try(io.lines, "/no/such/file")
try(io.write, {})
try(io.write, nil)
try(io.stdout.write, io.stdout, true)

title "the ends of commands"
for _, command in ipairs { "exit 7", "kill -TERM $$", "true", "no-such-command 2>/dev/null" } do
  try(function() return io.popen(command):close() end)
  try(os.execute, command)
end
try(os.execute, "")
show(os.execute())
show(os.execute(nil))
try(os.execute, {})
try(function() return io.popen("cat >/dev/null; exit 2", "w"):close() end)
try(function()
  local f <close> = io.popen("cat", "w")
  f:write("to cat\n", 1, " ", 1.5, "\n")
  io.flush()
end)

title "stdin"
show(io.read())
show(io.read("n", "n", "l"))
show(io.read(4))
show(io.read "L")
for line in io.lines() do
  show(line)
  if line == "stop" then break end
end
try(io.read, "q")
try(io.read, "l", {})
show(select("#", io.stdin:lines()))
show(io.stdin:read "a")
show(io.read())
show(io.read "a")
show(io.read(0))
try(io.stdin.write, io.stdin, "x")
try(io.stdin.close, io.stdin)

title "files"
local name = os.tmpname()
local f = assert(io.open(name, "w"))
show(f:write("1 2\nthree\n", 4) == f, f:seek "cur")
show(f:close())
for line in io.lines(name) do show(line) end
for bytes in io.lines(name, 2) do show(bytes) end
f = io.open(name, "r+")
show(f:read "n")
show(f:seek("set", 0))
show(f:read "a")
show(f:write "!" == f)
show(f:seek "end")
f:close()
f = io.open(name)
try(f.write, f, "x")
f:close()
f = io.tmpfile()
f:write "tmp"
f:seek "set"
show(f:read "a")
f:close()

title "default files"
io.input(name)
show(io.read "l")
show(io.type(io.input()))
io.close(io.input())
try(io.read)
try(io.lines)
io.input(io.stdin)
io.output(name)
io.write "new\n"
show(io.close())
try(io.write, "x")
try(io.close)
io.output(io.stdout)
for line in io.lines(name) do show(line) end
os.remove(name)
try(io.lines, nil)
show(io.close())

title "devices"
local null <close> = io.open "/dev/null"
show(null:read())
show(null:read "a")
show(null:read(0))
show(null:seek())
local full = io.open("/dev/full", "w")
show(full:write "x" == full)
show(full:flush())
show(full:close())

title "stdout"
show(io.stdout:setvbuf "full")
show(io.stdout:write("a"):write("b", 1, 2.0) == io.stdout)
print()
print("p", nil, 1.0, 2^53, true)
try(print, setmetatable({}, { __tostring = function() return 1 end }))
try(print, setmetatable({}, { __tostring = function() return "an object" end }))
show(io.type(1), io.type(io.stdout), tostring(io.stdout))
try(io.stdout.read, io.stdout)
try(io.stdout.seek, io.stdout)
show(io.flush() ~= nil, io.stdout:flush() ~= nil)
io.stdout:setvbuf "no"
io.write "a"
os.execute "printf b"
io.write "c\n"
io.stdout:setvbuf("full", 16)
io.write(("0123456789"):rep(3))
os.execute "printf X"
io.stdout:setvbuf "line"
print()
os.execute "echo from a child"

title "much"
local big = io.popen "yes 0123456789 | head -c 1000000"
local all = big:read "a"
show(#all, all:sub(-12))
big:close()
big = io.popen "yes 0123456789 | head -c 300000"
local count = 0
for bytes in big:lines(7777) do count = count + #bytes end
show(count, big:close())
big = io.popen "yes 0123456789 | head -c 300000"
count = 0
for line in big:lines() do count = count + #line end
show(count, big:close())
print(("x"):rep(200000))
io.write(("y"):rep(200000), "\n")
io.write "no end of a line"

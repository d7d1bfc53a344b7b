-- What is read of a pipe, under greenlua.monkey, is what Lua itself reads of a file with the same
-- bytes, however they come.
--
-- The second line is the script, words: formats of file:read, joined by commas; a number of
-- lines in front of a colon is an iterator with these formats, run so often. What is no format
-- is left out: such a call blocks the thread, to fail as Lua's does.

local green = require "greenlua"
local input = require "spec.fuzz.input"
local native = require "fuzz.core"

local check = input.check
local open = io.open
require("greenlua.monkey").patch_io()
local open_cooperatively = io.open
check(open ~= open_cooperatively, "io.open")

local function formats_of(word)
  local list = {}
  for format in word:gmatch "[^,]+" do
    local count = format:find "^%d%d?%d?%d?$" and math.tointeger(tonumber(format))
    list[#list + 1] = count or format:find "^%*?[nlLa]" and format or nil
  end
  return list
end

local function read(file, word)
  local times, formats = word:match "^(%d*):?(.*)$"
  if not word:find(":", 1, true) then
    return table.pack(pcall(file.read, file, table.unpack(formats_of(word))))
  end
  local ok, iterator = pcall(file.lines, file, table.unpack(formats_of(formats)))
  if not ok then return { n = 2, ok, iterator } end
  local results = { n = 0 }
  for _ = 1, math.min(tonumber(times) or 1, 20) do
    local row = table.pack(pcall(iterator))
    for i = 1, row.n do results[results.n + i] = row[i] end
    results.n = results.n + row.n
  end
  return results
end

local function same(a, b)
  return a == b and math.type(a) == math.type(b) or a ~= a and b ~= b
end

local function write(fd, pieces)
  for _, piece in ipairs(pieces) do
    native.write(fd, piece)
    green.idle()
  end
  native.close(fd)
end

return function(text)
  local _, cuts, bytes = input.split(text, 0)
  local script, data = bytes:match "^([^\n]*)\n(.*)$"
  if not script then return end
  local wanted = open(native.file(data), "rb")
  local path, reading, writing = native.pipe()
  local got = check(open_cooperatively(path, "rb"))
  native.close(reading)
  local writer = green.spawn(write, writing, input.pieces(cuts, data))
  for word in (script .. " a"):gmatch "%S+" do
    local mine, other = read(got, word), read(wanted, word)
    check(mine.n == other.n, "results", word, mine.n, other.n)
    for i = 1, mine.n do check(same(mine[i], other[i]), word, mine[i], other[i]) end
  end
  writer:join()
  check(got:close(), "close")
  wanted:close()
end

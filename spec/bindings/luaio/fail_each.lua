-- Fails each allocation in turn in a small program that reads, writes and waits for
-- commands. From the one that fails on all fail. Prints how many there were. See
-- luaio_spec.lua.

local green = require "greenlua"
local core = require "greenlua.core"
local wrapped = require "spec.bindings.luaio.wrapped"

local read, lines, write, close = wrapped.read, wrapped.lines, wrapped.write, wrapped.close
local popen, execute = wrapped.popen, wrapped.execute

local much = ("x"):rep(100000)

local function program()
  local p = assert(popen("sleep 0.002; cat >/dev/null", "w"))
  assert(write(p, much))
  assert(close(p))
  local q = assert(popen "echo one; sleep 0.002; echo two; echo three")
  assert(read(q) == "one")
  local n = 0
  for line in lines(q) do n = n + #line end
  assert(n == 8)
  assert(close(q))
  assert(execute "true")
end

-- What may be said of it: by Lua, and by the C library.
local function check(err)
  local text = tostring(err)
  if not (text:find "not enough memory" or text:find "Cannot allocate memory") then
    error("an unexpected error: " .. text)
  end
end

local function attempt(n)
  core.fail_allocation(n)
  local ok, err = pcall(program)
  local left = core.fail_allocation(0)
  if not ok then check(err) end
  collectgarbage()
  program() -- all is usable
  return ok and left > 0
end

green.on_error(function() end)
program()
local n = 0
repeat n = n + 1 until attempt(n)
print(n - 1)

-- Scripts under --coop-libc that call the C library by a C module that knows nothing
-- of us (spec/host/coop/probe). What a call waits for is done by a greenlet of the
-- same thread, so whoever stops the thread is never answered.

local assert = require "luassert"
local it = require("busted").it
local support = require "spec.support"

local M = {}

-- Before a script of one's own; it opens a function.
M.prelude = [[
local green = require "greenlua"
package.cpath = "]] .. support.greenlua:gsub("[^/]*$", "") .. [[spec/?.so;" .. package.cpath
local c = require "coop_probe"

local function eq(expected, ...)
  for i = 1, expected.n or #expected do
    local got = (select(i, ...))
    if got ~= expected[i] then
      error(("value %d is %s, not %s"):format(i, got, expected[i]), 2)
    end
  end
end

-- Calls f when we have gone to wait.
local function after(f, ...)
  return green.spawn(function(...) green.sleep(0) green.sleep(0) f(...) end, ...)
end

local function closing(...)
  return setmetatable({ ... }, { __close = function(fds)
    for _, fd in ipairs(fds) do c.close(fd) end
  end })
end

local function lowest()
  local fd = c.eventfd()
  c.close(fd)
  return fd
end

local function passes() -- do others run while f does?
  local turns = 0
  local g = green.spawn(function() while true do turns = turns + 1 green.sleep(0) end end)
  return function() g:kill() return turns > 0 end
end

green.sleep(0.001)
green.on_error(function() end) -- it is asked for
local function body()
]]

-- In main, and in two greenlets at once; no descriptor and no greenlet may be
-- left.
local epilogue = [[

end
local before = lowest()
local ok, err = pcall(function()
  body()
  local one, two = green.spawn(body), green.spawn(body)
  one:get()
  two:get()
end)
if not ok then io.stderr:write(tostring(err), "\n") os.exit(1) end
green.sleep(0.001)
if #require "greenlua.core".live() > 0 then error "a greenlet is left" end
collectgarbage()
-- A thread may still be looking up a name that nobody waits for.
for _ = 1, 6000 do
  if lowest() == before then break end
  green.sleep(0.01)
end
if lowest() ~= before then error "a descriptor is left" end
]]

-- Runs the script, with --coop-libc unless other options are given.
function M.run(script, options, env)
  local args = table.move(options or { "--coop-libc" }, 1, 8, 1, {})
  args[#args + 1] = "-"
  local code, out, err = support.run(args, M.prelude .. script .. epilogue, env)
  assert.equal("", err)
  assert.equal(0, code)
  return out
end

-- What a library has allocated and not come to free is lost with a greenlet that
-- is ended by force.
M.no_leaks = { ASAN_OPTIONS = "detect_leaks=0" }

-- A test for each { name, script, env = }.
function M.each(cases)
  for _, case in ipairs(cases) do
    it(case[1], function() M.run(case[2], nil, case.env) end)
  end
end

return M

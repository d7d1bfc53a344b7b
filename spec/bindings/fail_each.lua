-- Fails each allocation in turn in a small program, in main and in a greenlet.
-- From the one that fails on all fail, until the program has ended or given up.
-- Prints how many there were. See allocation_spec.lua.

local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"

-- Loaded before it begins.
assert(green.joinall and green.within and green.wait and tostring(green.LoopExit()))

local function turn() green.sleep(0) end

local function program(errors)
  local gate, all = waitlist.new "a gate", {}
  local function add(g)
    all[#all + 1] = g
    return g
  end
  -- life and death
  add(green.spawn(function(...) green.sleep(0) green.sleep(0.0001) return ... end, 1, 2, 3))
  add(green.spawn_later(0.0001, function() return {} end))
  local sleeper, closed = add(green.spawn(green.sleep, 100)), add(green.spawn(function()
    local _ <close> = setmetatable({}, { __close = turn }) -- luacheck: ignore
    for _ = 1, 3 do pcall(green.sleep, 100) end -- not for ever: it fails at once
  end))
  -- both ways to block
  add(green.spawn(string.gsub, "xy", ".", function() gate:wait(10) end))
  add(green.spawn(coroutine.wrap(function() coroutine.wrap(function() gate:wait() end)() end)))
  add(green.spawn(table.unpack, {}, 1, 100))
  -- links, fields, classes
  local linked = add(green.Greenlet(error, "a failure"))
  linked:link(function() turn() end)
  linked:link_exception(function() end)
  linked:rawlink(function() gate:wake() end)
  linked.name = "linked"
  linked:start()
  local Class = green.Greenlet:extend "Class"
  function Class:_run(x) self.x = x turn() end
  add(Class.spawn(5))
  add(green.spawn(coroutine.yield))
  -- time
  add(green.spawn(function()
    local timer <close> = green.Timeout(0.0001, "custom")
    pcall(green.sleep, 1)
    timer:start(0.0001)
    pcall(gate.wait, gate, timer)
  end))
  turn()
  gate:wake("a value", {})
  turn()
  green.kill(sleeper, {})
  closed:close()
  green.within(0.0002, green.sleep, 1)
  green.pcall(green.with_timeout, 10, green.joinall, all, 0.0005)
  gate:wake_all()
  assert(#green.util.tree() > 0)
  for _, g in ipairs(green.wait(all, 0.0005)) do
    if g.exception then errors[#errors + 1] = g.exception end
  end
  for _, g in ipairs(all) do g:join(0.001) end
  assert(tostring(all[1]))
end

local expected = {
  ["not enough memory"] = true, ["a failure"] = true, ["custom"] = true,
}

local function check(err)
  if type(err) ~= "string" then return end -- those of ours
  local text = err:gsub("^[^\n]-:%d+: ", ""):gsub("\n.*", "")
  if not (expected[text] or text:find "^attempt to yield from outside") then
    error("an unexpected error: " .. err)
  end
end

-- 0 fails none; how many more allocations it would have taken.
local function attempt(n)
  local errors = {}
  core.fail_allocation(n)
  local ok, err = pcall(program, errors)
  local left = core.fail_allocation(0)
  if not ok then check(err) end
  for _, e in ipairs(errors) do check(e) end
  assert(ok or n > 0, err)
  -- Whatever is left can be ended, and all works.
  for _, g in ipairs(core.live()) do
    if g ~= green.current() then g:close() end
  end
  green.sleep(0.0001)
  local g = green.spawn(function() green.sleep(0.0001) return "usable" end)
  assert(g:get() == "usable")
  string.gsub("x", "x", function() turn() end)
  assert(not green.within(0.0001, green.sleep, 1))
  return ok and left > 0
end

local function each()
  local n = 0
  repeat n = n + 1 until attempt(n)
  return n - 1
end

green.on_error(function() end)
for _ = 1, 3 do attempt(0) end
collectgarbage()
collectgarbage()
local before, living = collectgarbage "count", #core.live()
local in_main = each()
local in_greenlet = green.spawn(each):get()
green.sleep(0.001)
assert(#core.live() == living)
collectgarbage()
collectgarbage()
local grown = collectgarbage "count" - before
assert(grown < 32, "it has grown by " .. grown .. " KiB")
print(in_main, in_greenlet)

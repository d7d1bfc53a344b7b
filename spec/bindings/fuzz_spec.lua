-- Random programs of greenlets. Nothing is expected of what they compute, but:
-- none crashes or hangs, all greenlets can be ended, and, where no clock plays a
-- part, the same seed gives the same trace.
--
-- FUZZ=seed[,seed...] runs these instead, and prints their traces.

local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local boundaries = require "spec.support.boundaries"
local generator = require "spec.support.random"

local GREENLETS, STEPS = 60, 1500 -- of one program, at most
-- With all garbage collected in each pass a program takes thirty times as long.
local SEEDS = core.fail_allocation(0) == -1 and 40 or 4

local Program = {}
Program.__index = Program

local function new_program(seed, timed)
  local self = setmetatable({
    random = generator(seed), timed = timed, left = STEPS, trace = {}, greenlets = {},
    numbers = {}, lists = {}, timers = {},
  }, Program)
  for i = 1, 3 do self.lists[i] = waitlist.new("list " .. i) end
  return self
end

function Program:note(...)
  local words = table.pack(...)
  for i = 1, words.n do
    local word = words[i]
    if green.Greenlet.is(word) then word = "#" .. (self.numbers[word] or "?") end
    if type(word) == "table" then word = green.GreenletExit.is(word) and "exit" or "table" end
    if type(word) == "userdata" then word = "timeout" end
    if type(word) == "string" then word = word:gsub("0x%x+", ""):gsub("%-%d+", "") end
    words[i] = tostring(word)
  end
  local me = self.numbers[green.current() or false] or "hub"
  self.trace[#self.trace + 1] = me .. " " .. table.concat(words, " ")
end

function Program:any()
  local g = self.greenlets[self.random(#self.greenlets)]
  return g ~= green.current() and g or nil
end

function Program:seconds()
  if self.timed then return ({ nil, 0, 0.0001, 0.001 })[self.random(4)] end
  return ({ nil, 0 })[self.random(2)]
end

function Program:add(g)
  self.greenlets[#self.greenlets + 1] = g
  self.numbers[g] = #self.greenlets
  return g
end

function Program:body(depth)
  return function()
    self:note "begins"
    self:steps(self.random(30), depth)
    self:note "ends"
    return self.random(100), "second value"
  end
end

function Program:scope()
  return setmetatable({}, { __close = function(_, err)
    self:note("closes", err)
    for _ = 1, self.random(3) do green.sleep(0) end
    self:note "closed"
  end })
end

-- Not in a hook: there is none in a hook.
function Program:place(depth)
  local place
  repeat place = boundaries[self.random(#boundaries)]
  until depth == 0 or not place.name:find "hook"
  return place
end

local ops = {
  function(p) green.sleep(0) p:note "slept" end,
  function(p) green.sleep(0) green.sleep(0) p:note "slept twice" end,
  function(p, depth)
    if #p.greenlets >= GREENLETS then return end
    p:note("spawns", p:add(green.spawn(p:body(depth))))
  end,
  function(p, depth)
    if #p.greenlets >= GREENLETS then return end
    local g = p:add(p.timed and green.spawn_later(p.random(10) / 1e5, p:body(depth))
      or green.Greenlet(p:body(depth)))
    p:note("makes", g)
  end,
  function(p) local g = p:any() if g then g:start() p:note("starts", g) end end,
  function(p) local g = p:any() if g then p:note("joins", g, g:join(p:seconds())) end end,
  function(p) local g = p:any() if g then p:note("gets", g, pcall(g.get, g, p:seconds())) end end,
  function(p) local g = p:any() if g then green.kill(g, "killed") p:note("kills", g) end end,
  function(p) local g = p:any() if g then p:note("ends", g, g:kill(nil, p:seconds())) end end,
  function(p) local g = p:any() if g then g:close() p:note("has closed", g) end end,
  function(p) p:note("waits", p.lists[p.random(#p.lists)]:wait(p:seconds())) end,
  function(p) p:note("waits", p.lists[p.random(#p.lists)]:wait()) end,
  function(p) p:note("wakes", p.lists[p.random(#p.lists)]:wake(p.random(9), "value")) end,
  function(p) p:note("wakes all", p.lists[p.random(#p.lists)]:wake_all()) end,
  function(p, depth)
    if depth > 3 then return end
    local place = p:place(depth)
    p:note("enters", place.name)
    place.call(p.steps, p, p.random(4), depth + 1)
    p:note("leaves", place.name)
  end,
  function(p, depth)
    if depth > 3 then return end
    for i in coroutine.wrap(function()
      for i = 1, 3 do
        p:steps(1, depth + 1)
        coroutine.yield(i)
      end
    end) do p:note("generates", i) end
  end,
  function(p, depth) p:note("catches", pcall(p.steps, p, p.random(5), depth)) end,
  function(p, depth) p:note("catches green", green.pcall(p.steps, p, p.random(5), depth)) end,
  function(p) if p.random(4) == 1 then error("raised", 0) end end,
  function(p) if p.random(4) == 1 then green.current():kill() end end,
  function(p)
    local g = p:any()
    if not g then return end
    local kind = ({ "link", "link_value", "link_exception", "rawlink" })[p.random(4)]
    g[kind](g, function(dead)
      p:note("is told by", kind, dead)
      if p.random(2) == 1 then p.lists[1]:wake() end
      local other = p.greenlets[p.random(#p.greenlets)]
      if p.random(4) == 1 and other ~= green.current() then green.kill(other) end
    end)
  end,
  function(p) local g = p:any() if g and p.random(2) == 1 then g:unlink_all() end end,
  function(p, depth)
    local _ <close> = p:scope() -- luacheck: ignore
    p:steps(p.random(4), depth)
  end,
  function(p)
    local some = { p:any(), p:any(), p:any() }
    local how = p.random(3)
    if how == 1 then
      p:note("joins all", #green.joinall(some, p:seconds()))
    elseif how == 2 then
      p:note("waits for", #green.wait(some, p:seconds(), p.random(3)))
    else
      for g in green.iwait(some, p:seconds()) do p:note("iterates", g) end
    end
  end,
  function(p) p:note("raising", pcall(green.joinall, { p:any() }, p:seconds(), true)) end,
  function(p) local some = { p:any(), p:any() } pcall(green.killall, some, nil, p:seconds()) end,
  function() collectgarbage "step" end,
  function(p) if p.random(10) == 1 then green.idle() p:note "was idle" end end,
  function(p) p:note("yields", pcall(coroutine.yield, 1)) end,
  function(p)
    if not p.timed then return end
    local timer <close> = green.Timeout(p.random(20) / 1e5) -- luacheck: ignore
    p:steps(p.random(4), 4)
  end,
  function(p)
    if not p.timed then return end
    p.timers[p.random(3)] = green.Timeout(p.random(20) / 1e5, p.random(2) == 1 and "custom" or nil)
  end,
  function(p)
    local timer = p.timers[p.random(3)]
    if not timer then return end
    if p.random(2) == 1 then timer:cancel() else timer:start() end
  end,
  function(p)
    local timer, list = p.timers[p.random(3)], p.lists[p.random(3)]
    if timer then p:note("waits for a timer", pcall(list.wait, list, timer)) end
  end,
  function(p) if p.timed then green.sleep(p.random(10) / 1e5) end end,
  function(p, depth)
    if p.timed then green.within(p.random(20) / 1e5, p.steps, p, p.random(3), depth) end
  end,
}

function Program:steps(n, depth)
  for _ = 1, n do
    if self.left <= 0 then return end
    self.left = self.left - 1
    ops[self.random(#ops)](self, depth)
  end
end

-- Runs it, with more greenlets when nothing moves, then ends everybody.
function Program:run()
  for _ = 1, 5 do self:add(green.spawn(self:body(0))) end
  repeat
    local seen = #self.trace
    for _ = 1, 10 do green.sleep(0) end
    if self.timed then green.sleep(0.0003) end
    if #self.trace == seen then
      self.lists[self.random(3)]:wake()
      self:add(green.spawn(self:body(0)))
    end
  until self.left <= 0 or #self.greenlets >= GREENLETS
  self.left = 0
  local closers = {}
  for i, g in ipairs(self.greenlets) do closers[i] = green.spawn(g.close, g) end
  green.joinall(closers, nil, true)
  for i = 1, 3 do if self.timers[i] then self.timers[i]:cancel() end end
  for i, g in ipairs(self.greenlets) do
    assert(g.dead, "still alive: " .. i)
    assert(select("#", pcall(g.get, g)) >= 2)
  end
  for _, list in ipairs(self.lists) do assert(#list == 0, "a waiter is left") end
end

local function run(seed, timed)
  local before = #core.live()
  local program = new_program(seed, timed)
  program:run()
  for _ = 1, 10 do green.sleep(0) end -- links and reports
  if timed then green.sleep(0.001) end
  assert.equal(before, #core.live())
  return table.concat(program.trace, "\n")
end

describe("random programs", function()
  local previous
  before_each(function() previous = green.on_error(function() end) end)
  after_each(function() green.on_error(previous) end)

  local chosen = os.getenv "FUZZ"
  if chosen then
    for seed in chosen:gmatch "%d+" do
      it("of seed " .. seed, function()
        print("\n" .. run(tonumber(seed), false))
        run(tonumber(seed), true)
      end)
    end
    return
  end

  it("run the same way each time", function()
    local longest = 0
    for seed = 1, SEEDS do
      local trace = run(seed)
      longest = math.max(longest, select(2, trace:gsub("\n", "")))
      local again = run(seed)
      if trace ~= again then error("seed " .. seed .. " has run in two ways") end
    end
    assert.is_true(longest > 500)
  end)

  it("with timers come to an end", function()
    for seed = 1, SEEDS do run(seed, true) end
  end)

  it("come to an end in main, beside each other #main", function()
    local before = #core.live()
    local programs = {}
    for i = 1, 5 do
      local p = new_program(1000 + i, i % 2 == 0)
      programs[i] = green.spawn(p.run, p)
    end
    green.joinall(programs, nil, true)
    green.sleep(0.001)
    assert.equal(before, #core.live())
  end)
end)

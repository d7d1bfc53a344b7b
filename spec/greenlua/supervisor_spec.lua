local green = require "greenlua"

local Supervisor = green.Supervisor

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- A supervisor of children that note when they start and end. Each fails, or
-- returns, when it is sent a word.
local function family(options, ids)
  local log = {}
  local Child = green.Actor:extend "Child"
  function Child:_init(id) self.id = id end
  function Child:receive(word)
    if word == "fail" then error(self.id .. " fails", 0) end
    if word == "return" then self.running = false end
    return self.id
  end
  for _, id in ipairs(ids or { "a", "b", "c" }) do
    local spec = type(id) == "table" and id or { id = id }
    spec.start = spec.start or function()
      log[#log + 1] = "+" .. spec.id
      local child = Child.spawn(spec.id)
      child:rawlink(function() log[#log + 1] = "-" .. spec.id end)
      return child
    end
    options[#options + 1] = spec
  end
  options.report = options.report or function(id, g)
    log[#log + 1] = ("%s: %s"):format(id, g.exception)
  end
  local supervisor = Supervisor.spawn(options)
  turn(2)
  local function take()
    turn(6)
    local text = table.concat(log, " ")
    for i = #log, 1, -1 do log[i] = nil end
    return text
  end
  return supervisor, take
end

describe("greenlua.supervisor", function()
  it("starts its children in order, and stops them in reverse", function()
    local supervisor, take = family {}
    assert.equal("+a +b +c", take())
    assert.same({ "a", "b", "c" }, supervisor:children())
    assert.equal("b", supervisor:child("b"):ask "x")
    assert.equal(supervisor, supervisor:child("b").supervisor)
    assert.is_true(supervisor:stop())
    assert.equal("-c -b -a", take())
    assert.is_nil(supervisor:child "b")
  end)

  it("one_for_one starts the one that failed", function()
    local supervisor, take = family {}
    local before = supervisor:child "b"
    before:send "fail"
    assert.equal("+a +b +c -b b: b fails +b", take())
    assert.not_equal(before, supervisor:child "b")
    assert.equal("b", supervisor:child("b"):ask "x")
    supervisor:stop()
  end)

  it("all_for_one starts all", function()
    local supervisor, take = family { strategy = "all_for_one" }
    take()
    supervisor:child("b"):send "fail"
    assert.equal("-b b: b fails -c -a +a +b +c", take())
    supervisor:stop()
  end)

  it("rest_for_one starts that one and those after it", function()
    local supervisor, take = family { strategy = "rest_for_one" }
    take()
    supervisor:child("b"):send "fail"
    assert.equal("-b b: b fails -c +b +c", take())
    supervisor:stop()
  end)

  it("starts again by the child's kind", function()
    local supervisor, take = family({ intensity = 10 }, {
      { id = "p", restart = "permanent" }, { id = "t", restart = "transient" },
      { id = "x", restart = "temporary" } })
    take()
    supervisor:child("p"):send "return"
    assert.equal("-p +p", take())
    supervisor:child("p"):kill()
    assert.equal("-p +p", take())
    supervisor:child("t"):send "fail"
    assert.equal("-t t: t fails +t", take())
    supervisor:child("t"):send "return"
    assert.equal("-t", take())
    assert.is_nil(supervisor:child "t")
    supervisor:child("x"):send "fail"
    assert.equal("-x x: x fails", take())
    supervisor:stop()
  end)

  it("gives up after too many restarts, and stops the others", function()
    local supervisor, take = family { intensity = 2, period = 60 }
    supervisor:link(function() end) -- somebody is there
    for _ = 1, 3 do
      supervisor:child("b"):send "fail"
      take()
    end
    assert.is_true(supervisor.dead)
    assert.matches("^Supervisor%-%d+ gives up: 3 restarts in 60 seconds; "
      .. "the last to end was b %(b fails%)$", supervisor.exception)
    assert.is_nil(supervisor:child "a")
  end)

  it("counts restarts within the period only", function()
    local supervisor, take = family { intensity = 1, period = 0.01 }
    for _ = 1, 4 do
      supervisor:child("b"):send "fail"
      take()
      green.sleep(0.011)
    end
    assert.is_false(supervisor.dead)
    supervisor:stop()
  end)

  it("is supervised itself", function()
    local inner
    local outer = Supervisor.spawn { report = function() end, {
      id = "inner", start = function()
        inner = family({ intensity = 0 }, { "a" })
        return inner
      end,
    } }
    turn(5)
    local first = inner
    inner:child("a"):send "fail"
    turn(12)
    assert.is_true(first.dead)
    assert.not_equal(first, inner)
    assert.equal("a", inner:child("a"):ask "x")
    outer:stop()
    assert.is_true(inner.dead)
  end)

  it("stops its children however it ends", function()
    for _, how in ipairs { "kill", "close" } do
      local supervisor, take = family {}
      take()
      supervisor[how](supervisor)
      assert.equal("-c -b -a", take())
    end
  end)

  it("supervises plain greenlets, and closes those that won't end", function()
    local started, closed = 0, false
    local function stubborn()
      started = started + 1
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      while true do pcall(green.sleep, 10) end
    end
    local supervisor = Supervisor.spawn {
      { id = "s", start = function() return green.spawn(stubborn) end, shutdown = 0.005 },
      { id = "t", start = function() return green.spawn(stubborn) end, shutdown = 0 },
    }
    turn(3)
    assert.equal(2, started)
    supervisor:stop()
    assert.is_true(closed)
  end)

  it("reports a failure as others are, if nobody else is told", function()
    local list = {}
    local before = green.on_error(function(_, err) list[#list + 1] = err end)
    finally(function() green.on_error(before) end)
    local supervisor = Supervisor.spawn {
      { id = "f", restart = "temporary", start = function() return green.spawn(error, "oh") end },
    }
    turn(5)
    assert.same({ "oh" }, list)
    supervisor:stop()
  end)

  it("takes a start that fails for one more end", function()
    local starts = 0
    local supervisor = Supervisor.spawn { intensity = 5, report = function() end, {
      id = "f",
      start = function()
        starts = starts + 1
        if starts == 2 then error("no start", 0) end
        return green.spawn(starts < 3 and error or green.sleep, 10)
      end,
    } }
    turn(10)
    assert.equal(3, starts)
    assert.is_false(supervisor.dead)
    supervisor:stop()
  end)

  it("fails if a child cannot be started at first", function()
    local b = { id = "b", start = function() error("no", 0) end }
    local supervisor, take = family({}, { "a", b })
    supervisor:link(function() end)
    assert.equal("+a -a", take())
    assert.equal("no", supervisor.exception)
  end)

  it("has children added and removed", function()
    local supervisor, take = family({}, { "a" })
    take()
    local function start() return green.spawn(green.sleep, 10) end
    local g = supervisor:add { id = "z", start = start }
    assert.equal(g, supervisor:child "z")
    assert.same({ "a", "z" }, supervisor:children())
    supervisor:remove "z"
    supervisor:remove "nobody"
    assert.is_true(g.dead)
    supervisor:remove "a"
    assert.equal("-a", take())
    assert.same({}, supervisor:children())
    supervisor:stop()
  end)

  it("that hasn't been started never runs", function()
    local supervisor = Supervisor { { id = "a", start = error } }
    assert.is_true(supervisor:stop())
    assert.is_true(supervisor.dead)
  end)

  it("refuses what is no description", function()
    local start = function() end
    for message, options in pairs {
      ["table expected"] = 1,
      ["no such strategy: two_for_one"] = { strategy = "two_for_one" },
      ["intensity must be a number"] = { intensity = -1 },
      ["period must be a number"] = { period = "long" },
      ["a child is a table"] = { print },
      ["a child needs an id"] = { {} },
      ["child a needs a function 'start'"] = { { id = "a" } },
      ["no such kind of restart: often"] = { { id = "a", start = start, restart = "often" } },
      ["two children are called a"] = { { id = "a", start = start }, { id = "a", start = start } },
    } do
      local ok, err = pcall(Supervisor, options)
      assert.is_false(ok)
      assert.is_truthy(err:find("bad argument #1 to 'Supervisor' (" .. message, 1, true), err)
    end
    local supervisor, take = family({}, { "a" })
    take()
    assert.has_error(function() supervisor:add { id = "a", start = start } end)
    supervisor:stop()
  end)
end)

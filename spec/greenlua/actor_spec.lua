local green = require "greenlua"
local actor_module = require "greenlua.actor"
local queue = require "greenlua.queue"
local greenlets = require "spec.support.greenlets"
local waitable = require "spec.support.waitable"

local ActorEnded = actor_module.ActorEnded
local turn = greenlets.turn

local Counter = green.Actor:extend "Counter"
function Counter:_init(from) self.count = from or 0 end
function Counter:receive(n)
  self.count = self.count + n
  return self.count, "in all"
end

-- Answers once its gate is open.
local Gate = green.Actor:extend "Gate"
function Gate:_init() self.gate = green.Event() end
function Gate:receive(message)
  self.gate:wait()
  return message
end

local Failing = green.Actor:extend "Failing"
function Failing:receive(message) -- luacheck: ignore 212
  turn()
  error(message, 0)
end

describe("greenlua.actor", function()
  describe("Actor:ask", function()
    waitable {
      new = function() return Gate.spawn() end,
      wait = function(actor, timeout) return actor:ask("x", timeout) end,
      wake = function(actor) actor.gate:set() end,
      free = function(actor) actor:kill() end,
      raises = true, wakes_all = true, late = true,
    }
  end)

  describe("Actor:stop", function()
    waitable {
      new = function()
        local actor = Gate.spawn()
        actor:send "x"
        turn()
        return actor
      end,
      wait = function(actor, timeout) return actor:stop(timeout) end,
      wake = function(actor) actor.gate:set() end,
      free = function(actor) actor:kill() end,
      expired = function(...) assert.same({ false }, { ... }) end,
      wakes_all = true, late = true,
    }
  end)

  describe("Actor:send to a full inbox", function()
    local Small = Gate:extend "Small"
    Small.inbox_size = 1
    waitable {
      new = function()
        local actor = Small.spawn()
        actor:send "in work"
        turn()
        actor:send "in the inbox"
        return actor
      end,
      wait = function(actor, timeout) return actor:send("x", timeout) end,
      wake = function(actor) actor.gate:set() end,
      free = function(actor) actor:kill() end,
      expired = function(ok, why)
        assert.is_nil(ok)
        assert.equal(queue.Full, why)
      end,
      wakes_all = true, late = true,
    }
  end)

  it("works on one message at a time, in their order", function()
    local seen, busy = {}, false
    local Worker = green.Actor:extend "Worker"
    function Worker:receive(n) -- luacheck: ignore 212
      assert.is_false(busy)
      busy = true
      turn(n % 3)
      busy = false
      seen[#seen + 1] = n
    end
    local worker = Worker.spawn()
    for n = 1, 5 do assert.is_true(worker:send(n)) end
    assert.is_true(worker:stop())
    assert.same({ 1, 2, 3, 4, 5 }, seen)
  end)

  it("takes messages before it starts, and false", function()
    local seen = {}
    local Any = green.Actor:extend "Any"
    function Any:receive(m) seen[#seen + 1] = m end -- luacheck: ignore 212
    local any = Any()
    any:send(false)
    any.inbox:put "directly"
    turn(2)
    assert.same({}, seen)
    any:start()
    any:stop()
    assert.same({ false, "directly" }, seen)
  end)

  it("replies with all that receive returns", function()
    local counter <close> = Counter.spawn(5)
    assert.same({ 7, "in all" }, { counter:ask(2) })
    assert.equal(8, (counter:ask(1, 1)))
    counter:stop()
  end)

  it("replies later, from wherever", function()
    local Later = green.Actor:extend "Later"
    function Later:receive(m)
      local answer = self:defer()
      green.spawn(function() turn(4 - m) answer(m, m * m) answer "twice" end)
      return "not this"
    end
    local later = Later.spawn()
    later:send(1)
    local slow, fast = green.spawn(later.ask, later, 1), green.spawn(later.ask, later, 3)
    assert.same({ 3, 9 }, { fast:get() })
    assert.same({ 1, 1 }, { slow:get() })
    later:stop()
  end)

  it("raises the error of receive in who asked, and nowhere else", function()
    local list = greenlets.unclaimed_errors(finally)
    local failing = Failing.spawn()
    local second = green.spawn(pcall, failing.ask, failing, "later")
    local err = setmetatable({}, { __name = "our own" })
    second:kill()
    local ok, got = pcall(failing.ask, failing, err)
    assert.is_false(ok)
    assert.equal(err, got)
    turn(2)
    assert.same({}, list)
    assert.is_true(failing.dead)
  end)

  it("raises ActorEnded in those who waited behind, and who come later", function()
    local failing = Failing.spawn()
    local first = green.spawn(pcall, failing.ask, failing, "oh")
    local second = green.spawn(pcall, failing.ask, failing, "next")
    first:join()
    local ok, err = second:get()
    assert.is_false(ok)
    assert.is_true(ActorEnded.is(err))
    assert.equal(failing, err.actor)
    assert.equal("oh", err.cause)
    assert.matches("^ActorEnded: Failing%-%d+ has ended without a reply %(oh%)$", tostring(err))
    ok, err = pcall(failing.ask, failing, "too late")
    assert.is_false(ok)
    assert.is_true(ActorEnded.is(err))
    assert.same({ nil, queue.ShutDown }, { failing:send "x" })
  end)

  it("raises ActorEnded when it is killed, closed, or never started", function()
    for _, how in ipairs { "kill", "close" } do
      local gate = Gate.spawn()
      local asking = green.spawn(pcall, gate.ask, gate, 1)
      turn(3)
      gate[how](gate)
      local ok, err = asking:get()
      assert.is_false(ok)
      assert.is_true(ActorEnded.is(err))
    end
    local fresh = Gate()
    local asking = green.spawn(pcall, fresh.ask, fresh, 1)
    turn()
    assert.is_true(fresh:stop())
    assert.is_true(ActorEnded.is(select(2, asking:get())))
  end)

  it("reports its error when nobody asked, or nobody waits any more", function()
    local list = greenlets.unclaimed_errors(finally)
    Failing.spawn():send "unasked"
    turn(3)
    local failing = Failing.spawn()
    local asking = green.spawn(failing.ask, failing, "asked")
    turn()
    green.kill(asking)
    turn(3)
    assert.same({ "unasked", "asked" }, list)
  end)

  it("takes nothing more once it is stopped, and works off the rest", function()
    local counter = Counter.spawn()
    counter:send(1)
    counter:send(2)
    local stopping = green.spawn(counter.stop, counter)
    turn()
    assert.same({ nil, queue.ShutDown }, { counter:send(4) })
    assert.is_true(stopping:get())
    assert.equal(3, counter.count)
    assert.is_true(counter:successful())
    assert.is_true(counter:stop())
  end)

  it("can stop itself, and end by its own field", function()
    local Once = green.Actor:extend "Once"
    function Once:receive(how)
      if how == "stop" then assert(self:stop()) else self.running = false end
    end
    for _, how in ipairs { "stop", "running" } do
      local once = Once.spawn()
      once:send(how)
      assert.is_true(once:join(60))
      assert.is_true(once:successful())
    end
  end)

  it("is a greenlet, of its class", function()
    local counter = Counter()
    assert.is_true(green.Greenlet.is(counter))
    assert.is_true(green.Actor.is(counter))
    assert.is_true(Counter.is(counter))
    assert.is_false(Failing.is(counter))
    local Sub = Counter:extend "Sub"
    local sub = Sub.spawn(1)
    assert.equal(2, (sub:ask(1)))
    sub:stop()
  end)

  it("refuses nil, and to ask itself", function()
    local Own = green.Actor:extend "Own"
    function Own:receive() self:ask(1) end
    local own = Own.spawn()
    assert.has_error(function() own:send() end)
    assert.has_error(function() own:ask() end)
    local ok, err = pcall(own.ask, own, "x")
    assert.is_false(ok)
    assert.matches("Own%-%d+ cannot ask itself", err)
    ok, err = pcall(function() local plain = green.Actor.spawn() plain:ask(1) end)
    assert.is_false(ok)
    assert.matches("Actor%-%d+ has no method 'receive'", err)
  end)
end)

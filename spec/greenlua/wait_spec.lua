local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- A greenlet that waits at a gate, for the battery.
local gate = {
  new = function()
    local list = waitlist.new "a gate"
    return { list = list, g = green.spawn(list.wait, list) }
  end,
  wake = function(object) turn() object.list:wake() turn() end,
  free = function(object) object.g:kill() end,
  wakes_all = true, late = true,
}

local function battery(how)
  waitable(setmetatable(how, { __index = gate }))
end

local function nothing(...) assert.same({ {} }, { ... }) end

local function after(turns, value)
  return green.spawn(function() turn(turns) return value end)
end

local function ready_after(seconds, value)
  return green.spawn(function() green.sleep(seconds) return value end)
end

local function values(list)
  local all = {}
  for i, g in ipairs(list) do all[i] = g.value end
  return all
end

-- Something that can be waited for and is no greenlet.
local Latch = {}
Latch.__index = Latch

function Latch:rawlink(f) self.links[#self.links + 1] = f end

function Latch:unlink(f)
  for i, g in ipairs(self.links) do
    if f == g then return table.remove(self.links, i) end
  end
end

function Latch:open()
  local links = self.links
  self.links = {}
  for _, f in ipairs(links) do f(self) end
end

local function latch() return setmetatable({ links = {} }, Latch) end

describe("greenlua.wait", function()
  describe("joinall", function()
    battery {
      wait = function(object, timeout) return green.joinall({ object.g }, timeout) end,
      expired = nothing,
    }
    describe("for a number of them", function()
      battery {
        wait = function(object, timeout)
          return green.joinall({ object.g, object.g }, timeout, nil, 1)
        end,
        expired = nothing,
      }
    end)
    describe("raising errors", function()
      battery {
        wait = function(object, timeout) return green.joinall({ object.g }, timeout, true) end,
        expired = nothing,
      }
    end)

    it("gives greenlets in the order of their ends", function()
      local a, b, c = after(6, "a"), after(2, "b"), after(4, "c")
      assert.same({ b, c, a }, green.joinall { a, b, c })
      -- the same for those that have ended before, whichever way they are asked for
      assert.same({ b, c, a }, green.joinall { a, b, c })
      assert.same({ b, c, a }, green.joinall({ a, b, c }, nil, true))
      assert.same({ b, c }, green.joinall({ a, b, c }, nil, nil, 2))
      assert.same({ b, c, a }, green.wait { a, b, c })
    end)

    it("gives those done so far when the time runs out", function()
      local slow, quick = ready_after(10, "slow"), after(1, "quick")
      local began = core.now()
      assert.same({ quick }, green.joinall({ slow, quick }, 0.005))
      assert.is_true(core.now() - began >= 0.005)
      assert.same({ quick }, green.joinall({ slow, quick }, 0))
      assert.same({ quick }, green.joinall({ slow, quick }, 0.002, true))
      slow:kill()
    end)

    it("takes one deadline for all", function()
      local list = {}
      for i = 1, 10 do list[i] = ready_after(100) end
      local later = ready_after(0.4) -- what ten deadlines, one after the other, would outlast
      green.joinall(list, 0.05)
      assert.is_false(later:ready())
      list[11] = later
      green.killall(list)
    end)

    it("is content with a count", function()
      local a, b, c = after(3), after(1), after(2)
      assert.same({ b, c }, green.joinall({ a, b, c }, nil, nil, 2))
      assert.same({}, green.joinall({ a, b, c }, nil, nil, 0))
      assert.equal(3, #green.joinall({ a, b, c }, nil, nil, 10))
      assert.is_false(a:has_links())
    end)

    it("of nothing is nothing, at once", function()
      local ran = false
      local g = green.spawn(function() ran = true end)
      assert.same({}, green.joinall {})
      assert.same({}, green.joinall({}, 1, true, 1))
      assert.is_false(ran)
      g:join()
    end)

    it("counts one that is twice in the list twice", function()
      local g = after(1)
      assert.same({ g, g }, green.joinall { g, g })
      local h = after(1)
      assert.same({ h, h }, green.joinall({ h, h }, nil, true))
    end)

    it("takes greenlets of subclasses, and started ones later", function()
      local Worker = green.Greenlet:extend "Worker"
      function Worker:_run(x) turn() return x, self end
      local w, fresh = Worker.spawn(5), green.Greenlet(function() return "late" end)
      green.spawn(function() turn(3) fresh:start() end)
      assert.same({ w, fresh }, green.joinall { w, fresh })
    end)

    it("does not mind if the list is changed meanwhile", function()
      local list = { after(2), after(3) }
      green.spawn(function() list[1], list[2] = nil, nil end)
      assert.equal(2, #green.joinall(list))
    end)

    it("raises the first error in the order of ends, at once", function()
      local before = green.on_error(function() end)
      finally(function() green.on_error(before) end)
      local slow = ready_after(10)
      local a = green.spawn(function() turn(4) error("a", 0) end)
      local b = green.spawn(function() turn(2) error("b", 0) end)
      assert.error(function() green.joinall({ slow, a, b }, nil, true) end, "b")
      assert.is_false(slow.dead)
      assert.is_false(slow:has_links())
      slow:kill()
      pcall(a.get, a)
    end)

    it("raises an error of one that has ended before", function()
      local a = green.spawn(error, "early", 0)
      pcall(a.get, a)
      assert.error(function() green.joinall({ a }, nil, true) end, "early")
      assert.error(function() green.joinall({ a }, 0, true) end, "early")
    end)

    it("keeps errors to itself otherwise", function()
      local before = green.on_error(function() end)
      local g = green.spawn(error, "x")
      assert.same({ g }, green.joinall { g })
      turn()
      green.on_error(before)
    end)

    it("refuses what is no list, greenlet or count", function()
      for _, bad in ipairs { 5, "x", true } do
        assert.error_matches(function() green.joinall(bad) end, "bad argument #1 to 'joinall' %(")
      end
      assert.error_matches(function() green.joinall() end, "bad argument #1 to 'joinall' %(")
      for _, bad in ipairs { -1, 1.5, "2", {} } do
        assert.error_matches(function() green.joinall({}, nil, nil, bad) end,
          "bad argument #4 to 'joinall' %(number of objects or nil expected")
      end
      for _, bad in ipairs { 5, "x", {}, io.stdout, print } do
        assert.error_matches(function() green.joinall { bad } end, "joinall' %(at 1: ")
        local g = after(1)
        assert.error_matches(function() green.joinall({ g, bad }, 1, true) end, "joinall' %(at 2: ")
        assert.is_false(g:has_links())
        g:join()
      end
    end)

    it("joins a thousand", function()
      local list = {}
      for i = 1, 1000 do list[i] = after(i % 5, i) end
      local done = green.joinall(list)
      assert.equal(1000, #done)
      local last = 0
      for _, g in ipairs(done) do
        assert.is_true(core.ended(g) > last)
        last = core.ended(g)
      end
    end)
  end)

  describe("wait", function()
    battery {
      wait = function(object, timeout) return green.wait({ object.g }, timeout) end,
      expired = nothing,
    }
    describe("for what is no greenlet", function()
      waitable {
        new = latch,
        wait = function(object, timeout) return green.wait({ object }, timeout) end,
        wake = function(object) object:open() end,
        wakes_all = true,
        expired = nothing,
      }
    end)

    it("gives objects as they become ready", function()
      local a, b, c = latch(), latch(), after(4)
      green.spawn(function() turn() b:open() turn() a:open() end)
      assert.same({ b, a, c }, green.wait { a, b, c })
      assert.same({}, a.links)
    end)

    it("is content with a count, and lets go of the others", function()
      local a, b, c = latch(), latch(), latch()
      green.spawn(function() turn() b:open() turn() a:open() end)
      assert.same({ b, a }, green.wait({ a, b, c }, nil, 2))
      assert.same({}, c.links)
      assert.same({}, green.wait({ c }, nil, 0))
      assert.same({}, c.links)
    end)

    it("lets go of all when killed or out of time", function()
      local a, b = latch(), latch()
      assert.same({}, green.wait({ a, b }, 0.001))
      assert.same({}, a.links)
      local g = green.spawn(green.wait, { a, b })
      turn()
      assert.same({ 1, 1 }, { #a.links, #b.links })
      g:kill()
      assert.same({ 0, 0 }, { #a.links, #b.links })
      g = green.spawn(green.wait, { a, b })
      turn()
      g:close()
      assert.same({ 0, 0 }, { #a.links, #b.links })
    end)

    it("of nothing is nothing", function()
      assert.same({}, green.wait {})
    end)

    it("refuses what is no list or cannot be waited for", function()
      for _, bad in ipairs { 5, "x", true, print } do
        assert.error_matches(function() green.wait(bad) end,
          "bad argument #1 to 'wait' %(list of objects expected, got " .. type(bad))
      end
      for _, bad in ipairs { 5, "x", {}, io.stdout, print } do
        assert.error_matches(function() green.wait { bad } end,
          "bad argument #1 to 'wait' %(at 1: ")
      end
      assert.error_matches(function() green.wait({}, nil, -1) end, "bad argument #3 to 'wait'")
    end)

    it("without a list is for main", function()
      assert.error_matches(function() green.wait() end, "only main")
      assert.error_matches(function() green.run() end, "only main")
      assert.error_matches(function() green.wait(nil, -1) end, "not negative")
    end)

    it("without a list waits until nothing is left that could run #main", function()
      local n = 0
      green.spawn(function() turn(3) n = n + 1 green.spawn(function() turn() n = n + 1 end) end)
      assert.is_true(green.wait())
      assert.equal(2, n)
      assert.is_true(green.wait())
      assert.is_true(green.run(0))
    end)

    it("without a list is false when the time runs out #main", function()
      local g = ready_after(10)
      local began = core.now()
      assert.is_false(green.wait(nil, 0.005))
      assert.is_true(core.now() - began >= 0.005)
      assert.is_false(green.run(0.001))
      assert.is_false(green.run(0))
      local timer = green.Timeout(0.001)
      assert.error(function() green.run(timer) end, timer)
      g:kill()
    end)

    it("without a list is not for those who wait for ever #main", function()
      local g = green.spawn(function() waitlist.new("for ever"):wait() end)
      assert.is_true(green.wait())
      assert.is_false(g.dead)
      g:kill()
    end)
  end)

  describe("run", function()
    it("waits for links and reports of the last greenlet #main", function()
      local linked, reported = false, false
      local g = green.spawn(function() end)
      g:link(function() turn(3) linked = true end)
      green.run()
      assert.is_true(linked)
      local before = green.on_error(function() turn(3) reported = true end)
      green.spawn(error, "x")
      green.run()
      green.on_error(before)
      assert.is_true(reported)
    end)

    it("is what the command does after the last line", function()
      assert.same({ 0, "one\ntwo\n", "" }, { support.run { "-e", [[
        local green = require "greenlua"
        green.spawn(function() green.sleep(0.01) print "two" end)
        print "one"
      ]] } })
    end)

    it("is not held by what has ref=false", function()
      assert.same({ 0, "", "" }, { support.run { "-e", [[
        local green = require "greenlua"
        green.spawn(green.sleep, 100, false)
        green.spawn(function()
          local timer = green.Timeout(100, nil, false)
          require("greenlua.core.waitlist").new("nothing"):wait()
        end)
      ]] } })
    end)
  end)

  describe("iwait", function()
    battery {
      wait = function(object, timeout)
        local found = {}
        for g in green.iwait({ object.g }, timeout) do found[#found + 1] = g end
        return found
      end,
      expired = nothing,
    }

    it("gives greenlets as they end", function()
      local a, b, c = after(6, "a"), after(2, "b"), after(4, "c")
      local seen = {}
      for g in green.iwait { a, b, c } do
        assert.is_true(g.dead)
        seen[#seen + 1] = g
      end
      assert.same({ "b", "c", "a" }, values(seen))
    end)

    it("loses none that end while the loop's body waits", function()
      local list, seen = {}, 0
      for i = 1, 20 do list[i] = after(i) end
      for _ in green.iwait(list) do
        seen = seen + 1
        turn(3)
      end
      assert.equal(20, seen)
    end)

    it("ends after a count, and lets go of the rest", function()
      local a, b = after(5), after(1)
      local seen = {}
      for g in green.iwait({ a, b }, nil, 1) do seen[#seen + 1] = g end
      assert.same({ b }, seen)
      assert.is_false(a:has_links())
      for _ in green.iwait({ a }, nil, 0) do error "none was asked for" end
      a:join()
    end)

    it("lets go of all when the loop is left", function()
      local a, b = latch(), latch()
      green.spawn(function() turn() a:open() end)
      for _ in green.iwait { a, b } do break end -- luacheck: ignore
      assert.same({}, b.links)
      green.spawn(function() turn() a:open() end)
      pcall(function() for _ in green.iwait { a, b } do error "out" end end)
      assert.same({}, b.links)
    end)

    it("asks for nothing before the first step", function()
      local a = latch()
      local step, _, _, closing = green.iwait { a }
      assert.same({}, a.links)
      local g = green.spawn(step)
      turn()
      assert.equal(1, #a.links)
      a:open()
      assert.equal(a, g:get())
      assert.is_nil(step())
      assert.is_nil(step())
      local c <close> = closing -- luacheck: ignore
    end)

    it("ends quietly when the time for all of it is out", function()
      local seen, slow = 0, ready_after(10)
      for _ in green.iwait({ after(1), slow, after(2) }, 0.01) do seen = seen + 1 end
      assert.equal(2, seen)
      slow:kill()
    end)

    it("prefers the ready to the end of time", function()
      local a, b = after(0), after(0)
      green.joinall { a, b }
      local seen = 0
      for _ in green.iwait({ a, b }, 0) do seen = seen + 1 end
      assert.equal(2, seen)
    end)

    it("refuses what is no list", function()
      assert.error_matches(function() green.iwait() end, "bad argument #1 to 'iwait'")
      assert.error_matches(function() green.iwait({}, -1) end, "bad argument #2 to 'iwait'")
      assert.error_matches(function() green.iwait({}, nil, "x") end, "bad argument #3 to 'iwait'")
      assert.error_matches(function() green.iwait { 5 } end, "bad argument #1 to 'iwait' %(at 1: ")
    end)
  end)
end)

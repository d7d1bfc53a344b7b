local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local greenlets = require "spec.support.greenlets"
local waitable = require "spec.support.waitable"

local Greenlet, GreenletExit = green.Greenlet, green.GreenletExit
local parked, reports_of, turn = greenlets.parked, greenlets.reports_of, greenlets.turn

describe("greenlua.greenlet", function()
  describe("spawn", function()
    it("gives a greenlet that runs when its turn comes", function()
      local ran = false
      local g = green.spawn(function() ran = true end)
      assert.is_true(Greenlet.is(g))
      assert.is_false(ran)
      assert.is_true(g.started)
      turn()
      assert.is_true(ran)
      assert.is_true(g.dead)
    end)

    it("starts in the order of the calls, behind who is ready already", function()
      local order = {}
      local function note(name) order[#order + 1] = name end
      local all = { green.spawn(note, 1), green.spawn(note, 2) }
      all[3] = green.spawn(function() green.spawn_later(0, note, "later") end)
      all[4] = green.spawn(function()
        note(3)
        all[#all + 1] = green.spawn(note, "nested")
      end)
      all[5] = green.spawn(note, 4)
      turn(2)
      green.joinall(all)
      while #order < 6 do green.sleep(0.001) end
      -- When a timer is looked at depends on the clock.
      for i, name in ipairs(order) do
        if name == "later" then table.remove(order, i) end
      end
      assert.same({ 1, 2, 3, 4, "nested" }, order)
    end)

    it("hands over its arguments, nils too", function()
      local got
      green.spawn(function(...) got = table.pack(...) end, nil, 2, nil):join()
      assert.same({ n = 3, nil, 2, nil }, got)
    end)

    it("takes 249 arguments, and no more", function()
      local many = {}
      for i = 1, 250 do many[i] = i end
      assert.equal(249, green.spawn(select, "#", table.unpack(many, 1, 248)):get() + 1)
      local g = green.spawn(function(...) return ... end, table.unpack(many, 1, 249))
      assert.same({ table.unpack(many, 1, 249) }, { g:get() })
      assert.error_matches(function() green.spawn(print, table.unpack(many)) end,
        "too many arguments %(250%)")
    end)

    it("takes anything callable", function()
      local object = setmetatable({}, { __call = function(self, x) return self, x end })
      assert.same({ object, 5 }, { green.spawn(object, 5):get() })
      assert.equal(3, green.spawn(math.max, 1, 3):get())
    end)

    it("refuses what is not", function()
      for _, bad in ipairs { "print", 1, {}, true } do
        assert.error_matches(function() green.spawn(bad) end,
          "bad argument #1 to 'spawn' %(function or callable expected, got " .. type(bad))
      end
      assert.error_matches(function() green.spawn() end,
        "bad argument #1 to 'spawn' %(function or callable expected, got no value%)")
      assert.error_matches(function() green.spawn_later(1, 5) end, "function or callable expected")
    end)

    it("runs ten thousand", function()
      local n, all = 0, {}
      for i = 1, 10000 do all[i] = green.spawn(function() green.sleep(0) n = n + 1 end) end
      assert.equal(10000, #green.joinall(all))
      assert.equal(10000, n)
    end)
  end)

  describe("spawn_later", function()
    it("starts after its delay", function()
      local began = core.now()
      local g = green.spawn_later(0.01, core.now)
      assert.is_true(g.started)
      assert.is_false(g.dead)
      assert.is_true(g:get() - began >= 0.01)
    end)

    it("starts those of one time in the order of the calls", function()
      local order = {}
      local all = {}
      for i = 1, 50 do
        all[i] = green.spawn_later(i % 2 * 1e-9, function() order[#order + 1] = i end)
      end
      green.joinall(all)
      assert.equal(50, #order)
    end)

    it("never starts what was killed before", function()
      local ran = false
      local g = green.spawn_later(0.001, function() ran = true end)
      g:kill()
      assert.is_true(g.dead)
      assert.is_true(GreenletExit.is(g.value))
      green.sleep(0.005)
      assert.is_false(ran)
    end)

    it("refuses a delay that is none", function()
      for _, bad in ipairs { -1, 0 / 0 } do
        assert.error_matches(function() green.spawn_later(bad, print) end,
          "a delay is a number of seconds, not negative")
      end
      assert.error_matches(function() green.spawn_later("soon", print) end, "number expected")
      assert.error_matches(function() green.spawn_later(nil, print) end, "number expected")
    end)
  end)

  describe("current", function()
    it("is the running greenlet, in its coroutines and callbacks too", function()
      local g
      g = green.spawn(function()
        assert.equal(g, green.current())
        assert.equal(g, coroutine.wrap(green.current)())
        string.gsub("x", "x", function()
          green.sleep(0)
          assert.equal(g, green.current())
        end)
      end)
      g:get()
    end)

    it("is main in the program itself #main", function()
      assert.equal("main", green.current().name)
      assert.is_true(Greenlet.is(green.current()))
      assert.equal("main: running", tostring(green.current()))
      assert.is_true(green.current().started)
      assert.is_false(green.current().dead)
    end)
  end)

  describe("get", function()
    waitable {
      new = function()
        local list = waitlist.new "a gate"
        return { list = list, g = green.spawn(list.wait, list) }
      end,
      wait = function(object, timeout) return object.g:get(timeout) end,
      wake = function(object) turn() object.list:wake() turn() end,
      free = function(object) object.g:kill() end,
      wakes_all = true, late = true, raises = true,
    }

    it("gives all that was returned", function()
      assert.same({ n = 4, 1, nil, "three", nil },
        table.pack(green.spawn(function() return 1, nil, "three", nil end):get()))
      assert.equal(0, select("#", green.spawn(function() end):get()) - 1)
      local g = green.spawn(table.unpack, {}, 1, 5000)
      assert.equal(5000, select("#", g:get()))
      assert.equal(5000, select("#", g:get()))
      assert.is_nil(g.value)
    end)

    it("gives it to everyone who asks", function()
      local g = green.spawn(function() green.sleep(0) return 1, 2 end)
      local a, b = green.spawn(g.get, g), green.spawn(g.get, g)
      assert.same({ 1, 2 }, { a:get() })
      assert.same({ 1, 2 }, { b:get() })
      assert.same({ 1, 2 }, { g:get(0) })
    end)

    it("raises the error as it is", function()
      for _, err in ipairs { "text", 5, false, {}, print } do
        local g = green.spawn(function() error(err, 0) end)
        local ok, got = pcall(g.get, g)
        assert.is_false(ok)
        assert.equal(err, got)
        assert.is_false(g:successful())
        assert.equal(err, g.exception)
        assert.is_nil(g.value)
      end
    end)

    it("raises nil, where the error is nil", function()
      local g = green.spawn(error)
      local results = table.pack(pcall(g.get, g))
      assert.same({ n = 2, false, nil }, results)
      assert.is_false(g:successful())
    end)

    it("raises a Timeout that knows its seconds", function()
      local g = parked()
      local ok, err = pcall(g.get, g, 0.001)
      assert.is_false(ok)
      assert.is_true(green.Timeout.is(err))
      assert.equal(0.001, err.seconds)
      g:kill()
    end)

    it("is refused to a greenlet itself", function()
      for _, method in ipairs { "get", "join" } do
        local g
        g = green.spawn(function() g[method](g) end)
        assert.error_matches(function() g:get() end, "cannot wait for its own end")
      end
    end)
  end)

  describe("join", function()
    waitable {
      new = function()
        local list = waitlist.new "a gate"
        return { list = list, g = green.spawn(list.wait, list) }
      end,
      wait = function(object, timeout) return object.g:join(timeout) end,
      wake = function(object) turn() object.list:wake() turn() end,
      free = function(object) object.g:kill() end,
      wakes_all = true, late = true,
      expired = function(...) assert.same({ false }, { ... }) end,
    }

    it("tells of the end, whatever the end was", function()
      assert.is_true(green.spawn(function() end):join())
      assert.is_true(parked():kill())
      reports_of(function() assert.is_true(green.spawn(error, "x"):join()) end)
      local g = green.spawn(function() end)
      assert.is_false(g:join(0))
      g:join()
      assert.is_true(g:join(0))
      assert.is_true(g:join(1))
    end)

    it("refuses what is no greenlet", function()
      for _, method in ipairs { "join", "get", "ready", "successful", "start" } do
        assert.error_matches(function() Greenlet[method]({}) end, "Greenlet expected, got table")
        assert.error_matches(function() Greenlet[method]() end, "Greenlet expected, got no value")
        assert.error_matches(function() Greenlet[method](io.stdout) end,
          "Greenlet expected, got FILE")
      end
    end)
  end)

  describe("state", function()
    it("is fresh before the start", function()
      local g = Greenlet(print)
      assert.same({ false, false, false, false },
        { g.started, g.dead, g:ready(), g:successful() })
      assert.is_nil(g.value)
      assert.is_nil(g.exception)
      assert.matches("^Greenlet%-%d+: fresh$", tostring(g))
      turn()
      assert.is_false(g.started)
    end)

    it("goes from started to dead", function()
      local g = Greenlet(function() green.sleep(0) return false end)
      assert.equal(g, g:start())
      assert.is_true(g.started)
      assert.matches(": ready$", tostring(g))
      assert.is_nil(g.value)
      g:join()
      assert.same({ false, true, true, true }, { g.started, g.dead, g:ready(), g:successful() })
      assert.is_false(g.value)
      assert.matches(": dead$", tostring(g))
    end)

    it("is told by tostring", function()
      local g = parked()
      assert.matches("^Greenlet%-%d+: parked$", tostring(g))
      local text
      green.spawn(function() text = tostring(green.current()) end):join()
      assert.matches(": running$", text)
      g:kill()
      reports_of(function()
        local h = green.spawn(error, "x")
        h:join()
        assert.matches(": failed$", tostring(h))
      end)
    end)

    it("counts the first start only", function()
      local n = 0
      local g = Greenlet(function() n = n + 1 end)
      g:start()
      g:start()
      g:start_later(0)
      g:join()
      g:start()
      turn(2)
      green.sleep(0.001)
      assert.equal(1, n)
      local later = Greenlet(function() n = n + 1 end)
      assert.equal(later, later:start_later(0.001))
      later:start()
      turn(2)
      assert.equal(1, n)
      later:join()
      assert.equal(2, n)
    end)

    it("has a name that can be set", function()
      local g = green.spawn(function() return green.current().name end)
      assert.matches("^Greenlet%-%d+$", g.name)
      g.name = "worker"
      assert.equal("worker", g.name)
      assert.matches("Greenlet", tostring(g))
      assert.matches("worker", tostring(g))
      assert.equal("worker", g:get())
    end)

    it("has fields of the program's own", function()
      local g = parked()
      assert.is_nil(g.color)
      g.color, g[1] = "green", "one"
      assert.same({ "green", "one" }, { g.color, g[1] })
      g:kill()
      assert.same({ "green", "one" }, { g.color, g[1] })
      g.color = nil
      assert.is_nil(g.color)
    end)

    it("keeps nothing of a greenlet that has ended", function()
      local weak = setmetatable({}, { __mode = "k" })
      local argument, upvalue = {}, {}
      weak[argument], weak[upvalue] = true, true
      local g = green.spawn(function(_) return upvalue ~= nil end, argument)
      g:join()
      argument, upvalue = nil, nil -- luacheck: ignore
      weak[green.spawn(function() end)] = true
      turn(2)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
      assert.is_true(g.value)
    end)

    it("lets a greenlet that was never started be collected", function()
      local weak = setmetatable({}, { __mode = "k" })
      weak[Greenlet(print)] = true
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("shows a coroutine of its own to each greenlet", function()
      local threads = {}
      local function note()
        local co, main = coroutine.running()
        assert.is_false(main)
        threads[co] = (threads[co] or 0) + 1
        green.sleep(0)
        assert.equal(co, coroutine.running())
      end
      green.joinall { green.spawn(note), green.spawn(note), green.spawn(note) }
      local n = 0
      for _, times in pairs(threads) do n = n + times end
      assert.equal(3, n)
    end)
  end)

  describe("GreenletExit", function()
    it("is an error that counts as success", function()
      local g = green.spawn(function() error(GreenletExit "enough") end)
      assert.equal("GreenletExit: enough", tostring(g:get()))
      assert.is_true(g:successful())
      assert.is_nil(g.exception)
    end)

    it("is told from others", function()
      assert.is_true(GreenletExit.is(GreenletExit()))
      assert.is_true(GreenletExit.is(GreenletExit))
      for _, other in ipairs { 1, "GreenletExit", {}, green.Timeout(nil) } do
        assert.is_false(GreenletExit.is(other))
      end
      assert.is_false(GreenletExit.is())
      assert.equal("GreenletExit", tostring(GreenletExit()))
    end)
  end)
end)

local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local support = require "spec.support"

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- Run a program of its own: exit code, stdout, stderr.
local function program(text)
  return support.run { "-e", [[
    local green = require "greenlua"
    local waitlist = require "greenlua.core.waitlist"
    local function closing(what)
      return setmetatable({}, { __close = function() print(what) end })
    end
  ]] .. text }
end

describe("greenlua.util", function()
  describe("tree", function()
    it("shows who waits, for what, and where", function()
      local list = waitlist.new "an omen"
      local function oracle() list:wait() end
      local a, b = green.spawn(oracle), green.spawn(green.sleep, 100)
      local c = green.spawn(function() a:join() end)
      c.name = "pupil"
      turn()
      local fresh = green.spawn_later(100, print)
      local tree = "\n" .. green.util.tree()
      assert.matches(
        "Greenlet%-%d+ waits in an omen %(greenlua.waitlist[^\n]*%)\n[^\n]*method 'wait'", tree)
      assert.matches("util_spec%.lua:%d+: in function", tree)
      assert.matches("Greenlet%-%d+ waits in sleep\n", tree)
      assert.matches("pupil waits in join %(Greenlet%-%d+: parked%)", tree)
      assert.matches("\n  Greenlet%-%d+: fresh", tree)
      green.killall { a, b, c, fresh }
    end)

    it("follows a greenlet into its coroutines and callbacks", function()
      local g = green.spawn(function()
        local function innermost() green.sleep(100) end
        local function outermost()
          coroutine.wrap(function()
            string.gsub("x", "x", coroutine.wrap(innermost))
          end)()
        end
        outermost()
      end)
      turn()
      local tree = green.util.tree()
      local _, coroutines = tree:gsub("%(in the coroutine of%)", "")
      assert.equal(2, coroutines)
      assert.matches("sleep'.*string%.gsub'.*util_spec", tree)
      g:kill()
    end)

    it("tells of so many as are asked for, and counts the rest", function()
      local nobody = waitlist.new "nobody"
      for _ = 1, 12 do green.spawn(nobody.wait, nobody) end
      green.sleep(0)
      local all, some = green.util.tree(), green.util.tree(2)
      local count = #core.live()
      nobody:wake_all()
      assert.equal(12, select(2, all:gsub("waits in nobody", "")))
      assert.matches(("and %d more$"):format(count - 2), some)
    end)

    it("takes objects that cannot be shown", function()
      local bad = setmetatable({}, { __tostring = function() error "no" end,
        __index = { wait = function(_, list) list:wait() end } })
      local list = waitlist.new "a test"
      local g = green.spawn(bad.wait, bad, list)
      turn()
      assert.matches("waits in a test", green.util.tree())
      g:kill()
    end)
  end)

  describe("LoopExit", function()
    it("is raised in main when nothing is left that could end its wait #main", function()
      local list = waitlist.new "nothing"
      local g = green.spawn(list.wait, list)
      g.name = "the last"
      for _, wait in ipairs { function() g:join() end, function() g:get() end,
          function() list:wait() end, function() green.joinall { g } end,
          function() green.wait { g } end,
          function() string.gsub("x", "x", function() g:join() end) end,
          function() coroutine.wrap(function() g:join() end)() end } do
        local ok, err = pcall(wait)
        assert.is_false(ok)
        assert.is_true(green.LoopExit.is(err), tostring(err))
        assert.matches("^LoopExit: this operation would block forever", tostring(err))
        assert.matches("the last waits in nothing", tostring(err))
        assert.is_string(err.message)
        assert.matches("the last waits", err.tree)
      end
      -- and all is usable afterwards
      green.sleep(0.001)
      list:wake_all()
      assert.is_true(g:join())
    end)

    it("is not raised while a timer, or an idle greenlet, is there #main", function()
      local g = green.spawn(green.sleep, 0.005)
      assert.is_true(g:join())
      local h = green.spawn(green.idle)
      assert.is_true(h:join())
      assert.is_false(green.spawn(waitlist.new("x").wait, waitlist.new "x"):join(0.001))
      for _, left in ipairs(core.live()) do left:kill() end
    end)

    it("is not raised in greenlets that lock each other out #main", function()
      local a, b, seen
      a = green.spawn(function() seen = pcall(b.join, b) end)
      b = green.spawn(function() a:join() end)
      assert.is_true(green.LoopExit.is(select(2, pcall(a.join, a))))
      assert.is_nil(seen)
      b:kill()
      a:join()
      assert.is_true(seen)
    end)

    it("does not count what has ref=false", function()
      local code, _, err = program [[
        green.spawn(green.sleep, 100, false)
        waitlist.new("nothing"):wait()
      ]]
      assert.equal(1, code)
      assert.matches("would block forever", err)
      assert.matches("waits in sleep", err)
    end)

    it("ends a program that does not catch it", function()
      local code, out, err = program [[
        local first
        local second = green.spawn(function() first:join() end)
        first = green.spawn(function() second:join() end)
        first.name, second.name = "first", "second"
        local _ <close> = closing "closed"
        second:join()
      ]]
      assert.equal(1, code)
      assert.equal("closed\n", out)
      assert.matches("LoopExit", err)
      assert.matches("first waits in join", err)
      assert.matches("second waits in join", err)
    end)
  end)

  describe("shutdown", function()
    it("closes every greenlet and main, and ends with its code", function()
      local code, out, err = program [[
        local _ <close> = closing "main"
        green.spawn(function() local _ <close> = closing "a" green.sleep(100) end)
        green.spawn(function()
          local _ <close> = closing "b"
          while true do pcall(green.sleep, 100) end
        end)
        green.sleep(0)
        green.spawn(print, "never runs")
        green.shutdown(7)
        print "not here"
      ]]
      assert.same({ 7, "a\nb\nmain\n", "" }, { code, out, err })
    end)

    it("is 0 by default", function()
      assert.same({ 0, "", "" }, { program "green.shutdown()" })
    end)

    it("may be called in a greenlet, while main waits", function()
      local code, out, err = program [[
        local _ <close> = closing "main"
        green.spawn(function() local _ <close> = closing "other" green.sleep(100) end)
        green.spawn(function()
          local _ <close> = closing "caller"
          green.sleep(0.001)
          green.shutdown(3)
        end)
        green.sleep(100)
      ]]
      assert.equal(3, code)
      assert.equal("", err)
      local lines = {}
      for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
      table.sort(lines)
      assert.same({ "caller", "main", "other" }, lines)
    end)

    it("may be called in a coroutine under a boundary, in main too", function()
      for _, template in ipairs { "%s", "green.spawn(function() %s end) green.sleep(1)" } do
        local code, out, err = program(template:format [[
          local _ <close> = closing "outer"
          string.gsub("x", "x", function()
            local _ <close> = closing "callback"
            coroutine.wrap(function()
              local _ <close> = closing "coroutine"
              green.shutdown(4)
            end)()
          end)
        ]])
        assert.equal(4, code, err)
        assert.equal("", err)
        assert.matches("outer", out)
      end
    end)

    it("waits for <close> variables that block", function()
      local code, out = program [[
        green.spawn(function()
          local _ <close> = setmetatable({}, { __close = function()
            green.sleep(0.005)
            print "slowly"
          end })
          green.sleep(100)
        end)
        green.sleep(0)
        green.shutdown()
      ]]
      assert.same({ 0, "slowly\n" }, { code, out })
    end)

    it("refuses a code that is none, and then closes nobody", function()
      local g = green.spawn(green.sleep, 100)
      turn()
      assert.error_matches(function() green.shutdown "now" end,
        "bad argument #1 to 'shutdown' %(exit code or nil expected, got now%)")
      assert.error_matches(function() green.shutdown(1.5) end, "exit code or nil expected")
      assert.is_false(g.dead)
      g:kill()
    end)
  end)

  describe("the end of the program", function()
    it("closes greenlets that never come to an end", function()
      local code, out, err = program [[
        green.spawn(function()
          local _ <close> = closing "greenlet"
          string.gsub("x", "x", function()
            local _ <close> = closing "callback"
            coroutine.wrap(function()
              local _ <close> = closing "coroutine"
              waitlist.new("nothing"):wait()
            end)()
          end)
        end)
      ]]
      assert.same({ 0, "coroutine\ncallback\ngreenlet\n", "" }, { code, out, err })
    end)

    it("is the same by os.exit with close, while without it nothing is closed", function()
      local text = [[
        local _ <close> = closing "main"
        green.spawn(function()
          local _ <close> = closing "greenlet"
          green.sleep(100)
        end)
        green.sleep(0)
        os.exit(%s)
      ]]
      local code, out = program(text:format "5, true")
      assert.equal(5, code)
      assert.equal("main\ngreenlet\n", out)
      assert.same({ 5, "", "" }, { program(text:format "5") })
    end)

    it("comes by os.exit in a greenlet on its own C stack", function()
      local code, out, err = program [[
        local _ <close> = closing "main"
        green.spawn(string.gsub, "x", "x", function()
          local _ <close> = closing "callback"
          green.sleep(0.001)
          coroutine.wrap(function() os.exit(6, true) end)()
        end)
        green.sleep(100)
      ]]
      assert.equal(6, code, err)
      assert.equal("", err)
      assert.matches("main", out)
      assert.matches("callback", out)
    end)

    it("reports an error of main and closes greenlets", function()
      local code, out, err = program [[
        green.spawn(function() local _ <close> = closing "greenlet" green.sleep(100) end)
        green.sleep(0)
        error "main fails"
      ]]
      assert.equal(1, code)
      assert.equal("greenlet\n", out)
      assert.matches("main fails", err)
    end)

    it("survives finalizers that come after the hub", function()
      local code, out, err = support.run { "-e", [[
        oldest = setmetatable({}, { __gc = function()
          for _, f in ipairs {
            function() green.spawn(print) end,
            function() green.spawn_later(1, print) end,
            function() fresh:start() end,
            function() fresh:kill() end,
            function() fresh:close() end,
            function() green.sleep(0) end,
            function() green.sleep(1) end,
            function() green.Timeout(1) end,
            function() timer:start() end,
            function() green.signal("USR1", print) end,
            function() parked:join() end,
          } do
            local ok, err = pcall(f)
            print(ok, (tostring(err):gsub("^[^ ]*:%d+: ", "")))
          end
          pcall(function()
            parked:kill() parked:close() list:wake() handler:cancel() timer:cancel()
            green.util.tree() green.current() green.pcall(error) tostring(parked)
          end)
          print "survived"
        end })
        green = require "greenlua"
        list = require("greenlua.core.waitlist").new "x"
        parked = green.spawn(list.wait, list)
        handler = green.signal("USR1", print)
        fresh, timer = green.Greenlet(print), green.Timeout(nil)
        local _ = green.util
        green.sleep(0)
      ]] }
      assert.equal(0, code, err)
      assert.equal("", err)
      assert.matches("survived\n$", out)
      assert.equal(10, select(2, out:gsub("false\t[^\n]*the hub is closed[^\n]*", "")), out)
    end)
  end)
end)

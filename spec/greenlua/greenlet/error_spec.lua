local green = require "greenlua"
local greenlets = require "spec.support.greenlets"

local GreenletExit = green.GreenletExit
local closing, parked, reports_of = greenlets.closing, greenlets.parked, greenlets.reports_of
local stderr_of, turn = greenlets.stderr_of, greenlets.turn

describe("greenlua.greenlet", function()
  describe("an error", function()
    it("is printed once, with a traceback, if nobody is there", function()
      local g
      local text = stderr_of(function()
        g = green.spawn(function()
          local function deep() error "boom" end
          deep()
        end)
        g.name = "worker"
        g:join()
        turn(2)
        pcall(g.get, g)
      end)
      assert.matches("error_spec%.lua:%d+: boom\n", text)
      assert.matches("stack traceback:\n", text)
      assert.matches("in local 'deep'", text)
      assert.matches("\n%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ [^\n]*worker[^\n]* failed with "
        .. "[^\n]*boom\n\n$", text)
      assert.equal(1, select(2, text:gsub("failed with", "")))
      assert.matches("in local 'deep'", g.traceback)
    end)

    it("keeps the traceback that it had before unwinding", function()
      local g = green.spawn(function()
        local _ <close> = closing(function() green.sleep(0) end) -- luacheck: ignore
        local function culprit() error {} end
        culprit()
        return 1
      end)
      pcall(g.get, g)
      assert.matches("culprit", g.traceback)
    end)

    it("is not printed if somebody is there for it", function()
      local text = stderr_of(function()
        local a = green.spawn(error, "x")
        a:link(function() end)
        a:join()
        local b = green.spawn(error, "x")
        b:link_exception(function() end)
        b:join()
        local c = green.spawn(error, "x")
        pcall(c.get, c)
        pcall(green.joinall, { green.spawn(error, "x") }, nil, true)
        turn(2)
      end)
      assert.equal("", text)
    end)

    it("is printed for a rawlink, a link_value, a join, and a get that has left", function()
      local text = stderr_of(function()
        local a = green.spawn(error, "from a")
        a:rawlink(function() end)
        a:join()
        local b = green.spawn(error, "from b")
        b:link_value(function() end)
        b:join()
        green.joinall { green.spawn(error, "from c") }
        green.wait { green.spawn(error, "from d") }
        local e = green.spawn(function() green.sleep(0.002) error("from e", 0) end)
        pcall(e.get, e, 0.001)
        e:join()
        turn(2)
      end)
      for name in ("abcde"):gmatch "." do
        assert.equal(2, select(2, text:gsub("from " .. name, "")), name)
      end
    end)

    it("is not printed for GreenletExit, but is for a Timeout", function()
      local text = stderr_of(function()
        green.spawn(function() error(GreenletExit()) end):join()
        green.spawn(function() error(GreenletExit) end):join()
        parked():kill()
      end)
      assert.equal("", text)
      text = stderr_of(function()
        green.spawn(function() local _ = green.Timeout(0.001) green.sleep(1) end):join()
      end)
      assert.matches("failed with Timeout: 0.001 seconds", text)
    end)

    it("is printed although it cannot be made a string", function()
      local text = stderr_of(function()
        green.spawn(error, setmetatable({}, { __tostring = function() error "no" end })):join()
        green.spawn(error, setmetatable({}, { __tostring = function() return 5 end })):join()
        green.spawn(error, nil):join()
        green.spawn(error, {}):join()
      end)
      assert.equal(4, select(2, text:gsub("failed with", "")))
    end)

    it("goes to on_error instead", function()
      local seen
      local text = stderr_of(function()
        local before = green.on_error(function(g, err, traceback)
          green.sleep(0) -- it may block
          seen = { g, err, traceback }
        end)
        local g = green.spawn(error, "x")
        g:join()
        turn(3)
        assert.equal(g, seen[1])
        assert.equal("x", seen[2])
        assert.matches("stack traceback", seen[3])
        assert.is_function(green.on_error(before))
      end)
      assert.equal("", text)
    end)

    it("of on_error itself is printed, and that is all", function()
      local calls = 0
      local text = stderr_of(function()
        local before = green.on_error(function() calls = calls + 1 error "cannot report" end)
        green.spawn(error, "x"):join()
        turn(5)
        green.on_error(before)
      end)
      assert.equal(1, calls)
      assert.matches("cannot report", text)
    end)

    it("refuses another handler than a function", function()
      assert.error_matches(function() green.on_error(5) end,
        "bad argument #1 to 'on_error' %(function or nil expected, got number%)")
    end)

    it("harms no other greenlet", function()
      local n = 0
      reports_of(function()
        local all = {}
        for i = 1, 20 do
          all[i] = green.spawn(function()
            green.sleep(0)
            if i % 2 == 0 then error "x" end
            n = n + 1
          end)
        end
        green.joinall(all)
      end)
      assert.equal(10, n)
    end)

    it("in the stack's own overflow is an error like others", function()
      local g = green.spawn(function()
        local function deeper() return 1 + deeper() end
        return deeper()
      end)
      assert.error_matches(function() g:get() end, "stack overflow")
      local h = green.spawn(function()
        local function deeper() return (string.gsub("x", "x", deeper)) end
        return deeper()
      end)
      assert.error_matches(function() h:get() end, "C stack overflow")
    end)
  end)

  describe("pcall", function()
    it("is pcall for errors", function()
      assert.same({ n = 3, true, 1, nil }, table.pack(green.pcall(function() return 1, nil end)))
      assert.same({ false, "x" }, { green.pcall(error, "x", 0) })
      assert.same({ n = 2, false, nil }, table.pack(green.pcall(error)))
    end)

    it("lets a kill through", function()
      local after = false
      local g = parked(function()
        green.pcall(function()
          table.sort({ 1, 2 }, function() green.pcall(green.sleep, 100) end)
        end)
        after = true
      end)
      g:kill()
      assert.is_false(after)
      assert.is_true(GreenletExit.is(g.value))
      local h = parked(function() green.pcall(green.sleep, 100) return "caught" end)
      green.spawn(h.kill, h, "an error of the killer's")
      assert.error(function() h:get() end, "an error of the killer's")
    end)

    it("lets a Timeout through, whoever raises it", function()
      local timer <close> = green.Timeout(0.001)
      local ok, err = pcall(green.pcall, green.sleep, 1)
      assert.same({ false, timer }, { ok, err })
      local g = parked()
      for _, f in ipairs {
        function() green.with_timeout(0.001, green.sleep, 1) end,
        function() g:get(0.001) end,
        function() g:join(green.Timeout(0.001)) end,
        function() g:join(timer) end,
      } do
        ok, err = pcall(green.pcall, f)
        assert.is_false(ok)
        assert.is_true(green.Timeout.is(err))
      end
      g:kill()
    end)

    it("catches errors after a kill that was caught", function()
      local g = parked(function()
        pcall(green.sleep, 100)
        return green.pcall(error, "later", 0)
      end)
      g:kill()
      assert.same({ false, "later" }, { g:get() })
    end)

    it("leaves Lua's own alone", function()
      local g = parked(function() return pcall(green.sleep, 100) end)
      g:kill()
      assert.is_false((g:get()))
    end)
  end)
end)

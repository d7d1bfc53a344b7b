local green = require "greenlua"
local support = require "spec.support"
local greenlets = require "spec.support.greenlets"

local Greenlet, GreenletExit = green.Greenlet, green.GreenletExit
local parked, reports_of = greenlets.parked, greenlets.reports_of
local stderr_of, turn = greenlets.stderr_of, greenlets.turn

describe("greenlua.greenlet", function()
  describe("link", function()
    it("calls in the order the links were made, each in a greenlet of its own", function()
      local order, runners = {}, {}
      local g = green.spawn(function() order[#order + 1] = "end" end)
      for i = 1, 3 do
        g:link(function(dead)
          assert.equal(g, dead)
          runners[green.current()] = true
          green.sleep(0)
          order[#order + 1] = i
        end)
      end
      g:join()
      turn(3)
      assert.same({ "end", 1, 2, 3 }, order)
      local n = 0
      for _ in pairs(runners) do n = n + 1 end
      assert.equal(3, n)
    end)

    it("has run when a join that came after it returns", function()
      local linked = false
      local g = green.spawn(function() end)
      g:link(function() linked = true end)
      g:join()
      assert.is_true(linked)
    end)

    it("is called for a greenlet that has ended, not at once", function()
      local n = 0
      local g = green.spawn(function() end)
      g:join()
      g:link(function() n = n + 1 end)
      g:rawlink(function() n = n + 10 end)
      assert.equal(0, n)
      turn(3)
      assert.equal(11, n)
    end)

    it("by kind looks at the outcome", function()
      local order = {}
      local function all(g, name)
        g:link(function() order[#order + 1] = name .. " link" end)
        g:link_value(function() order[#order + 1] = name .. " value" end)
        g:link_exception(function() order[#order + 1] = name .. " exception" end)
        g:join()
        turn(2)
      end
      all(green.spawn(function() end), "returned")
      all(green.spawn(error, "x"), "failed")
      all(green.spawn(function() error(GreenletExit()) end), "exited")
      assert.same({ "returned link", "returned value", "failed link", "failed exception",
        "exited link", "exited value" }, order)
    end)

    it("can be taken back", function()
      local n = 0
      local function count() n = n + 1 end
      local g = green.spawn(function() end)
      g:link(count)
      g:link(count)
      assert.is_true(g:has_links())
      g:unlink(count)
      g:unlink(print)
      g:join()
      turn(2)
      assert.equal(1, n)
      assert.is_false(g:has_links())
      local h = green.spawn(function() end)
      assert.is_false(h:has_links())
      h:link(count)
      h:rawlink(count)
      h:unlink_all()
      assert.is_false(h:has_links())
      h:join()
      turn(2)
      assert.equal(1, n)
    end)

    it("may take back or add later ones while the hub calls a rawlink", function()
      local order = {}
      local function note(name) return function() order[#order + 1] = name end end
      local g = green.spawn(function() end)
      local unwanted = note "unwanted"
      g:rawlink(function()
        order[#order + 1] = "first"
        g:unlink(unwanted)
        g:rawlink(note "added")
      end)
      g:rawlink(unwanted)
      g:rawlink(note "last")
      g:join()
      assert.same({ "first", "last", "added" }, order)
    end)

    it("goes on when one of them fails", function()
      local called = 0
      local g = green.spawn(function() end)
      g:link(function() error("a link failed", 0) end)
      g:rawlink(function() error("a rawlink failed", 0) end)
      g:link(function() called = called + 1 end)
      g:rawlink(function() called = called + 1 end)
      local text
      local reports = reports_of(function()
        text = stderr_of(function() g:join() turn(3) end)
      end)
      assert.equal(2, called)
      assert.equal("a link failed", reports[1][2])
      assert.matches("a rawlink failed\n.*rawlink of Greenlet%-%d+ failed", text)
    end)

    it("runs a rawlink in the hub, where nothing can block", function()
      local seen, other = {}, parked()
      local g = green.spawn(function() end)
      g:rawlink(function()
        seen.current = green.current() == nil
        for name, f in pairs {
          sleep = function() green.sleep(1) end,
          nothing = function() green.sleep(0) end,
          idle = green.idle,
          join = function() other:join() end,
          get = function() other:get(1) end,
          timeout = function() green.Timeout(1) end,
          coroutine = coroutine.wrap(function() green.sleep(1) end),
        } do
          local ok, err = pcall(f)
          seen[name] = not ok and (err:match "cannot block here: the hub itself"
            or err:match "the hub itself is running")
        end
        -- what does not block is allowed
        other:kill(nil, 0)
        green.spawn(function() seen.spawned = true end)
        seen.caught = not green.pcall(error, "x")
      end)
      g:join()
      other:join()
      turn(2)
      for _, name in ipairs { "current", "sleep", "nothing", "idle", "join", "get", "timeout",
          "coroutine", "spawned", "caught" } do
        assert(seen[name], name)
      end
    end)

    it("lets rawlinks end others, which have rawlinks, and so on", function()
      local all, n = {}, 0
      for i = 1, 50 do
        all[i] = Greenlet(print)
        all[i]:rawlink(function()
          n = n + 1
          if all[i + 1] then green.kill(all[i + 1]) end
        end)
      end
      green.kill(all[1])
      assert.equal(50, n)
    end)

    it("fails like a deep recursion if there are too many of those", function()
      local code, out, err = support.run { "-e", [[
        local green = require "greenlua"
        local all, n = {}, 0
        for i = 1, 1000 do
          all[i] = green.Greenlet(print)
          all[i]:rawlink(function()
            n = n + 1
            if all[i + 1] then green.kill(all[i + 1]) end
          end)
        end
        green.kill(all[1])
        print(n > 50, green.spawn(function() return "fine" end):get())
      ]] }
      assert.same({ 0, "true\tfine\n" }, { code, out })
      assert.matches("C stack overflow", err)
    end)

    it("restarts a Timeout in a rawlink nowhere", function()
      local timer = green.Timeout(nil)
      local ok, err
      local g = green.spawn(function() end)
      g:rawlink(function() ok, err = pcall(timer.start, timer, 1) end)
      g:join()
      assert.is_false(ok)
      assert.matches("belongs to a greenlet", err)
    end)

    it("refuses what cannot be called", function()
      local g = Greenlet(print)
      for _, kind in ipairs { "link", "link_value", "link_exception", "rawlink" } do
        assert.error_matches(function() g[kind](g, 5) end,
          ("bad argument #1 to '%s' %%(function or callable expected, got number"):format(kind))
        assert.error_matches(function() g[kind](g) end, "function or callable expected, got nil")
      end
    end)

    it("takes callable objects", function()
      local seen
      local g = green.spawn(function() end)
      g:link(setmetatable({}, { __call = function(_, dead) seen = dead end }))
      g:join()
      turn(2)
      assert.equal(g, seen)
    end)
  end)
end)

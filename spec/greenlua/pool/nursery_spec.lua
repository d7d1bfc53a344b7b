local green = require "greenlua"
local greenlets = require "spec.support.greenlets"
local pools = require "spec.support.pools"
local support = require "spec.support"

local Group, Pool = green.Group, green.Pool
local closing, turn = greenlets.closing, greenlets.turn
local fail = pools.fail

describe("greenlua.pool", function()
  for name, class in pairs { Group = Group, Pool = Pool } do
    describe("a nursery, " .. name, function()
      it("waits for its children at the end of the scope", function()
        local done = 0
        do
          local group <close> = class()
          for i = 1, 3 do group:spawn(function() turn(i) done = done + 1 end) end
        end
        assert.equal(3, done)
      end)

      it("raises a child's error where the scope waits, its siblings being dead", function()
        local list, sibling, body = greenlets.unclaimed_errors(finally), nil, nil
        local ok, err = pcall(function()
          local group <close> = class()
          sibling = group:spawn(green.sleep, 100)
          group:spawn(fail, "oh", 2)
          body = { pcall(green.sleep, 100) }
          error(body[2], 0)
        end)
        assert.same({ false, "oh" }, body)
        assert.same({ false, "oh" }, { ok, err })
        assert.is_true(sibling:ready())
        turn(3)
        assert.same({}, list)
      end)

      it("raises a child's error at the end of the scope", function()
        local list, sibling, child, group_ = greenlets.unclaimed_errors(finally), nil, nil, nil
        local ok, err = pcall(function()
          local group <close> = class()
          group_ = group
          sibling = group:spawn(green.sleep, 100)
          child = group:spawn(fail, "oh", 2)
        end)
        assert.same({ false, "oh" }, { ok, err })
        assert.is_true(sibling:ready())
        assert.equal(child, group_.failed)
        assert.matches("^stack traceback:.*%.fail'", child.traceback)
        assert.same({}, list)
      end)

      it("raises an error that comes while the scope is ready to run at its end", function()
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh")
          turn() -- both are ready: the child fails first
        end)
        assert.same({ false, "oh" }, { ok, err })
        turn(2) -- nothing is left to be raised here
      end)

      it("raises it once: who catches it in the scope has had it", function()
        pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh")
          assert.same({ false, "oh" }, { pcall(green.sleep, 100) })
        end)
        turn(2)
      end)

      it("kills the children when the scope fails, and waits for them", function()
        local ended = false
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = closing(function() turn(3) ended = true end)
            green.sleep(100)
          end)
          turn()
          error("scope", 0)
        end)
        assert.same({ false, "scope" }, { ok, err })
        assert.is_true(ended)
      end)

      it("kills the children when the scope is killed, or out of time", function()
        local child
        local function body()
          local group <close> = class()
          child = group:spawn(green.sleep, 100)
          green.sleep(100)
        end
        local g = green.spawn(body)
        turn(2)
        g:kill()
        assert.is_true(child:ready())
        assert.is_false((green.within(0.002, body)))
        assert.is_true(child:ready())
        g = green.spawn(body)
        turn(2)
        g:close()
        assert.is_true(child:ready())
      end)

      it("does so as well while it waits at the end", function()
        local child
        local function body()
          local group <close> = class()
          child = group:spawn(green.sleep, 100)
        end
        local g = green.spawn(body)
        turn(2)
        g:kill()
        assert.is_true(child:ready())
        assert.is_true(green.GreenletExit.is(g.value))
        assert.is_false((green.within(0.002, body)))
        assert.is_true(child:ready())
      end)

      it("is one in a coroutine, and in main under a C boundary", function()
        local function body()
          local group <close> = class()
          group:spawn(fail, "oh", 1)
          green.sleep(100)
        end
        local ok, err = pcall(coroutine.wrap(body))
        assert.same({ false, "oh" }, { ok, err })
        ok, err = pcall(string.gsub, "x", "x", body)
        assert.same({ false, "oh" }, { ok, err })
      end)

      it("is none without <close>, though another variable was in its place", function()
        local list = greenlets.unclaimed_errors(finally)
        do local group <close> = closing(function() end) end -- luacheck: ignore
        local group = class()
        group:spawn(fail, "oh", 1)
        turn(4)
        assert.same({ "oh" }, list)
        assert.equal(nil, group.failed)
      end)

      it("leaves an error to those who are there for it", function()
        local group_
        do
          local group <close> = class()
          group_ = group
          local sibling = group:spawn(turn, 5)
          assert.has_error(function() group:spawn(fail, "oh", 1):get() end, "oh")
          assert.has_error(function() group:apply(fail, "oh", 1) end, "oh")
          assert.has_error(function() group:map(fail, { "oh" }) end, "oh")
          sibling:join()
          assert.is_true(sibling:successful())
        end
        assert.equal(nil, group_.failed)
      end)

      it("reports what fails besides", function()
        local list = greenlets.unclaimed_errors(finally)
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = closing(function() error("second", 0) end)
            green.sleep(100)
          end)
          group:spawn(fail, "first", 1)
        end)
        assert.same({ false, "first" }, { ok, err })
        turn(2)
        assert.same({ "second" }, list)
      end)

      it("takes nobody in once its scope has ended", function()
        local group
        do
          local scope <close> = class()
          group = scope
        end
        local ok, err = pcall(group.spawn, group, turn)
        assert.is_false(ok)
        assert.matches("cannot spawn in " .. name .. ".*: its scope has ended", err)
      end)

      it("ends those that come in while it is given up", function()
        local late
        pcall(function()
          local group <close> = class()
          group:spawn(function()
            local _ <close> = closing(function() late = group:spawn(green.sleep, 100) end)
            green.sleep(100)
          end)
          turn()
          error "scope"
        end)
        assert.is_true(late:ready())
      end)

      it("nests", function()
        local seen = {}
        local ok, err = pcall(function()
          local outer <close> = class()
          outer:spawn(function()
            local inner <close> = class()
            inner:spawn(function()
              local _ <close> = closing(function() seen[#seen + 1] = "inner" end)
              green.sleep(100)
            end)
            inner:spawn(fail, "deep", 1)
          end)
          local _ <close> = closing(function() seen[#seen + 1] = "outer" end)
          green.sleep(100)
        end)
        assert.same({ false, "deep" }, { ok, err })
        assert.same({ "inner", "outer" }, seen)
      end)

      it("in main raises where main waits #main", function()
        local ok, err = pcall(function()
          local group <close> = class()
          group:spawn(fail, "oh", 1)
          green.sleep(100)
        end)
        assert.same({ false, "oh" }, { ok, err })
      end)
    end)
  end

  it("tells a failed scope's traceback, and the child's before it", function()
    local g
    local list = greenlets.unclaimed_errors(finally)
    g = green.spawn(function()
      local group <close> = Group()
      group:spawn(function() turn() error "deep down" end)
    end)
    g:join()
    turn(2)
    assert.equal(1, #list)
    assert.matches("deep down", list[1])
    assert.matches("^stack traceback.*raised in Greenlet%-%d+ by the end of its scope:.*close",
      g.traceback)
  end)

  it("in a scope holds up neither the end of a program nor os.exit", function()
    local code, out, err = support.run { "-e", [[
      local green = require "greenlua"
      green.spawn(function()
        local group <close> = green.Group()
        group:spawn(green.sleep, 100)
        green.sleep(100)
      end)
      green.sleep(0.001)
      os.exit(3, true)
    ]] }
    assert.same({ 3, "", "" }, { code, out, err })
  end)
end)

-- Blocking works wherever it is called.

local green = require "greenlua"
local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local boundaries = require "spec.support.boundaries"
local greenlets = require "spec.support.greenlets"
local support = require "spec.support"

local closing, turn = greenlets.closing, greenlets.turn

describe("blocking", function()
  local before
  before_each(function() before = green.on_error(function() end) end)
  after_each(function() green.on_error(before) end)

  for _, place in ipairs(boundaries) do
    describe("in " .. place.name, function()
      it("lets others run meanwhile, by turns", function()
        local order, all = {}, {}
        for i = 1, 3 do
          all[i] = green.spawn(place.call, function()
            for step = 1, 3 do
              order[#order + 1] = step .. ":" .. i
              green.sleep(0)
            end
          end)
        end
        green.joinall(all)
        assert.equal("1:1 1:2 1:3 2:1 2:2 2:3 3:1 3:2 3:3", table.concat(order, " "))
      end)

      it("keeps what is on the stack, with the garbage collected meanwhile", function()
        local all = {}
        for i = 1, 20 do
          all[i] = green.spawn(function()
            local sum = 0
            for step = 1, 3 do
              place.call(function()
                local mine = { i * step }
                local kept = closing(function() sum = sum + mine[1] end)
                green.sleep(0)
                if (i + step) % 7 == 0 then collectgarbage() end
                green.sleep(0.0001)
                local _ <close> = kept -- luacheck: ignore
              end)
            end
            return sum
          end)
        end
        for i = 1, 20 do assert.equal(6 * i, (all[i]:get())) end
      end)

      it("raises an error of what was called", function()
        local g = green.spawn(place.call, function()
          green.sleep(0)
          error({ "an object" }, 0)
        end)
        local ok, err = pcall(g.get, g)
        assert.is_false(ok)
        assert.same({ "an object" }, err)
      end)

      it("works in main #main", function()
        local ran = false
        local g = green.spawn(function() turn() ran = true end)
        place.call(function() g:join() end)
        assert.is_true(ran)
      end)

      it("fails alone when no C stack is left", function()
        local _, limit = core.stacks()
        local _ <close> = closing(function() core.stacks(limit) end) -- luacheck: ignore
        turn()
        core.stacks((core.stacks()))
        local refused, all, gate = 0, {}, waitlist.new "a gate"
        for i = 1, 100 do
          all[i] = green.spawn(function()
            local ok, err = pcall(place.call, gate.wait, gate)
            if ok then return end
            assert(tostring(err):find("cannot block here: no C stack is left", 1, true), err)
            refused = refused + 1
          end)
        end
        turn(3)
        assert.is_true(refused > 0)
        assert.equal(100, refused + #gate)
        gate:wake_all()
        for _, g in ipairs(all) do g:get() end
        core.stacks(limit)
        place.call(turn)
      end)
    end)
  end

  it("sorts with a comparator that sleeps", function()
    local all = {}
    for i = 1, 10 do
      all[i] = green.spawn(function()
        local list = {}
        for j = 1, 20 do list[j] = (j * 7 + i) % 20 end
        table.sort(list, function(a, b)
          if a % 3 == 0 then green.sleep(0) end
          return a < b
        end)
        return table.concat(list, ",")
      end)
    end
    for i = 1, 10 do
      assert.equal("0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19", (all[i]:get()))
    end
  end)

  it("substitutes with a callback that sleeps", function()
    local function double(s)
      return (s:gsub("%w", function(c) green.sleep(0) return c .. c end))
    end
    local a, b = green.spawn(double, "abc"), green.spawn(double, "xyz")
    assert.same({ "aabbcc", "xxyyzz" }, { a:get(), b:get() })
  end)

  it("loads from a reader that sleeps", function()
    local pieces = { "return ", "1 ", "+ 1" }
    local function load_slowly()
      local i = 0
      return assert(load(function() green.sleep(0) i = i + 1 return pieces[i] end))()
    end
    local a, b = green.spawn(load_slowly), green.spawn(load_slowly)
    assert.same({ 2, 2 }, { a:get(), b:get() })
  end)

  it("prints what has a __tostring that sleeps", function()
    local code, out = support.run { "-e", [[
      local green = require "greenlua"
      local slow = setmetatable({}, { __tostring = function()
        green.sleep(0.001)
        return "slow"
      end })
      green.spawn(function() print(slow, slow) end)
      print "first"
    ]] }
    assert.same({ 0, "first\nslow\tslow\n" }, { code, out })
  end)

  it("lets generators block, and yield to their own resumer in turn", function()
    local trace = {}
    local function generator(name)
      return coroutine.wrap(function()
        for i = 1, 3 do
          green.sleep(0)
          coroutine.yield(name .. i)
          green.sleep(0)
        end
      end)
    end
    local function consume(name)
      for item in generator(name) do
        trace[#trace + 1] = item
        green.sleep(0)
      end
    end
    green.joinall { green.spawn(consume, "a"), green.spawn(consume, "b") }
    assert.equal("a1 b1 a2 b2 a3 b3", table.concat(trace, " "))
  end)

  it("lets a generator be resumed by one greenlet after another", function()
    local generator = coroutine.wrap(function()
      for i = 1, 4 do green.sleep(0) coroutine.yield(i, green.current()) end
    end)
    for i = 1, 4 do
      local g = green.spawn(function() return generator() end)
      local item, whose = g:get()
      assert.equal(i, item)
      assert.equal(g, whose)
    end
  end)

  it("keeps a generator that blocks from a second resumer", function()
    local co = coroutine.create(function() green.sleep(0) green.sleep(0) return "done" end)
    local first = green.spawn(coroutine.resume, co)
    turn()
    assert.equal("normal", coroutine.status(co))
    assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(co) })
    assert.error_matches(function() coroutine.close(co) end, "cannot close a %a+ coroutine")
    assert.same({ true, "done" }, { first:get() })
    assert.equal("dead", coroutine.status(co))
  end)

  it("kills a generator with the greenlet that blocks in it", function()
    local co = coroutine.create(function() green.sleep(100) end)
    local g = green.spawn(function() error(select(2, coroutine.resume(co)), 0) end)
    turn()
    g:kill()
    assert.equal("dead", coroutine.status(co))
    assert.is_true(green.GreenletExit.is(g.value))
    local other = coroutine.create(function() green.sleep(100) end)
    g = green.spawn(coroutine.resume, other)
    turn()
    g:close()
    assert.equal("dead", coroutine.status(other))
  end)

  it("nests as deep as Lua's C stack goes", function()
    local places = {}
    for _, place in ipairs(boundaries) do -- there are no hooks in a hook
      if not place.name:find "hook" then places[#places + 1] = place end
    end
    local function nest(depth, f)
      if depth == 0 then return f() end
      local place = places[depth % #places + 1]
      place.call(nest, depth - 1, f)
    end
    local reached = 0
    local all = {}
    for i = 1, 3 do
      all[i] = green.spawn(nest, 25, function()
        turn(2)
        collectgarbage()
        reached = reached + 1
      end)
    end
    green.joinall(all, nil, true)
    assert.equal(3, reached)
  end)

  it("survives a recursion through boundaries up to the C stack's overflow", function()
    for _, deeper in ipairs {
      function(f) string.gsub("x", "x", f) end,
      function(f) table.sort({ 1, 2 }, function(a, b) f() return a < b end) end,
      function(f) coroutine.wrap(f)() end,
      function(f) tostring(setmetatable({}, { __tostring = function() f() return "" end })) end,
    } do
      local function recurse()
        green.sleep(0)
        deeper(recurse)
      end
      local a, b = green.spawn(recurse), green.spawn(recurse)
      assert.error_matches(function() green.spawn(b.join, b) a:get() end, "overflow")
      pcall(b.get, b)
    end
    turn()
  end)

  it("gives way in a count hook", function()
    local ticks, done = 0, false
    local ticker = green.spawn(function() while not done do ticks = ticks + 1 turn() end end)
    local g = green.spawn(function()
      debug.sethook(function() green.sleep(0) end, "", 1000)
      local sum = 0
      for i = 1, 50000 do sum = sum + i end
      debug.sethook()
      return sum
    end)
    assert.equal(50000 * 50001 // 2, (g:get()))
    done = true
    ticker:join()
    assert.is_true(ticks > 50)
  end)

  it("gives way in line, call and return hooks", function()
    for _, mask in ipairs { "l", "c", "r", "crl" } do
      local calls = 0
      local g = green.spawn(function()
        local function f(x)
          local y = x + 1
          return y
        end
        debug.sethook(function() calls = calls + 1 green.sleep(0) end, mask)
        local result = f(f(1))
        debug.sethook()
        return result
      end)
      assert.equal(3, (g:get()))
      assert.is_true(calls > 0)
    end
  end)

  it("does not carry a hook over to other greenlets", function()
    green.spawn(function()
      debug.sethook(function() end, "l")
    end):join()
    for _ = 1, 5 do
      assert.is_nil((green.spawn(function() return (debug.gethook()) end):get()))
    end
  end)

  it("tells where it can yield as Lua does", function()
    local seen = {}
    green.spawn(function()
      seen[1] = coroutine.isyieldable()
      string.gsub("x", "x", function() seen[2] = coroutine.isyieldable() end)
      seen[3] = coroutine.wrap(function() return coroutine.isyieldable() end)()
    end):join()
    assert.same({ true, false, true }, seen)
  end)

  it("goes on through xpcall handlers that block, and what they return", function()
    local g = green.spawn(function()
      return xpcall(function()
        green.sleep(0)
        error("x", 0)
      end, function(err)
        green.sleep(0)
        return err .. "y"
      end)
    end)
    assert.same({ false, "xy" }, { g:get() })
  end)

  it("blocks in <close> variables, whatever ends the scope", function()
    local steps = {}
    local function scope(how)
      local _ <close> = closing(function(err) -- luacheck: ignore
        green.sleep(0)
        steps[#steps + 1] = how .. ":" .. tostring(err)
      end)
      if how == "error" then error("x", 0) end
      if how == "wait" then green.sleep(100) end
    end
    green.spawn(scope, "return"):get()
    pcall(green.spawn(scope, "error").get, green.spawn(pcall, scope, "error"))
    local killed, closed = green.spawn(scope, "wait"), green.spawn(scope, "wait")
    turn()
    killed:kill "k"
    closed:close()
    pcall(killed.get, killed)
    assert.equal("return:nil", steps[1])
    assert.same({ "wait:k", "wait:nil" }, { steps[#steps - 1], steps[#steps] })
  end)

  it("works with the garbage collector in either mode", function()
    local mode = collectgarbage "generational"
    local _ <close> = closing(function() collectgarbage(mode) end) -- luacheck: ignore
    local all = {}
    for i = 1, 50 do
      all[i] = green.spawn(function()
        local place, kept = boundaries[i % #boundaries + 1], {}
        place.call(function()
          for j = 1, 20 do
            kept[j] = { j }
            green.sleep(0)
            collectgarbage "step"
          end
        end)
        return #kept
      end)
    end
    for i = 1, 50 do assert.equal(20, (all[i]:get())) end
  end)

  it("gives its C stacks back", function()
    local gate, all = waitlist.new "a gate", {}
    for i = 1, 200 do
      all[i] = green.spawn(string.gsub, "x", "x", function() gate:wait() end)
    end
    turn()
    assert.is_true(core.stacks() >= 200)
    gate:wake_all()
    green.joinall(all)
    green.sleep(0.001)
    assert.is_true(core.stacks() < 20)
  end)

  it("works in main beside greenlets that do the same #main", function()
    local order = {}
    local g = green.spawn(string.gsub, "abc", ".", function(c)
      order[#order + 1] = c
      green.sleep(0)
    end)
    table.sort({ 1, 2 }, function(a, b)
      for i = 1, 3 do
        order[#order + 1] = i
        green.sleep(0)
      end
      return a < b
    end)
    g:join()
    assert.equal("1a2b3c", table.concat(order))
  end)
end)

-- The coroutine of a greenlet is the hub's to resume.

local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"
local turn = require("spec.support.greenlets").turn

describe("blocking", function()
  local before
  before_each(function() before = green.on_error(function() end) end)
  after_each(function() green.on_error(before) end)

  describe("a greenlet's coroutine", function()
    local message = "cannot resume a greenlet: it waits, and only the hub wakes it"

    local function exposed(list)
      local co
      local g = green.spawn(function()
        co = coroutine.running()
        return list:wait()
      end)
      turn()
      return g, co
    end

    it("cannot be resumed by others, which does not wake it", function()
      local list = waitlist.new "a test"
      local g, co = exposed(list)
      for _, arguments in ipairs { {}, { 1, nil, 3 }, { table.unpack({}, 1, 200) } } do
        local ok, err = pcall(coroutine.resume, co, table.unpack(arguments, 1, 200))
        assert.is_false(ok)
        assert.matches(message, err)
      end
      turn(2)
      assert.is_false(g.dead)
      list:wake("value", nil)
      assert.same({ n = 3, true, "value", nil }, table.pack(g:get()))
    end)

    it("cannot be resumed in a coroutine, a callback, main, or the hub", function()
      local list = waitlist.new "a test"
      local g, co = exposed(list)
      local function refused()
        local ok, err = pcall(coroutine.resume, co)
        assert(not ok)
        assert(err:find(message, 1, true), err)
      end
      coroutine.wrap(refused)()
      string.gsub("x", "x", refused)
      string.gsub("x", "x", coroutine.wrap(refused))
      green.spawn(refused):get()
      green.spawn(string.gsub, "x", "x", coroutine.wrap(refused)):get()
      local ok, err
      local dying = green.spawn(function() end)
      dying:rawlink(function() ok, err = coroutine.resume(co) end)
      dying:join()
      assert.matches(message, tostring(err))
      assert.is_boolean(ok)
      assert.is_false(g.dead)
      list:wake()
      assert.is_true(g:get())
    end)

    it("cannot be resumed while another greenlet runs on a C stack of its own", function()
      local list = waitlist.new "a test"
      local g, co = exposed(list)
      local other = green.spawn(string.gsub, "x", "x", function()
        green.sleep(0.001)
        return pcall(coroutine.resume, co) and "resumed" or "refused"
      end)
      assert.equal("refused", (other:get()))
      list:wake()
      g:join()
    end)

    it("that others have closed ends with an error that says so", function()
      for _, ending in ipairs { "wake", "kill", "close" } do
        local list = waitlist.new "a test"
        local g, co = exposed(list)
        assert.is_true(coroutine.close(co))
        if ending == "wake" then
          list:wake "value"
          local ok, err = pcall(g.get, g)
          assert.is_false(ok)
          assert.matches("was resumed or closed by somebody else than the hub", err)
        elseif ending == "kill" then
          assert.is_true(g:kill())
        else
          g:close()
        end
        assert.is_true(g.dead)
        assert.equal(0, #list)
      end
    end)

    it("cannot yield by itself, which is told clearly", function()
      for _, f in ipairs {
        function() coroutine.yield() end,
        function() coroutine.yield(1, 2, 3) end,
        function() for _ in coroutine.yield do error "not here" end end,
        function() return coroutine.yield() end,
        function() return setmetatable({}, { __index = coroutine.yield }).x end,
        function() local _ = setmetatable({}, { __add = coroutine.yield }) + 1 end,
      } do
        local g = green.spawn(f)
        local ok, err = pcall(g.get, g)
        assert.is_false(ok)
        assert.matches("attempt to yield from outside a coroutine", err)
      end
    end)

    it("that has yielded may catch the error and go on", function()
      local g = green.spawn(function()
        for _ = 1, 3 do
          local ok, err = pcall(coroutine.yield, "stray")
          assert(not ok and err:find "from outside a coroutine")
          green.sleep(0)
        end
        return "fine"
      end)
      assert.equal("fine", g:get())
    end)

    it("keeps its hooks when it has yielded", function()
      local g = green.spawn(function()
        local lines = 0
        debug.sethook(function() lines = lines + 1 end, "l")
        pcall(coroutine.yield)
        local so_far = lines
        local x = 1
        x = x + 1
        return lines - so_far + 0 * x
      end)
      assert.is_true(g:get() > 0)
    end)

    it("may be looked at by debug", function()
      local list = waitlist.new "a test"
      local g, co = exposed(list)
      assert.equal("suspended", coroutine.status(co))
      assert.matches("in method 'wait'", debug.traceback(co))
      list:wake()
      g:join()
    end)
  end)
end)

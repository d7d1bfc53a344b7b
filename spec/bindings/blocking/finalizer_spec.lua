-- Where blocking is refused.

local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"
local turn = require("spec.support.greenlets").turn

describe("blocking", function()
  local before
  before_each(function() before = green.on_error(function() end) end)
  after_each(function() green.on_error(before) end)

  describe("in a finalizer", function()
    -- Runs f as a finalizer; what it raised.
    local function finalize(f)
      local ran, ok, err
      setmetatable({}, { __gc = function() ran, ok, err = true, pcall(f) end })
      repeat collectgarbage() until ran
      return ok, err
    end

    local calls = {
      sleep = function() green.sleep(0.001) end,
      ["sleep(0)"] = function() green.sleep(0) end,
      idle = function() green.idle() end,
      join = function() green.spawn(print):join() end,
      ["wait list"] = function() waitlist.new("x"):wait() end,
      ["in a coroutine"] = function() coroutine.wrap(green.sleep)(0.001) end,
      ["in a comparator"] = function() table.sort({ 1, 2 }, function() green.sleep(0.001) end) end,
    }

    for name, f in pairs(calls) do
      it("is refused: " .. name, function()
        local real_print = print
        print = function() end -- luacheck: ignore
        local ok, err = finalize(f)
        assert.is_false(ok)
        assert.matches("cannot block in a finalizer %(__gc%)", err)
        turn()
        assert.is_true(green.spawn(function() turn() return true end):get())
        print = real_print -- luacheck: ignore
      end)
    end

    it("is refused in a coroutine under a boundary, and in main #main", function()
      string.gsub("x", "x", function()
        coroutine.wrap(function()
          local ok, err = finalize(calls.sleep)
          assert.is_false(ok)
          assert.matches("cannot block in a finalizer", err)
        end)()
      end)
    end)

    it("leaves all else allowed", function()
      local ended
      assert.is_true(finalize(function()
        local g = green.spawn(function() ended = true end)
        local h = green.spawn(print)
        h:kill(nil, 0)
        g:join(0)
        local timer <close> = green.Timeout(1) -- luacheck: ignore
      end))
      turn()
      assert.is_true(ended)
    end)
  end)
end)

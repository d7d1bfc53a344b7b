local green = require "greenlua"
local greenlets = require "spec.support.greenlets"

local Greenlet, turn = green.Greenlet, greenlets.turn

describe("greenlua.greenlet", function()
  describe("extend", function()
    it("makes a class whose greenlets run _run", function()
      local Pinger = Greenlet:extend "Pinger"
      function Pinger:_init(n) self.n = n end
      function Pinger:_run(n) green.sleep(0) return self, self.n + n end
      local p = Pinger(4)
      assert.equal(4, p.n)
      assert.is_false(p.started)
      p:start()
      assert.same({ p, 8 }, { p:get() })
      assert.equal(10, select(2, Pinger.spawn(5):get()))
      assert.equal(2, select(2, Pinger.spawn_later(0, 1):get()))
      assert.matches("^Pinger%-%d+: fresh$", tostring(Pinger(1)))
      assert.equal("class Pinger", tostring(Pinger))
    end)

    it("makes classes of classes", function()
      local Base = Greenlet:extend "Base"
      function Base:_run() return self:answer() end
      function Base:answer() return "base" end -- luacheck: ignore
      local Derived = Base:extend "Derived"
      function Derived:answer() return "derived, not " .. Base.answer(self) end
      assert.equal("derived, not base", Derived.spawn():get())
      local d = Derived()
      assert.same({ true, true, true }, { Derived.is(d), Base.is(d), Greenlet.is(d) })
      local b = Base()
      assert.same({ false, true, true }, { Derived.is(b), Base.is(b), Greenlet.is(b) })
      assert.same({ false, true }, { Base.is(Greenlet(print)), Greenlet.is(Greenlet(print)) })
    end)

    it("is refused what is none", function()
      for _, bad in ipairs { 5, "x", {}, io.stdout, print } do
        assert.is_false(Greenlet.is(bad))
      end
      assert.is_false(Greenlet.is(nil))
      assert.error_matches(function() Greenlet:extend() end, "bad argument #1 to 'extend'")
      assert.error_matches(function() Greenlet(5) end, "function or callable expected")
      assert.error_matches(function() Greenlet() end, "function or callable expected")
    end)

    it("gives the error of _init to the constructor's caller", function()
      local Bad = Greenlet:extend "Bad"
      function Bad:_init() error("no start", 0) end -- luacheck: ignore
      function Bad:_run() end -- luacheck: ignore
      assert.error(function() Bad() end, "no start")
      assert.error(function() Bad.spawn() end, "no start")
    end)

    it("makes classes that can be forgotten", function()
      local weak = setmetatable({}, { __mode = "k" })
      do
        local Class = Greenlet:extend "Class"
        function Class:_run() turn() end -- luacheck: ignore
        Class.spawn():join()
        weak[Class] = true
      end
      turn()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("may go without _run, and have other methods", function()
      local Named = Greenlet:extend "Named"
      function Named:shout() return self.name:upper() end
      local g = Named.spawn(function(...) return select("#", ...) end, 1, nil)
      g.name = "x"
      assert.equal("X", g:shout())
      assert.equal(2, g:get())
    end)
  end)
end)

local green = require "greenlua"
local context = require "greenlua.context"

local function child(f, ...) return green.spawn(f, ...):get() end

describe("greenlua.context", function()
  it("follows spawn, through all generations", function()
    local _ <close> = context.with { id = 7 }
    assert.equal(7, child(context.get, "id"))
    assert.equal(7, child(function() return child(context.get, "id") end))
    assert.equal(7, green.spawn_later(0, context.get, "id"):get())
    local Task = green.Greenlet:extend "Task"
    function Task:_run() return context.get "id" end -- luacheck: ignore 212
    assert.equal(7, Task.spawn():get())
  end)

  it("is the parent's as it was when the child started", function()
    context.set("id", 1)
    local g = green.spawn(context.get, "id")
    context.set("id", 2)
    assert.equal(1, g:get())
    assert.equal(2, child(context.get, "id"))
    context.set("id", nil)
    assert.is_nil(context.get "id")
  end)

  it("is the child's own from then on", function()
    local _ <close> = context.with { id = 1 }
    child(function()
      context.set("id", 2)
      context.set("more", true)
      assert.equal(2, context.get "id")
    end)
    assert.equal(1, context.get "id")
    assert.is_nil(context.get "more")
  end)

  it("is given back at the end of a scope, also by an error", function()
    do
      local _ <close> = context.with { a = 1, b = 2 }
      pcall(function()
        local _ <close> = context.with { a = 3 }
        assert.equal(3, context.get "a")
        assert.equal(2, context.get "b")
        error "out"
      end)
      assert.equal(1, context.get "a")
    end
    assert.is_nil(context.get "a")
  end)

  it("is set for a call", function()
    assert.same({ 1, "x" }, { context.run({ id = 1 }, function(x)
      return context.get "id", x
    end, "x") })
    assert.is_nil(context.get "id")
  end)

  it("can be taken along", function()
    local here
    do
      local _ <close> = context.with { id = 9 }
      here = context.snapshot()
    end
    assert.equal(9, child(function()
      context.set("id", 1)
      local id = here(context.get, "id")
      assert.equal(1, context.get "id")
      return id
    end))
  end)

  it("is empty again for who is started in the same place by the hub", function()
    local id = "nothing"
    local g
    do
      local _ <close> = context.with { id = 1 }
      g = green.spawn(function() end)
    end
    g:link(function() id = context.get "id" end)
    g:join()
    green.sleep(0)
    assert.is_nil(id)
  end)

  it("does not stay with a greenlet's number", function()
    do
      local _ <close> = context.with { id = 1 }
      for _ = 1, 10 do green.spawn(context.set, "id", 2) end
      green.sleep(0)
    end
    for _ = 1, 20 do assert.is_nil(child(context.get, "id")) end
  end)

  it("goes with its greenlets", function()
    local gone = setmetatable({}, { __mode = "v" })
    local g = green.spawn(function() -- luacheck: ignore
      local value = {}
      gone[1] = value
      context.set("big", value)
    end)
    g:join()
    collectgarbage()
    assert.is_nil(gone[1])
  end)

  it("follows a pool's tasks, in whoever's place they start", function()
    local pool = green.Pool(1)
    pool:spawn(green.sleep, 0.001)
    local _ <close> = context.with { id = 5 }
    assert.equal(5, pool:apply_async(context.get, "id"):get())
    assert.same({ 5, 5 }, pool:map(context.get, { "id", "id" }))
  end)

  it("has a deadline that only becomes earlier", function()
    assert.is_nil(context.remaining())
    do
      local _ <close> = context.deadline(0.05)
      assert.is_true(context.remaining() <= 0.05)
      child(function()
        local _ <close> = context.deadline(10)
        assert.is_true(context.remaining() <= 0.05)
        do
          local _ <close> = context.deadline(0)
          assert.equal(0, context.remaining())
        end
        local never = green.Event()
        assert.is_false(never:wait(context.remaining()))
        assert.equal(0, context.remaining())
      end)
    end
    assert.is_nil(context.remaining())
  end)

  it("refuses what is none", function()
    assert.has_error(function() context.with(1) end,
      "bad argument #1 to 'with' (table of values expected, got number)")
    assert.has_error(function() context.run() end)
    for _, bad in ipairs { -1, 0 / 0, "soon" } do
      assert.has_error(function() context.deadline(bad) end)
    end
  end)
end)

local green = require "greenlua"
local queue = require "greenlua.queue"
local greenlets = require "spec.support.greenlets"
local queues = require "spec.support.queues"
local waitable = require "spec.support.waitable"

local Empty, Full, ShutDown = queue.Empty, queue.Full, queue.ShutDown
local spawn_waiting = queues.spawn_waiting
local turns = greenlets.turns

local function pack(...) return table.pack(...) end

describe("greenlua.queue", function()
  local function expired_choice(...) assert.same({ n = 2, nil, "timeout" }, pack(...)) end

  describe("select_ops with gets", function()
    waitable {
      new = function() return { green.Queue(), green.Channel() } end,
      wait = function(list, timeout) return green.select_ops(list, timeout) end,
      wake = function(list) list[1]:put(1) end,
      expired = expired_choice,
    }
  end)

  describe("select_ops with puts", function()
    waitable {
      new = function() return { green.Queue(1, { 0 }), green.Channel() } end,
      wait = function(list, timeout)
        return green.select_ops({ { list[1], 1 }, { list[2], 1 } }, timeout)
      end,
      wake = function(list) list[2]:get_nowait() end,
      expired = expired_choice,
    }
  end)

  describe("select_ops", function()
    it("does the one case that is ready", function()
      local a, b, c = green.Queue(), green.Queue(nil, { "b" }), green.Channel()
      assert.same({ n = 2, 2, "b" }, pack(green.select_ops { a, b, { c, 1 } }))
      assert.same({ n = 2, nil, "timeout" }, pack(green.select_ops({ a, b, { c, 1 } }, 0)))
      local g = spawn_waiting(c.get, c)
      assert.same({ n = 2, 3, true }, pack(green.select_ops { a, b, { c, 1 } }))
      assert.equal(1, g:get())
      assert.same({ n = 2, 1, true }, pack(green.select_ops { { a, false } }))
      assert.same({ n = 2, 1, false }, pack(green.select_ops { a }))
    end)

    it("waits for the first, and leaves the others as they are", function()
      local a, b, c = green.Queue(), green.Queue(1, { 0 }), green.Channel()
      local g = spawn_waiting(green.select_ops, { a, { b, "x" }, c })
      assert.equal("Channel: 1 getter waits", tostring(c))
      assert.equal(0, b:get())
      assert.same({ n = 2, 2, true }, pack(g:get()))
      assert.equal("Channel: nobody waits", tostring(c))
      assert.equal("Queue: 0 items", tostring(a))
      a:put(1)
      assert.equal(1, #a)
      assert.equal("x", b:get())
      g = spawn_waiting(green.select_ops, { a:copy() and c, b })
      green.spawn(c.put, c, "y")
      assert.same({ n = 2, 1, "y" }, pack(g:get()))
    end)

    it("is fair among those that are ready", function()
      local list, count = {}, { 0, 0, 0 }
      for i = 1, 3 do
        list[i] = green.Queue()
        for _ = 1, 3000 do list[i]:put(i) end
      end
      for _ = 1, 3000 do
        local which, item = green.select_ops(list)
        assert.equal(which, item)
        count[which] = count[which] + 1
        green.select_ops(list, 0) -- another choice by turns
      end
      for i = 1, 3 do assert.is_true(count[i] > 700, count[i]) end
    end)

    it("stands in line with plain getters", function()
      local q, order = green.Queue(), {}
      local tasks = {}
      for i = 1, 4 do
        tasks[i] = green.spawn(function()
          if i % 2 == 0 then
            local _, item = green.select_ops { green.Queue(), q }
            order[i] = item
          else
            order[i] = q:get()
          end
        end)
      end
      turns()
      for i = 1, 4 do q:put(i) end
      green.joinall(tasks)
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    it("meets another choice on a channel", function()
      local c = green.Channel()
      local g = spawn_waiting(green.select_ops, { { c, "x" }, c })
      assert.same({ n = 2, 2, "x" }, pack(green.select_ops { green.Queue(), c }))
      assert.same({ n = 2, 1, true }, pack(g:get()))
    end)

    it("passes on what was handed to one that is closed, killed or late", function()
      local q, c = green.Queue(), green.Channel()
      local g = spawn_waiting(green.select_ops, { c, q })
      q:put "item"
      g:close()
      assert.equal("item", q:get(0))
      g = spawn_waiting(green.select_ops, { c, q })
      g:close() -- its cases are left in the lists, and passed over
      collectgarbage()
      q:put "item"
      assert.equal(1, #q)
      assert.equal(0, c:balance())
      q:get()
      g = spawn_waiting(green.select_ops, { c, { c, 2 } })
      green.kill(g)
      assert.same({ n = 2, nil, Empty }, pack(c:get_nowait()))
      assert.same({ n = 2, nil, Full }, pack(c:put_nowait(1)))
      turns()
      g = spawn_waiting(green.select_ops, { c })
      local putter = green.spawn(c.put, c, "x")
      green.spawn(g.close, g)
      turns()
      assert.equal("x", c:get(0))
      assert.is_true(putter:get())
    end)

    it("is ready where a queue is shut down", function()
      local q, c = green.Queue(), green.Channel()
      local g = spawn_waiting(green.select_ops, { q, c })
      c:shutdown()
      assert.same({ n = 3, 2, nil, ShutDown }, pack(g:get()))
      assert.same({ n = 3, 2, nil, ShutDown }, pack(green.select_ops { q, c }))
      assert.same({ n = 3, 1, nil, ShutDown }, pack(green.select_ops { { c, 1 } }))
    end)

    it("keeps its queues and items alive while it waits", function()
      local g
      do
        local q = green.Queue(1, { 0 })
        g = green.spawn(green.select_ops, { q, { q:copy(), {} } }, 0.01)
        q = nil -- luacheck: ignore
      end
      g:join()
      g = spawn_waiting(function()
        return green.select_ops({ green.Channel(), { green.Channel(), {} } }, 0.05)
      end)
      collectgarbage()
      collectgarbage()
      assert.same({ n = 2, nil, "timeout" }, pack(g:get()))
    end)

    it("refuses misuse", function()
      local q = green.Queue()
      for _, bad in ipairs { {}, { 1 }, { { q } }, { q, { 1, 2 } }, { { {}, 1 } } } do
        assert.error_matches(function() green.select_ops(bad, 0) end,
          "bad argument #1 to 'select_ops'")
      end
      assert.has_error(function() green.select_ops() end)
      assert.has_error(function() green.select_ops({ q }, -1) end)
    end)
  end)
end)

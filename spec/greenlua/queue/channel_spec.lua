local green = require "greenlua"
local queue = require "greenlua.queue"
local greenlets = require "spec.support.greenlets"
local queues = require "spec.support.queues"

local Empty, Full, ShutDown = queue.Empty, queue.Full, queue.ShutDown
local spawn_waiting = queues.spawn_waiting
local turns = greenlets.turns

local function pack(...) return table.pack(...) end

describe("greenlua.queue", function()
  describe("Channel", function()
    it("lets the getter run, then the putter", function()
      local c, log = green.Channel(), {}
      local getter = green.spawn(function()
        for _ = 1, 2 do
          local item = c:get()
          log[#log + 1] = "got " .. item
        end
      end)
      local putter = green.spawn(function()
        for i = 1, 2 do
          c:put(i)
          log[#log + 1] = "put " .. i
        end
      end)
      green.joinall { getter, putter }
      assert.same({ "got 1", "put 1", "got 2", "put 2" }, log)
    end)

    it("is empty and full, and knows its balance", function()
      local c = green.Channel()
      assert.is_true(c:empty() and c:full())
      assert.equal(0, #c)
      assert.equal(0, c:balance())
      assert.same({ n = 2, nil, Full }, pack(c:put_nowait(1)))
      assert.same({ n = 2, nil, Empty }, pack(c:get_nowait()))
      local g = spawn_waiting(c.get, c)
      assert.equal(-1, c:balance())
      assert.equal("Channel: 1 getter waits", tostring(c))
      g:kill()
      g = spawn_waiting(c.put, c, 1)
      assert.equal(1, c:balance())
      g:kill()
      assert.equal("Channel: nobody waits", tostring(c))
      assert.has_error(function() green.Channel(2) end)
      assert.has_error(function() c.maxsize = 2 end)
      assert.is_false(green.Queue.is(c))
      assert.is_true(green.Channel.is(c))
      assert.equal("Channel: nobody waits", tostring(green.Channel(1)))
    end)

    it("has a put done only when its getter has run", function()
      local c = green.Channel()
      local getter = spawn_waiting(c.get, c)
      local putter = green.spawn(c.put, c, "item", 60)
      green.spawn(function() -- between the hand-over and the getter
        getter:close()
      end)
      local early = green.spawn(function()
        green.sleep(0)
        green.sleep(0)
        return putter:ready()
      end)
      green.current() -- nothing runs before this
      assert.is_false(early:get())
      assert.equal("item", c:get(0))
      assert.is_true(putter:get())
    end)

    it("keeps the place of a putter whose getter was closed", function()
      local c = green.Channel()
      local getter, closer
      getter = spawn_waiting(c.get, c)
      closer = green.spawn(function()
        green.spawn(c.put, c, 1)
        green.spawn(c.put, c, 2)
      end)
      closer:join()
      -- the first put has handed over to the getter by now, or is about to
      getter:close()
      turns()
      local got = { c:get(), c:get(0) }
      table.sort(got)
      assert.is_true(got[#got] == 2)
    end)

    it("returns an item that was put without waiting", function()
      local c = green.Channel()
      local getter = spawn_waiting(c.get, c)
      assert.is_true(c:put_nowait "item")
      getter:close()
      assert.equal("item", c:get(0))
    end)

    it("ends iteration at a shutdown", function()
      local c, seen = green.Channel(), {}
      local g = green.spawn(function()
        for item in c:iter() do seen[#seen + 1] = item end
      end)
      c:put(1)
      c:put(2)
      local putter = green.spawn(function() return c:put(3) end)
      turns()
      c:shutdown()
      g:join()
      assert.is_true(putter:get())
      assert.same({ 1, 2, 3 }, seen)
      assert.same({ n = 2, nil, ShutDown }, pack(c:put(4)))
    end)
  end)
end)

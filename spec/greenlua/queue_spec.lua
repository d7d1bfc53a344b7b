local green = require "greenlua"
local queue = require "greenlua.queue"
local greenlets = require "spec.support.greenlets"
local queues = require "spec.support.queues"
local waitable = require "spec.support.waitable"

local Empty, Full, ShutDown = queue.Empty, queue.Full, queue.ShutDown
local drain, spawn_waiting = queues.drain, queues.spawn_waiting
local turns = greenlets.turns

local function pack(...) return table.pack(...) end

local function gives(object)
  return function(...)
    assert.equal(2, select("#", ...))
    assert.is_nil((...))
    assert.equal(object, (select(2, ...)))
  end
end

describe("greenlua.queue", function()
  for _, class in ipairs { queue.Queue, queue.LifoQueue, queue.PriorityQueue,
      queue.SimpleQueue, queue.Channel } do
    describe(tostring(class) .. " get", function()
      waitable {
        new = function() return class() end,
        wait = function(q, timeout) return q:get(timeout) end,
        wake = function(q)
          if class == queue.Channel then q:put_nowait(1) else q:put(1) end
        end,
        expired = gives(Empty),
      }
    end)

    describe(tostring(class) .. " put", function()
      waitable {
        new = function()
          if class == queue.Channel then return class() end
          return class(1, { 0 })
        end,
        wait = function(q, timeout) return q:put(1, timeout) end,
        wake = function(q) q:get_nowait() end,
        expired = gives(Full),
      }
    end)
  end

  describe("Queue peek", function()
    waitable {
      new = function() return green.Queue() end,
      wait = function(q, timeout) return q:peek(timeout) end,
      wake = function(q) q:put(1) end,
      wakes_all = true, expired = gives(Empty),
    }
  end)

  describe("Queue join", function()
    waitable {
      new = function() return green.Queue(nil, { 1 }) end,
      wait = function(q, timeout) return q:join(timeout) end,
      wake = function(q) q:task_done() end,
      wakes_all = true,
      expired = function(...) assert.same({ false }, { ... }) end,
    }
  end)

  describe("Queue", function()
    it("gives items in the order in which they were put", function()
      for _, maxsize in ipairs { false, 3, 100, 300 } do
        local q = green.Queue(maxsize or nil)
        local got = {}
        local g = green.spawn(function()
          for i = 1, 1000 do got[i] = q:get() end
        end)
        for i = 1, 1000 do assert.is_true(q:put(i)) end
        g:join()
        for i = 1, 1000 do assert.equal(i, got[i]) end
        assert.is_true(q:empty())
      end
    end)

    it("keeps its order through every mix of puts and gets", function()
      math.randomseed(7)
      for _, maxsize in ipairs { 0, 5, 200 } do
        local q = green.Queue(maxsize > 0 and maxsize or nil)
        local first, last = 1, 0
        for _ = 1, 5000 do
          if math.random() < 0.52 then
            if q:put_nowait(last + 1) then last = last + 1 end
          else
            local item = q:get_nowait()
            if item then
              assert.equal(first, item)
              first = first + 1
            end
          end
          assert.equal(last - first + 1, #q)
        end
      end
    end)

    it("takes anything but nil", function()
      local q = green.Queue()
      local t = {}
      for _, item in ipairs { 1, "x", t, print, 2.5 } do
        q:put(item)
        assert.equal(item, q:get())
      end
      q:put(false)
      assert.is_false(q:get())
      assert.error_matches(function() q:put(nil) end, "nil is no item for Queue: 0 items")
      assert.error_matches(function() q:put_nowait() end, "nil is no item for Queue: 0 items")
      assert.has_error(function() q.put({}, 1) end)
      assert.has_error(function() q.get(io.stdout) end)
    end)

    it("does not keep items alive that were got", function()
      local alive = setmetatable({}, { __mode = "k" })
      local q = green.Queue()
      for _ = 1, 40 do
        local item = {}
        alive[item] = true
        q:put(item)
      end
      for _ = 1, 40 do q:get() end
      collectgarbage()
      assert.is_nil(next(alive))
      assert.equal(0, #q)
    end)

    it("serves getters and putters in the order of their coming", function()
      local q, got = green.Queue(1), {}
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = green.spawn(function()
          local item = q:get()
          got[#got + 1] = i .. item
        end)
      end
      turns()
      for _, item in ipairs { "a", "b", "c" } do q:put(item) end
      green.joinall(tasks)
      assert.same({ "1a", "2b", "3c" }, got)
      q:put "x"
      for i = 1, 3 do tasks[i] = green.spawn(q.put, q, i) end
      turns()
      assert.same({ "x", 1, 2, 3 }, drain(q))
      green.joinall(tasks)
    end)

    it("lets nobody barge in", function()
      local q = green.Queue(1)
      local g = spawn_waiting(q.get, q)
      q:put "for g"
      assert.same({ n = 2, nil, Empty }, pack(q:get(0)))
      assert.equal("for g", g:get())
      q:put(1)
      g = spawn_waiting(q.put, q, 2)
      assert.equal(1, q:get())
      assert.same({ n = 2, nil, Full }, pack(q:put(3, 0)))
      assert.is_true(g:get())
      assert.equal(2, q:get())
    end)

    it("passes an item on if its receiver is closed before it runs", function()
      local q = green.Queue()
      local first, second = spawn_waiting(q.get, q), spawn_waiting(q.get, q)
      q:put "item"
      first:close()
      assert.equal("item", second:get())
      first, second = spawn_waiting(q.get, q), spawn_waiting(q.get, q)
      q:put "a"
      q:put "b"
      q:put "c"
      first:close()
      assert.equal("b", second:get())
      assert.same({ "a", "c" }, drain(q))
    end)

    it("passes an item on under a C boundary, too", function()
      local q = green.Queue()
      local first = spawn_waiting(string.gsub, "x", ".", function()
        coroutine.wrap(function() q:get() end)()
      end)
      q:put "item"
      first:close()
      assert.equal("item", q:get(0))
    end)

    it("gives an item only once that was handed over before a close elsewhere", function()
      local q = green.Queue()
      local g = green.spawn(function()
        q:get()
        green.sleep(0) -- ready again, but it has its item
        green.sleep(1)
      end)
      turns()
      q:put "item"
      turns(1)
      g:close()
      assert.is_true(q:empty())
    end)

    it("loses nothing to a kill, whenever it comes", function()
      local q = green.Queue()
      local g = spawn_waiting(q.get, q)
      green.kill(g)
      q:put "item"
      assert.equal("item", q:get(0))
      g = green.spawn(function()
        local item = q:get()
        return item
      end)
      turns()
      q:put "item"
      green.kill(g)
      assert.equal("item", g:get())
    end)

    it("leaves no item of a putter that has left", function()
      local q = green.Queue(1, { 0 })
      local killed, closed = spawn_waiting(q.put, q, 1), spawn_waiting(q.put, q, 2)
      local late = spawn_waiting(q.put, q, 3, 0.05)
      killed:kill()
      closed:close()
      assert.same({ n = 2, nil, Full }, pack(late:get()))
      assert.same({ 0 }, drain(q))
      assert.equal(1, q:unfinished_tasks())
    end)

    it("shows the next item without taking it", function()
      local q = green.Queue(nil, { "a", "b" })
      assert.equal("a", q:peek())
      assert.equal("a", q:peek_nowait())
      assert.equal(2, q:qsize())
      drain(q)
      assert.same({ n = 2, nil, Empty }, pack(q:peek_nowait()))
      local seer, getter = spawn_waiting(q.peek, q), spawn_waiting(q.get, q)
      local late = spawn_waiting(q.peek, q)
      q:put "c"
      assert.same({ "c", "c" }, { seer:get(), getter:get() })
      q:put "d"
      assert.equal("d", late:get())
      assert.equal(1, #q)
    end)

    it("has a maxsize that can be set, and lets putters in when it grows", function()
      local q = green.Queue(1, { 1 })
      assert.equal(1, q.maxsize)
      assert.is_true(q:full())
      local a, b = spawn_waiting(q.put, q, 2), spawn_waiting(q.put, q, 3)
      q.maxsize = 2
      assert.equal(2, q.maxsize)
      assert.is_true(a:get())
      assert.is_false(b:ready())
      q.maxsize = nil
      assert.is_nil(q.maxsize)
      assert.is_true(b:get())
      assert.same({ 1, 2, 3 }, drain(q))
      q.maxsize = 1
      q:put(1)
      assert.same({ n = 2, nil, Full }, pack(q:put_nowait(2)))
      local other = green.Queue(7)
      assert.equal(7, other.maxsize)
      for _, bad in ipairs { 0, -1, 1.5, "1", {} } do
        assert.error_matches(function() q.maxsize = bad end, "Queue: 1 item.*maxsize")
        assert.error_matches(function() green.Queue(bad) end, "Queue.*maxsize")
      end
    end)

    it("may begin with more items than it has room for", function()
      local q = green.Queue(1, { 1, 2, 3 })
      assert.equal(3, #q)
      assert.is_true(q:full())
      assert.equal(3, q:unfinished_tasks())
      local g = spawn_waiting(q.put, q, 4)
      assert.equal(1, q:get())
      assert.is_false(g:ready())
      assert.same({ 2, 3, 4 }, drain(q))
      assert.error_matches(function() green.Queue(1, "items") end, "list of items")
    end)

    it("is copied with its items, and apart from them", function()
      for _, class in ipairs { queue.Queue, queue.LifoQueue, queue.PriorityQueue } do
        local q = class(20)
        for i = 1, 10 do q:put((i * 7) % 10) end
        q.name = "tasks"
        local other = q:copy()
        assert.equal("tasks", other.name)
        assert.equal(20, other.maxsize)
        assert.is_true(class.is(other))
        other.name = nil
        assert.equal("tasks", q.name)
        assert.same(drain(q), drain(other))
      end
    end)

    it("counts work, and can be waited for until it is done", function()
      local q = green.Queue()
      assert.is_true(q:join())
      for i = 1, 3 do q:put(i) end
      local done = 0
      green.spawn(function()
        for _ in q:iter() do
          green.sleep(0)
          done = done + 1
          q:task_done()
        end
      end)
      assert.equal(3, q:unfinished_tasks())
      assert.is_true(q:join())
      assert.equal(3, done)
      assert.equal(0, q:unfinished_tasks())
      assert.error_matches(function() q:task_done() end,
        "Queue: 0 items.*task_done called too many times")
      q:shutdown()
    end)

    it("is iterated over until a sentinel, which is consumed, or a shutdown", function()
      local q, seen = green.Queue(nil, { 1, false, "end", 2, 3 }), {}
      for item in q:iter "end" do seen[#seen + 1] = item end
      assert.same({ 1, false }, seen)
      q:shutdown()
      for item in q:iter() do seen[#seen + 1] = item end
      assert.same({ 1, false, 2, 3 }, seen)
    end)

    it("when shut down takes nothing more, and gives what is there", function()
      local q = green.Queue(2, { 1, 2 })
      local putter = spawn_waiting(q.put, q, 3)
      assert.is_false(q.is_shutdown)
      q:shutdown()
      q:shutdown()
      assert.is_true(q.is_shutdown)
      assert.same({ n = 2, nil, ShutDown }, pack(putter:get()))
      assert.same({ n = 2, nil, ShutDown }, pack(q:put(3)))
      assert.same({ n = 2, nil, ShutDown }, pack(q:put_nowait(3)))
      assert.equal(1, q:get())
      assert.equal(2, q:get())
      assert.same({ n = 2, nil, ShutDown }, pack(q:get()))
      assert.same({ n = 2, nil, ShutDown }, pack(q:peek()))
      local empty = green.Queue()
      local getter = spawn_waiting(empty.get, empty)
      empty:shutdown()
      assert.same({ n = 2, nil, ShutDown }, pack(getter:get()))
    end)

    it("when shut down at once drops what is there, which counts as done", function()
      local q = green.Queue(nil, { 1, 2, 3 })
      assert.equal(1, q:get())
      local joiner = spawn_waiting(q.join, q)
      q:shutdown(true)
      assert.equal(0, #q)
      turns()
      assert.is_false(joiner:ready())
      q:task_done()
      assert.is_true(joiner:get())
    end)

    it("works in a rawlink as far as it need not wait", function()
      local q, event = green.Queue(1), green.Event()
      local results = {}
      event:rawlink(function()
        results = { q:put_nowait "a", select(2, q:put_nowait "b"), q:get_nowait(),
          select(2, q:get_nowait()) }
        results[5], results[6] = pcall(q.get, q)
      end)
      event:set()
      assert.same({ true, Full, "a", Empty, false }, { table.unpack(results, 1, 5) })
      assert.matches("cannot block here", results[6])
      assert.is_true(q:empty())
    end)

    it("has subclasses, and fields of the program's own", function()
      local Jobs = green.Queue:extend "Jobs"
      function Jobs:_init(maxsize) self.limit_was = maxsize end
      function Jobs:twice(item)
        self:put(item)
        self:put(item)
      end
      local jobs = Jobs(5)
      jobs:twice "x"
      assert.equal(5, jobs.limit_was)
      assert.equal(5, jobs.maxsize)
      jobs.maxsize = 6
      assert.equal(6, jobs.maxsize)
      assert.equal(5, jobs.limit_was)
      assert.is_true(Jobs.is(jobs) and green.Queue.is(jobs))
      assert.is_false(Jobs.is(green.Queue(5)))
      assert.is_nil(green.Queue(5).limit_was)
      assert.equal("Jobs: 2 items of 6", tostring(jobs))
      jobs.name = "mine"
      jobs:shutdown()
      assert.equal('Jobs "mine": 2 items of 6, shut down', tostring(jobs))
      assert.equal(5, jobs.limit_was)
      assert.has_error(function() jobs.is_shutdown = false end)
      assert.equal("class Jobs", tostring(Jobs))
      assert.has_error(function() green.Queue:extend(1) end)
    end)

    it("finds methods that a class gets later", function()
      local Late = green.Queue:extend "Late"
      local q = Late()
      function Late.put(self, item) return queue.Queue.put(self, { item }) end
      q:put(1)
      assert.same({ 1 }, q:get())
    end)

    it("names itself, and who waits", function()
      local q = green.Queue(1)
      assert.equal("Queue: 0 items of 1", tostring(q))
      local g = spawn_waiting(q.get, q)
      assert.equal("Queue: 0 items of 1, 1 getter waits", tostring(q))
      g:kill()
      assert.equal("Empty Full ShutDown", ("%s %s %s"):format(Empty, Full, ShutDown))
      local ok, err = pcall(function() assert(q:get_nowait()) end)
      assert.is_false(ok)
      assert.truthy(err == Empty or tostring(err):find "Empty")
    end)

    it("is Lua's for JoinableQueue, and not for others", function()
      assert.equal(queue.Queue, queue.JoinableQueue)
      local simple = queue.SimpleQueue()
      assert.is_nil(simple.join)
      assert.is_nil(simple.task_done)
      assert.is_nil(simple.shutdown)
      assert.is_false(green.Queue.is(simple))
      assert.is_false(green.Queue.is(1))
    end)
  end)

  describe("LifoQueue", function()
    it("gives the last item first", function()
      local q = green.LifoQueue(nil, { 1, 2 })
      for i = 3, 30 do q:put(i) end
      assert.equal(30, q:peek())
      for i = 30, 1, -1 do assert.equal(i, q:get()) end
    end)

    it("returns the item of a closed getter to the top", function()
      local q = green.LifoQueue()
      local g = spawn_waiting(q.get, q)
      q:put "a"
      q:put "b"
      g:close()
      assert.same({ "a", "b" }, drain(q))
    end)
  end)
end)

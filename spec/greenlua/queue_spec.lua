local green = require "greenlua"
local queue = require "greenlua.queue"
local waitable = require "spec.support.waitable"

local Empty, Full, ShutDown = queue.Empty, queue.Full, queue.ShutDown

local function turns(n)
  for _ = 1, n or 3 do green.sleep(0) end
end

local function pack(...) return table.pack(...) end

local function spawn_waiting(f, ...)
  local g = green.spawn(f, ...)
  turns()
  assert.is_false(g:ready())
  return g
end

local function drain(q)
  local items = {}
  while true do
    local item = q:get_nowait()
    if item == nil then return items end
    items[#items + 1] = item
  end
end

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

  describe("PriorityQueue", function()
    it("gives the least first, and of equals the first", function()
      math.randomseed(11)
      local q, expected = green.PriorityQueue(nil, nil, function(a, b) return a.p < b.p end), {}
      for i = 1, 500 do
        local item = { p = math.random(20), i = i }
        expected[i] = item
        q:put(item)
      end
      table.sort(expected, function(a, b)
        if a.p ~= b.p then return a.p < b.p end
        return a.i < b.i
      end)
      for i = 1, 500 do
        assert.equal(expected[i], q:peek())
        assert.equal(expected[i], q:get())
      end
    end)

    it("compares numbers, strings and whatever has __lt", function()
      local q = green.PriorityQueue(nil, { 3, 1.5, 2 })
      assert.same({ 1.5, 2, 3 }, drain(q))
      q = green.PriorityQueue(nil, { "b", "a" })
      assert.same({ "a", "b" }, drain(q))
      local mt = { __lt = function(a, b) return a[1] < b[1] end }
      local x, y = setmetatable({ 2 }, mt), setmetatable({ 1 }, mt)
      q = green.PriorityQueue(nil, { x, y })
      assert.equal(y, q:get())
    end)

    it("gives an error of the comparison to who puts, and stays as it was", function()
      local q = green.PriorityQueue(2, { 1, 2 })
      local ok, err = pcall(q.put, q, "x", 0)
      assert.is_true(ok) -- it is full: nothing is compared
      assert.is_nil(err)
      q:get()
      assert.error_matches(function() q:put "x" end, "attempt to compare")
      assert.equal(1, #q)
      q:put(3)
      local g = green.spawn(function()
        return pcall(q.put, q, "x")
      end)
      turns()
      local next_one = spawn_waiting(q.put, q, 4)
      assert.equal(2, q:get())
      local put, why = g:get()
      assert.is_false(put)
      assert.matches("attempt to compare", why)
      assert.is_true(next_one:get())
      assert.same({ 3, 4 }, drain(q))
    end)

    it("does not let a comparator block, or touch the queue", function()
      local q, err
      q = green.PriorityQueue(nil, nil, function(a, b)
        if a == 2 then green.sleep(0) end
        if a == 3 then q:get_nowait() end
        return a < b
      end)
      q:put(1)
      q:put(5)
      q:put(6)
      err = select(2, pcall(q.put, q, 2))
      assert.matches("cannot block here", err)
      err = select(2, pcall(q.put, q, 3))
      assert.matches("must leave the queue alone", err)
      assert.same({ 1, 5, 6 }, drain(q))
      assert.error_matches(function() green.PriorityQueue(nil, nil, 1) end, "function or nil")
      assert.error_matches(function() green.Queue(nil, nil, print) end, "PriorityQueue")
    end)
  end)

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
      local queues, count = {}, { 0, 0, 0 }
      for i = 1, 3 do
        queues[i] = green.Queue()
        for _ = 1, 3000 do queues[i]:put(i) end
      end
      for _ = 1, 3000 do
        local which, item = green.select_ops(queues)
        assert.equal(which, item)
        count[which] = count[which] + 1
        green.select_ops(queues, 0) -- another choice by turns
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

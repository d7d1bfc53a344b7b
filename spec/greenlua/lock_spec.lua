local green = require "greenlua"
local lock = require "greenlua.lock"
local greenlets = require "spec.support.greenlets"
local waitable = require "spec.support.waitable"

local turns = greenlets.turns

local function calm(...) assert.same({ false }, { ... }) end

-- Who acquires in turn, and releases at once, in the order of their coming.
local function taken(class)
  return function()
    local l = class()
    -- An RLock is its owner's: another greenlet holds it.
    l.holder = green.spawn(function()
      l:acquire()
      l.go = green.Event()
      while true do
        l.go:wait()
        l.go:clear()
        l:release()
        l:acquire()
      end
    end)
    turns()
    return l
  end
end

local function battery_of(class)
  waitable {
    new = function()
      local l = class()
      l:acquire()
      return l
    end,
    wait = function(l, timeout) return l:acquire(timeout) end,
    wake = function(l) l:release() end,
    expired = calm,
  }
end

describe("greenlua.lock", function()
  for _, class in ipairs { green.Semaphore, lock.BoundedSemaphore } do
    describe(tostring(class) .. " acquire", function() battery_of(class) end)
  end

  describe("Semaphore wait", function()
    waitable {
      new = function() return green.Semaphore(0) end,
      wait = function(l, timeout) return l:wait(timeout) end,
      wake = function(l) l:release() end,
      wakes_all = true, expired = calm,
    }
  end)

  describe("RLock acquire", function()
    waitable {
      new = taken(green.RLock),
      -- as a semaphore: held for no longer than the wake
      wait = function(l, timeout)
        local ok = l:acquire(timeout)
        if ok then l:release() end
        return ok
      end,
      wake = function(l) l.go:set() end,
      wakes_all = true, late = true, expired = calm,
      free = function(l) l.holder:close() end,
    }
  end)

  for _, kind in ipairs { "read", "write" } do
    describe("ReadWriteLock acquire_" .. kind, function()
      waitable {
        new = function()
          local l = lock.ReadWriteLock()
          l:acquire_write()
          return l
        end,
        wait = function(l, timeout) return l["acquire_" .. kind](l, timeout) end,
        wake = function(l)
          if l._writing then l:release_write() else l:release_read() end
        end,
        wakes_all = kind == "read", expired = calm,
      }
    end)
  end

  describe("Semaphore", function()
    it("counts permits", function()
      local s = green.Semaphore(2)
      assert.equal(2, s.counter)
      assert.is_true(s:acquire())
      assert.is_true(s:ready())
      assert.is_true(s:acquire(0))
      assert.is_true(s:locked())
      assert.is_false(s:acquire(0))
      assert.is_false(s:wait(0))
      assert.equal(1, s:release())
      assert.is_true(s:wait(0))
      assert.equal(1, s.counter)
    end)

    it("hands over, so that nobody barges in", function()
      local s, order, tasks = green.Semaphore(1), {}, {}
      for _, name in ipairs { "a", "b" } do
        tasks[#tasks + 1] = green.spawn(function()
          for _ = 1, 3 do
            s:acquire()
            order[#order + 1] = name
            s:release()
            green.sleep(0)
          end
        end)
      end
      local keeper = green.spawn(function()
        s:acquire()
        order[#order + 1] = "k"
        turns(4)
        s:release()
        order[#order + 1] = s:acquire(0) and "barged" or "waits"
      end)
      green.joinall(tasks)
      keeper:join()
      assert.equal("abkwaitsabab", table.concat(order))
    end)

    it("passes a permit on if its receiver is closed before it runs", function()
      local s, got = green.Semaphore(0), {}
      local first = green.spawn(function() s:acquire() got[1] = true end)
      local second = green.spawn(function() s:acquire() got[2] = true end)
      turns()
      s:release()
      first:close()
      second:join()
      assert.same({ nil, true }, got)
      first = green.spawn(s.acquire, s)
      turns()
      s:release()
      first:close()
      assert.equal(1, s.counter)
    end)

    it("keeps a permit with one that is killed after it was handed over", function()
      local s = green.Semaphore(0)
      local g = green.spawn(function()
        local ok = s:acquire()
        return ok
      end)
      turns()
      s:release()
      green.kill(g)
      assert.is_true(g:get())
      assert.equal(0, s.counter)
    end)

    it("is held for a block, whichever way that ends", function()
      local s = green.Semaphore(1)
      do
        local _ <close> = s:hold()
        assert.equal(0, s.counter)
      end
      assert.equal(1, s.counter)
      pcall(function()
        local _ <close> = s:hold()
        error "on purpose"
      end)
      local g = green.spawn(function()
        local _ <close> = s:hold()
        green.sleep(1)
      end)
      turns()
      assert.is_nil(s:hold(0))
      g:kill()
      assert.equal(1, s.counter)
    end)

    it("can be waited for, and links", function()
      local s, seen = green.Semaphore(0), nil
      s:rawlink(function(sem) seen = sem end)
      green.spawn(s.release, s)
      assert.same({ s }, green.wait { s })
      assert.equal(s, seen)
      assert.equal(1, s.counter)
    end)

    it("refuses misuse, and names itself", function()
      assert.error_matches(function() green.Semaphore(-1) end, "Semaphore.*0 or more")
      assert.error_matches(function() green.Semaphore(1.5) end, "Semaphore")
      assert.error_matches(function() green.Semaphore("1") end, "Semaphore")
      local b = lock.BoundedSemaphore(1)
      assert.error_matches(function() b:release() end,
        "BoundedSemaphore: 1 permit: released too many times")
      b:acquire()
      assert.equal(1, b:release())
      assert.error_matches(function() b:acquire(-1) end, "bad argument #1 to 'acquire'")
      assert.equal("Semaphore: 3 permits", tostring(green.Semaphore(3)))
    end)

    it("of none is always free: DummySemaphore", function()
      local d = lock.DummySemaphore()
      for _ = 1, 3 do assert.is_true(d:acquire(0)) end
      assert.equal(1, d:release())
      assert.is_false(d:locked())
      assert.is_true(d:ready() and d:wait(0))
      do local _ <close> = d:hold() end
      assert.equal("DummySemaphore: always free", tostring(d))
    end)
  end)

  describe("RLock", function()
    it("may be acquired again by its owner alone", function()
      local l = green.RLock()
      assert.is_true(l:acquire())
      assert.is_true(l:acquire(0))
      local other = green.spawn(function() return l:acquire(0) end)
      assert.is_false(other:get())
      l:release()
      assert.is_true(l:locked())
      l:release()
      assert.is_false(l:locked())
      assert.is_true(green.spawn(function()
        local ok = l:acquire(0)
        l:release()
        return ok
      end):get())
    end)

    it("is handed over in the order of arrival", function()
      local l, order = green.RLock(), {}
      l:acquire()
      local waiters = {}
      for i = 1, 3 do
        waiters[i] = green.spawn(function()
          l:acquire()
          l:acquire()
          order[#order + 1] = i
          green.sleep(0)
          l:release()
          l:release()
        end)
      end
      turns()
      l:release()
      assert.is_true(l:locked())
      assert.is_false(l:acquire(0))
      green.joinall(waiters)
      assert.same({ 1, 2, 3 }, order)
    end)

    it("is passed on if the one it was handed to is closed", function()
      local l = green.RLock()
      l:acquire()
      local first = green.spawn(l.acquire, l)
      turns()
      l:release()
      first:close()
      assert.is_false(l:locked())
    end)

    it("refuses to be released by others, and in a rawlink", function()
      local l = green.RLock()
      assert.error_matches(function() l:release() end, "RLock: free: cannot release")
      l:acquire()
      local g = green.spawn(l.release, l)
      local ok, err = pcall(g.get, g)
      assert.is_false(ok)
      assert.matches("RLock: held by .*cannot release it", err)
      l:release()
      local event, why = green.Event(), nil
      event:rawlink(function() why = select(2, pcall(l.acquire, l)) end)
      event:set()
      assert.matches("RLock: free: only a greenlet", why)
    end)
  end)

  describe("ReadWriteLock", function()
    it("lets many read, one write, first come first served", function()
      local l, log, tasks = lock.ReadWriteLock(), {}, {}
      local function run(kind, name)
        tasks[#tasks + 1] = green.spawn(function()
          local _ <close> = l[kind](l)
          log[#log + 1] = name
          green.sleep(0)
          log[#log + 1] = name:lower()
        end)
      end
      run("reading", "A")
      run("reading", "B")
      run("writing", "C")
      run("reading", "D")
      run("reading", "E")
      green.joinall(tasks)
      assert.equal("ABabCcDEde", table.concat(log))
      assert.is_false(l:locked())
    end)

    it("lets readers pass when the writer before them leaves", function()
      for _, leave in ipairs { "kill", "close", "timeout" } do
        local l = lock.ReadWriteLock()
        l:acquire_read()
        local writer = green.spawn(l.acquire_write, l, leave == "timeout" and 0.001 or nil)
        turns()
        local reader = green.spawn(l.acquire_read, l)
        turns()
        assert.is_false(reader:ready())
        if leave == "timeout" then writer:join() else writer[leave](writer) end
        assert.is_true(reader:get())
        l:release_read()
        l:release_read()
        assert.is_false(l:locked())
      end
    end)

    it("is passed on if the one it was handed to is closed", function()
      local l = lock.ReadWriteLock()
      l:acquire_write()
      local writer = green.spawn(l.acquire_write, l)
      local reader = green.spawn(l.acquire_read, l)
      turns()
      l:release_write()
      writer:close()
      assert.is_true(reader:get())
      l:release_read()
      assert.is_false(l:locked())
    end)

    it("refuses what is not held", function()
      local l = lock.ReadWriteLock()
      assert.error_matches(function() l:release_read() end, "ReadWriteLock: free: .*nobody reads")
      assert.error_matches(function() l:release_write() end, "nobody writes")
    end)
  end)
end)

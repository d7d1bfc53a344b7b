-- Each program in examples/ runs, and prints what its comment promises. Those
-- that serve the network have specs of their own in spec/examples/.

local lfs = require "lfs"
local support = require "spec.support"

-- name, arguments -> what it prints. The seconds are scaled down; not too far where
-- their order shows.
local programs = {
  { "context_switch.lua", {}, [[
Running in foo
Explicit context to bar
Explicit context switch to foo again
Implicit context switch back to bar
]] },
  { "spawning.lua", { "0.02" }, "Hello\nI live!\n" },
  { "subclassing.lua", { "0.02" }, "Hi there!\n" },
  { "states.lua", {}, [[
started	true	true
ready	false	false
ready	true	true
successful	true	false
value	You win!	nil
exception	nil	You fail at failing.
]], errors = "You fail at failing%.\nstack traceback:\n.+ failed with You fail at failing%." },
  { "timeouts.lua", { "0.02" }, "Could not complete\n" },
  { "timeout_custom_error.lua", { "0.02" }, "TooLong raised\n" },
  { "timeout_everywhere.lua", { "0.02" }, [[
Thread 1 timed out
Thread 2 timed out
Thread 3 timed out
]] },
  { "event.lua", { "0.2" }, [[
A: Hey wait for me, I have to do something
I'll wait for you
I'll wait for you
I'll wait for you
Ok, I'm done
It's about time
It's about time
It's about time
]] },
  { "async_result.lua", { "0.02" }, "Hello!\n" },
  { "queue.lua", {}, [[
Worker steve got task 1
Worker john got task 2
Worker nancy got task 3
Worker steve got task 4
Worker john got task 5
Worker nancy got task 6
Worker steve got task 7
Worker john got task 8
Worker nancy got task 9
Quitting time!
Quitting time!
Quitting time!
]] },
  { "semaphore.lua", {}, [[
Worker 0 acquired semaphore
Worker 1 acquired semaphore
Worker 0 released semaphore
Worker 1 released semaphore
Worker 3 acquired semaphore
Worker 4 acquired semaphore
Worker 3 released semaphore
Worker 4 released semaphore
Worker 5 acquired semaphore
Worker 5 released semaphore
]] },
  { "generators.lua", { "3", "0.01" }, [[
Wait to getting a task
Send a task 0 to consumer
Got task 0
Send a task 1 to consumer
Got task 1
Send a task 2 to consumer
Got task 2
]] },
  { "determinism.lua", {}, "True\n" },
  { "group.lua", {}, "bar\nbar\nfoo\nfoo\nfizz\nfizz\n" },
  { "pool.lua", {}, "Size of pool 2\nSize of pool 2\nSize of pool 1\n" },
  { "socket_pool.lua", {}, "received hello\nfalse\tAt maximum pool size\nlistening: 0\n" },
  { "local.lua", {}, "1\n2\nx is not local to f2\n" },
  { "actor.lua", { "5" }, "start\nping\npong\nping\npong\n" },
  { "worker_pool.lua", {}, [[
the root of 16 is 4
the root of 9 is 3
failed: -4 has no root
the root of 25 is 5
failed: six is no number
the root of 36 is 6
false	-4 has no root
]] },
  { "crawler.lua", { "3" }, [[
200	/
200	/about
404	/gone
200	/news
200	/news/1
200	/news/2
200	/news/3
200	/shop
200	/shop/coffee
200	/shop/tea
10 pages, 3 at a time
]] },
  { "supervised.lua", {}, [[
starting a divider
100 // 5 is 20
divider failed: attempt to divide by zero
starting a divider
100 // 20 is 5
divider failed: attempt to divide by zero
starting a divider
100 // 50 is 2
divider failed: attempt to divide by zero
false	Supervisor-1 gives up: 3 restarts in 60 seconds; the last to end was divider (]]
    .. "examples/supervised.lua:8: attempt to divide by zero)\n" },
}

local function run(name, args)
  return support.run({ "examples/" .. name, table.unpack(args) })
end

describe("examples", function()
  for _, program in ipairs(programs) do
    local name, args, expected = table.unpack(program)
    it(name .. " prints what it should", function()
      local code, out, err = run(name, args)
      assert.equal(expected, out)
      if program.errors then
        assert.matches("^" .. program.errors .. "%s*$", err)
      else
        assert.equal("", err)
      end
      assert.equal(0, code)
    end)
  end

  it("sync_and_async.lua does its tasks in order, then in any order", function()
    local code, out, err = run("sync_and_async.lua", {})
    local first, second = out:match "^Synchronous:\n(.*)Asynchronous:\n(.*)$"
    local done = "Task 0 done\nTask 1 done\nTask 2 done\nTask 3 done\nTask 4 done\n"
    assert.equal(done, first)
    local lines = {}
    for line in second:gmatch "[^\n]*\n" do lines[#lines + 1] = line end
    table.sort(lines)
    assert.equal(done, table.concat(lines))
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("select.lua waits as long as it was asked to, and something else is done meanwhile", function()
    local code, out, err = run("select.lua", { "0.1" })
    local times = {}
    assert.equal([[
Started Polling: at
Started Polling: at
Hey lets do some stuff while the greenlets poll, at
Ended Polling: at
Ended Polling: at
]], (out:gsub(" (%d+%.%d) seconds", function(time)
      times[#times + 1] = tonumber(time)
      return ""
    end)))
    assert.is_true(times[4] >= 1 and times[5] >= 2, out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("shutdown.lua ends at SIGQUIT, its <close> variables run", function()
    -- A greenlet, so it runs once the example waits. Not os.execute: system(3)
    -- has the caller ignore SIGQUIT meanwhile.
    local quit = [[require "greenlua".spawn(function()
      io.popen("kill -QUIT $PPID"):close()
    end)]]
    local code, out, err = support.run { "-e", quit, "examples/shutdown.lua" }
    assert.equal("", out)
    assert.equal("given back\n", err)
    assert.equal(0, code)
  end)

  it("are each run by a spec", function()
    local specs = {}
    local function read(directory)
      for name in lfs.dir(directory) do
        local path = directory .. "/" .. name
        if name:find "_spec%.lua$" then
          local file <close> = assert(io.open(path))
          specs[#specs + 1] = file:read "a"
        elseif not name:find "^%." and lfs.attributes(path, "mode") == "directory" then
          read(path)
        end
      end
    end
    read "spec"
    local text = table.concat(specs, "\n")
    local forgotten = {}
    for name in lfs.dir "examples" do
      local pattern = "%f[%w_]" .. name:gsub("%p", "%%%0")
      if not name:find "^%." and not text:find(pattern) then
        forgotten[#forgotten + 1] = name
      end
    end
    assert.equal("", table.concat(forgotten, " "))
  end)
end)

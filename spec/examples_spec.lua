-- Each program in examples/ runs, and prints what its comment promises. Those
-- that serve the network have specs of their own in spec/examples/.

local lfs = require "lfs"
local support = require "spec.support"

-- name, arguments -> what it prints. The seconds are scaled down.
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
  { "generators.lua", { "3", "0.01" }, [[
Wait to getting a task
Send a task 0 to consumer
Got task 0
Send a task 1 to consumer
Got task 1
Send a task 2 to consumer
Got task 2
]] },
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

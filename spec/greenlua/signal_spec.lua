local await = require "spec.support.await"
local green = require "greenlua"
local support = require "spec.support"

local function send(name)
  -- $PPID of a shell that we start is this process
  os.execute(("kill -%s $PPID"):format(name))
end


describe("greenlua.signal", function()
  it("calls the function in a greenlet of its own, at each delivery", function()
    local calls, greenlets = {}, {}
    local handler <close> = green.signal("SIGUSR1", function(...)
      calls[#calls + 1] = table.pack(...)
      greenlets[green.current()] = true
      green.sleep(0)
    end, "a", nil)
    green.sleep(0)
    for n = 1, 3 do
      send "USR1"
      await(function() return #calls == n end)
    end
    local n = 0
    for g in pairs(greenlets) do
      n = n + 1
      g:join()
    end
    assert.equal(3, n)
    assert.same({ n = 2, "a", nil }, calls[1])
    assert(handler)
  end)

  it("takes SIGNAME, NAME or a number", function()
    for _, name in ipairs { "SIGUSR2", "USR2", green.signal.SIGUSR2 } do
      local got = false
      local handler <close> = green.signal(name, function() got = true end) -- luacheck: ignore
      green.sleep(0)
      send "USR2"
      await(function() return got end)
    end
  end)

  it("loses no delivery that comes before its greenlet ran", function()
    local got = false
    local handler <close> = green.signal("USR1", function() got = true end) -- luacheck: ignore
    send "USR1"
    await(function() return got end)
  end)

  it("tells several handlers", function()
    local got = {}
    local a <close> = green.signal("USR1", function() got.a = true end) -- luacheck: ignore
    local b <close> = green.signal("USR1", function() got.b = true end) -- luacheck: ignore
    send "USR1"
    await(function() return got.a and got.b end)
  end)

  it("calls nobody after cancel", function()
    local got, other = false, false
    local keep <close> = green.signal("USR1", function() other = true end) -- luacheck: ignore
    local handler = green.signal("USR1", function() got = true end)
    green.sleep(0)
    handler:cancel()
    handler:cancel()
    send "USR1"
    await(function() return other end)
    assert.is_false(got)
  end)

  it("interrupts a wait for other things in no way", function()
    local got = false
    local handler <close> = green.signal("USR1", function() got = true end) -- luacheck: ignore
    local g = green.spawn(function() green.sleep(0.05) return "slept" end)
    green.sleep(0)
    send "USR1"
    assert.equal("slept", g:get())
    await(function() return got end)
  end)

  it("refuses what is no signal or function", function()
    for _, bad in ipairs { "NONSENSE", 1.5, {} } do
      assert.error_matches(function() green.signal(bad, print) end,
        "bad argument #1 to 'signal' %(name or number of a signal expected, got ")
    end
    assert.error_matches(function() green.signal(nil, print) end, "bad argument #1 to 'signal'")
    for _, bad in ipairs { 0, -1, 1000, 9, "KILL" } do
      assert.error_matches(function() green.signal(bad, print) end, "signal")
    end
    assert.error_matches(function() green.signal("USR1", 5) end,
      "bad argument #2 to 'signal' %(function expected, got number%)")
    assert.error_matches(function() green.signal "USR1" end, "bad argument #2 to 'signal'")
  end)

  it("does not keep the program going", function()
    assert.same({ 0, "", "" }, { support.run { "-e", [[
      local green = require "greenlua"
      green.signal("USR1", print)
      green.sleep(0)
    ]] } })
  end)

  it("does not keep main from a deadlock", function()
    local code, _, err = support.run { "-e", [[
      local green = require "greenlua"
      green.signal("USR1", print)
      require("greenlua.core.waitlist").new("nothing"):wait()
    ]] }
    assert.equal(1, code)
    assert.matches("would block forever", err)
  end)

  it("keeps the program from dying of it, and lets it end itself", function()
    assert.same({ 3, "asked to end\n", "" }, { support.run { "-e", [[
      local green = require "greenlua"
      green.signal("TERM", function() print "asked to end" green.shutdown(3) end)
      green.spawn(function() os.execute "kill -TERM $PPID" end)
      green.sleep(100)
    ]] } })
  end)
end)

-- What LuaSocket's own do not: wait, and be killed. The rest is compared with them
-- (see socket_spec.lua).

local boundaries = require "spec.support.boundaries"
local green = require "greenlua"
local socket = require "greenlua.socket"

describe("greenlua.socket.except", function()
  it("waits inside protect, in try's arguments and in the finalizer", function()
    local a, b <close> = socket.pair()
    local finalized
    local ask = socket.protect(function(question)
      local try = socket.newtry(function()
        green.sleep(0.001)
        finalized = true
      end)
      try(a:send(question .. "\n"))
      return try(a:receive())
    end)
    local g = green.spawn(ask, "how are you?")
    assert.equal("how are you?", b:receive())
    b:send "well\n"
    assert.equal("well", g:get())
    assert.is_nil(finalized)
    g = green.spawn(ask, "and now?")
    green.sleep(0)
    b:close()
    assert.same({ nil, "closed" }, { g:get() })
    assert.is_true(finalized)
  end)

  for _, place in ipairs(boundaries) do
    it("waits in " .. place.name, function()
      local got
      local g = green.spawn(place.call, socket.protect(function()
        got = table.pack(socket.protect(function()
          socket.newtry(function() green.sleep(0) end)(nil, "message")
        end)())
        green.sleep(0)
      end))
      g:join()
      assert.is_true(g:successful(), g.exception)
      assert.same({ n = 2, nil, "message" }, got)
    end)
  end

  it("lets kills and timeouts pass, the very same", function()
    local own, killed = {}, {}
    local g = green.spawn(socket.protect(function()
      local ok, err = pcall(green.sleep, 100)
      killed[1] = { ok, err == own }
      error(err, 0)
    end))
    green.sleep(0)
    green.kill(g, own)
    assert.equal(own, select(2, pcall(g.get, g)))
    assert.same({ { false, true } }, killed)
    local timer <close> = green.Timeout(0.001)
    local ok, err = pcall(socket.protect(green.sleep), 100)
    assert.is_false(ok)
    assert.equal(timer, err)
    g = green.spawn(socket.protect(green.sleep), 100)
    green.sleep(0)
    g:kill()
    assert.is_true(green.GreenletExit.is(g.value))
  end)

  it("says what went wrong where nobody protects", function()
    local ok, err = pcall(socket.try, nil, "no such thing")
    assert.is_false(ok)
    assert.equal("no such thing", tostring(err))
  end)

  it("ends nested protections one at a time", function()
    local outer = socket.protect(function()
      local _, inner = socket.protect(function() socket.try(nil, "inner") end)()
      socket.try(nil, "outer of " .. inner)
    end)
    assert.same({ nil, "outer of inner" }, { outer() })
  end)
end)

describe("greenlua.socket.select", function()
  it("takes numbers of descriptors, and a Timeout, too", function()
    local a, b <close> = socket.pair()
    b:send "x"
    local r, w = socket.select({ a:getfd() }, { b })
    assert.same({ a:getfd() }, r)
    assert.same({ b, [b] = 1 }, w)
    local timer <close> = green.Timeout(0.001)
    local ok, err = pcall(socket.select, { b }, nil, timer)
    assert.is_false(ok)
    assert.equal(timer, err)
  end)

  it("lets the peer in the same process answer a program that polls", function()
    local a, b <close> = socket.pair()
    green.spawn(function() b:send((b:receive())) end)
    a:send "question\n"
    repeat local r = socket.select({ a }, nil, 0) until r[1]
    assert.equal("question", a:receive(8))
  end)

  it("raises when it is given a descriptor that is not open", function()
    assert.error_matches(function() socket.select({ 98765 }, nil, 0) end, "select failed")
  end)
end)

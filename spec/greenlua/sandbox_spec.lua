local green = require "greenlua"
local sandbox = require "greenlua.sandbox"

local function run(env, code, ...)
  return assert(load(code, "=script", "t", env))(...)
end

describe("greenlua.sandbox", function()
  it("gives a script globals of its own", function()
    local a, b = sandbox.environment(), sandbox.environment()
    run(a, "of_script = 1; string.rep = nil; _G.y = 2")
    assert.equal(1, a.of_script)
    assert.equal(2, a.y)
    assert.is_nil(b.of_script)
    assert.is_nil(rawget(_G, "of_script"))
    assert.is_function(b.string.rep)
    assert.is_function(string.rep)
    assert.is_function(require("greenlua.sandbox").environment().string.rep)
  end)

  it("lets it use Lua and greenlua", function()
    assert.same({ 3, "b", 6 }, run(sandbox.environment(), [[
      local green = require "greenlua"
      local q = green.Queue()
      green.spawn(function() green.sleep(0) q:put(3) end)
      local C = setmetatable({}, { __call = function() return "b" end })
      local sum = 0
      for _, v in ipairs { 1, 2, 3 } do sum = sum + v end
      return { q:get(), C(), sum }]]))
  end)

  it("has nothing that reaches out of it", function()
    for _, name in ipairs { "io", "package", "dofile", "loadfile", "os.execute", "os.exit",
      "os.getenv", "os.remove", "os.setlocale", "debug.getregistry", "debug.sethook",
      "debug.getupvalue", "debug.setmetatable", "string.dump", "warn" } do
      assert.equal("nil", run(sandbox.environment(),
        "local v = _G for w in (...):gmatch '%w+' do v = v and v[w] end return type(v)",
        name), name)
    end
  end)

  it("has no modules that reach out of it", function()
    for _, name in ipairs { "greenlua.socket", "greenlua.dns", "greenlua.ssl",
      "greenlua.http", "greenlua.server", "greenlua.select", "greenlua.signal",
      "greenlua.monkey", "greenlua.core", "greenlua.sandbox", "greenlua.object",
      "greenlua.util", "greenlua.reload", "io", "package", "lfs", "socket" } do
      local env = sandbox.environment()
      assert.error_matches(function() run(env, "require(...)", name) end,
        "module '" .. name .. "' is not there in this sandbox", 1, true)
      local short = name:match "greenlua%.(.*)"
      if short then assert.is_nil(run(env, "return require('greenlua')[...]", short)) end
    end
    for _, name in ipairs { "shutdown", "on_error", "run", "monkey" } do
      assert.is_nil(run(sandbox.environment(), "return require('greenlua')[...]", name))
    end
  end)

  it("adds what is granted, and no more", function()
    local function has(grants, code)
      return run(sandbox.environment(grants), "return " .. code .. " ~= nil")
    end
    assert.is_true(has({ files = true }, "io.open"))
    assert.is_true(has({ files = true }, "os.remove"))
    assert.is_false(has({ files = true }, "io.popen"))
    assert.is_false(has({ files = true }, "os.execute"))
    assert.is_true(has({ processes = true }, "io.popen"))
    assert.is_false(has({ processes = true }, "io.open"))
    assert.is_true(has({ sockets = true }, "require 'greenlua.socket'"))
    assert.is_true(has({ sockets = true }, "require 'greenlua'.socket"))
    assert.is_false(has({ sockets = true }, "require 'greenlua'.signal"))
    assert.is_true(has({ signals = true }, "require 'greenlua.signal'"))
    assert.is_false(has({ files = false }, "io"))
    assert.error_matches(function() sandbox.environment { sokcets = true } end,
      "there is no grant 'sokcets'", 1, true)
  end)

  it("loads text only, into the sandbox", function()
    local env = sandbox.environment()
    local bytecode = string.dump(function() return io end)
    assert.is_nil((run(env, "return load(...)", bytecode)))
    assert.is_nil((run(env, "return load(..., 'x', 'b')", bytecode)))
    assert.is_nil((run(env, "return load(..., 'x', 'bt')", bytecode)))
    assert.is_nil((run(env,
      "local s = ... return load(function() local t = s s = nil return t end)", bytecode)))
    assert.equal(env, run(env, "return load 'return _G'()"))
    assert.equal(5, run(env, "return load('return x', 'x', 't', { x = 5 })()"))
    assert.error_matches(function() run(env, "load('return x.y', 'x', 't', nil)()") end,
      "nil value")
  end)

  it("does not let a chunk pass for one of greenlua's", function()
    local _, err = pcall(run, sandbox.environment(),
      "load('error(\"x\")', '@greenlua/event.lua')()")
    assert.equal("greenlua/event.lua:1: x", err)
    assert.equal("=greenlua/event.lua", debug.getinfo(run(sandbox.environment(),
      "return load('', '@greenlua/event.lua')"), "S").source)
  end)

  it("keeps metatables of others away", function()
    local env = sandbox.environment()
    assert.is_nil(run(env, "return getmetatable ''"))
    env.queue, env.greenlet = green.Queue(), green.current()
    assert.is_nil(run(env, "return getmetatable(queue)"))
    assert.is_nil(run(env, "return getmetatable(greenlet)"))
    assert.is_nil(run(env, "return getmetatable(require('greenlua').Queue)"))
    assert.error_matches(function() run(env, "setmetatable(require('greenlua').Queue, {})") end,
      "protected metatable")
    assert.equal("own", run(env, [[
      local mt = { __name = "own" }
      return getmetatable(setmetatable({}, mt)).__name]]))
    assert.is_nil(run(env, "return getmetatable(setmetatable(setmetatable({}, {}), nil))"))
    assert.equal("hidden", run(env,
      "return getmetatable(setmetatable({}, { __metatable = 'hidden' }))"))
  end)

  it("has no finalizers, and does not rule the collector", function()
    local env = sandbox.environment()
    assert.error_matches(function() run(env, "setmetatable({}, { __gc = function() end })") end,
      "no finalizers")
    assert.is_number(run(env, "return collectgarbage 'count'"))
    for _, what in ipairs { "stop", "collect", "generational", "step" } do
      assert.error_matches(function() run(env, "collectgarbage(...)", what) end, "its count")
    end
  end)
end)

local green = require "greenlua"
local Queue = green.Queue

describe("greenlua.reload", function()
  local directory, path

  setup(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory))
    path = package.path
    package.path = directory .. "/?.lua;" .. path
  end)

  teardown(function()
    package.path = path
    os.execute("rm -r " .. directory)
  end)

  before_each(function() package.loaded.subject = nil end)

  local function write(source)
    local file <close> = assert(io.open(directory .. "/subject.lua", "w"))
    file:write(source)
  end

  -- Load a first source, then a second one over it.
  local function change(first, second)
    write(first)
    local module = require "subject"
    local function reload()
      write(second)
      return green.reload "subject"
    end
    return module, reload
  end

  it("keeps the module's table, and gives it new functions", function()
    local module, reload = change("return { f = function() return 1 end, kept = 5 }",
      "return { f = function() return 2 end, kept = 6, g = function() return 3 end }")
    assert.equal(module, reload())
    assert.equal(module, require "subject")
    assert.same({ 2, 5, 3 }, { module.f(), module.kept, module.g() })
  end)

  it("keeps what local variables hold, whoever shares them", function()
    local source = [[
      local M, count, log = {}, 0, {}
      function M.add(n) count = count + n * FACTOR; log[#log + 1] = n end
      function M.get() return count, #log end
      return M]]
    local module, reload = change((source:gsub("FACTOR", "1")), (source:gsub("FACTOR", "10"))
      :gsub("return M$", "function M.reset() count = 0 end return M"))
    module.add(1)
    reload()
    module.add(2)
    assert.same({ 21, 2 }, { module.get() })
    module.reset() -- a new function of the old variable
    assert.same({ 0, 2 }, { module.get() })
    reload()
    module.add(1)
    assert.same({ 10, 3 }, { module.get() })
  end)

  it("replaces local functions, also for code that is running", function()
    local source = [[
      local green = require "greenlua"
      local function answer() return N end
      return { serve = function(results)
        while #results < 2 do
          results[#results + 1] = answer()
          green.sleep(0)
        end
        return "N"
      end }]]
    local module, reload = change((source:gsub("N", "1")), (source:gsub("N", "2")))
    local results = {}
    local g = green.spawn(module.serve, results)
    green.sleep(0)
    reload()
    assert.equal("1", g:get()) -- it goes on in the old function
    assert.same({ 1, 2 }, results) -- which calls the new one
    assert.equal("2", module.serve {})
  end)

  it("takes constants from the new source, and variables that were nil", function()
    local source = [[
      local LIMIT, limit, late = @, @, LATE
      return { VERSION = "@", get = function() return LIMIT, limit, late end }]]
    local module, reload = change((source:gsub("LATE", "nil"):gsub("@", "1")),
      (source:gsub("LATE", "7"):gsub("@", "2")))
    module.get()
    reload()
    assert.same({ 2, 1, 7 }, { module.get() })
    assert.equal("2", module.VERSION)
  end)

  it("gives objects the new methods of their class", function()
    local source = [[
      local Base = {}
      Base.__index = Base
      function Base:name() return "base N" end
      local Thing = setmetatable({}, { __index = Base,
        __call = function(class, x) return setmetatable({ x = x }, class) end })
      Thing.__index = Thing
      function Thing:get() return self.x * N, getmetatable(self) == Thing end
      return { Thing = Thing, kept = Thing(5) }]]
    local module, reload = change((source:gsub("N", "1")), (source:gsub("N", "10")))
    local thing, class = module.Thing(2), module.Thing
    reload()
    assert.equal(class, module.Thing)
    assert.same({ 20, true }, { thing:get() })
    assert.same({ 50, true }, { module.kept:get() })
    assert.same({ 30, true }, { module.Thing(3):get() })
    assert.equal("base 10", thing:name())
  end)

  it("works with greenlua's classes", function()
    local source = [[
      local green = require "greenlua"
      local Ponger = green.Greenlet:extend "Ponger"
      function Ponger:_run() while true do self:step() end end
      function Ponger:step() self.out:put(N) self.go:get() end
      local MyQueue = green.Queue:extend "MyQueue"
      function MyQueue:twice() return N * 2 end
      return { Ponger = Ponger, MyQueue = MyQueue }]]
    local module, reload = change((source:gsub("N", "1")), (source:gsub("N", "2")))
    local go, out = Queue(), module.MyQueue()
    local g = module.Ponger()
    g.go, g.out = go, out
    g:start()
    assert.equal(1, out:get())
    reload()
    go:put(true)
    assert.equal(2, out:get())
    assert.equal(4, out:twice())
    assert.is_true(module.MyQueue.is(out))
    assert.is_true(module.MyQueue.is(module.MyQueue()))
    g:kill()
  end)

  it("loses neither connections nor who waits on them", function()
    local source = [[
      local green, socket = require "greenlua", require "greenlua.socket"
      local M, served = {}, 0
      function M.answer(line)
        served = served + 1
        return ("N %s %d"):format(line, served)
      end
      function M.serve(peer)
        for line in peer:lines() do peer:send(M.answer(line) .. "\n") end
      end
      return M]]
    local module, reload = change((source:gsub("N", "one")), (source:gsub("N", "two")))
    local socket = require "greenlua.socket"
    local a, b = socket.pair()
    local server = green.spawn(module.serve, b)
    a:send "x\n"
    assert.equal("one x 1", a:receive())
    reload()
    a:send "y\n"
    assert.equal("two y 2", a:receive())
    a:close()
    server:join()
    b:close()
  end)

  -- All clients are in the midst of requests, on handlers that wait.
  it("changes code under load, again and again", function()
    local source = [[
      local green = require "greenlua"
      local M, served = {}, 0
      local VERSION = %d
      function M.answer(line)
        local version = VERSION
        for _ = 1, #line do green.sleep(0) end
        served = served + 1
        return version .. " " .. line
      end
      function M.serve(peer)
        for line in peer:lines() do peer:send(M.answer(line) .. "\n") end
      end
      function M.served() return served end
      return M]]
    local socket = require "greenlua.socket"
    write(source:format(1))
    local module = require "subject"
    local version, right = 1, 0
    local function client(number)
      local a, b = socket.pair()
      local server = green.spawn(module.serve, b)
      for i = 1, 30 do
        local line, before = ("x"):rep((number + i) % 7), version
        a:send(line .. "\n")
        local by, answer = assert(a:receive()):match "^(%d+) (.*)$"
        assert.equal(line, answer)
        assert.is_true(before <= tonumber(by) and tonumber(by) <= version)
        right = right + 1
      end
      a:close()
      server:join()
      b:close()
    end
    local clients = {}
    for i = 1, 50 do clients[i] = green.spawn(client, i) end
    for turn = 2, 20 do
      for _ = 1, 10 do green.sleep(0) end
      write(source:format(turn))
      assert.equal(module, green.reload "subject")
      version = turn
    end
    for _, c in ipairs(clients) do c:get() end
    assert.equal(50 * 30, right)
    assert.equal(50 * 30, module.served())
  end)

  it("has what is new refer to what is kept", function()
    local module, reload = change([[
      local state = { n = 1 }
      return { get = function() return state end }]], [[
      local state = { n = 2 }
      local extra = { state = state, f = function() return state end }
      return { get = function() return state end, extra = extra,
        list = { { of = state } } }]])
    local state = module.get()
    reload()
    assert.equal(state, module.get())
    assert.equal(state, module.extra.state)
    assert.equal(state, module.extra.f())
    assert.equal(state, module.list[1].of)
    assert.equal(1, state.n)
  end)

  it("leaves alone what belongs to other modules", function()
    local _, reload = change([[
      local green = require "greenlua"
      return { q = green.Queue(), e = green.Event, s = string }]], [[
      local green = require "greenlua"
      return { q = green.Queue(3), e = green.Event, s = string, f = string.rep }]])
    local put, meta = Queue.put, getmetatable(Queue())
    local module = reload()
    assert.equal(put, Queue.put)
    assert.equal(meta, getmetatable(module.q))
    assert.is_nil(module.q.maxsize)
    assert.equal(string.rep, module.f)
  end)

  it("changes nothing if the new source is no good", function()
    local module, reload = change("return { f = function() return 1 end }", "return +")
    local f = module.f
    local result, err = reload()
    assert.is_nil(result)
    assert.matches("subject.lua:1: ", err)
    write "error { 'an object' }"
    assert.same({ "an object" }, select(2, green.reload "subject"))
    write "error 'at once'"
    assert.matches("subject.lua:1: at once\nstack traceback", select(2, green.reload "subject"))
    assert.equal(module, require "subject")
    assert.equal(f, module.f)
  end)

  it("takes modules that are no tables, and those that are not loaded", function()
    write "return function() return 1 end"
    assert.equal(1, green.reload "subject"())
    write "return function() return 2 end"
    assert.equal(2, green.reload "subject"())
    assert.equal(2, require "subject"())
    write "x = 1"
    package.loaded.subject = nil
    assert.is_true(green.reload "subject")
    assert.is_true(green.reload "subject")
    local ok, err = green.reload "no.such.module"
    assert.is_nil(ok)
    assert.matches("module 'no.such.module' not found", err)
    assert.error_matches(function() green.reload(5) end, "name of a module expected, got number")
  end)
end)

local green = require "greenlua"

local Local = green.Local

local function in_greenlet(f, ...) return green.spawn(f, ...):get() end

describe("greenlua.local", function()
  it("has fields for each greenlet", function()
    local stash = Local()
    stash.x = 1
    local other = in_greenlet(function()
      assert.is_nil(stash.x)
      stash.x = 2
      green.sleep(0)
      return stash.x
    end)
    assert.equal(2, other)
    assert.equal(1, stash.x)
    stash.x = nil
    assert.is_nil(stash.x)
  end)

  it("has them in main, too #main", function()
    local stash = Local()
    stash.x = 1
    assert.is_nil(in_greenlet(function() return stash.x end))
    assert.equal(1, stash.x)
  end)

  it("has them for a greenlet, whichever coroutine it is in", function()
    local stash = Local()
    stash.x = 1
    assert.equal(1, coroutine.wrap(function() return stash.x end)())
  end)

  it("keeps those of two objects apart", function()
    local a, b = Local(), Local()
    a.x, b.x = 1, 2
    assert.equal(1, a.x)
    assert.equal(2, b.x)
  end)

  it("forgets them at the greenlet's end, not only when that is collected", function()
    local stash = Local()
    local gone = setmetatable({}, { __mode = "v" })
    local g = green.spawn(function() -- luacheck: ignore
      stash.big = { "big" }
      gone[1] = stash.big
    end)
    g:join()
    collectgarbage()
    assert.is_nil(gone[1])
  end)

  it("forgets them with the object", function()
    local gone = setmetatable({}, { __mode = "v" })
    do
      local stash = Local()
      stash.big = { stash } -- even if a field knows the object
      gone[1] = stash.big
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(gone[1])
  end)

  it("gives nothing of one greenlet to the next in its place", function()
    local stash = Local()
    for i = 1, 100 do
      in_greenlet(function()
        assert.is_nil(stash.x)
        stash.x = i
      end)
    end
  end)

  it("goes over the fields of the running greenlet", function()
    local stash = Local()
    stash.a, stash.b = 1, 2
    local seen = {}
    for name, value in pairs(stash) do seen[name] = value end
    assert.same({ a = 1, b = 2 }, seen)
    in_greenlet(function()
      for name in pairs(stash) do error(name) end
    end)
    assert.equal("Local: 2 fields here", tostring(stash))
  end)

  it("initialises a subclass in each greenlet, on first use", function()
    local made = 0
    local Request = Local:extend "Request"
    function Request:_init(limit, name)
      made = made + 1
      self.left, self.name = limit, name
    end
    function Request:use()
      self.left = self.left - 1
      return self.left
    end
    local request = Request(3, "r")
    assert.equal(0, made)
    assert.equal(2, request:use())
    assert.equal(2, in_greenlet(function() return request:use() end))
    assert.equal(1, request:use())
    assert.equal("r", request.name)
    assert.equal(2, made)
  end)

  it("knows its class", function()
    local Request = Local:extend "Request"
    function Request:_init() end -- luacheck: ignore 212
    local Sub = Request:extend "Sub"
    assert.is_true(Local.is(Local()))
    assert.is_true(Local.is(Sub()))
    assert.is_true(Request.is(Sub(1)))
    assert.is_false(Request.is(Local()))
    assert.is_false(Local.is({}))
    assert.is_false(Local.is(nil))
    assert.equal("class Sub", tostring(Sub))
  end)

  it("refuses arguments that nobody takes, and a class without a name", function()
    assert.has_error(function() Local(1) end, "class Local takes no arguments: it has no _init")
    assert.has_error(function() Local:extend() end)
  end)

  it("has no fields where no greenlet runs", function()
    local stash, seen = Local(), nil
    local g = green.spawn(function() end)
    g:rawlink(function() seen = { pcall(function() return stash.x end) } end)
    g:join()
    assert.is_false(seen[1])
    assert.matches("no greenlet runs here", seen[2])
  end)
end)

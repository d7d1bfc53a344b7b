local complete = require "greenlua.complete"

describe("greenlua.complete", function()
  local function list(text) return select(2, complete(text, 80)) end

  setup(function()
    _G.completed = setmetatable({
      alpha = 1, alpine = print, beta_one = { deep = { deeper = 1 } }, ["no name"] = 1,
    }, { __index = { inherited = function() end } })
  end)
  teardown(function() _G.completed = nil end)

  it("adds the rest of the only name", function()
    assert.equal("yieldable", complete("x = coroutine.is", 80))
    assert.equal("eta_one", complete("completed.b", 80))
    assert.equal("per", complete("completed.beta_one.deep.dee", 80))
  end)

  it("adds what all names have in common", function()
    assert.equal("p", complete("completed.al", 80))
  end)

  it("lists the names where nothing is certain", function()
    assert.equal("alpha   alpine\n", list "completed.alp")
    assert.is_nil(complete("completed.alp", 80))
  end)

  it("lists them in as many columns as there is room for", function()
    assert.equal("alpha\nalpine\n", select(2, complete("completed.alp", 10)))
  end)

  it("looks where __index points to", function()
    assert.equal("herited", complete("completed.in", 80))
    assert.equal("per", complete("('x'):up; completed.x = string.up", 80))
  end)

  it("names functions alone after a colon", function()
    assert.equal("ine", complete("completed:alp", 80))
  end)

  it("calls nothing", function()
    _G.completed = setmetatable({}, { __index = function() error "called" end })
    assert.is_nil(complete("completed.lazy.x", 80))
    assert.is_nil(complete("completed.x", 80))
  end)

  it("knows nothing of what an expression gives", function()
    assert.is_nil(complete("f().upp", 80))
    assert.is_nil(complete("t[1].upp", 80))
    assert.is_nil(complete("1 + ", 80))
  end)

  it("survives what is nil, and circles", function()
    assert.is_nil(complete("no_such_global.x.y", 80))
    local circle = {}
    _G.completed = setmetatable(circle, { __index = circle })
    assert.is_nil(complete("completed.x", 80))
  end)

  it("indents an empty line", function()
    assert.equal("  ", complete("", 80))
    assert.equal("  ", complete("    ", 80))
  end)
end)

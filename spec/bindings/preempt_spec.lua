-- The functions of Lua's libraries that can be stopped answer as Lua's own do.

local preempt = require "greenlua.core.preempt"

-- The same numbers each time.
local seed = 42
local function random(n)
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return (seed >> 8) % n + 1
end

local function pick(list) return list[random(#list)] end

-- What a call returns or raises, as text, without addresses. Where a function has no
-- name, as under pcall, Lua looks for it among the loaded modules; the number of an
-- argument is not the same in all versions of it.
local function outcome(f, ...)
  local results = table.pack(pcall(f, ...))
  for i = 1, results.n do
    results[i] = tostring(results[i]):gsub("0x%x+", "")
      :gsub("to '%S+' ", ""):gsub("argument #%d", "argument")
  end
  return table.concat(results, "|", 1, results.n)
end

local function assert_alike(library, name, ...)
  local arguments = table.pack(...)
  local expected, is = outcome(_G[library][name], ...), outcome(preempt[library][name], ...)
  if is == expected then return end
  for i = 1, arguments.n do arguments[i] = tostring(arguments[i]) end
  assert.equal(expected, is, ("%s.%s(%s)"):format(library, name, table.concat(arguments, ", ")))
end

describe("greenlua.core.preempt.string", function()
  local pieces = { "a", "b", ".", "%a", "%d", "%s", "%W", "%%", "%.", "[ab]", "[^a]", "[a-c]",
    "[%d_]", "[]a]", "[^]]", "[a-]", "[%a-z]", "(", ")", "()", "(a", "b)", "$", "^", "%1", "%2",
    "%0", "%b()", "%bab", "%b", "%f[a]", "%f[%A]", "%f", "[", "[a", "[^", "[%", "%", "-", "*",
    "+", "?", "\0", "%g", "%x*", ".-", ".*", "(.)", "(.-)%1", " " }
  local subjects = { "", "a", "aab", "hello world", "a(b(c)d)e", "123 abc_45", "]]a-b[[",
    "\0a\0b", "aaaaabbbb", "THE (quick) fox", "key = value", "%d%%" }
  local replacements = { "", "x", "%0", "<%1>", "%%", "%2", "%x", "%", "[%0-%0]", 5 }

  local function pattern()
    local made = {}
    for i = 1, random(5) do made[i] = pick(pieces) end
    return table.concat(made)
  end

  local function all(gmatch)
    return function(...)
      local found = {}
      for a, b in gmatch(...) do
        found[#found + 1] = tostring(a) .. "," .. tostring(b)
        if #found > 50 then break end
      end
      return table.concat(found, ";")
    end
  end

  it("finds and replaces what Lua does, and refuses what it refuses", function()
    local gmatch, ours = all(string.gmatch), all(preempt.string.gmatch)
    for _ = 1, 5000 do
      local s, p, init = pick(subjects), pattern(), random(30) - 15
      assert_alike("string", "find", s, p, init)
      assert_alike("string", "match", s, p, init)
      assert_alike("string", "gsub", s, p, pick(replacements), random(4) < 4 and 9 or random(3))
      local expected, is = outcome(gmatch, s, p, init), outcome(ours, s, p, init)
      if is ~= expected then assert.equal(expected, is, s .. "\n" .. p) end
    end
  end)

  it("takes the arguments that Lua does", function()
    for _, name in ipairs { "find", "match", "gsub", "gmatch", "rep" } do
      assert_alike("string", name)
      assert_alike("string", name, 5)
      assert_alike("string", name, "a", true)
      assert_alike("string", name, "a", "a", "x", {})
    end
    assert_alike("string", "find", "a.b", ".", 2, true)
    assert_alike("string", "find", "abc", "", 10, true)
    assert_alike("string", "find", "abc", "", 4)
    assert_alike("string", "find", 12345, 34)
    assert_alike("string", "find", "a\0b", "\0b", 1, true)
    assert_alike("string", "find", "abc", "c", math.mininteger)
    assert_alike("string", "gsub", "abc", "%w", { a = "1", b = false, c = 3 })
    assert_alike("string", "gsub", "abc", "%w", { a = {} })
    assert_alike("string", "gsub", "abc", "(%w)(%w)", function(a, b) return b .. a end)
    assert_alike("string", "gsub", "abc", "%w", function() end)
    assert_alike("string", "gsub", "abc", "%w", string.upper)
    assert_alike("string", "gsub", "abc", "%w", error)
    assert_alike("string", "match", ("a"):rep(300), ("(a)"):rep(33))
    assert_alike("string", "match", ("a"):rep(300), ("a?"):rep(300))
    assert_alike("string", "match", ("a"):rep(3000), ".-b")
  end)

  it("repeats as Lua does, and nothing at once", function()
    for _, n in ipairs { -1, 0, 1, 2, 7 } do
      assert_alike("string", "rep", "ab", n)
      assert_alike("string", "rep", "ab", n, ", ")
      assert_alike("string", "rep", "", n, "-")
    end
    assert_alike("string", "rep", "x", 1 << 40)
    assert_alike("string", "rep", "x", 1 << 30, "yyy")
    assert.equal("", preempt.string.rep("", math.maxinteger))
  end)

  it("can wait in a callback", function()
    local green = require "greenlua"
    assert.equal("b.c.", (preempt.string.gsub("bc", ".", function(c)
      green.sleep(0)
      return c .. "."
    end)))
  end)
end)

describe("greenlua.core.preempt.table", function()
  -- A call with copies of the tables, and what has become of them.
  local function changed(f, ...)
    local arguments, texts = table.pack(...), {}
    for i = 1, arguments.n do
      local value = arguments[i]
      if type(value) == "table" then
        arguments[i] = setmetatable({ table.unpack(value, 1, 9) }, getmetatable(value))
      end
    end
    local result = outcome(f, table.unpack(arguments, 1, arguments.n))
    for i = 1, arguments.n do
      local t = arguments[i]
      for k = -3, type(t) == "table" and 12 or -4 do texts[#texts + 1] = tostring(rawget(t, k)) end
    end
    return result .. " " .. table.concat(texts, ",")
  end

  local function alike(name, ...)
    assert.equal(changed(table[name], ...), changed(preempt.table[name], ...), name)
  end

  local proxy = setmetatable({ 1, 2, 3 }, { __len = function() return 5 end,
    __index = function(_, k) return k * 10 end })

  it("inserts and removes as Lua does", function()
    for _, name in ipairs { "insert", "remove" } do
      alike(name)
      alike(name, 5)
      alike(name, "x", 1)
      alike(name, proxy, 1)
      alike(name, proxy, 2, 2)
      alike(name, { 1, 2, 3 }, "x", 1)
      alike(name, { 1, 2, 3 }, 1, 2, 3)
      for at = -2, 6 do
        alike(name, { 1, 2, 3 }, at, at)
        alike(name, { 1, 2, 3 }, at)
        alike(name, {}, at)
      end
    end
  end)

  it("moves as Lua does", function()
    alike("move", {}, 1)
    alike("move", 1, 1, 1, 1)
    alike("move", { 1 }, 1, 1, 1, 5)
    alike("move", proxy, 1, 5, 2)
    alike("move", { 1 }, math.mininteger, 5, 1)
    alike("move", { 1 }, 1, 5, math.maxinteger)
    for f = -1, 3 do
      for e = 0, 5 do
        for t = -1, 4 do
          alike("move", { 1, 2, 3, 4, 5 }, f, e, t)
          alike("move", { 1, 2, 3, 4, 5 }, f, e, t, { 9 })
        end
      end
    end
  end)

  it("concatenates as Lua does", function()
    alike("concat")
    alike("concat", { 1, 2.5, "x" })
    alike("concat", { 1, {}, "x" }, ",")
    alike("concat", proxy, ",")
    alike("concat", { 1, 2, 3 }, {})
    for i = -1, 4 do
      for j = -1, 4 do alike("concat", { 1, 2, 3 }, ", ", i, j) end
    end
  end)

  it("sorts as Lua does", function()
    alike("sort", 5)
    alike("sort", { 3, 1, 2 })
    alike("sort", { 3, 1, 2 }, 7)
    alike("sort", { 3, 1, 2 }, function(a, b) return a > b end)
    alike("sort", { 3, 1, 2 }, math.ult)
    alike("sort", { 3, "x", 2 })
    local many, sorted = {}, {}
    for i = 1, 3000 do many[i] = random(1000) end
    table.move(many, 1, 3000, 1, sorted)
    table.sort(sorted)
    preempt.table.sort(many)
    assert.same(sorted, many)
  end)
end)

-- Places where plain Lua cannot yield to the scheduler: under a C function that
-- calls back, in a coroutine of the program's own, in a hook.
--
--   for _, place in ipairs(boundaries) do place.call(f, ...) end
--
-- calls f(...) there, once, and gives what it returned; an error of f comes out
-- as it would without the place between.

local boundaries = {}

-- `enter(callback)` must call `callback` at least once. Only its first call runs
-- f, and what it raises is carried around whatever `enter` makes of errors.
local function add(name, enter)
  boundaries[#boundaries + 1] = { name = name, call = function(f, ...)
    local args, results = table.pack(...), nil
    enter(function()
      if results then return end
      results = {} -- a second call, meanwhile, is not for f
      results = table.pack(pcall(f, table.unpack(args, 1, args.n)))
    end)
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end }
end

-- The same without a pcall in between: the error crosses the boundary itself.
local function add_open(name, enter)
  boundaries[#boundaries + 1] = { name = name, call = function(f, ...)
    local args, results = table.pack(...), nil
    enter(function()
      if results then return end
      results = { n = 0 }
      results = table.pack(f(table.unpack(args, 1, args.n)))
    end)
    return table.unpack(results, 1, results.n)
  end }
end

local function meta(event, callback)
  return setmetatable({}, { [event] = callback })
end

add_open("a table.sort comparator", function(f)
  table.sort({ 3, 1, 2 }, function(a, b) f() return a < b end)
end)
add_open("a string.gsub callback", function(f)
  string.gsub("abc", ".", function() f() end)
end)
add("a load reader", function(f)
  local text = "return 1"
  load(function() f() text = text and nil return text end)
end)
add_open("the body of a module", function(f)
  package.preload["spec.blocks"] = function() f() return true end
  local ok, err = pcall(require, "spec.blocks")
  package.preload["spec.blocks"], package.loaded["spec.blocks"] = nil, nil
  if not ok then error(err, 0) end
end)
add_open("__tostring under tostring", function(f)
  tostring(meta("__tostring", function() f() return "" end))
end)
add_open("__tostring under string.format", function(f)
  return ("%s"):format(meta("__tostring", function() f() return "" end))
end)
add_open("__index under table.concat", function(f)
  local t = meta("__index", function() f() return "x" end)
  table.concat(t, ",", 1, 2)
end)
add_open("__newindex under table.insert", function(f)
  table.insert(meta("__newindex", function() f() end), 1)
end)
add_open("__len under table.unpack", function(f)
  table.unpack(meta("__len", function() f() return 0 end))
end)
add_open("an arithmetic metamethod under a string's", function(f)
  -- ("x") + 1 asks the string metamethod, which calls the table's
  return "10" + meta("__add", function() f() return 1 end)
end)
add("an xpcall handler", function(f)
  xpcall(error, function() f() end)
end)
add_open("a coroutine.wrap function", function(f)
  coroutine.wrap(f)()
end)
add_open("a coroutine in a coroutine", function(f)
  local ok, err = coroutine.resume(coroutine.create(function()
    coroutine.wrap(f)()
  end))
  if not ok then error(err, 0) end
end)
add_open("coroutine.close", function(f)
  local co = coroutine.create(function()
    local _ <close> = meta("__close", function() f() end) -- luacheck: ignore
    coroutine.yield()
  end)
  coroutine.resume(co)
  local ok, err = coroutine.close(co)
  if not ok then error(err, 0) end
end)
add_open("a line hook", function(f)
  local called
  debug.sethook(function()
    if called then return end
    called = true
    f()
  end, "l")
  local x = 1
  debug.sethook()
  return x
end)
add_open("a count hook", function(f)
  local called
  debug.sethook(function()
    if called then return end
    called = true
    f()
  end, "", 10)
  for _ = 1, 20 do math.abs(1) end
  debug.sethook()
end)
add_open("a comparator in a gsub callback in a coroutine", function(f)
  coroutine.wrap(function()
    string.gsub("x", ".", function()
      table.sort({ 2, 1 }, function(a, b) f() return a < b end)
    end)
  end)()
end)

return boundaries

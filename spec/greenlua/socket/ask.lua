-- What the probes print: each call and its answer, one line each.
--
-- Numbers print as integers where they are whole (LuaSocket gives floats), and
-- addresses of objects and ports by kind.

local known = {}

local function show(value)
  if math.type(value) == "float" and value == math.floor(value) then
    value = math.tointeger(value)
  end
  if known[value] then return known[value] end
  if type(value) == "string" then
    -- the C library behind a function may have a name of its own
    return (("%q"):format(value):gsub("0x%x+", "0x"):gsub("'socket%.", "'")
      :gsub("'core%.", "'"))
  end
  if type(value) == "table" then
    local keys = {}
    for key in pairs(value) do keys[#keys + 1] = tostring(key) end
    table.sort(keys)
    for i, key in ipairs(keys) do keys[i] = key .. "=" .. show(value[tonumber(key) or key]) end
    return "{" .. table.concat(keys, ",") .. "}"
  end
  return (tostring(value):gsub("0x%x+", "0x"))
end

local function line(name, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = show(values[i]) end
  print(name .. " -> " .. table.concat(values, ", "))
end

local function call(name, f, ...)
  line(name, select(2, (function(ok, ...)
    if ok then return ok, ... end
    return ok, "raises", (tostring((...)):gsub("^[^:]+:%d+: ", ""))
  end)(pcall(f, ...))))
end

local function method(object, name, ...)
  call(name, function(...) return object[name](object, ...) end, ...)
end

local function section(name) print("== " .. name) end

return { known = known, show = show, line = line, call = call, method = method, section = section }

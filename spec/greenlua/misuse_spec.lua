-- Calls of everything public with arguments of any kind, in any state of the
-- objects. Nothing is expected of what comes back, but: nothing crashes or hangs,
-- everything can be ended, and what is raised tells of the call, not of our
-- insides.
--
-- MISUSE=seed runs that one instead, and prints the calls; MISUSE=first-last runs many.

local core = require "greenlua.core"
local green = require "greenlua"
local lfs = require "lfs"

local certificates = require "spec.support.certificates"
local generator = require "spec.support.random"
local objects = require "spec.greenlua.misuse.objects"
local values = require "spec.greenlua.misuse.values"

local CALLS = 250
local SEEDS = core.fail_allocation(0) == -1 and 10 or 2

-- Every module, but `monkey` and `signal`, which change the process.
local modules = {
  "actor", "condition", "context", "dns", "event", "greenlet", "local", "lock", "pool", "queue",
  "select", "server", "socket", "ssl", "supervisor", "timeout", "util", "wait",
}

-- They end the program, change it for the specs to come, take a number for a
-- descriptor, which is somebody else's, or give one up.
local left_out = {
  ["util.shutdown"] = true, ["util.close_all"] = true, ["dns.use"] = true,
  ["wait.run"] = true, ["socket.fromfd"] = true, ["socket.unix.__call"] = true,
  ["ssl.core.setfd"] = true, ["ssl.core.setmethod"] = true, setfd = true, set_inheritable = true,
  detach = true, extend = true, keylog = true,
  warn = true, rawlink = true, -- what they say goes to stderr
  on_error = true,
  map = true, map_async = true, imap = true, imap_unordered = true, -- endless if an iterator is
}

local function is_public(path, name)
  return type(name) == "string" and not name:find "^_"
    and not (left_out[path .. "." .. name] or left_out[name])
end

local function sorted(list)
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function is_class(v) return type(v) == "table" and rawget(v, "__index") ~= nil end

-- The functions of a module and of its tables. Methods are called with objects only.
local function collect(list, path, module, seen)
  if seen[module] then return list end
  seen[module] = true
  for name, v in pairs(module) do
    local whole = path .. "." .. tostring(name)
    local mt = getmetatable(v)
    if not is_public(path, name) then -- luacheck: ignore
    elseif type(v) == "function" or (mt and mt.__call) then
      list[#list + 1] = { name = whole, f = v }
    elseif type(v) == "table" and not mt and not is_class(v) then
      collect(list, whole, v, seen)
    end
  end
  return list
end

local function all_functions()
  local list, seen = {}, {}
  for _, name in ipairs(modules) do collect(list, name, require("greenlua." .. name), seen) end
  return sorted(list)
end

-- name -> method, those of its class and of the classes above it.
local function methods_of(object)
  local list, seen = {}, {}
  local mt = debug.getmetatable(object)
  local class = type(mt) == "table" and mt.__index
  while type(class) == "table" do
    for name, f in pairs(class) do
      if is_public("", name) and type(f) == "function" and not seen[name] then
        seen[name] = true
        list[#list + 1] = { name = name, f = f }
      end
    end
    mt = getmetatable(class)
    class = type(mt) == "table" and mt.__index
  end
  return sorted(list)
end

local function shown(v)
  if type(v) == "string" then return ("%q"):format(#v > 40 and v:sub(1, 40) .. "…" or v) end
  local ok, text = pcall(tostring, v)
  return ok and text or type(v)
end

local function written(call)
  local words = {}
  for i = 1, call.args.n do words[i] = shown(call.args[i]) end
  return ("%s(%s)"):format(call.name, table.concat(words, ", "))
end

local function new_call(self)
  local random = self.random
  local args = { n = random(6) - 1 }
  for i = 1, args.n do args[i] = self.value() end
  if random(3) == 1 then
    local one = self.functions[random(#self.functions)]
    return { name = one.name, f = one.f, args = args }
  end
  local object = self.objects[random(#self.objects)]
  local methods = methods_of(object)
  if #methods == 0 then return new_call(self) end
  local one = methods[random(#methods)]
  table.insert(args, 1, object)
  args.n = args.n + 1
  return { name = one.name, f = one.f, args = args }
end

-- Second names of functions.
local aliases = { query = "resolve", to_client = "client", to_server = "server",
  JoinableQueue = "Queue" }

-- The only line that may be blamed.
local function make(call)
  local result = call.f(table.unpack(call.args, 1, call.args.n))
  return result
end
local HERE = debug.getinfo(make, "S").short_src .. ":" .. debug.getinfo(make, "S").linedefined + 1

-- What makes a message one about our insides, of which users should not have to know.
local function fault(call, err)
  if err:find "%f[%w/]greenlua/[/%w_]*%.lua:%d" then return "raises from inside" end
  local compares = err:find "attempt to compare" and written(call):find "PriorityQueue"
  if err:find "assertion failed" or (err:find "attempt to " and not compares) then
    return "fails inside"
  end
  if err:find "'%?'" or err:find "[^%w'\"]_%f[%l]%l*%f[%W]" and not err:find "no _init" then
    return "names what is private"
  end
  local where, message = err:match "^([^:]*:%d+): (.*)$"
  local blamed = (message or err):match "^bad argument #%d+ to '([^']*)'"
    or (message or err):match "^calling '([^']*)' on bad self"
  if not blamed then return end
  if where ~= HERE then return "does not say where" end
  local name = call.name:match "[%w_]*$"
  if blamed ~= "f" and blamed ~= (aliases[name] or name) then return "blames another" end
end

local function judge(call, err)
  if type(err) ~= "string" or err:find "misuse/values%.lua" then return end
  local wrong = fault(call, err)
  return wrong and ("%s\n  %s: %s"):format(written(call), wrong, err)
end

-- Make a call; whoever waits is ended after some turns.
local function perform(self, call)
  if self.verbose then io.stderr:write(written(call), "\n") end
  local problem
  local g = green.spawn(function()
    local ok, result = pcall(make, call)
    if not ok then problem = judge(call, result) end
    if green.Timeout.is(result) then result:cancel() end -- nobody is there to stop it
  end)
  for _ = 1, 3 do green.sleep(0) end
  if not g.dead then g:close() end
  if problem then self.problems[#self.problems + 1] = problem end
  collectgarbage "step"
end

local function end_all(self, before)
  local keep = {}
  for _, g in ipairs(before) do keep[g] = true end
  for _, object in ipairs(self.objects) do
    local mt = debug.getmetatable(object)
    local close = type(mt) == "table" and (mt.__index and type(mt.__index) == "table"
      and mt.__index.stop or mt.__close)
    if close then pcall(close, object) end
  end
  for _ = 1, 3 do
    for _, g in ipairs(core.live()) do
      if not keep[g] and g ~= green.current() then g:close() end
    end
    green.sleep(0)
  end
end

local function run(seed, pair, authority, verbose)
  local before, random = core.live(), generator(seed)
  local self = { random = random, verbose = verbose, problems = {} }
  self.functions = all_functions()
  self.objects = objects.make(pair, authority)
  self.value = values(random, self.objects)
  for _ = 1, CALLS do perform(self, new_call(self)) end
  end_all(self, before)
  return self.problems
end

describe("misuse", function()
  local authority, pair, previous, folder, home, dns

  setup(function()
    authority = certificates.authority()
    pair = authority:issue "localhost"
    dns = require "greenlua.dns"
    dns.use(dns.Resolver { servers = { "127.0.0.1:1" }, timeout = 0.01, attempts = 1 })
    home, folder = lfs.currentdir(), authority.folder
    previous = green.on_error(function() end)
    lfs.chdir(folder) -- names of files are relative ones
  end)

  teardown(function()
    lfs.chdir(home)
    green.on_error(previous)
    dns.use()
    authority:close()
  end)

  it("is told of the program's line, in Lua's own words", function()
    local group, lock = green.Group(), green.RLock()
    local bounded = require("greenlua.lock").BoundedSemaphore
    for _, case in ipairs {
      { function() green.Timeout("x") end,
        "#1 to 'Timeout' (number of seconds or nil expected, got string)" },
      { function() green.Timeout(-1) end,
        "#1 to 'Timeout' (a timeout is a number of seconds, not negative; got -1)" },
      { function() group:spawn(nil) end,
        "#1 to 'spawn' (function or callable expected, got nil)" },
      { function() green.Pool(2):apply_async(5) end,
        "#1 to 'apply_async' (function or callable expected, got number)" },
      { function() lock:hold("x") end,
        "#1 to 'hold' (number of seconds, nil or Timeout expected, got string)" },
      { function() green.context.set(nil) end, "#1 to 'set' (a key expected, got nil)" },
      { function() green.within(1, nil) end,
        "#2 to 'within' (function or callable expected, got nil)" },
      { function() green.util.tree("x") end,
        "#1 to 'tree' (number of greenlets or nil expected, got x)" },
      { function() bounded(-1) end,
        "#1 to 'BoundedSemaphore' (permits, 0 or more, expected; got -1)" },
      { function() green.Pool(1, { 5 }) end,
        "#2 to 'Pool' (at 1: Greenlet expected, got number)" },
      { function() green.kill(5) end, "#1 to 'kill' (Greenlet expected, got number)" },
      { function() green.run("x") end,
        "#1 to 'run' (number of seconds, nil or Timeout expected, got string)" },
      { function() green.Supervisor(5) end, "#1 to 'Supervisor' (table expected, got number)" },
      { function() green.server.StreamServer(0, 5) end,
        "#2 to 'StreamServer' (function or callable expected, got number)" },
    } do
      local info = debug.getinfo(case[1], "S")
      local here = ("%s:%d: "):format(info.short_src, info.linedefined)
      assert.same({ false, here .. "bad argument " .. case[2] }, { pcall(case[1]) })
    end
  end)

  local first, last = (os.getenv "MISUSE" or "1-" .. SEEDS):match "^(%d+)%-?(%d*)$"
  for seed = first, tonumber(last) or first do
    it(("is told, and harms nobody: seed %d"):format(seed), function()
      local problems = run(seed, pair, authority.certificate, last == "")
      assert.equal("", table.concat(problems, "\n"))
    end)
  end
end)

--- Environments for scripts that one does not trust altogether.
--
-- A script that is loaded with such an environment finds no way to files,
-- sockets, processes, signals, C modules, bytecode and the debug library, unless
-- that is granted. Functions of `string` and `table` that could run for as long as
-- their arguments say (patterns, `table.move` …) are ones that do the same and that
-- a limit of time stops.
--
-- What an environment cannot do: scripts of one Lua state share its memory, its
-- strings' methods, and the classes of greenlua, which each of them can change
-- for all (`queue.__index.put = f`). So it keeps apart scripts that mean no harm
-- to each other. One that may is given a state of its own, by a host in C:
-- `green_opensandbox` in greenlua.h, with limits of memory and of time.
--
-- @usage local sandbox = require "greenlua.sandbox"
-- local env = sandbox.environment { sockets = true }
-- env.answer = 42
-- assert(load("print(answer)", "=script", "t", env))()
--
-- @module greenlua.sandbox

local M = {}

local allowed = {
  base = { "assert", "error", "ipairs", "next", "pairs", "pcall", "print", "rawequal", "rawget",
    "rawlen", "rawset", "select", "tonumber", "tostring", "type", "xpcall", "_VERSION" },
  os = { "clock", "date", "difftime", "time" },
  debug = { "traceback" },
}
local whole = { "coroutine", "math", "string", "table", "utf8" }

-- Those that could run for as long as their arguments say can be stopped here.
local preempt = require "greenlua.core.preempt"

-- Of `require "greenlua"`: neither what ends the program nor what rules the hub.
local green_names = { "Actor", "AsyncResult", "Channel", "Condition", "Event", "Greenlet",
  "GreenletExit", "Group", "LifoQueue", "Local", "LoopExit", "Pool", "PriorityQueue", "Queue",
  "RLock", "Semaphore", "Supervisor", "Timeout", "_VERSION", "actor", "current", "event", "idle",
  "iwait", "joinall", "kill", "killall", "local", "lock", "pcall", "pool", "queue",
  "select_ops", "sleep", "spawn", "spawn_later", "supervisor", "timeout", "wait",
  "with_timeout", "within" }
local modules = { "actor", "event", "local", "lock", "pool", "queue", "supervisor", "timeout",
  "wait" }

local granted_modules = {
  sockets = { "dns", "http", "select", "server", "socket", "ssl", "websocket" },
  signals = { "signal" },
}
local granted_functions = {
  files = {
    io = { "close", "flush", "input", "lines", "open", "output", "read", "stderr", "stdin",
      "stdout", "tmpfile", "type", "write" },
    os = { "getenv", "remove", "rename", "tmpname" },
  },
  processes = { io = { "popen" }, os = { "execute" } },
}
local grants_known = { files = true, sockets = true, processes = true, signals = true }

local function copy(from, names)
  local to = {}
  for _, name in ipairs(names) do to[name] = from[name] end
  return to
end

local function copy_all(from)
  local to = {}
  for name, value in pairs(from) do to[name] = value end
  return to
end

local getinfo = debug.getinfo
local type, error, rawget, getmetatable, setmetatable, load, select =
  type, error, rawget, getmetatable, setmetatable, load, select

-- Finalizers cannot be stopped, and metatables of others are not the script's.
local function metatables(env)
  local own = setmetatable({}, { __mode = "k" })

  function env.getmetatable(value)
    local mt = getmetatable(value)
    if type(mt) ~= "table" or own[mt] then return mt end
    return nil
  end

  function env.setmetatable(value, mt)
    local before = type(value) == "table" and getmetatable(value)
    if before and not own[before] then error("cannot change a protected metatable", 2) end
    if type(mt) == "table" then
      if rawget(mt, "__gc") ~= nil then error("a sandbox has no finalizers (__gc)", 2) end
      own[mt] = true
    end
    return setmetatable(value, mt)
  end
end

-- No bytecode, and no name that passes for a file of greenlua.
local function loader(env)
  return function(chunk, name, mode, ...)
    if mode ~= nil and not tostring(mode):find "t" then
      return nil, ("attempt to load a text chunk (mode is '%s')"):format(tostring(mode))
    end
    if type(name) == "string" and name:find "^@" then name = "=" .. name:sub(2) end
    local scope = env
    if select("#", ...) > 0 then scope = (...) end
    return load(chunk, name or (type(chunk) == "string" and chunk) or "=(load)", "t", scope)
  end
end

-- A name is looked up when it is used first, as `greenlua` itself does.
local function facade(grants)
  local green = require "greenlua"
  local names = {}
  for _, name in ipairs(green_names) do names[name] = true end
  for grant, list in pairs(granted_modules) do
    for _, name in ipairs(grants[grant] and list or {}) do names[name] = true end
  end
  return setmetatable({}, {
    __index = function(self, name)
      if not names[name] then return nil end
      local value = green[name]
      rawset(self, name, value)
      return value
    end,
    __metatable = "greenlua",
  })
end

local function requirer(env, grants)
  local known, loaded = {}, { greenlua = facade(grants) }
  local function know(list)
    for _, name in ipairs(list) do known["greenlua." .. name] = true end
  end
  know(modules)
  for grant, list in pairs(granted_modules) do
    if grants[grant] then know(list) end
  end
  for _, name in ipairs(whole) do loaded[name] = env[name] end
  loaded._G, loaded.os, loaded.debug, loaded.io = env, env.os, env.debug, env.io
  return function(name)
    if loaded[name] then return loaded[name] end
    if not known[name] then
      error(("module '%s' is not there in this sandbox"):format(tostring(name)), 2)
    end
    return require(name)
  end
end

local function check_grants(grants)
  for name in pairs(grants) do
    if not grants_known[name] then
      error(("bad argument #1 to 'environment' (there is no grant '%s')")
        :format(tostring(name)), 3)
    end
  end
end

--- Make an environment: a table of globals, for `load`. It is the script's, and
-- nothing in it is shared with others but functions, and what greenlua's modules
-- give.
-- @tparam[opt] table grants what the script may use besides:
--
-- * `files`: `io` without `popen`, `os.remove`, `os.getenv` …
-- * `sockets`: `greenlua.socket`, `.dns`, `.http`, `.websocket`, `.ssl`,
--   `.server`, `.select`; they include UNIX sockets, and files: of keys and certificates, and those
--   that an HTTP server shows
-- * `processes`: `os.execute`, `io.popen`
-- * `signals`: `greenlua.signal`
-- @treturn table
function M.environment(grants)
  grants = grants or {}
  check_grants(grants)
  local env = copy(_G, allowed.base)
  env._G = env
  for _, name in ipairs(whole) do env[name] = copy_all(_G[name]) end
  for library, functions in pairs(preempt) do
    for name, f in pairs(functions) do env[library][name] = f end
  end
  env.string.dump = nil
  env.os, env.debug = copy(os, allowed.os), copy(debug, allowed.debug)
  for grant, libraries in pairs(granted_functions) do
    for library, names in pairs(grants[grant] and libraries or {}) do
      env[library] = env[library] or {}
      for name, f in pairs(copy(_G[library], names)) do env[library][name] = f end
    end
  end
  metatables(env)
  env.load = loader(env)
  env.require = requirer(env, grants)
  function env.collectgarbage(what)
    if what == "count" then return collectgarbage "count" end
    error("a sandbox can only ask the collector for its count", 2)
  end
  return env
end

-- A script's chunks cannot have such a name.
local function is_ours(f)
  local info = type(f) == "function" and getinfo(f, "S")
  return info and info.what ~= "C" and info.source:find "^@greenlua"
end

-- For a state that is a sandbox as a whole: greenlua's own modules, which make
-- objects of classes that a script may have changed, give no finalizers to them
-- but their own.
function M._seal(grants)
  local env = M.environment(grants)
  local set = setmetatable
  function _G.setmetatable(value, mt)
    local gc = type(mt) == "table" and rawget(mt, "__gc")
    if gc and not is_ours(gc) then
      error("a sandbox has no finalizers (__gc)", 2)
    end
    return set(value, mt)
  end
  getmetatable("").__index = copy_all(env.string)
  return env
end

return M

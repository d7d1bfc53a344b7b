--- Programs that know nothing of greenlets, made to wait without holding others up.
--
-- `monkey.patch_all()` puts greenlua's functions in the places of those that
-- block: `require "socket"` and `require "ssl"` give our own, `os.execute` and
-- `io.read` wait while others run. A library that was written for LuaSocket runs
-- as it is, in as many greenlets at once as one likes. After gevent's
-- `gevent.monkey`.
--
-- It must come first. A library that was loaded before keeps the original
-- functions in variables of its own, where nobody can exchange them: it is found,
-- and told of by a warning (see Lua's `warn`, and `-W`) that says what to do.
-- `greenlua --monkey script.lua` patches before anything of the program runs,
-- LUA_INIT and `-l` included.
--
-- What stays as it is: regular files (nobody is waited for there), the standard
-- error stream, `dofile` and `loadfile`, and modules in C that wait by themselves.
-- Without a call of this module nothing global changes.
--
-- @usage
-- require("greenlua.monkey").patch_all()
-- local green = require "greenlua"
-- local http = require "socket.http" -- LuaSocket's own
-- local pages = green.Pool(10):map(http.request, urls)
-- @module greenlua.monkey

local capture = require "greenlua.monkey.capture"
local object = require "greenlua.object"

local M = {}

-- In the order in which they are done.
local KINDS = { "socket", "ssl", "select", "time", "os", "io" }

local patched = {} -- kind -> true
local fields = {} -- module -> name -> what was there
local tables = {} -- the same by the tables: two modules may be one
local modules = {} -- module -> what was loaded in its place; false: nothing

-- Modules that are loaded later ------------------------------------------------

-- Call f(module) when it is loaded, now if it is.
local function on_load(name, f)
  if package.loaded[name] then return f(package.loaded[name]) end
  local before = package.preload[name]
  local function load(...)
    package.preload[name] = before
    local ok, module = pcall(require, ...)
    if not ok then
      package.preload[name] = load
      error(module, 0)
    end
    f(module)
    return module
  end
  package.preload[name] = load
end

-- What is to be exchanged -------------------------------------------------------

-- A change is `{ module =, value = }` or `{ module =, name =, table =, value = }`.

local function change_module(change)
  local name = change.module
  if modules[name] == nil then modules[name] = package.loaded[name] or false end
  package.loaded[name] = change.value
  package.preload[name] = function() return change.value end
end

local function change_field(change)
  local module, name = change.module, change.name
  local before = tables[change.table] or {}
  tables[change.table] = before
  fields[module] = fields[module] or {}
  if before[name] == nil then before[name] = change.table[name] end
  fields[module][name] = before[name]
  change.table[name] = change.value
end

local function add_field(changes, module, where, name, value)
  if where[name] ~= nil and where[name] ~= value then
    changes[#changes + 1] = { module = module, name = name, table = where, value = value }
  end
end

-- A function of Lua's own; another one that somebody has put there stays.
local function add_wrapped(changes, module, where, name, how)
  local value = require("greenlua.core.luaio").wrap(how, where[name])
  if value then add_field(changes, module, where, name, value) end
end

local planners = {}

function planners.socket(changes)
  local socket = require "greenlua.socket"
  for _, name in ipairs { "socket", "socket.core" } do
    changes[#changes + 1] = { module = name, value = socket }
  end
  changes[#changes + 1] = { module = "socket.unix", value = socket.unix }
end

function planners.ssl(changes)
  local ssl = require "greenlua.ssl"
  changes[#changes + 1] = { module = "ssl", value = ssl }
  for _, part in ipairs { "core", "context", "x509", "config" } do
    changes[#changes + 1] = { module = "ssl." .. part, value = ssl[part] }
  end
end

-- LuaSocket itself, as far as it stays in use: it was loaded before, or is not to
-- be exchanged as a whole.
local function add_to_luasocket(changes, name, value)
  for _, module in ipairs { "socket", "socket.core" } do
    local original = modules[module]
    if original == nil then original = package.loaded[module] end
    if original then
      add_field(changes, module, original, name, value)
    elseif original == nil and not changes.socket then
      changes.later[#changes.later + 1] = { module, name, value }
    end
  end
end

function planners.select(changes)
  add_to_luasocket(changes, "select", require("greenlua.socket").select)
end

function planners.time(changes)
  local sleep = require("greenlua.socket").sleep
  add_to_luasocket(changes, "sleep", sleep)
  for _, module in ipairs { "system", "system.core" } do -- lua-system
    changes.later[#changes.later + 1] = { module, "sleep", sleep }
  end
end

function planners.os(changes)
  add_wrapped(changes, "os", os, "execute", "os.execute")
end

function planners.io(changes)
  local meta = getmetatable(io.stdout)
  for _, name in ipairs { "read", "lines", "write", "flush", "close" } do
    add_wrapped(changes, "FILE*", meta.__index, name, name)
    add_wrapped(changes, "io", io, name, "io." .. name)
  end
  for _, name in ipairs { "input", "output", "open", "popen" } do
    add_wrapped(changes, "io", io, name, "io." .. name)
  end
  add_wrapped(changes, "FILE*", meta, "__close", "__close")
  add_wrapped(changes, "FILE*", meta, "__gc", "__gc")
  add_wrapped(changes, "_G", _G, "print", "print")
end

-- Originals that are held elsewhere ----------------------------------------------

-- Those that wait for nobody do no harm.
local HARMLESS = {}
for name in ([[newtry protect skip try sink source choose gettime print
    write flush close open input output __close __gc __unload]]):gmatch "%S+" do
  HARMLESS[name] = true
end

local function add_original(originals, value, name)
  if type(value) == "function" or type(value) == "table" then originals[value] = name end
end

local function add_originals_of(originals, change)
  local before = package.loaded[change.module]
  if change.name then
    if not HARMLESS[change.name] then
      add_original(originals, change.table[change.name], change.module .. "." .. change.name)
    end
  elseif before and before ~= change.value then
    add_original(originals, before, change.module)
    for name, value in pairs(type(before) == "table" and before or {}) do
      if type(value) == "function" and not HARMLESS[name] then
        add_original(originals, value, change.module .. "." .. name)
      end
    end
  end
end

-- Those to come are of now, if the module has been loaded already.
local function each_change(changes)
  local all = table.move(changes, 1, #changes, 1, {})
  for _, later in ipairs(changes.later) do
    local loaded = package.loaded[later[1]]
    if type(loaded) == "table" then
      all[#all + 1] = { module = later[1], name = later[2], table = loaded }
    end
  end
  return all
end

local function captured(changes)
  local originals, homes, skipped = {}, {}, {}
  changes = each_change(changes)
  for i = #changes, 1, -1 do -- a field of "socket" is of "socket.core", too
    local change = changes[i]
    add_originals_of(originals, change)
    if change.name then
      homes[change.table] = homes[change.table] or {}
      homes[change.table][change.name] = true
    else
      skipped[change.module] = true
    end
  end
  return capture.find(originals, homes, skipped)
end

local ADVICE = "require \"greenlua.monkey\" and patch before that, or run greenlua --monkey"

local function describe(entry)
  return ("greenlua.monkey: %s has the original '%s', which blocks all greenlets (%s): %s")
    :format(entry.module and ("module '%s'"):format(entry.module) or "the program",
      entry.original, entry.where, ADVICE)
end

-- Patching ----------------------------------------------------------------------

local function plan(kinds)
  local changes = { later = {} }
  for _, kind in ipairs(KINDS) do
    if kinds[kind] and not patched[kind] then
      if kind == "socket" then changes.socket = true end
      planners[kind](changes)
    end
  end
  return changes
end

local function carry_out(changes, kinds)
  for _, change in ipairs(changes) do
    if change.name then change_field(change) else change_module(change) end
  end
  for _, later in ipairs(changes.later) do
    local module, name, value = table.unpack(later)
    on_load(module, function(loaded)
      if type(loaded) ~= "table" or loaded[name] == nil then return end
      change_field { module = module, name = name, table = loaded, value = value }
    end)
  end
  if kinds.io and not patched.io then
    require("greenlua.core.luaio").adopt(io.stdin, io.stdout)
  end
  for kind in pairs(kinds) do patched[kind] = true end
end

local function patch(kinds, strict)
  local changes = plan(kinds)
  local found = captured(changes)
  for _, entry in ipairs(found) do entry.message = describe(entry) end
  if strict and found[1] then error(found[1].message, 2) end -- called by tail calls
  carry_out(changes, kinds)
  for _, entry in ipairs(found) do warn(entry.message) end
  return found
end

local function check_options(name, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(name, type(options)), 3)
  end
  for option, value in pairs(options) do
    if option ~= "strict" and not known[option] then
      error(("unknown option '%s' of '%s'"):format(tostring(option), name), 3)
    end
    if type(value) ~= "boolean" then
      error(("bad option '%s' of '%s' (boolean expected, got %s)")
        :format(option, name, type(value)), 3)
    end
  end
  return options
end

local ALL = {}
for _, kind in ipairs(KINDS) do ALL[kind] = true end

--- Patch everything but what is set to false. Called again, it patches what is
-- left; nothing is ever taken back.
-- @usage monkey.patch_all { io = false }
-- @tparam[opt] table options `socket`, `ssl`, `select`, `time`, `os`, `io`: false
--   leaves one out; `strict`: raise, before anything is changed, if a module has an
--   original already
-- @treturn table list of those that have: `{ module =, original =, where =,
--   message = }`, without a module for variables of the running functions
function M.patch_all(options)
  options = check_options("patch_all", options, ALL)
  local kinds = {}
  for _, kind in ipairs(KINDS) do
    if options[kind] ~= false then kinds[kind] = true end
  end
  return patch(kinds, options.strict)
end

local function patch_one(kind, options)
  options = check_options("patch_" .. kind, options, {})
  return patch({ [kind] = true }, options.strict)
end

--- Have `require` give `greenlua.socket` for "socket" and "socket.core", and its
-- `unix` for "socket.unix". LuaSocket's other modules (`socket.http`, `ltn12` …)
-- stay its own, and run on ours; so does `mime`.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_socket(options) return patch_one("socket", options) end

--- Have `require` give `greenlua.ssl` for "ssl" and its parts. `ssl.https` stays
-- LuaSec's own.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_ssl(options) return patch_one("ssl", options) end

--- Exchange `select` of LuaSocket where that itself is in use, because it was loaded
-- before or `patch_socket` has been left out.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_select(options) return patch_one("select", options) end

--- Exchange `sleep` of lua-system (`require "system"`) and of LuaSocket, now or when
-- they are loaded.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_time(options) return patch_one("time", options) end

--- Exchange `os.execute`. Its results are Lua's. A kill or a Timeout ends the wait
-- and not the command, which goes on and is reaped when it ends. Ctrl-C reaches
-- the command and the program both.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_os(options) return patch_one("os", options) end

--- Exchange `print` and what may wait of the io library, as far as terminals, pipes
-- and sockets are concerned: stdin, stdout, `io.popen`, `io.open` of a terminal or a
-- named pipe. All results, errors and buffers are those of Lua's own code.
--
-- * A read that a kill or a Timeout ends has not taken anything: the next one finds
--   all of it. One greenlet may read a file at a time; a second one is an error.
-- * A write waits until all is out. If it is ended, the rest goes out nonetheless,
--   in order. Any number of greenlets may write.
-- * `close` of a pipe waits for its command. A file that is collected does not wait.
-- * `io.open` of a named pipe for reading returns at once, and the first read waits
--   for somebody to write; for writing it waits for somebody to read.
-- @tparam[opt] table options `strict`
-- @treturn table as `patch_all`
function M.patch_io(options) return patch_one("io", options) end

--- Has something of a module been exchanged?
-- @usage monkey.is_patched("os", "execute")
-- @tparam string module as for `require`
-- @tparam[opt] string name of one of its functions
-- @treturn boolean
function M.is_patched(module, name)
  if modules[module] ~= nil then return true end
  local of = fields[module]
  return of ~= nil and (name == nil or of[name] ~= nil)
end

-- The module as it would be without us.
local function load_original(name)
  local ours = {}
  for module in pairs(modules) do
    ours[module] = { package.loaded[module], package.preload[module] }
    package.loaded[module], package.preload[module] = modules[module] or nil, nil
  end
  local ok, value = pcall(require, name)
  for module, its in pairs(ours) do
    modules[module] = package.loaded[module] or false
    package.loaded[module], package.preload[module] = its[1], its[2]
  end
  if not ok then error(value, 0) end
  return value
end

--- What there was before patching; what there is if it has not been patched. A
-- module that was not loaded then is loaded now.
-- @usage local execute = monkey.get_original("os", "execute")
-- @tparam string module as for `require`
-- @tparam[opt] string name of one of its functions; without it, the module
-- @return the original
function M.get_original(module, name)
  local value
  if modules[module] ~= nil then
    value = modules[module] or load_original(module)
  else
    local found
    found, value = pcall(require, module)
    if not found then object.misuse("%s", value) end
  end
  if name == nil then return value end
  local of = fields[module]
  if of and of[name] ~= nil then return of[name] end
  return value[name]
end

return M

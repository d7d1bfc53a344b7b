--- Greenlets: what they are, and their life from `spawn` to the end.
--
-- A greenlet starts in the order of `spawn`, runs until it waits, and ends with
-- values or with an error. After gevent's `Greenlet`, with these differences:
-- a greenlet may return several values, `close` ends it whatever stands in the
-- way, and an error that somebody is there for is not printed.
--
-- @module greenlua.greenlet

local core = require "greenlua.core"
local waiting = require "greenlua.core.wait"
local native = require "greenlua.core.timeout"
local object = require "greenlua.object"

local check_seconds = object.check_seconds

local M = {}

--- What a killed greenlet is raised, and what it then has as its value: the
-- class itself, or `GreenletExit(message)`.
-- @type GreenletExit
local GreenletExit = { __name = "GreenletExit" }
GreenletExit.__index = GreenletExit
M.GreenletExit = GreenletExit

--- Is it a GreenletExit?
-- @param value
-- @treturn boolean
function GreenletExit.is(value)
  return value == GreenletExit
    or (type(value) == "table" and getmetatable(value) == GreenletExit)
end

function GreenletExit:__tostring()
  local message = rawget(self, "message")
  return message and "GreenletExit: " .. tostring(message) or "GreenletExit"
end

setmetatable(GreenletExit, {
  __call = function(class, message)
    return setmetatable({ message = message }, class)
  end,
  __tostring = function() return "GreenletExit" end,
})
core.policy("exit", GreenletExit)

--- A greenlet.
--
-- Fields, read-only: `value` (the first value it returned, or a GreenletExit;
-- nil before its end), `exception` (the error that it failed with), `traceback`
-- (taken where it failed), `dead`, `started` (it will run, or runs). `name` may
-- be set, and so may any field of the program's own.
-- @type Greenlet
local Greenlet = {}
M.Greenlet = Greenlet

-- class -> metatable of its instances; a class that nobody knows any more goes
local metatables = setmetatable({}, { __mode = "k" })

local function construct(class, ...)
  local run = class._run
  if class == Greenlet or not run then
    object.check_callable(metatables[class].__name, 1, (...))
    return core.new(metatables[class], false, ...)
  end
  local self = core.new(metatables[class], true, run, ...)
  if class._prepare then class._prepare(self) end
  if class._init then class._init(self, ...) end
  return self
end

local function label(g)
  local state, failed = core.outcome(g)
  if failed then state = "failed" end
  local extra = core.extra(g, false)
  local named = extra and extra.fields and extra.fields.name
  local name = named and ("%s %q"):format(getmetatable(g).__name, g.name) or g.name
  return ("%s: %s"):format(name, state)
end

local function check_delay(seconds)
  if type(seconds) == "number" and seconds >= 0 then return end
  if type(seconds) ~= "number" then
    object.misuse("bad argument #1 to 'spawn_later' (number expected, got %s)", type(seconds))
  end
  object.misuse "bad argument #1 to 'spawn_later' (a delay is a number of seconds, not negative)"
end

local function class_of(value)
  return core.is_greenlet(value) and getmetatable(value).__class
end

-- Make `class` a class of greenlets; `base` is what it inherits from.
local function define(class, name, base)
  local mt = core.metatable(class, name)
  mt.__tostring = label
  mt.__close = function(g, err) return g:_leave(err) end
  metatables[class] = mt

  function class.spawn(...)
    return class(...):start()
  end

  function class.spawn_later(seconds, ...)
    check_delay(seconds)
    return class(...):start_later(seconds)
  end

  mt.__class = class
  return object.define(class, name, base, construct, class_of)
end

define(Greenlet, "Greenlet")
core.policy("greenlet", metatables[Greenlet])

--- Is it a greenlet of this class, or of a subclass?
-- @function Greenlet.is
-- @param value
-- @treturn boolean

--- Make a subclass. Its instances run `_run(self, ...)` with the arguments of
-- the constructor, after `_init(self, ...)` if there is one.
-- @function Greenlet:extend
-- @tparam string name for people
-- @treturn table the class: call it to construct, or use its `spawn`
-- @usage local Pinger = green.Greenlet:extend "Pinger"
-- function Pinger:_run(n) for i = 1, n do print("ping " .. i) end end
-- Pinger.spawn(3):join()
function Greenlet:extend(name)
  object.check_class_name(name)
  return define({}, name, self)
end

--- Make a greenlet and start it: it runs when its turn comes, never at once.
-- @function Greenlet.spawn
-- @tparam function f anything callable
-- @param ... its arguments
-- @treturn Greenlet
Greenlet.spawn = core.spawn

--- The same after a delay. Killed before, it never runs.
-- @tparam number seconds
-- @tparam function f
-- @param ... its arguments
-- @treturn Greenlet
function Greenlet.spawn_later(seconds, f, ...)
  check_delay(seconds)
  object.check_callable("spawn_later", 2, f)
  return Greenlet(f, ...):start_later(seconds)
end

--- Start it. Only the first start counts.
-- @function Greenlet:start
-- @treturn Greenlet itself
Greenlet.start = core.start

--- Start it after a delay.
-- @function Greenlet:start_later
-- @tparam number seconds
-- @treturn Greenlet itself
Greenlet.start_later = core.start_later

--- Wait for its end, whatever the end is.
-- @function Greenlet:join
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
Greenlet.join = waiting.join

--- Wait for its end and get what it returned.
-- Raises its error if it failed, a Timeout if the time runs out. A killed one
-- gives its GreenletExit.
-- @function Greenlet:get
-- @tparam[opt] number|Timeout timeout
-- @return what it returned, all of it
Greenlet.get = waiting.get

--- Has it ended?
-- @function Greenlet:ready
-- @treturn boolean
Greenlet.ready = core.ready

--- Has it ended without an error? A kill is no error.
-- @function Greenlet:successful
-- @treturn boolean
Greenlet.successful = core.successful

--- Raise an error where it waits, and wait for its end.
-- A greenlet that has been woken already runs first and meets the error where
-- it waits next. One that has not started never runs. One that catches the
-- error lives on. Killing oneself raises at once. After gevent's `kill`.
-- @param[opt] err what to raise; a GreenletExit by default
-- @tparam[opt] number|Timeout timeout how long to wait for its end
-- @treturn boolean true; false if the time ran out first
function Greenlet:kill(err, timeout)
  check_seconds("kill", 2, timeout)
  M.kill(self, err)
  return waiting.join(self, timeout)
end

--- End it for good: its pending `<close>` variables run, and no `pcall` of its
-- can keep it. It then counts as successful, with a GreenletExit as its value.
-- Returns when all that has run, which may block.
-- Neither main nor the running greenlet can be closed.
function Greenlet:close()
  core.close(self, GreenletExit())
  waiting.join(self)
end

-- A `<close>` variable that holds a greenlet: leaving the scope waits for it,
-- leaving it by an error kills it.
function Greenlet:_leave(err)
  if err == nil and core.started(self) then
    waiting.join(self)
  else
    self:kill(err)
  end
end

-- Links ----------------------------------------------------------------------

local function add_link(g, kind, callback, observer)
  object.check_callable(kind, 1, callback)
  local extra = core.extra(g, true)
  local links = extra.links
  if not links then
    links = {}
    extra.links = links
  end
  links[#links + 1] = { kind = kind, callback = callback, account = core.account(),
    observer = observer or kind == "link" or kind == "link_exception" }
  core.linked(g, true)
  if core.ready(g) then core.spawn(M._notify, g) end
end

--- Have `callback(g)` called after its end, in a greenlet of its own. Links run
-- in the order they were made; one made after the end still runs, not at once.
-- @tparam function callback
function Greenlet:link(callback) add_link(self, "link", callback) end

--- The same, only if it ends without an error.
-- @tparam function callback
function Greenlet:link_value(callback) add_link(self, "link_value", callback) end

--- The same, only if it fails.
-- @tparam function callback
function Greenlet:link_exception(callback)
  add_link(self, "link_exception", callback)
end

--- Have `callback(g)` called by the hub itself at its end: it must not block.
-- @tparam function callback
function Greenlet:rawlink(callback) add_link(self, "rawlink", callback) end

-- A rawlink that is there for the greenlet's error.
function Greenlet:_observe(callback)
  add_link(self, "rawlink", callback, true)
end

--- Take a link back; nothing happens if there is none.
-- @tparam function callback
function Greenlet:unlink(callback)
  local extra = core.extra(self, false)
  for i, l in ipairs(extra and extra.links or {}) do
    if l.callback == callback then
      table.remove(extra.links, i)
      return
    end
  end
end

--- Take all links back.
function Greenlet:unlink_all()
  local extra = core.extra(self, false)
  if extra then extra.links = nil end
end

--- Is there any link?
-- @treturn boolean
function Greenlet:has_links()
  local extra = core.extra(self, false)
  return (extra and extra.links and #extra.links > 0) == true
end

-- Owners ---------------------------------------------------------------------

-- What a greenlet belongs to (a Group …) is told of its end before its links
-- are: the hub calls `owner:_ended(g, observed)`, which must not block. It
-- returns true if it is there for the error, unless somebody else is
-- (`observed`). The greenlet must not have ended.
function M._own(g, owner)
  local extra = core.extra(g, true)
  extra.owners = extra.owners or {}
  table.insert(extra.owners, owner)
  core.linked(g, true)
end

function M._disown(g, owner)
  local extra = core.extra(g, false)
  for i, o in ipairs(extra and extra.owners or {}) do
    if o == owner then
      table.remove(extra.owners, i)
      return
    end
  end
end

local function tell_owners(g, observed)
  local extra = core.extra(g, false)
  for _, link in ipairs(extra and extra.links or {}) do
    observed = observed or link.observer
  end
  local owners = extra and extra.owners
  if not owners then return observed end
  extra.owners = nil
  for _, owner in ipairs(owners) do
    observed = owner:_ended(g, observed) or observed
  end
  return observed
end

-- The end --------------------------------------------------------------------

local function utc() return os.date("!%Y-%m-%dT%H:%M:%SZ") end

local function text(value)
  local ok, s = pcall(tostring, value)
  return ok and s or ("(error object is a %s value)"):format(type(value))
end

-- To the host's hook if it has one, else to stderr.
local function complain(message)
  if not core.report(message) then io.stderr:write(message) end
end

local function to_stderr(g, err, traceback)
  complain(("%s\n%s\n%s %s failed with %s\n\n"):format(text(err),
    traceback or "(no traceback)", utc(), g.name, text(err)))
end

local handler -- of on_error

--- @section end

--- Have `f(greenlet, err, traceback)` called, in a greenlet of its own, for
-- each error that nobody is there for (no link, no `get` waiting, no nursery),
-- instead of the report on stderr.
-- @tparam ?function f nil: back to the report
-- @return what was set before
function M.on_error(f)
  if f ~= nil and type(f) ~= "function" then
    error(("bad argument #1 to 'on_error' (function or nil expected, got %s)")
      :format(type(f)), 2)
  end
  local before = handler
  handler = f
  return before
end

local function report(g)
  local extra = core.extra(g, false)
  local traceback = extra and extra.traceback
  if handler and not (extra and extra.reports) then
    local reporter = core.spawn(handler, g, g.exception, traceback)
    core.extra(reporter, true).reports = true -- its own error goes to stderr
  else
    to_stderr(g, g.exception, traceback)
  end
end

M._report = report

local function call_raw(callback, g)
  local ok, err = pcall(callback, g)
  if not ok then
    complain(("%s\n%s rawlink of %s failed\n\n"):format(text(err), utc(),
      g.name))
  end
end

-- Call or spawn the links of one that has ended; true if one of them is there
-- for its error.
local function notify(g)
  local failed = not core.successful(g)
  local extra = core.extra(g, false)
  local observed = false
  while extra and extra.links and extra.links[1] do
    local link = table.remove(extra.links, 1)
    local kind = link.kind
    observed = observed or link.observer
    if kind == "rawlink" then
      call_raw(link.callback, g)
    elseif kind == "link" or (kind == "link_exception") == failed then
      core.spawn_for(link.account, link.callback, g)
    end
  end
  return observed
end
M._notify = notify

-- An error that has come from another greenlet brings the traceback of that.
local function add_cause(g)
  local extra = core.extra(g, false)
  local cause = extra and extra.cause
  if cause and rawequal(cause.exception, g.exception) then
    extra.traceback = ("%s\nraised in %s by the end of its scope:\n%s"):format(
      cause.traceback or "", g.name, extra.traceback or "")
  end
end

core.policy("on_end", function(g, observed)
  add_cause(g)
  observed = tell_owners(g, observed)
  local linked = notify(g)
  if not (observed or linked) then report(g) end
end)

-- All of them ----------------------------------------------------------------

--- Raise an error in a greenlet (see `Greenlet:kill`) without waiting.
-- @tparam Greenlet g
-- @param[opt] err a GreenletExit by default
function M.kill(g, err)
  if not core.is_greenlet(g) then
    object.misuse("bad argument #1 to 'kill' (Greenlet expected, got %s)", type(g))
  end
  if err == nil then err = GreenletExit() end
  core.kill(g, err)
end

local function check_greenlets(list)
  if type(list) ~= "table" then
    error(("bad argument #1 to 'killall' (list of greenlets expected, got %s)")
      :format(type(list)), 3)
  end
  for i, g in ipairs(list) do
    if not core.is_greenlet(g) then
      error(("bad argument #1 to 'killall' (at %d: Greenlet expected, got %s)")
        :format(i, type(g)), 3)
    end
  end
end

--- Kill many greenlets, then wait for their ends.
-- @tparam {Greenlet,...} list
-- @param[opt] err a GreenletExit by default
-- @tparam[opt] number|Timeout timeout a Timeout is raised if some are still
-- alive by then; 0 neither waits nor raises
function M.killall(list, err, timeout)
  check_greenlets(list)
  check_seconds("killall", 3, timeout)
  for _, g in ipairs(list) do M.kill(g, err) end
  if timeout == 0 then return end
  local timer <close> = type(timeout) == "number" and native.new(timeout) or nil
  for _, g in ipairs(list) do waiting.join(g, timer or timeout) end
end

local function pass_interrupts(ok, err, ...)
  if not ok and core.raised(err) then error(err, 0) end
  return ok, err, ...
end

--- `pcall` that lets kills and timeouts through; every other error is caught.
-- @tparam function f
-- @param ... its arguments
-- @treturn[1] boolean true
-- @return[1] what f returned
-- @treturn[2] boolean false
-- @return[2] the error
function M.pcall(f, ...)
  return pass_interrupts(pcall(f, ...))
end

return M

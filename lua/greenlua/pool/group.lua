--- Groups: greenlets that are waited for, killed and failed for together.
--
-- @module greenlua.pool.group

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local waiting = require "greenlua.core.wait"
local greenlet = require "greenlua.greenlet"
local closing = require "greenlua.pool.closing"
local map = require "greenlua.pool.map"
local members = require "greenlua.pool.members"
local nursery = require "greenlua.pool.nursery"
local object = require "greenlua.object"

local Greenlet = greenlet.Greenlet
local check_seconds = object.check_seconds

local M = {}

--- A group: `green.Group()`, or `green.Group { g1, g2 }` of greenlets that are
-- there already. A greenlet is in it until it ends.
--
-- `#group` is how many are in it. `group.greenlet_class` is what `spawn` makes,
-- `green.Greenlet` if nothing else is set.
--
-- **In a `<close>` variable it is a nursery**, for the greenlet that has made it:
--
-- * The end of the scope waits for the children.
-- * An error in a child kills its siblings and is raised in the scope, where its
--   greenlet waits or at the scope's end. `group.failed` is the child. That error
--   is not reported elsewhere; of further ones each is. Who else is there for a
--   child's error (`get`, a link, `map` …) gets it instead.
-- * An error in the scope, a kill or a Timeout kills the children, and goes on
--   when they have ended.
-- * Nothing can be spawned in it afterwards.
--
-- The variable must be a local one of Lua code that has its debug information.
-- @usage
-- do
--   local group <close> = green.Group()
--   for _, url in ipairs(urls) do group:spawn(fetch, url) end
-- end -- all are fetched, or an error has come out of here
-- @type Group
local Group = object.class "Group"
M.Group = Group

local function check_member(method, g)
  if core.is_greenlet(g) then return end
  object.misuse("bad argument #1 to '%s' (Greenlet expected, got %s)", method, type(g))
end

function Group:_init(greenlets)
  self._members = members.new()
  self._empty = waitlist.new "the end of a group"
  self._dying = setmetatable({}, { __mode = "k" })
  self._creator = core.current()
  self._joiners = {} -- those who want to raise the first error
  self:_add_all(1, greenlets)
end

-- Those that a constructor was given.
function Group:_add_all(arg, greenlets)
  if greenlets == nil then return end
  local class = getmetatable(self).__name
  if type(greenlets) ~= "table" then
    object.misuse("bad argument #%d to '%s' (list of greenlets or nil expected, got %s)", arg,
      class, type(greenlets))
  end
  for i, g in ipairs(greenlets) do
    if not core.is_greenlet(g) then
      object.misuse("bad argument #%d to '%s' (at %d: Greenlet expected, got %s)", arg, class, i,
        type(g))
    end
    self:add(g)
  end
end

--- Is it a Group? A Pool is one.
-- @function Group.is
-- @param value
-- @treturn boolean

--- Make a subclass.
-- @function Group:extend
-- @tparam string name for people
-- @treturn table the class

function Group:__len() return self._members.count end

function Group:__tostring()
  return ("%s: %d"):format(object.label(self), #self)
end

-- Joining ----------------------------------------------------------------------

-- What Pool has to say: how many are in it or about to be, has there been room,
-- somebody has left.
function Group:_taken() return self._members.count end
function Group:_acquire() return true end
function Group:_release() end

function Group:_tell_empty()
  if self:_taken() == 0 then self._empty:wake_all() end
end

--- Take a greenlet in that may run already. One that has ended isn't taken in. A
-- full Pool waits for a slot.
-- @tparam Greenlet g
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] queue.Full if the time ran out first
function Group:add(g, timeout)
  check_member("add", g)
  check_seconds("add", 2, timeout)
  if self._members:has(g) or g:ready() then return true end
  local ok, err = self:_acquire(timeout)
  if not ok then return nil, err end
  self:_enter(g)
  return true
end

-- Its place has been taken for it; it may have ended meanwhile, or come in.
function Group:_enter(g)
  if g:ready() or self._members:has(g) then
    self:_release()
    self:_tell_empty()
    return
  end
  self._members:add(g)
  greenlet._own(g, self)
  local killer = self._killer -- who comes in meanwhile is killed as well
  if killer then greenlet.kill(g, killer.err) end
end

--- Let a greenlet go, which runs on.
-- @tparam Greenlet g nothing happens if it isn't in the group
function Group:discard(g)
  check_member("discard", g)
  if not self._members:remove(g) then return end
  greenlet._disown(g, self)
  self:_release()
  self:_tell_empty()
end

--- Take a greenlet in and start it.
-- @tparam Greenlet g
-- @treturn Greenlet g
function Group:start(g)
  check_member("start", g)
  self:_check_open("start")
  if not self._members:has(g) then
    self:_acquire()
    self:_enter(g)
  end
  local ok, err = pcall(core.start, g)
  if not ok then
    self:discard(g)
    error(err, 0)
  end
  return g
end

--- Make a greenlet, and start it in the group.
-- @tparam function f
-- @param ... its arguments
-- @treturn Greenlet
function Group:spawn(...)
  self:_check_open "spawn"
  self:_check_task("spawn", ...)
  return self:start((self.greenlet_class or Greenlet)(...))
end

-- What is spawned: a function, unless the class has its own.
function Group:_check_task(method, f)
  if not self.greenlet_class then object.check_callable(method, 1, f) end
end

function Group:_check_open(method)
  if not self._closed then return end
  error(("cannot %s in %s: its scope has ended"):format(method, tostring(self)), 3)
end

--- Is a greenlet in it?
-- @tparam Greenlet g
-- @treturn boolean
function Group:has(g)
  return self._members:has(g)
end

--- Iterate over those that are in it now, in the order in which they came.
-- @usage for g in group:iter() do print(g.name) end
function Group:iter()
  local list, i = self._members:all(), 0
  return function()
    i = i + 1
    return list[i]
  end
end

--- Is there no room?
-- @treturn boolean false, always: a Group has no size; a Pool has one
function Group:full() return false end

--- Wait until there is room.
-- @treturn integer 1, at once
function Group:wait_available() return 1 end

-- The end of a member -------------------------------------------------------------

function Group:_kill_all(err)
  for _, g in ipairs(self._members:all()) do
    if not self._dying[g] then
      self._dying[g] = true
      greenlet.kill(g, err)
    end
  end
end

-- Who is there for the error of a member that has failed?
function Group:_raise(g)
  local observed = false
  for joiner in pairs(self._joiners) do
    joiner.failed = joiner.failed or g
    observed = true
  end
  if not (observed or self.failed or self._killer)
    and (self._closing or closing.is_scope(self._creator, self)) then
    self:_fail(g)
    observed = true
  end
  return observed
end

function Group:_ended(g, observed)
  self._members:remove(g)
  self:_release()
  if not observed then observed = self:_raise(g) end
  self:_tell_empty()
  return observed
end

-- Waiting --------------------------------------------------------------------

function Group:_wait(timeout)
  if self._members:has(core.current()) then
    error(("%s cannot wait for the end of %s, which it is in"):format(
      core.current().name, tostring(self)), 3)
  end
  return self:_taken() == 0 or (self._empty:wait(timeout))
end

local function unregister(joiner)
  joiner.group._joiners[joiner] = nil
end

--- Wait until nobody is in it.
-- @tparam[opt] number|Timeout timeout
-- @tparam[opt] boolean raise_error raise the first error that one of them ends
-- with meanwhile, when all have ended or the time is out
-- @treturn boolean true; false if the time ran out first
function Group:join(timeout, raise_error)
  check_seconds("join", 1, timeout)
  if not raise_error then return self:_wait(timeout) end
  local joiner <close> = setmetatable({ group = self }, { __close = unregister })
  self._joiners[joiner] = true
  local done = self:_wait(timeout)
  if joiner.failed then error(joiner.failed.exception, 0) end
  return done
end

local function stop_killing(killer)
  if killer.group._killer == killer then killer.group._killer = nil end
end

--- Kill all that are in it, each once, and those that come in meanwhile; wait
-- until nobody is left. A member that calls it kills itself, too.
-- @param[opt] err what to raise in them; a GreenletExit by default
-- @tparam[opt] number|Timeout timeout 0 doesn't wait
-- @treturn boolean true; false if the time ran out first
function Group:kill(err, timeout)
  check_seconds("kill", 2, timeout)
  self:_kill_all(err)
  if timeout == 0 or self:_taken() == 0 then return self:_taken() == 0 end
  local killer <close> = setmetatable({ group = self, err = err },
    { __close = stop_killing })
  self._killer = self._killer or killer
  return (self._empty:wait(timeout))
end

--- Kill one of them, and wait for its end.
-- @tparam Greenlet g nothing happens if it isn't in the group
-- @param[opt] err
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Group:killone(g, err, timeout)
  check_member("killone", g)
  check_seconds("killone", 3, timeout)
  if not self._members:has(g) then return true end
  if not self._dying[g] then
    self._dying[g] = true
    greenlet.kill(g, err)
  end
  return waiting.join(g, timeout)
end

for name, method in pairs(nursery) do Group[name] = method end
for name, method in pairs(map.Group) do Group[name] = method end

return M

--- Locks: greenlets wait for their turn.
--
-- Whoever releases hands over to the one who has waited longest, so nobody who
-- comes later goes first. A waiter that is killed or runs out of time leaves the
-- line; one that is closed passes on what it was given. No lock is freed because
-- its holder ends: hold it by `local _ <close> = lock:hold()`. `Condition` and
-- `Barrier` are described in `greenlua.condition`.
--
-- @module greenlua.lock

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local object = require "greenlua.object"

local current = core.current
local check_timeout, describe, label = object.check_timeout, object.describe, object.label

local M = {}

-- Holding ----------------------------------------------------------------------

local Hold = {}

function Hold.__close(hold) hold.release(hold.lock) end

-- One serves for all who hold the same lock in the same way.
local function held(lock, kind, release)
  local hold = lock[kind]
  if not hold then
    hold = setmetatable({ lock = lock, release = release }, Hold)
    lock[kind] = hold
  end
  return hold
end

local function hold(self, timeout)
  if timeout ~= nil then check_timeout("hold", timeout) end
  if not self:acquire(timeout) then return nil end
  return held(self, "_hold", self.release)
end

-- Semaphore --------------------------------------------------------------------

--- So many permits: `green.Semaphore(3)`, 1 by default. After gevent's
-- `Semaphore`, except that a permit is handed over.
--
-- Field, read-only: `counter`, how many permits are left. A permit belongs to
-- nobody: who releases need not be who acquired.
-- @type Semaphore
local Semaphore = object.class "Semaphore"
M.Semaphore = Semaphore

--- Is it a Semaphore, or of a subclass?
-- @function Semaphore.is
-- @param value
-- @treturn boolean

function Semaphore:_init(value)
  if value == nil then value = 1 end
  if math.type(value) ~= "integer" or value < 0 then
    object.misuse("bad argument #1 to '%s' (permits, 0 or more, expected; got %s)",
      getmetatable(self).__name, tostring(value))
  end
  self.counter = value
end

local function line(self)
  local waiters = waitlist.new("acquire", function() self:_pass() end)
  self._waiters = waiters
  return waiters
end

--- Take a permit, waiting for one if there is none.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Semaphore:acquire(timeout)
  if timeout ~= nil then check_timeout("acquire", timeout) end
  local counter = self.counter
  if counter > 0 then
    self.counter = counter - 1
    return true
  end
  local taken = (self._waiters or line(self)):wait(timeout)
  return taken
end

--- Give a permit: to the one who has waited longest, if anybody waits.
-- @treturn integer how many are left
function Semaphore:release()
  local counter = self.counter
  if counter == 0 and self._waiters and self._waiters:wake() then return 0 end
  self.counter = counter + 1
  if self._watchers then self._watchers:wake_all() end
  if self._links then object.notify(self) end
  return self.counter
end

Semaphore._pass = Semaphore.release

--- Wait until a permit is left, without taking it.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Semaphore:wait(timeout)
  if timeout ~= nil then check_timeout("wait", timeout) end
  if self.counter > 0 then return true end
  self._watchers = self._watchers or waitlist.new "semaphore"
  local woken = self._watchers:wait(timeout)
  return woken
end

--- Is no permit left?
-- @treturn boolean
function Semaphore:locked() return self.counter == 0 end

--- Is a permit left?
-- @treturn boolean
function Semaphore:ready() return self.counter > 0 end

--- Take a permit for a block.
-- @usage local _ <close> = semaphore:hold()
-- @function Semaphore:hold
-- @tparam[opt] number|Timeout timeout
-- @treturn table to be closed, which releases; nil if the time ran out first
Semaphore.hold = hold

--- Have `callback(semaphore)` called by the hub, once, when a permit is left: it
-- must not block.
-- @function Semaphore:rawlink
-- @tparam function callback
Semaphore.rawlink = object.rawlink

--- Take a link back; nothing happens if there is none.
-- @function Semaphore:unlink
-- @tparam function callback
Semaphore.unlink = object.unlink

function Semaphore:__tostring()
  return describe(self, self.counter == 1 and "1 permit" or self.counter .. " permits")
end

--- A Semaphore that cannot be released more often than it was acquired.
-- @type BoundedSemaphore
local BoundedSemaphore = object.class("BoundedSemaphore", Semaphore)
M.BoundedSemaphore = BoundedSemaphore

--- Is it a BoundedSemaphore, or of a subclass?
-- @function BoundedSemaphore.is
-- @param value
-- @treturn boolean

function BoundedSemaphore:_init(value)
  Semaphore._init(self, value)
  self._limit = self.counter
end

--- Give a permit back.
-- @treturn integer how many are left
function BoundedSemaphore:release()
  if self.counter >= self._limit then
    object.misuse("%s: released too many times", tostring(self))
  end
  return Semaphore.release(self)
end

-- RLock ------------------------------------------------------------------------

--- A lock that its owner, a greenlet, may acquire again; it is free when it was
-- released as often. After gevent's `RLock`.
-- @type RLock
local RLock = object.class "RLock"
M.RLock = RLock

--- Is it an RLock, or of a subclass?
-- @function RLock.is
-- @param value
-- @treturn boolean

function RLock:_init()
  self._depth = 0
end

--- Lock it, waiting until it is free.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function RLock:acquire(timeout)
  if timeout ~= nil then check_timeout("acquire", timeout) end
  local me, owner = current(), self._owner
  if owner == nil and me then
    self._owner, self._depth = me, 1
    return true
  elseif owner == me and me then
    self._depth = self._depth + 1
    return true
  elseif not me then
    object.misuse("%s: only a greenlet can acquire it, and the hub is running this function",
      tostring(self))
  end
  local taken = (self._waiters or line(self)):wait(timeout)
  if taken then self._owner, self._depth = me, 1 end
  return taken
end

-- Its owner is gone, or going: the next in line has it.
function RLock:_pass()
  self._depth = 0
  if self._waiters and self._waiters:wake() then
    self._owner = false -- whoever was woken says who it is
  else
    self._owner = nil
  end
end

local function check_owner(self, what)
  if self._depth == 0 or self._owner ~= current() then
    object.misuse("%s: cannot %s it: the running greenlet does not hold it", tostring(self), what)
  end
end

--- Unlock it. Only its owner may.
function RLock:release()
  local depth = self._depth
  if depth == 0 or self._owner ~= current() then check_owner(self, "release") end
  if depth > 1 then
    self._depth = depth - 1
  elseif self._waiters then
    self:_pass()
  else
    self._owner, self._depth = nil, 0
  end
end

--- Does anybody hold it?
-- @treturn boolean
function RLock:locked() return self._owner ~= nil end

--- Hold it for a block.
-- @usage local _ <close> = lock:hold()
-- @function RLock:hold
-- @tparam[opt] number|Timeout timeout
-- @treturn table to be closed, which releases; nil if the time ran out first
RLock.hold = hold

function RLock:__tostring()
  local owner = self._owner
  return describe(self, owner and ("held by %s, %d deep"):format(owner.name, self._depth)
    or owner == nil and "free" or "handed over")
end

-- For a Condition: let go of it, however deep; take it again.
function RLock:_save()
  check_owner(self, "wait with")
  local depth = self._depth
  self:_pass()
  return depth
end

function RLock:_restore(depth)
  self:acquire()
  self._depth = depth
end

function Semaphore:_save()
  if self.counter > 0 then
    object.misuse("%s: cannot wait with it: it is not held", tostring(self))
  end
  self:release()
end

function Semaphore:_restore() self:acquire() end

-- ReadWriteLock ----------------------------------------------------------------

--- Many may read at a time, or one may write. First come, first served: a reader
-- waits behind a writer that waits, so neither side starves.
-- @usage local _ <close> = lock:reading()
-- @type ReadWriteLock
local ReadWriteLock = object.class "ReadWriteLock"
M.ReadWriteLock = ReadWriteLock

--- Is it an ReadWriteLock, or of a subclass?
-- @function ReadWriteLock.is
-- @param value
-- @treturn boolean

function ReadWriteLock:_init()
  self._readers, self._writing = 0, false
  self._waiters = waitlist.new("acquire", function(kind) self["release_" .. kind](self) end)
end

local function admit(self)
  local waiters = self._waiters
  while not self._writing do
    local kind = waiters:first()
    if kind == "read" then
      self._readers = self._readers + 1
    elseif kind == "write" and self._readers == 0 then
      self._writing = true
    else
      return
    end
    waiters:wake(kind)
  end
end

-- One who leaves the line may have kept those behind it waiting.
local Leave = { __close = function(guard) admit(guard.lock) end }

local function wait_in_line(self, timeout, kind)
  local _ <close> = setmetatable({ lock = self }, Leave)
  local taken = self._waiters:wait(timeout, kind)
  return taken
end

--- Wait until it can be read.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function ReadWriteLock:acquire_read(timeout)
  if timeout ~= nil then check_timeout("acquire_read", timeout) end
  if not self._writing and self._waiters:first() == nil then
    self._readers = self._readers + 1
    return true
  end
  return wait_in_line(self, timeout, "read")
end

--- Wait until it can be written.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function ReadWriteLock:acquire_write(timeout)
  if timeout ~= nil then check_timeout("acquire_write", timeout) end
  if not self._writing and self._readers == 0 and self._waiters:first() == nil then
    self._writing = true
    return true
  end
  return wait_in_line(self, timeout, "write")
end

--- End reading.
function ReadWriteLock:release_read()
  if self._readers == 0 then
    error(("%s: cannot release: nobody reads"):format(tostring(self)), 2)
  end
  self._readers = self._readers - 1
  admit(self)
end

--- End writing.
function ReadWriteLock:release_write()
  if not self._writing then
    error(("%s: cannot release: nobody writes"):format(tostring(self)), 2)
  end
  self._writing = false
  admit(self)
end

--- Read in a block.
-- @tparam[opt] number|Timeout timeout
-- @treturn table to be closed, which releases; nil if the time ran out first
function ReadWriteLock:reading(timeout)
  if timeout ~= nil then check_timeout("reading", timeout) end
  if not self:acquire_read(timeout) then return nil end
  return held(self, "_reading", self.release_read)
end

--- Write in a block.
-- @tparam[opt] number|Timeout timeout
-- @treturn table to be closed, which releases; nil if the time ran out first
function ReadWriteLock:writing(timeout)
  if timeout ~= nil then check_timeout("writing", timeout) end
  if not self:acquire_write(timeout) then return nil end
  return held(self, "_held_writing", self.release_write)
end

--- Does anybody read or write?
-- @treturn boolean
function ReadWriteLock:locked() return self._writing or self._readers > 0 end

function ReadWriteLock:__tostring()
  return describe(self, self._writing and "being written"
    or self._readers > 0 and "read by " .. self._readers or "free")
end

-- ------------------------------------------------------------------------------

--- A Semaphore that is never used up: for where one may be wanted or not.
-- @type DummySemaphore
local DummySemaphore = object.class "DummySemaphore"
M.DummySemaphore = DummySemaphore

--- Is it a DummySemaphore, or of a subclass?
-- @function DummySemaphore.is
-- @param value
-- @treturn boolean

function DummySemaphore:_init() self.counter = 1 end

--- Always true, at once.
-- @treturn boolean
function DummySemaphore.acquire() return true end

--- Does nothing.
-- @treturn integer 1
function DummySemaphore.release() return 1 end

--- Always true, at once.
-- @treturn boolean
function DummySemaphore.wait() return true end

--- Always false.
-- @treturn boolean
function DummySemaphore.locked() return false end

--- Always true.
-- @treturn boolean
function DummySemaphore.ready() return true end

--- Something to close.
-- @function DummySemaphore:hold
-- @treturn table
DummySemaphore.hold = hold

function DummySemaphore:__tostring() return label(self) .. ": always free" end

--- @section end

-- In a module of their own, which builds on this one.
return setmetatable(M, {
  __index = function(_, name)
    if name == "Condition" or name == "Barrier" then
      return require("greenlua.condition")[name]
    end
  end,
})

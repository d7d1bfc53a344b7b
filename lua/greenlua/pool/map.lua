--- Mapping: a function called for each element of a list, many at a time.
--
-- @module greenlua.pool.map

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local greenlet = require "greenlua.greenlet"
local callable = require("greenlua.object").callable

local M = {}

-- A mapping on its way: a feeder starts a task for each element, as the group and
-- `maxsize` allow; who iterates takes the results.
local Mapping = {}
Mapping.__index = Mapping

local function check(method, f, source, maxsize)
  if not callable(f) then
    error(("bad argument #1 to '%s' (function expected, got %s)"):format(method, type(f)), 3)
  end
  if type(source) ~= "table" and not callable(source) then
    error(("bad argument #2 to '%s' (list or iterator expected, got %s)")
      :format(method, type(source)), 3)
  end
  if maxsize ~= nil and (math.type(maxsize) ~= "integer" or maxsize < 1) then
    error(("bad argument #3 to '%s' (a positive number of results or nil expected, got %s)")
      :format(method, tostring(maxsize)), 3)
  end
end

local function elements(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function new(group, f, source, maxsize, ordered)
  group:_check_open(ordered and "imap" or "imap_unordered")
  local self = setmetatable({
    group = group, f = f, next = callable(source) and source or elements(source),
    room = maxsize or math.huge, -- for results that nobody has taken
    ordered = ordered,
    begun = 0, taken = 0, -- tasks, results
    at = {},    -- task -> its number
    ready = {}, -- number -> task that has ended: its own, or that of its end
    ends = 0,
    results = waitlist.new(ordered and "imap" or "imap_unordered"),
    rooms = waitlist.new "room for a result",
  }, Mapping)
  self.feeder = core.spawn(self.feed, self)
  greenlet._own(self.feeder, self)
  return self
end

function Mapping:begin(...)
  while self.room <= 0 do self.rooms:wait() end
  if self.closed then return end
  self.room = self.room - 1
  local g = greenlet.Greenlet(self.f, ...)
  self.begun = self.begun + 1
  self.at[g] = self.begun
  greenlet._own(g, self)
  local ok, err = pcall(self.group.start, self.group, g)
  if ok then return end
  self.begun = self.begun - 1 -- it will never end
  error(err, 0)
end

local function feed_one(self, first, ...)
  if first == nil then return false end
  self:begin(first, ...)
  return true
end

function Mapping:feed()
  while not self.closed and feed_one(self, self.next()) do end -- luacheck: ignore 542
end

-- A task has ended, or the feeder.
function Mapping:_ended(g)
  if g ~= self.feeder then
    self.ends = self.ends + 1
    self.ready[self.ordered and self.at[g] or self.ends] = g
  end
  self.results:wake_all()
  return not self.closed
end

-- nil first would end a `for` before its time.
local function result(first, ...)
  if first == nil then return false, ... end
  return first, ...
end

function Mapping:__call()
  local number = self.taken + 1
  while not self.ready[number] do
    if self.closed or (self.feeder:ready() and self.taken == self.begun) then
      return self:finish()
    end
    self.results:wait()
    number = self.taken + 1
  end
  local g = self.ready[number]
  self.ready[number], self.at[g] = nil, nil
  self.taken = number
  self.room = self.room + 1
  self.rooms:wake()
  return result(g:get())
end

-- The error of the iterator comes when all results have been taken, once.
function Mapping:finish()
  local err = not self.closed and self.feeder.exception
  self.closed = true
  if err then error(err, 0) end
end

--- Begin no more tasks. Those that have begun go on, and nobody takes their
-- results.
function Mapping:close()
  if self.closed then return end
  self.closed = true
  greenlet.kill(self.feeder)
  self.results:wake_all()
end
Mapping.__close = Mapping.close

--- What every Group has of it.
-- @type Group
local Group = {}
M.Group = Group

--- Call `f(element)` for each element in a greenlet of the group; get the results
-- in the order of the elements, each as soon as it and those before it are there.
--
-- In place of a result that has failed its error is raised; called once more, the
-- iterator goes on. A first result of nil counts as false. Leaving the loop early
-- begins no more tasks.
-- @tparam function f
-- @tparam table|function source a list, or an iterator: all that it returns are
-- arguments, until the first of them is nil
-- @tparam[opt] integer maxsize so many results may lie there before they are
-- taken, or be on their way: look ahead no further
-- @treturn function iterator of what f returns, all of it
-- @usage for page in pool:imap(fetch, urls, 20) do print(#page) end
function Group:imap(f, source, maxsize)
  check("imap", f, source, maxsize)
  local mapping = new(self, f, source, maxsize, true)
  return mapping, nil, nil, mapping
end

--- The same in the order in which the results come.
-- @tparam function f
-- @tparam table|function source
-- @tparam[opt] integer maxsize
-- @treturn function iterator
function Group:imap_unordered(f, source, maxsize)
  check("imap_unordered", f, source, maxsize)
  local mapping = new(self, f, source, maxsize, false)
  return mapping, nil, nil, mapping
end

local function collect(group, f, source)
  local mapping <close> = new(group, f, source, nil, true)
  local results = {}
  for value in mapping do results[#results + 1] = value end
  return results
end

--- Call `f(element)` for each element, and wait for all: the first error, in the
-- order of the elements, is raised.
-- @tparam function f
-- @tparam table|function source
-- @treturn table the first result of each; false in place of nil
function Group:map(f, source)
  check("map", f, source)
  return collect(self, f, source)
end

--- The same without waiting: a greenlet outside of the group collects.
-- @tparam function f
-- @tparam table|function source
-- @treturn Greenlet its `get` gives the list
function Group:map_async(f, source)
  check("map_async", f, source)
  return core.spawn(collect, self, f, source)
end

--- Run a function in the group, and wait for it. Called by a member it runs right
-- there, so that a full pool's workers don't wait for themselves.
-- @tparam function f
-- @param ... its arguments
-- @return what f returns; its error is raised
function Group:apply(f, ...)
  self:_check_task("apply", f)
  if self._members:has(core.current()) then return f(...) end
  return self:spawn(f, ...):get()
end

--- Run a function in the group, without waiting for anything: in a full pool it
-- starts as soon as there is room.
-- @tparam function f
-- @param ... its arguments
-- @treturn Greenlet
function Group:apply_async(f, ...)
  self:_check_task("apply_async", f)
  if not self:full() then return self:spawn(f, ...) end
  self:_check_open "apply_async"
  local g = (self.greenlet_class or greenlet.Greenlet)(f, ...)
  core.spawn(self.start, self, g).name = "apply_async"
  return g
end

return M

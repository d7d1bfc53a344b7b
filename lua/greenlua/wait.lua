--- Waiting for many things at once.
--
-- Whatever has `rawlink` and `unlink` can be waited for: greenlets, and all that
-- other modules make so.
--
-- @module greenlua.wait

local core = require "greenlua.core"
local waiting = require "greenlua.core.wait"
local waitlist = require "greenlua.core.waitlist"
local base = require "greenlua.object"
local Timeout = require("greenlua.timeout").Timeout

local M = {}

local function waitable(object)
  local t = type(object)
  return (t == "table" or t == "userdata") and object.rawlink and object.unlink
end

local function check_list(name, objects)
  if type(objects) ~= "table" then
    error(("bad argument #1 to '%s' (list of objects expected, got %s)")
      :format(name, type(objects)), 3)
  end
  for i = 1, #objects do
    local ok, can = pcall(waitable, objects[i])
    if not (ok and can) then
      error(("bad argument #1 to '%s' (at %d: Greenlet or the like expected, got %s)")
        :format(name, i, type(objects[i])), 3)
    end
  end
end

local function check_count(name, arg, count)
  if count ~= nil and (math.type(count) ~= "integer" or count < 0) then
    error(("bad argument #%d to '%s' (number of objects or nil expected, got %s)")
      :format(arg, name, tostring(count)), 3)
  end
end

local function check_timeout(name, timeout)
  if timeout == nil or Timeout.is(timeout) then return timeout end
  local seconds = type(timeout) == "number" and timeout
  if not (seconds and seconds >= 0) then
    error(("bad argument #2 to '%s' (seconds, nil or Timeout expected, got %s)")
      :format(name, tostring(timeout)), 3)
  end
  return core.now() + timeout
end

-- The objects as they become ready. `link` is the method that asks for it.
local Watch = {}
Watch.__index = Watch

local function watch(objects, deadline, count, link)
  return setmetatable({
    objects = objects, deadline = deadline, link = link, left = count,
    list = waitlist.new "wait", ready = {}, head = 1, tail = 0,
  }, Watch)
end

function Watch:open()
  self.callback = function(object)
    self.tail = self.tail + 1
    self.ready[self.tail] = object
    self.list:wake()
  end
  local ended = {}
  for i = 1, #self.objects do
    local object = self.objects[i]
    if core.is_greenlet(object) and object:ready() then
      ended[#ended + 1] = object
    elseif object.ready and object:ready() then
      self.callback(object)
    else
      object[self.link](object, self.callback)
    end
  end
  table.sort(ended, function(a, b) return core.ended(a) < core.ended(b) end)
  for _, g in ipairs(ended) do self.callback(g) end
  self.left = math.min(self.left or math.huge, #self.objects)
end

-- The next one; nil when all are told or the time is out.
function Watch:next()
  if not self.callback then self:open() end
  if self.left == 0 then return self:close() end
  while self.head > self.tail do
    local timeout = self.deadline
    if type(timeout) == "number" then
      timeout = math.max(0, timeout - core.now())
    end
    if not self.list:wait(timeout) then return self:close() end
  end
  local object = self.ready[self.head]
  self.ready[self.head] = nil
  self.head = self.head + 1
  self.left = self.left - 1
  return object
end

function Watch:close()
  if not self.callback then return end
  for i = 1, #self.objects do self.objects[i]:unlink(self.callback) end
  self.left = 0
end
Watch.__close = Watch.close

--- Iterate over objects as they become ready.
-- @tparam table objects a list
-- @tparam[opt] number|Timeout timeout for all of it, from this call on; a
-- number ends the iteration, a Timeout is raised
-- @tparam[opt] integer count end after so many
-- @usage for g in green.iwait(greenlets) do print(g.value) end
function M.iwait(objects, timeout, count)
  check_list("iwait", objects)
  check_count("iwait", 3, count)
  local w = watch(objects, check_timeout("iwait", timeout), count, "rawlink")
  return function() return w:next() end, nil, nil, w
end

local function collect(w)
  local _ <close> = w
  local done = {}
  for object in w.next, w do done[#done + 1] = object end
  return done
end

local function drain(name, arg, timeout)
  base.check_seconds(name, arg, timeout)
  local done = waiting.drain(timeout)
  if done == nil then base.misuse "only main can wait for everything to end" end
  return done
end

--- Wait for objects to become ready.
-- Without a list, main waits until nothing is left that could run.
-- @tparam ?table objects a list, or nil
-- @tparam[opt] number|Timeout timeout
-- @tparam[opt] integer count be content with so many
-- @treturn[1] table those that are ready, in the order of becoming so
-- @treturn[2] boolean without a list: true; false if the time ran out first
function M.wait(objects, timeout, count)
  if objects == nil then return drain("wait", 2, timeout) end
  check_list("wait", objects)
  check_count("wait", 3, count)
  return collect(watch(objects, check_timeout("wait", timeout), count, "rawlink"))
end

--- Wait for the ends of greenlets.
-- @tparam {Greenlet,...} list
-- @tparam[opt] number|Timeout timeout
-- @tparam[opt] boolean raise_error raise the first error that one of them ends
-- with, at once
-- @tparam[opt] integer count be content with so many ends
-- @treturn table those that have ended, in the order of their ends
function M.joinall(list, timeout, raise_error, count)
  check_count("joinall", 4, count)
  check_timeout("joinall", timeout)
  if type(list) == "table" and not (raise_error or count) then
    local done = waiting.join_list(list, timeout)
    if done then return done end
  end
  check_list("joinall", list)
  local deadline = check_timeout("joinall", timeout)
  local w <close> = watch(list, deadline, count,
    raise_error and "_observe" or "rawlink")
  local done = {}
  for g in w.next, w do
    if raise_error and not g:successful() then error(g.exception, 0) end
    done[#done + 1] = g
  end
  return done
end

--- Main waits until nothing is left that could run, as the command does after a
-- script's last line.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function M.run(timeout)
  return drain("run", 1, timeout)
end

return M

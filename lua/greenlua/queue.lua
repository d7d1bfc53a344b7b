--- Queues: greenlets hand things to one another.
--
-- Getters are served in the order in which they came, and so are putters; who
-- comes later never goes first. An item is in one place at any time: a getter
-- that is killed, runs out of time or is closed takes none with it, and a putter
-- that leaves takes its own along. After gevent's `queue`.
--
-- An item may be anything but nil. Calls that may wait take a timeout; when a
-- number of seconds runs out they answer nil and one of the objects `Empty` and
-- `Full`, after a shutdown nil and `ShutDown`, each of which prints as its name.
--
-- @usage local jobs = green.Queue(10)
-- green.spawn(function()
--   for job in jobs:iter() do print("did " .. job) end
-- end)
-- jobs:put "the dishes"
-- jobs:shutdown()
--
-- @module greenlua.queue

local native = require "greenlua.core.queue"

local M = {
  --- There is no item.
  -- @table Empty
  Empty = native.Empty,
  --- There is no room.
  -- @table Full
  Full = native.Full,
  --- The queue has been shut down.
  -- @table ShutDown
  ShutDown = native.ShutDown,
}

for _, name in ipairs { "Empty", "Full", "ShutDown" } do
  setmetatable(M[name], { __name = name, __tostring = function() return name end })
end

-- Classes and fields ----------------------------------------------------------
--
-- A queue is a userdata, for speed. The few fields that one can read are in the
-- table that its metatable's __index is, before the methods of its class: so a
-- method is found without a function call. Queues of a class and a maxsize
-- share a metatable; one on which the program sets fields gets its own.
--
-- `put` and `get` are in that table themselves, which saves a tenth of a put and
-- a get. A class keeps those two beside it, so that it is told when they change.

local views = setmetatable({}, { __mode = "k" }) -- class -> maxsize -> metatable
local kinds = setmetatable({}, { __mode = "k" }) -- class -> where items go
local bases = setmetatable({}, { __mode = "k" }) -- class -> its base
local set_field, describe

local function dress(class, maxsize, shut)
  local fields = {
    maxsize = maxsize, is_shutdown = shut or false, put = class.put, get = class.get,
  }
  return {
    class = class, maxsize = maxsize, shut = shut, __name = class._name,
    __index = setmetatable(fields, { __index = class }),
    __newindex = set_field, __len = native.qsize, __tostring = describe,
  }
end

local function view(class, maxsize, shut)
  local known = views[class]
  if not known then
    known = setmetatable({}, { __mode = "v" })
    views[class] = known
  end
  local key = (shut and "shut " or "") .. (maxsize or "")
  known[key] = known[key] or dress(class, maxsize, shut)
  return known[key]
end

local function own_view(mt, maxsize, shut)
  local mine = dress(mt.class, maxsize, shut)
  mine.own = true
  if mt.own then
    for name, value in pairs(mt.__index) do
      if name ~= "maxsize" and name ~= "is_shutdown" and value ~= mt.class[name] then
        mine.__index[name] = value
      end
    end
  end
  return mine
end

local function change(q, maxsize, shut)
  local mt = getmetatable(q)
  native.resize(q, maxsize, (mt.own and own_view(mt, maxsize, shut))
    or view(mt.class, maxsize, shut))
end

local function check_maxsize(maxsize, what)
  if maxsize == nil or (math.type(maxsize) == "integer" and maxsize > 0) then return end
  local hint = maxsize == 0 and "; a Channel is a queue without room" or ""
  error(("%s (maxsize is 1 or more, or nil for no limit; got %s%s)")
    :format(what, tostring(maxsize), hint), 3)
end

function set_field(q, name, value)
  local mt = getmetatable(q)
  if name == "is_shutdown" or (name == "maxsize" and kinds[mt.class] == "channel") then
    error(("%s: '%s' cannot be set"):format(tostring(q), name), 2)
  elseif name == "maxsize" then
    check_maxsize(value, ("%s: bad maxsize"):format(tostring(q)))
    change(q, value, mt.shut)
  else
    if not mt.own then
      mt = own_view(mt, mt.maxsize, mt.shut)
      native.resize(q, mt.maxsize, mt)
    end
    rawset(mt.__index, name, value)
  end
end

local function count(n, one, many)
  return ("%d %s"):format(n, n == 1 and one or many)
end

function describe(q)
  local mt = getmetatable(q)
  local parts = {}
  if kinds[mt.class] ~= "channel" then
    parts[1] = count(native.qsize(q), "item", "items")
      .. (mt.maxsize and " of " .. mt.maxsize or "")
  end
  local getters, putters = native.waiting(q)
  if getters > 0 then parts[#parts + 1] = count(getters, "getter waits", "getters wait") end
  if putters > 0 then parts[#parts + 1] = count(putters, "putter waits", "putters wait") end
  if mt.shut then parts[#parts + 1] = "shut down" end
  local name = rawget(mt.__index, "name")
  return ("%s%s: %s"):format(mt.__name, name and (" %q"):format(name) or "",
    #parts == 0 and "nobody waits" or table.concat(parts, ", "))
end

local function construct(class, maxsize, items, before)
  local kind = kinds[class]
  if kind == "channel" then
    if maxsize ~= nil and maxsize ~= 1 or items ~= nil then
      error("bad argument #1 to 'Channel' (a channel holds no items)", 2)
    end
    maxsize = nil
  end
  check_maxsize(maxsize, "bad argument #1 to '" .. class._name .. "'")
  if items ~= nil and type(items) ~= "table" then
    error(("bad argument #2 to '%s' (list of items expected, got %s)")
      :format(class._name, type(items)), 2)
  end
  if before ~= nil and kind ~= "heap" then
    error(("bad argument #3 to '%s' (only a PriorityQueue compares)")
      :format(class._name), 2)
  elseif before ~= nil and type(before) ~= "function" then
    error(("bad argument #3 to '%s' (function or nil expected, got %s)")
      :format(class._name, type(before)), 2)
  end
  local q = native.new(view(class, maxsize), kind, maxsize, before, items)
  if class._init then class._init(q, maxsize, items, before) end
  return q
end

local define

local function extend(parent, name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'extend' (name of the class expected, got %s)")
      :format(type(name)), 2)
  end
  return define(name, kinds[parent], parent)
end

function define(name, kind, base)
  local class = { _name = name }
  kinds[class], bases[class] = kind, base

  function class.is(value)
    if not native.is_queue(value) then return false end
    local c = getmetatable(value).class
    while c and c ~= class do c = bases[c] end
    return c == class
  end

  class.extend = extend
  local beside = setmetatable({}, { __index = base })
  return setmetatable(class, {
    __index = beside,
    __newindex = function(_, key, value)
      if key ~= "put" and key ~= "get" then return rawset(class, key, value) end
      beside[key] = value
      for c, known in pairs(views) do
        for _, mt in pairs(known) do mt.__index[key] = c[key] end
      end
    end,
    __call = construct,
    __tostring = function() return "class " .. name end,
  })
end

-- Queue ------------------------------------------------------------------------

--- First in, first out. Also called `JoinableQueue`.
--
-- Fields: `maxsize` (nil: no limit; it may be set: growing lets waiting putters
-- in), `is_shutdown`. `#q` is `q:qsize()`. Other fields may be set freely.
-- @type Queue
local Queue = define("Queue", "fifo")
M.Queue = Queue

--- Make one: `green.Queue(10)`, `green.Queue(nil, { 1, 2, 3 })`.
-- @function Queue.__call
-- @tparam[opt] integer maxsize how many items it has room for
-- @tparam[opt] table items a list: what it begins with
-- @treturn Queue

--- Is it a queue of this class, or of a subclass?
-- @function Queue.is
-- @param value
-- @treturn boolean

--- Make a subclass. Its instances are made by the same arguments, which
-- `_init(self, ...)` gets, if there is one.
-- @function Queue:extend
-- @tparam string name
-- @treturn table the class

--- Put an item, waiting for room if there is none. A getter that waits is handed
-- the item, and runs when its turn comes.
-- @function Queue:put
-- @param item anything but nil
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table Full, or ShutDown
Queue.put = native.put

--- `put` with a timeout of 0. It never waits, so it works in a rawlink, too.
-- @function Queue:put_nowait
-- @param item
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table Full, or ShutDown
Queue.put_nowait = native.put_nowait

--- Get the next item, waiting for one if there is none.
-- @function Queue:get
-- @tparam[opt] number|Timeout timeout
-- @return[1] the item
-- @treturn[2] nil
-- @treturn[2] table Empty, or ShutDown
Queue.get = native.get

--- `get` with a timeout of 0.
-- @function Queue:get_nowait
-- @return[1] the item
-- @treturn[2] nil
-- @treturn[2] table Empty, or ShutDown
Queue.get_nowait = native.get_nowait

--- See the next item, waiting for one if there is none. It stays.
-- @function Queue:peek
-- @tparam[opt] number|Timeout timeout
-- @return[1] the item
-- @treturn[2] nil
-- @treturn[2] table Empty, or ShutDown
Queue.peek = native.peek

--- `peek` with a timeout of 0.
-- @function Queue:peek_nowait
-- @return[1] the item
-- @treturn[2] nil
-- @treturn[2] table Empty, or ShutDown
Queue.peek_nowait = native.peek_nowait

--- How many items there are.
-- @function Queue:qsize
-- @treturn integer
Queue.qsize = native.qsize

--- Are there none?
-- @function Queue:empty
-- @treturn boolean
Queue.empty = native.empty

--- Is there no room?
-- @function Queue:full
-- @treturn boolean
Queue.full = native.full

--- Another queue with the same items, as they are now.
-- @treturn Queue
function Queue:copy()
  local other = native.copy(self)
  local mt = getmetatable(self)
  if mt.own then native.resize(other, mt.maxsize, own_view(mt, mt.maxsize, mt.shut)) end
  return other
end

--- Iterate over what one gets, until the queue is shut down and empty.
-- @param[opt] sentinel an item that ends the iteration, too; it is consumed
-- @usage for job in jobs:iter() do work(job) end
function Queue:iter(sentinel)
  return function()
    local item = self:get()
    if item ~= nil and item == sentinel then return nil end
    return item
  end
end

--- Wait until the work is done: `task_done` has been called for each item that
-- was ever put.
-- @function Queue:join
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
Queue.join = native.join

--- Tell that the work on an item is done. Once for each item: more is misuse.
-- @function Queue:task_done
Queue.task_done = native.task_done

--- For how many items `task_done` has not been called.
-- @function Queue:unfinished_tasks
-- @treturn integer
Queue.unfinished_tasks = native.unfinished_tasks

--- Take no more items. What is there can still be got. Who waits to put, or
-- waits for an item that will not come, is told `ShutDown`. As in Python 3.13.
-- @tparam[opt] boolean immediate drop what is there; that counts as done
function Queue:shutdown(immediate)
  change(self, self.maxsize, true)
  native.shutdown(self, immediate)
end

M.JoinableQueue = Queue

-- Some of another class's methods.
local function include(class, source, ...)
  for _, name in ipairs { ... } do class[name] = source[name] end
  return class
end

--- A Queue that gives the last item first.
-- @type LifoQueue
local LifoQueue = define("LifoQueue", "lifo", Queue)
M.LifoQueue = LifoQueue

--- Is it a LifoQueue, or of a subclass?
-- @function LifoQueue.is
-- @param value
-- @treturn boolean

--- A Queue that gives the least item first, and of equal ones the first.
--
-- `green.PriorityQueue([maxsize [, items [, before]]])`: `before(a, b)` tells
-- whether `a` goes before `b`, and is `<` by default. It cannot block. If it
-- raises an error, who put the item gets it, and the item is not put.
-- @usage local urgent = green.PriorityQueue(nil, nil, function(a, b)
--   return a.due < b.due
-- end)
-- @type PriorityQueue
local PriorityQueue = define("PriorityQueue", "heap", Queue)
M.PriorityQueue = PriorityQueue

--- Is it a PriorityQueue, or of a subclass?
-- @function PriorityQueue.is
-- @param value
-- @treturn boolean

--- A Queue without `join`, `task_done` and `shutdown`.
-- @type SimpleQueue
local SimpleQueue = define("SimpleQueue", "fifo")
M.SimpleQueue = include(SimpleQueue, Queue, "put", "put_nowait", "get", "get_nowait",
  "peek", "peek_nowait", "qsize", "empty", "full", "copy", "iter")

--- Is it a SimpleQueue, or of a subclass?
-- @function SimpleQueue.is
-- @param value
-- @treturn boolean

--- A queue without room: putter and getter meet. A put is done when its getter
-- has the item and has run.
--
-- It has `put`, `get` and their twins, `iter` and `shutdown` as a Queue has. A
-- channel is always both empty and full. `put_nowait` succeeds if a getter
-- waits.
-- @type Channel
local Channel = define("Channel", "channel")
M.Channel = include(Channel, Queue, "put", "put_nowait", "get", "get_nowait",
  "qsize", "empty", "full", "iter", "shutdown")

--- Is it a Channel, or of a subclass?
-- @function Channel.is
-- @param value
-- @treturn boolean

--- How many wait to put, less how many wait to get.
-- @treturn integer
function Channel:balance()
  local getters, putters = native.waiting(self)
  return putters - getters
end

--- @section end

--- Wait for the first of several queues and channels to be ready, and do what it
-- is ready for; the others stay as they are. As Go's `select`.
--
-- A case is a queue, to get from it, or `{queue, item}`, to put the item. Of
-- several that are ready each is as likely as the others. One that was shut down
-- is ready: it gives nil and `ShutDown`. A timeout of 0 is Go's `default`.
-- @usage local which, job = green.select_ops({ urgent, jobs, { log, "idle" } }, 1)
-- if which == 1 then work(job) elseif not which then print "a quiet second" end
-- @function select_ops
-- @tparam table cases a list
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] integer which case was done
-- @return[1] the item; true for a put
-- @treturn[2] integer which case
-- @treturn[2] nil its queue was shut down
-- @treturn[2] table ShutDown
-- @treturn[3] nil
-- @treturn[3] string `"timeout"`
M.select_ops = native.choose

return M

--- The handlers that a server has running: one set for each time it is started, so
-- that those of before a `stop` are not mixed up with those of after it.
--
-- A *session* is one handler's record: its connection, and the greenlet that serves
-- it. It ends with the greenlet, whatever ends that, and the connection with it.
-- @module greenlua.server.handlers

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local greenlet = require "greenlua.greenlet"

local current, spawn, kill = core.current, core.spawn, greenlet.kill

local M = {}

--- How long a handler that has been killed may take before it is closed.
M.GRACE = 1

local Session = {}
Session.__index = Session

local Handlers = {}
Handlers.__index = Handlers

--- Make a set.
-- @tparam table server for names: `_describe(session)`
-- @treturn Handlers `count` is how many there are
function M.new(server)
  return setmetatable({
    server = server,
    count = 0,
    last = 0, -- number of the latest session
    live = {}, -- number -> session
    stoppers = 0, -- handlers that stop their own server
    stopping = 0, -- calls of `drain`
    changes = waitlist.new "the end of a handler",
  }, Handlers)
end

-- The end of a session -----------------------------------------------------------------

-- What is between us and a TLS peer may wait, and may be interrupted.
local function close_both(session)
  local ok = pcall(session.conn.close, session.conn)
  if session.raw_conn then session.raw_conn:close() end
  return ok
end

local function finish(session)
  local set, number = session.set, session.number
  if not set.live[number] then return end
  if session.raw_conn then
    close_both(session)
  elseif session.conn then
    session.conn:close()
  end
  set.live[number] = nil
  set.count = set.count - 1
  if session.stops then set.stoppers = set.stoppers - 1 end
  if set.watched then set.changes:wake_all() end
end

-- The name costs more than all the rest: only who fails gets one.
function Session.__close(session, err)
  if err ~= nil then
    local name = session.set.server:_describe(session)
    current().name = name
  end
  finish(session)
end

-- A greenlet of a pool may be ended before it has run.
function Session:_ended(_, observed)
  finish(self)
  return observed
end

-- The start of one -----------------------------------------------------------------

local function enter(self, session)
  local number = self.last + 1
  self.last = number
  self.count = self.count + 1
  session.set, session.number = self, number
  self.live[number] = setmetatable(session, Session)
end

--- Serve a connection, or whatever `main(session)` takes from its session, in a
-- greenlet. `main` must have the session in a `<close>` variable.
-- @tparam function main
-- @tparam table session what main needs; its `conn`, if it has one, is closed. It gets
--   the fields `set`, `number` and `greenlet`.
-- @treturn Greenlet
function Handlers:spawn(main, session)
  enter(self, session)
  local g = spawn(main, session)
  session.greenlet = g
  return g
end

local function give_up(handover)
  if handover.session then finish(handover.session) end
end

--- The same in a pool, waiting for a slot of it.
-- @tparam Group pool
-- @tparam function main
-- @tparam table session
-- @treturn Greenlet
function Handlers:spawn_in(pool, main, session)
  enter(self, session)
  local handover <close> = setmetatable({ session = session }, { __close = give_up })
  local g = (pool.greenlet_class or greenlet.Greenlet)(main, session)
  session.greenlet = g
  greenlet._own(g, session)
  pool:start(g)
  handover.session = nil
  return g
end

-- Waiting ----------------------------------------------------------------------

-- Wait for a change; false: the time ran out.
local function await_change(self, deadline)
  local left = deadline
  if type(deadline) == "number" then left = math.max(0, deadline - core.now()) end
  self.watched = true
  return (self.changes:wait(left))
end

--- Wait until there are fewer than so many.
-- @tparam integer limit
function Handlers:await_room(limit)
  while self.count >= limit do await_change(self) end
end

-- Wait until only those are left that wait themselves; false: the time ran out.
local function await_end(self, mine, deadline)
  while self.count > (mine and self.stoppers or 0) do
    if not await_change(self, deadline) then return false end
  end
  return true
end

-- Those that are to end, in the order in which they began.
local function others(self, mine)
  local numbers, list = {}, {}
  for number in pairs(self.live) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for _, number in ipairs(numbers) do
    local session = self.live[number]
    if not mine or not session.stops then list[#list + 1] = session end
  end
  return list
end

-- One that never ran has no variable that could end its session.
local function end_each(self, mine, how)
  for _, session in ipairs(others(self, mine)) do
    local g = session.greenlet
    if g ~= current() then
      how(g)
      if g:ready() then finish(session) end
    end
  end
end

local function close(g)
  core.close(g, greenlet.GreenletExit())
end

local function my_session(self)
  local me = current()
  for _, session in pairs(self.live) do
    if session.greenlet == me then return session end
  end
end

-- Kill those who are left, and wait; close those who live on.
local function end_all(self, mine)
  end_each(self, mine, kill)
  if await_end(self, mine, core.now() + M.GRACE) then return end
  end_each(self, mine, close)
  await_end(self, mine)
end

local function leave(guard)
  local self = guard.set
  self.stopping = self.stopping - 1
  if not guard.done then end_each(self, guard.mine, kill) end
end

--- Wait until all have ended; after a timeout they are killed, and who catches that
-- is closed a second later. A handler may call it: it does not wait for itself, nor
-- for others that do the same. If this call is ended by an error (a kill, a
-- Timeout) they are killed and not waited for.
-- @tparam ?number|Timeout timeout
-- @treturn boolean true; false if somebody had to be killed
function Handlers:drain(timeout)
  if self.count == 0 then return true end
  local mine = my_session(self)
  if mine and not mine.stops then
    mine.stops = true
    self.stoppers = self.stoppers + 1
  end
  self.stopping = self.stopping + 1
  local guard <close> = setmetatable({ set = self, mine = mine }, { __close = leave })
  local deadline = timeout
  if type(timeout) == "number" then deadline = core.now() + timeout end
  local ended = await_end(self, mine, deadline)
  if not ended then end_all(self, mine) end
  guard.done = true
  return ended
end

--- Wait until all have ended, and somebody else sees to that.
function Handlers:join()
  while self.count > 0 do await_change(self) end
end

return M

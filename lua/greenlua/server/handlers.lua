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

-- A session is an array, since one is made for each connection. By name it has
-- `address`, which its main function may set.
local CONN <const>, EXTRA <const>, SET <const>, NUMBER <const>, GREENLET <const>, STOPS <const> =
  1, 2, 3, 4, 5, 6

local Session = {}
Session.__index = Session

local Handlers = {}
Handlers.__index = Handlers

--- Make a set.
-- @tparam table server for names: `_describe(address, extra)`
-- @treturn Handlers `count` is how many there are
function M.new(server)
  return setmetatable({
    server = server,
    count = 0,
    last = 0, -- number of the latest session
    live = {}, -- number -> session
    stoppers = 0, -- handlers that stop their own server
    stopping = 0, -- calls of `drain`
    watched = false, -- somebody waits for changes
    changes = waitlist.new "the end of a handler",
  }, Handlers)
end

-- The end of a session -----------------------------------------------------------------

local function finish(session)
  local number = session[NUMBER]
  if number == 0 then return end -- it has
  session[NUMBER] = 0
  local set, conn = session[SET], session[CONN]
  if conn then conn:close() end
  set.live[number] = nil
  set.count = set.count - 1
  if session[STOPS] then set.stoppers = set.stoppers - 1 end
  if set.watched then set.changes:wake_all() end
end

-- The name costs more than all the rest: only who fails gets one, unless the program
-- has given it one (a class and a number are none).
local function name(session)
  local g = current()
  if not g.name:find "^[%w_]+%-%d+$" then return end
  g.name = session[SET].server:_describe(session.address, session[EXTRA])
end

function Session.__close(session, err)
  if err ~= nil then name(session) end
  finish(session)
end

-- A greenlet of a pool may be ended before it has run.
function Session:_ended(_, observed)
  finish(self)
  return observed
end

-- The start of one -----------------------------------------------------------------

local function enter(set, conn, extra)
  local number = set.last + 1
  set.last = number
  set.count = set.count + 1
  local session = setmetatable({ conn, extra, set, number, false, false }, Session)
  set.live[number] = session
  return session
end

--- Serve a connection, or something else, in a greenlet.
-- @function spawn
-- @tparam Handlers set
-- @tparam function main `main(session, conn, extra)` must have the session in a `<close>`
--   variable
-- @tparam ?socket conn is closed when the session ends; false: there is none
-- @param extra what else main needs
-- @treturn Greenlet
local function start(set, main, conn, extra)
  local session = enter(set, conn, extra)
  local g = spawn(main, session, conn, extra)
  session[GREENLET] = g
  return g
end
M.spawn = start

local function give_up(handover)
  if handover.session then finish(handover.session) end
end

--- The same in a pool, waiting for a slot of it.
-- @tparam Group pool
-- @tparam Handlers set
-- @tparam function main
-- @tparam ?socket conn
-- @param extra
-- @treturn Greenlet
function M.spawn_in(pool, set, main, conn, extra)
  local session = enter(set, conn, extra)
  local handover <close> = setmetatable({ session = session }, { __close = give_up })
  local g = (pool.greenlet_class or greenlet.Greenlet)(main, session, conn, extra)
  session[GREENLET] = g
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

--- Wait until there are fewer than the server allows.
function Handlers:await_room()
  while self.count >= self.server._limit do await_change(self) end
end

--- Have those look again who wait.
function Handlers:changed()
  if self.watched then self.changes:wake_all() end
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
    if not mine or not session[STOPS] then list[#list + 1] = session end
  end
  return list
end

-- One that never ran has no variable that could end its session; for one that memory
-- was too short for there is no greenlet.
local function end_each(self, mine, how)
  for _, session in ipairs(others(self, mine)) do
    local g = session[GREENLET]
    if g and g ~= current() then how(g) end
    if not g or g:ready() then finish(session) end
  end
end

local function close(g)
  core.close(g, greenlet.GreenletExit())
end

local function my_session(self)
  local me = current()
  for _, session in pairs(self.live) do
    if session[GREENLET] == me then return session end
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
  self:changed()
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
  if mine and not mine[STOPS] then
    mine[STOPS] = true
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

--- Wait for the end of the calls of `drain` that others have made.
function Handlers:join()
  while self.stopping > 0 and self.count > 0 do await_change(self) end
end

return M

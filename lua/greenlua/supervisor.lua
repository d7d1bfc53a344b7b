--- Supervisors: greenlets that start others, and start them again when they end.
--
-- The names and the rules are those of Erlang's OTP.
--
-- @usage
-- local supervisor = green.Supervisor.spawn {
--   strategy = "one_for_one", intensity = 3, period = 5,
--   { id = "store", start = function() return Store.spawn() end },
--   { id = "clock", start = function() return green.spawn(tick) end, restart = "transient" },
-- }
-- supervisor:child("store"):send "hello"
-- @module greenlua.supervisor

local core = require "greenlua.core"
local waitlist = require "greenlua.core.waitlist"
local greenlet = require "greenlua.greenlet"
local object = require "greenlua.object"

local M = {}

--- A greenlet that supervises. Made with a table of its children, in the order in
-- which they are started; each one is a table with
--
-- * `id`: its name,
-- * `start`: a function that starts it and returns the greenlet,
-- * `restart`: `"permanent"` (it is started again whenever it ends, which is the
--   default), `"transient"` (only if it failed) or `"temporary"` (never),
-- * `shutdown`: how many seconds it has to end when it is told to (5); then it is
--   closed.
--
-- Besides:
--
-- * `strategy`: who is started again when one ends: `"one_for_one"` that one,
--   `"all_for_one"` all, `"rest_for_one"` that one and those after it. The others
--   are stopped before, the last one first.
-- * `intensity` and `period`: after more than so many restarts in so many seconds (1
--   in 5) it gives up: it stops all and fails, for its own supervisor to see.
-- * `report(id, greenlet)`: called for each child that fails. Without it, failures
--   are reported as those of every greenlet are.
--
-- However the supervisor ends, its children are stopped before, in reverse order:
-- an Actor by `stop`, other greenlets by a kill.
-- A child has it in its field `supervisor`.
-- @type Supervisor
local Supervisor = greenlet.Greenlet:extend "Supervisor"
M.Supervisor = Supervisor

--- Is it of this class, or of a subclass?
-- @function Supervisor.is
-- @param value
-- @treturn boolean

--- Make one, and start it.
-- @function Supervisor.spawn
-- @param ... as for the constructor
-- @treturn Supervisor

--- The same after a delay.
-- @function Supervisor.spawn_later
-- @tparam number seconds
-- @param ...
-- @treturn Supervisor

-- Options ----------------------------------------------------------------------

local strategies = { one_for_one = true, all_for_one = true, rest_for_one = true }
local restarts = { permanent = true, transient = true, temporary = true }

local function misuse(whose, format, ...)
  object.misuse("bad argument #1 to '%s' (%s)", whose, format:format(...))
end

local function one_of(choices, whose, what, value)
  if choices[value] then return value end
  misuse(whose, "no such %s: %s", what, tostring(value))
end

local function number(whose, what, value, default)
  if value == nil then return default end
  if type(value) == "number" and value >= 0 then return value end
  misuse(whose, "%s must be a number, not negative; got %s", what, tostring(value))
end

local function check_child(self, whose, spec)
  if type(spec) ~= "table" then misuse(whose, "a child is a table, got %s", type(spec)) end
  if spec.id == nil then misuse(whose, "a child needs an id") end
  if type(spec.start) ~= "function" then
    misuse(whose, "child %s needs a function 'start'", tostring(spec.id))
  end
  if self.by_id[spec.id] then
    misuse(whose, "two children are called %s", tostring(spec.id))
  end
  return {
    id = spec.id, start = spec.start,
    restart = one_of(restarts, whose, "kind of restart", spec.restart or "permanent"),
    shutdown = number(whose, "shutdown", spec.shutdown, 5),
  }
end

local function enlist(self, whose, spec)
  local child = check_child(self, whose, spec)
  self.by_id[child.id] = child
  table.insert(self.order, child)
  return child
end

function Supervisor:_init(options)
  self.order, self.by_id = {}, {}
  self.ends, self.restarts = {}, {} -- greenlets that have ended; times
  self.news = waitlist.new "the end of a child"
  local me = getmetatable(self).__name
  if type(options) ~= "table" then misuse(me, "table expected, got %s", type(options)) end
  self.strategy = one_of(strategies, me, "strategy", options.strategy or "one_for_one")
  self.intensity = number(me, "intensity", options.intensity, 1)
  self.period = number(me, "period", options.period, 5)
  self.report = options.report
  for _, spec in ipairs(options) do enlist(self, me, spec) end
end

-- Children ---------------------------------------------------------------------

-- By the hub, at a child's end.
local watcher = {}
watcher.__index = watcher

function watcher:_ended(g)
  table.insert(self.supervisor.ends, { child = self.child, greenlet = g })
  self.supervisor.news:wake_all()
  return self.supervisor.report ~= nil
end

local function begin(self, child)
  local g = child.start(self)
  if not core.is_greenlet(g) then
    error(("the child %s of %s was to be started, but 'start' has returned no greenlet: %s")
      :format(tostring(child.id), self.name, tostring(g)), 0)
  end
  child.greenlet = g
  g.supervisor = self
  local w = setmetatable({ supervisor = self, child = child }, watcher)
  if g:ready() then w:_ended(g) else greenlet._own(g, w) end
end

-- It ends in good time, or is closed.
local function stop(child)
  local g = child.greenlet
  child.greenlet = nil -- so that its end means nothing
  if not g or g:ready() then return end
  local done
  if child.shutdown == 0 then
    done = false
  elseif type(g.stop) == "function" then
    done = g:stop(child.shutdown)
  else
    done = g:kill(nil, child.shutdown)
  end
  if not done then g:close() end
end

local function stop_from(self, first)
  for i = #self.order, first, -1 do stop(self.order[i]) end
end

local function index_of(self, child)
  for i, c in ipairs(self.order) do
    if c == child then return i end
  end
end

-- One restart more: too many?
local function count_restart(self, child, g)
  local now = core.now()
  table.insert(self.restarts, now)
  while self.restarts[1] < now - self.period do table.remove(self.restarts, 1) end
  if #self.restarts <= self.intensity then return end
  error(("%s gives up: %d restarts in %g seconds; the last to end was %s%s"):format(
    self.name, #self.restarts, self.period, tostring(child.id),
    g and g.exception ~= nil and " (" .. tostring(g.exception) .. ")" or ""), 0)
end

-- Who belongs to it by the strategy: stopped, and started in their order. A start
-- that fails counts as one more end.
local function restart(self, child)
  local first, last = index_of(self, child), #self.order
  if not first then return end -- removed meanwhile
  if self.strategy == "one_for_one" then
    last = first
  else
    if self.strategy == "all_for_one" then first = 1 end
    stop_from(self, first)
  end
  local due = table.move(self.order, first, last, 1, {})
  for _, c in ipairs(due) do
    if c == child or c.restart ~= "temporary" then
      local ok, err = pcall(begin, self, c)
      if not ok then
        if core.raised(err) then error(err, 0) end
        table.insert(self.ends, { child = c, err = err })
        return
      end
    end
  end
end

local function wants_restart(child, g)
  return child.restart == "permanent"
    or (child.restart == "transient" and not (g and g:successful()))
end

local function handle(self, news)
  local child, g = news.child, news.greenlet
  if child.greenlet ~= g or not self.by_id[child.id] then return end -- by our own hand
  child.greenlet = nil
  if g and not g:successful() and self.report then self.report(child.id, g) end
  if not wants_restart(child, g) then return end
  count_restart(self, child, g)
  restart(self, child)
end

local function stop_all(scope) stop_from(scope.supervisor, 1) end

function Supervisor:_run()
  local _ <close> = setmetatable({ supervisor = self }, { __close = stop_all })
  self.running = true
  for _, child in ipairs(table.move(self.order, 1, #self.order, 1, {})) do
    begin(self, child)
  end
  while self.running do
    local news = table.remove(self.ends, 1)
    if news then handle(self, news) else self.news:wait() end
  end
end

-- For others -------------------------------------------------------------------

--- The greenlet that is a child now. Don't keep it: after a restart it is another
-- one.
-- @param id
-- @treturn ?Greenlet nil while there is none
function Supervisor:child(id)
  local child = self.by_id[id]
  return child and child.greenlet
end

--- The children's ids, in the order in which they are started.
-- @treturn table
function Supervisor:children()
  local ids = {}
  for i, child in ipairs(self.order) do ids[i] = child.id end
  return ids
end

--- Add a child after the others, and start it if the supervisor runs.
-- @tparam table spec
-- @treturn ?Greenlet
function Supervisor:add(spec)
  local child = enlist(self, "add", spec)
  if self.running then begin(self, child) end
  return child.greenlet
end

--- Stop a child and forget it; nothing happens if there is none such.
-- @param id
function Supervisor:remove(id)
  local child = self.by_id[id]
  if not child then return end
  self.by_id[id] = nil
  table.remove(self.order, index_of(self, child))
  stop(child)
end

--- Stop the children, the last one first, and end.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Supervisor:stop(timeout)
  self.running = false
  self.news:wake_all()
  if self == core.current() then return true end
  if not (self.started or self.dead) then return self:kill(nil, timeout) end
  return self:join(timeout)
end

return M

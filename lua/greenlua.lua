--- greenlua: code that reads as if it blocked, in one thread.
--
-- A *greenlet* is a coroutine that the hub schedules. Whatever in this library
-- waits (`sleep`, `join`, a socket's `receive`) lets the others run meanwhile,
-- wherever it is called: in a greenlet, in a coroutine of the program's own,
-- under `table.sort`, in the main program.
--
-- Seconds are numbers, fractions allowed. As a timeout, nil waits for ever, 0
-- does not wait, and a `Timeout` object is raised when it expires.
--
--    local green = require "greenlua"
--    local function greet(name) green.sleep(1) print("hello, " .. name) end
--    green.joinall { green.spawn(greet, "Ada"), green.spawn(greet, "Alan") }
--
-- @module greenlua

--- The running greenlet; main is one, too.
-- @function current
-- @treturn Greenlet

--- Wait for some time; others run meanwhile. Without a number, of zero or less:
-- for one turn of each who is ready.
-- @function sleep
-- @tparam[opt=0] number seconds
-- @tparam[opt] boolean ref false: it does not keep the program going

--- Wait until nobody else is ready and nothing has come in.
-- @function idle

local core = require "greenlua.core"
local waiting = require "greenlua.core.wait"
local greenlet = require "greenlua.greenlet"
local object = require "greenlua.object"

local green = {
  _VERSION = "greenlua 0.1.0",
  Greenlet = greenlet.Greenlet,
  GreenletExit = greenlet.GreenletExit,
  current = core.current,
  sleep = waiting.sleep,
  idle = waiting.idle,
  spawn = greenlet.Greenlet.spawn,
  spawn_later = greenlet.Greenlet.spawn_later,
  kill = greenlet.kill,
  killall = greenlet.killall,
  pcall = greenlet.pcall,
  on_error = greenlet.on_error,
}

-- Where each of the other names is, loaded when it is first used.
local homes = {
  Timeout = "timeout", with_timeout = "timeout", within = "timeout",
  wait = "wait", iwait = "wait", joinall = "wait", run = "wait",
  LoopExit = "util", shutdown = "util",
  Event = "event", AsyncResult = "event",
  Queue = "queue", PriorityQueue = "queue", LifoQueue = "queue",
  Channel = "queue", select_ops = "queue",
  Semaphore = "lock", RLock = "lock", Condition = "lock",
  Group = "pool", Pool = "pool", Local = "local",
  Actor = "actor", Supervisor = "supervisor", reload = "reload",
}
local modules = {
  actor = true, context = true, dns = true, event = true, http = true, ["local"] = true,
  lock = true, monkey = true, pool = true, queue = true, sandbox = true, select = true,
  server = true, signal = true, socket = true, ssl = true, supervisor = true,
  timeout = true, util = true, websocket = true,
}

core.policy("loop_exit", function()
  return require("greenlua.util").LoopExit()
end)

object.lazy(green, "greenlua.", homes, modules)

return green

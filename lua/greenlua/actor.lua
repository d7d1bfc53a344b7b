--- Actors: greenlets that are sent messages, and work on one at a time.
--
-- What an actor has is its own, so it needs no locks: others send it messages, or
-- ask and wait for the reply. A `Supervisor` starts those again that fail. After
-- the Actor of gevent's tutorial, and Erlang's.
--
-- @usage
-- local Counter = green.Actor:extend "Counter"
-- function Counter:_init() self.count = 0 end
-- function Counter:receive(n)
--   self.count = self.count + n
--   return self.count
-- end
-- local counter = Counter.spawn()
-- counter:send(1)
-- print(counter:ask(2)) --> 3
-- @module greenlua.actor

local core = require "greenlua.core"
local greenlet = require "greenlua.greenlet"
local members = require "greenlua.pool.members"
local Queue = require("greenlua.queue").Queue
local AsyncResult = require("greenlua.event").AsyncResult
local check_seconds = require("greenlua.object").check_seconds

local M = {}

--- What asking an actor raises if it ends without a reply. Fields: `actor`, and
-- `cause`, the error that it ended with, if any.
-- @type ActorEnded
local ActorEnded = { __name = "ActorEnded" }
ActorEnded.__index = ActorEnded
M.ActorEnded = ActorEnded

--- Is it an ActorEnded?
-- @param value
-- @treturn boolean
function ActorEnded.is(value)
  return type(value) == "table" and getmetatable(value) == ActorEnded
end

function ActorEnded:__tostring()
  local cause = self.cause
  return ("ActorEnded: %s has ended without a reply%s"):format(self.name,
    cause == nil and "" or " (" .. tostring(cause) .. ")")
end

local function ended(actor)
  return setmetatable({ actor = actor, name = actor.name, cause = actor.exception },
    ActorEnded)
end

--- An actor: a Greenlet with an `inbox`, a Queue. Make a class with `extend`, and
-- give it a method `receive`; instances may have an `_init`, as every greenlet.
--
-- A class's `inbox_size` bounds the inbox: senders wait while it is full.
-- An actor runs until it is stopped, or killed, or fails, or sets `running` to
-- false. Who sends to one that has ended is told so.
-- @type Actor
local Actor = greenlet.Greenlet:extend "Actor"
M.Actor = Actor

--- Is it of this class, or of a subclass?
-- @function Actor.is
-- @param value
-- @treturn boolean

--- Make one, and start it.
-- @function Actor.spawn
-- @param ... as for the constructor
-- @treturn Actor

--- The same after a delay.
-- @function Actor.spawn_later
-- @tparam number seconds
-- @param ...
-- @treturn Actor

-- A message with somebody who waits for the reply.
local Ask = {}

local function settle(actor, ask)
  actor.asks:remove(ask)
  return ask.result
end

-- The actor's end: who waits for a reply gets none. The error of `receive` goes to
-- the one whose message it was.
local funeral = {}

function funeral:_ended(actor, observed) -- luacheck: ignore 212
  local current = actor.asking
  for _, ask in ipairs(actor.asks:all()) do
    if ask == current and ask.awaited and not actor:successful() then
      ask.result:set_exception(actor.exception)
      observed = true
    else
      ask.result:set_exception(ended(actor))
    end
  end
  actor.inbox:shutdown(true)
  return observed
end

function Actor:_prepare()
  self.inbox = Queue(self.inbox_size)
  self.asks = members.new() -- without a reply so far
  greenlet._own(self, funeral)
end

--- What to do with a message: for subclasses to define. What it returns is the
-- reply, if somebody waits for one.
-- @param message
-- @return the reply
function Actor:receive(message) -- luacheck: ignore 212
  error(("%s has no method 'receive'"):format(self.name), 2)
end

local function reply(actor, ask, ...)
  if actor.asks:has(ask) and not ask.deferred then settle(actor, ask):set(...) end
end

function Actor:_run()
  self.running = true
  while self.running do
    local message = self.inbox:get()
    if message == nil then return end -- stopped
    if type(message) == "table" and getmetatable(message) == Ask then
      self.asking = message
      reply(self, message, self:receive(message.message))
      self.asking = nil
    else
      self:receive(message)
    end
  end
end

local function check_message(name, message)
  if message ~= nil then return end
  error(("bad argument #1 to '%s' (a message is not nil)"):format(name), 3)
end

--- Send it a message, and don't wait for what becomes of it.
-- @param message anything but nil
-- @tparam[opt] number|Timeout timeout for a bounded inbox
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] `queue.Full` if the time ran out, `queue.ShutDown` if it is stopped or
-- has ended
function Actor:send(message, timeout)
  check_message("send", message)
  return self.inbox:put(message, timeout)
end

local function check_ask(actor, message, timeout)
  check_message("ask", message)
  if actor == core.current() then
    error(("%s cannot ask itself: it would wait for ever"):format(actor.name), 3)
  end
  check_seconds("ask", 2, timeout)
end

local function no_longer(ask) ask.awaited = false end

--- Send it a message, and wait for the reply.
-- Raises a Timeout if the time runs out, the error if `receive` fails on it, and an
-- ActorEnded if the actor ends before.
-- @param message
-- @tparam[opt] number|Timeout timeout
-- @return what `receive` returns
function Actor:ask(message, timeout)
  check_ask(self, message, timeout)
  local deadline = self.inbox.maxsize and type(timeout) == "number" and core.now() + timeout
  local ask = setmetatable({ message = message, awaited = true, result = AsyncResult() }, Ask)
  local _ <close> = setmetatable({}, { __close = function() no_longer(ask) end })
  self.asks:add(ask)
  local ok = self.inbox:put(ask, timeout)
  if not ok then
    settle(self, ask)
    if self.inbox.is_shutdown or self.dead then error(ended(self), 0) end
    return ask.result:get(0)
  end
  return ask.result:get(deadline and math.max(0, deadline - core.now()) or timeout)
end

--- Answer the message that is being worked on later, from wherever.
-- @treturn function called with the reply; nothing happens if nobody waits for one
-- @usage function Store:receive(key)
--   local answer = self:defer()
--   green.spawn(function() answer(fetch(key)) end)
-- end
function Actor:defer()
  local ask = self.asking
  if not ask then return function() end end
  ask.deferred = true
  return function(...)
    if self.asks:has(ask) then settle(self, ask):set(...) end
  end
end

--- Have it end when it has worked on all that is in its inbox, which takes nothing
-- more, and wait for that. Called by the actor itself it doesn't wait. One that has
-- not been started never is.
-- @tparam[opt] number|Timeout timeout
-- @treturn boolean true; false if the time ran out first
function Actor:stop(timeout)
  self.inbox:shutdown()
  if self == core.current() then return true end
  if not (self.started or self.dead) then return self:kill(nil, timeout) end
  return self:join(timeout)
end

return M

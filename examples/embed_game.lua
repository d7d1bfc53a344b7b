-- The characters of embed_game.c: each is a greenlet, and its life reads from top
-- to bottom. The game calls populate(n), alarm(frame) and report(frame); scripts
-- call move().

local green = require "greenlua"

local alarms = green.Event()
local heard, gossip = 0, 0

-- Walks about, half a second of the game between two steps.
local function wanderer(number)
  green.sleep(number % 30 / 60)
  while true do
    move()
    green.sleep(0.5)
  end
end

-- Sleeps until there is an alarm.
local function guard()
  while true do
    alarms:wait()
    heard = heard + 1
    move()
    green.sleep(0.2) -- looks around; whatever comes meanwhile is missed
  end
end

-- Two who tell each other what they have heard.
local function talk(hear, say)
  while true do
    local news = hear:get()
    gossip = gossip + 1
    green.sleep(0.3)
    say:put(news + 1)
  end
end

function populate(count)
  for number = 1, count do
    local kind = number % 10
    if kind == 0 then
      green.spawn(guard)
    elseif kind == 1 then
      local left, right = green.Queue(), green.Queue()
      green.spawn(talk, left, right)
      green.spawn(talk, right, left)
      left:put(0)
    else
      green.spawn(wanderer, number)
    end
  end
end

function alarm()
  alarms:set()
  alarms:clear()
end

function report()
  print(("guards have heard %d alarms, talkers told %d times"):format(heard, gossip))
end

-- Two actors: each works on the messages in its inbox, one at a time.
--
-- usage: actor.lua [messages]    how many they exchange; for ever by default

local green = require "greenlua"

local left = tonumber(arg[1]) or math.huge
local ping, pong

local Pinger = green.Actor:extend "Pinger"
local Ponger = green.Actor:extend "Ponger"

local function handle(message, other, reply)
  print(message)
  left = left - 1
  if left <= 0 then
    ping:stop(0)
    pong:stop(0)
  else
    other:send(reply)
    green.sleep(0)
  end
end

function Pinger:receive(message) -- luacheck: ignore 212
  handle(message, pong, "ping")
end

function Ponger:receive(message) -- luacheck: ignore 212
  handle(message, ping, "pong")
end

ping, pong = Pinger(), Ponger()
ping:start()
pong:start()
ping:send "start"
green.joinall { ping, pong }

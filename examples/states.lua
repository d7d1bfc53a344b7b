-- What one can ask a greenlet. The failure of `loser` stays its own: `joinall`
-- only waits for its end. Since nobody asks for its error with `get`, it is
-- reported on stderr as well.

local green = require "greenlua"

local function win() return "You win!" end
local function fail() error("You fail at failing.", 0) end

local winner = green.spawn(win)
local loser = green.spawn(fail)

print("started", winner.started, loser.started)
print("ready", winner:ready(), loser:ready())

green.joinall { winner, loser }

print("ready", winner:ready(), loser:ready())
print("successful", winner:successful(), loser:successful())
print("value", winner.value, loser.value)
print("exception", winner.exception, loser.exception)

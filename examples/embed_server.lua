-- The commands of embed_server.c. `handle` runs in a greenlet of its own for each
-- line that comes in, and may block: other connections go on meanwhile.

local green = require "greenlua"

local commands = {}
local visits = 0
local bell = green.Event()

function commands.echo(text) return text end

function commands.sleep(seconds)
  green.sleep(assert(tonumber(seconds), "a number of seconds expected"))
  return "slept for " .. seconds .. " s"
end

function commands.visit()
  visits = visits + 1
  return "visitor number " .. visits
end

-- One connection waits for the bell, another one rings it.
function commands.wait()
  bell:wait()
  return "the bell has rung"
end

function commands.ring()
  bell:set()
  bell:clear()
  return "ding"
end

function handle(line)
  local name, rest = line:match "^(%w+) ?(.-)\r?$"
  local command = commands[name] or error("unknown command: " .. line, 0)
  return command(rest)
end

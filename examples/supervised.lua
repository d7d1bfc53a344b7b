-- An actor that fails on some messages, and a supervisor that starts it again. It
-- gives up when that happens too often.

local green = require "greenlua"

local Divider = green.Actor:extend "Divider"

function Divider:receive(n) -- luacheck: ignore 212
  return 100 // n
end

local function start()
  print "starting a divider"
  return Divider.spawn()
end

local function report(id, g)
  print(("%s failed: %s"):format(id, g.exception:match ": (.*)"))
end

local supervisor = green.Supervisor.spawn {
  intensity = 2, period = 60, report = report,
  { id = "divider", start = start },
}

for _, n in ipairs { 5, 0, 20, 0, 50, 0 } do
  green.sleep(0) -- the supervisor's turn to start it
  local divider = supervisor:child "divider"
  local ok, answer = pcall(divider.ask, divider, n)
  if ok then print(("100 // %d is %d"):format(n, answer)) end
end

print(pcall(supervisor.get, supervisor))

local green = require "greenlua"
local socket = require "greenlua.socket"
local n, batch = tonumber(os.getenv "N"), tonumber(os.getenv "BATCH")
local spawn = green.spawn
local function noop() end

local t = socket.gettime()
for _ = 1, n // batch do
  local tasks = {}
  for i = 1, batch do tasks[i] = spawn(noop) end
  green.joinall(tasks)
end
print(("spawn_join %.1f ns/task"):format((socket.gettime() - t) / n * 1e9))

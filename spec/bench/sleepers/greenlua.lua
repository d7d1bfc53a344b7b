local green = require "greenlua"
local socket = require "greenlua.socket"
local n = tonumber(os.getenv "N")

local function kib(key)
  for line in io.lines "/proc/self/status" do
    local v = line:match("^" .. key .. ":%s*(%d+)")
    if v then return tonumber(v) end
  end
end

local function task() green.sleep(1 + math.random()) end

local before, t = kib "VmRSS", socket.gettime()
for _ = 1, n do green.spawn(task) end
green.run()
print(("sleepers_wall %.3f s"):format(socket.gettime() - t))
print(("sleepers_mem %.0f B/task"):format((kib "VmHWM" - before) * 1024 / n))

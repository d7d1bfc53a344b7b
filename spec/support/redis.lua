-- A Redis server for specs:  local redis = require "spec.support.redis"
--
--   setup(function() server = redis.start() end)
--   teardown(function() server:close() end)
--
-- It has a folder of its own, is reached by a port of 127.0.0.1 and by a UNIX socket
-- there, and keeps nothing.

local await = require "spec.support.await"
local reserve_port = require("spec.support.sockets").reserve_port
local socket = require "greenlua.socket"

local M = {}

local Server = {}
Server.__index = Server

function Server:running()
  return (os.execute(("kill -0 %d 2>/dev/null"):format(self.pid)))
end

function Server:answers()
  local conn = socket.connect("127.0.0.1", self.port)
  if not conn then return false end
  conn:send "PING\r\n"
  local answer = conn:receive()
  conn:close()
  return answer == "+PONG"
end

local function launch(folder)
  local port, guard = reserve_port()
  local pipe <close> = assert(io.popen(([[
    cd %s && env -u LD_PRELOAD sh -c 'echo $$; exec timeout 600 redis-server --port %d
      --bind 127.0.0.1 --unixsocket %s/socket --save "" --appendonly no --maxclients 4000
      --tcp-backlog 511 >log 2>&1 </dev/null' &]]):gsub("\n%s*", " "):format(folder, port, folder)))
  return setmetatable({ folder = folder, port = port, guard = guard, pid = pipe:read "n" }, Server)
end

--- Starts one, and waits until it answers.
-- @treturn Server with `port` and `folder`, where its UNIX socket is: `socket`
function M.start()
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -m 700 " .. folder))
  local self = launch(folder)
  await(function() return self:answers() or not self:running() end)
  if self:running() then return self end
  local log <close> = assert(io.open(folder .. "/log"))
  error("no redis-server: " .. log:read "a")
end

--- Ends it, and takes its folder away.
function Server:close()
  if not self.folder then return end
  os.execute(("kill %d 2>/dev/null; rm -rf %s"):format(self.pid, self.folder))
  self.guard:close()
  self.folder = nil
end
Server.__close = Server.close
Server.__gc = Server.close

return M

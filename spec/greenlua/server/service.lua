-- Serves what a service manager passes: the socket of a name, and any other one, or
-- datagrams. See systemd_spec.lua.

local green = require "greenlua"
local server = green.server

local name = arg[1] ~= "-" and arg[1] or nil
local main

local function descriptors()
  local list = {}
  local pipe = io.popen "ls -l /proc/self/fd"
  for line in pipe:lines() do
    list[#list + 1] = line:match "(%d+) %->" and line:match "(%d+ %->.*)$":gsub(" %->.*socket.*",
      " socket")
      :gsub(" %->.*", "")
  end
  pipe:close()
  return table.concat(list, " ") .. " "
end

local function handle(label)
  return function(conn)
    local line = conn:receive()
    if line == "environment" then
      line = ("%s %s %s"):format(os.getenv "LISTEN_FDS", os.getenv "LISTEN_PID",
        os.getenv "NOTIFY_SOCKET")
    elseif line == "descriptors" then
      line = descriptors()
    elseif line == "stop" then
      line = "stopping"
      main:close()
    end
    conn:send(label .. ": " .. line)
  end
end

local others = {}
if name then
  main = server.StreamServer("systemd:" .. name, handle(name))
  others[1] = server.StreamServer("systemd", handle "any")
else
  main = server.StreamServer("systemd", handle "any")
  others[1] = server.DatagramServer("systemd", function(data, host, port)
    others[1]:sendto("datagram: " .. data, host, port)
  end)
end
for _, other in ipairs(others) do assert(other:start()) end
assert(main:start())
io.stdout:setvbuf "line"
print("no more: " .. select(2, server.inherited()))
assert(main:serve_forever())
for _, other in ipairs(others) do other:stop() end
print "bye"

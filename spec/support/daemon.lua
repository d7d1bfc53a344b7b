-- Servers that specs talk to:  local daemon = require "spec.support.daemon"
--
-- One is started once for a file of specs, on a port of its own, with a folder of
-- its own for whatever it wants to keep.

local await = require "spec.support.await"
local socket = require "greenlua.socket"

local M = {}

local LIFE <const> = 600 -- seconds that one lives that nobody ends

--- A port for one, and what keeps it for that one (see sockets.lua).
M.reserve_port = require("spec.support.sockets").reserve_port

--- A new folder in /tmp.
function M.folder()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkdir -m 755 " .. path))
  return path
end

function M.write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

function M.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local Daemon = {}
Daemon.__index = Daemon

function Daemon:running()
  return (os.execute(("kill -0 %d 2>/dev/null"):format(self.pid)))
end

--- Ends it, and takes its folder away.
function Daemon:close()
  if not self.pid then return end
  os.execute(("kill %d 2>/dev/null"):format(self.pid))
  os.execute("rm -rf " .. self.folder)
  self.guard:close()
  self.pid = nil
end
Daemon.__close = Daemon.close

local function listens(port)
  local conn = socket.connect { host = "127.0.0.1", port = port, timeout = 60 }
  if conn then conn:close() end
  return conn ~= nil
end

--- Starts a server and waits until it listens.
-- @tparam string folder its own; it goes with it
-- @tparam integer port
-- @param guard of the port; it is closed with the server
-- @tparam string command words for the shell; it must not go to the background
-- @treturn Daemon to be closed
function M.start(folder, port, guard, command)
  local pipe <close> = assert(io.popen(
    ([[env -u LD_PRELOAD sh -c 'echo $$; exec timeout %d "$@" >%s/log 2>&1' sh %s </dev/null &]])
    :format(LIFE, folder, command)))
  local self = setmetatable({ folder = folder, port = port, guard = guard, pid = pipe:read "n" },
    Daemon)
  await(function() return listens(port) or not self:running() end)
  if self:running() then return self end
  local log = M.read(folder .. "/log")
  self:close()
  error(("%s does not listen:\n%s"):format(command, log), 2)
end

--- nginx with these locations: `daemon.nginx "location / { return 200; }"`.
function M.nginx(locations)
  local folder, port, guard = M.folder(), M.reserve_port()
  M.write(folder .. "/conf", ([[
    daemon off; master_process off; pid pid; error_log log; worker_rlimit_nofile 8192;
    events { worker_connections 4096; }
    http {
      access_log off; keepalive_timeout 5; client_max_body_size 100m;
      client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi; scgi_temp_path scgi;
      types { text/plain txt; text/html html; }
      server { listen 127.0.0.1:%d backlog=4096; root files; %s }
    }]]):format(port, locations))
  os.execute(("mkdir %s/files"):format(folder))
  return M.start(folder, port, guard, ("nginx -p %s -c conf -e log"):format(folder))
end

--- vsftpd, which lets everyone write to its folder `files`.
function M.vsftpd()
  local folder, port, guard = M.folder(), M.reserve_port()
  os.execute(("mkdir %s/files %s/empty"):format(folder, folder))
  local user = io.popen "id -un"
  M.write(folder .. "/conf", ([[
listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port=%d
background=NO
anonymous_enable=YES
local_enable=NO
ftp_username=%s
run_as_launching_user=YES
seccomp_sandbox=NO
secure_chroot_dir=%s/empty
anon_root=%s/files
allow_writeable_chroot=YES
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_mkdir_write_enable=YES
anon_umask=022
max_clients=0
max_per_ip=0
]]):format(port, user:read "l", folder, folder))
  user:close()
  return M.start(folder, port, guard, ("vsftpd %s/conf"):format(folder))
end

local SMTPD = [[
import asyncio, os, sys
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP
os.fsync = lambda file: None # what it keeps need not outlive it
loop = asyncio.new_event_loop()
handler = Mailbox(sys.argv[1] + "/mail")
loop.run_until_complete(loop.create_server(
    lambda: SMTP(handler, hostname="localhost"), "127.0.0.1", int(sys.argv[2]), backlog=4096))
loop.run_forever()
]]

--- A mail server in Python that keeps what it gets as files in `mail/new`.
function M.smtpd()
  local folder, port, guard = M.folder(), M.reserve_port()
  M.write(folder .. "/smtpd.py", SMTPD)
  return M.start(folder, port, guard, ("/usr/bin/python3 %s/smtpd.py %s %d"):format(folder,
    folder, port))
end

return M

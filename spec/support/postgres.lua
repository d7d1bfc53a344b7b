-- A PostgreSQL server for specs:  local postgres = require "spec.support.postgres"
--
--   setup(function() server = postgres.start() end)
--   teardown(function() server:stop() end)
--
-- It has a folder of its own, is reached by a UNIX socket there and by a port of
-- 127.0.0.1, and trusts everyone.

local support = require "spec.support"
local await = require "spec.support.await"
local reserve_port = require("spec.support.sockets").reserve_port

local M = {}

--- For programs that load libpq. LeakSanitizer guesses where libraries that are
-- loaded late have their TLS, reads there and, with dozens of them, may die of it.
M.env = { ASAN_OPTIONS = "detect_leaks=1:intercept_tls_get_addr=0" }

local Server = {}
Server.__index = Server

-- A command line may be written in several.
local function sh(format, ...)
  local command = format:gsub("\n%s*", " "):format(...)
  local ok, how, code = os.execute(command)
  if not ok then error(("%s: %s %d"):format(command, how, code), 0) end
end

local function capture(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a":gsub("%s+$", ""))
end

-- The server refuses to be root's.
local function owner()
  if capture "id -u" ~= "0" then return "" end
  return "runuser -u postgres -- "
end

local function launch(self)
  self.port, self.guard = reserve_port()
  sh([[cd / && LD_PRELOAD= %stimeout 600 %s/postgres -D %s/data -k %s -p %d -h 127.0.0.1
    -c fsync=off -c full_page_writes=off -c max_connections=120 -c shared_buffers=16MB
    -c autovacuum=off -c logging_collector=off >%s/log 2>&1 </dev/null &]],
    self.as, self.bin, self.folder, self.folder, self.port, self.folder)
  await(function()
    return os.execute(("%s/pg_isready -q -h %s -p %d"):format(self.bin, self.folder, self.port))
  end, function() return capture("cat " .. self.folder .. "/log") end)
end

--- Starts one, and waits until it answers. The whole thread waits.
-- @treturn Server with `folder` and `port`
function M.start()
  local self = setmetatable({ as = owner(), folder = capture "mktemp -d" }, Server)
  self.bin = capture "ls -d /usr/lib/postgresql/*/bin | tail -n 1"
  if self.as ~= "" then sh("chown postgres %s", self.folder) end
  sh([[cd / && LD_PRELOAD= %s%s/initdb -D %s/data -U postgres -A trust -E UTF8 --locale=C
    --no-sync --no-instructions >/dev/null]], self.as, self.bin, self.folder)
  launch(self)
  return self
end

--- What libpq wants to know: over the UNIX socket, or over TCP.
function Server:conninfo(host)
  return ("host=%s port=%d user=postgres dbname=postgres"):format(host or self.folder, self.port)
end

--- What it says to one query, asked by psql: the whole thread waits.
function Server:ask(query)
  return capture(("LD_PRELOAD= %s/psql -XAtq -c \"%s\" '%s'"):format(self.bin, query,
    self:conninfo()))
end

--- Runs a Lua script by the greenlua command, which finds the server in `arg`.
-- @tparam string script its text
-- @tparam[opt={"--coop-libc"}] table options of the command
-- @tparam[opt] table env as for support.run
-- @treturn integer exit code
-- @treturn string what came on stdout
-- @treturn string what came on stderr
function Server:run(script, options, env)
  local args = table.move(options or { "--coop-libc" }, 1, 8, 1, {})
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  file:write(script)
  file:close()
  args[#args + 1] = path
  args[#args + 1] = self:conninfo()
  args[#args + 1] = self:conninfo "127.0.0.1"
  local code, out, err = support.run(args, nil, env or M.env)
  os.remove(path)
  return code, out, err
end

--- Ends it, and takes its folder away.
function Server:stop()
  if not self.folder then return end
  os.execute(("cd / && LD_PRELOAD= %s%s/pg_ctl stop -s -m immediate -D %s/data"):format(self.as,
    self.bin, self.folder))
  os.execute("rm -rf " .. self.folder)
  self.guard:close()
  self.folder = nil
end
Server.__gc = Server.stop

return M

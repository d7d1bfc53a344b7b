--- Sockets for greenlets: LuaSocket's surface, and every call that would block
-- parks the greenlet that makes it.
--
-- The conventions are LuaSocket's: what the world does wrong comes back as
-- `nil, message` (`"timeout"` and `"closed"` are the ones to compare with), and
-- what is wrong with a call is raised. A timeout set with `settimeout` is one of
-- the calls, not one of the connection.
--
-- What is different:
--
-- * TCP\_NODELAY is on; `setoption("tcp-nodelay", false)` turns it off.
-- * While more of a peer's input is already buffered, small sends gather and go
--   out together, not later than at the greenlet's next wait. A failure then
--   shows in the next send. `setoption("coalesce", false)` turns that off.
-- * `close` in one greenlet ends the waits of others with `nil, "closed"`.
-- * One greenlet may read while another one writes. A second reader or writer is
--   a mistake, and raised as one.
-- * An error that is raised where a greenlet waits (a kill, a Timeout) leaves
--   what has been read in the socket for the next reader.
-- * Names are numbers, `"localhost"`, and what the hosts file has.
--
-- @usage
-- local green = require "greenlua"
-- local socket = require "greenlua.socket"
--
-- local server <close> = assert(socket.bind("127.0.0.1", 0))
-- local _, port = server:getsockname()
--
-- green.spawn(function()
--   local peer <close> = assert(server:accept())
--   for line in peer:lines() do peer:send(line:upper() .. "\n") end
-- end)
--
-- local conn <close> = assert(socket.connect("127.0.0.1", port))
-- conn:send "hello\n"
-- print(conn:receive "*l") --> HELLO
-- @module greenlua.socket

local core = require "greenlua.core.socket"
local sleep = require("greenlua").sleep

local socket = {
  _VERSION = "greenlua.socket 0.1 (LuaSocket 3.1.0)",
  BLOCKSIZE = 2048,
  _SOCKETINVALID = -1,
  tcp = core.tcp,
  tcp4 = core.tcp4,
  tcp6 = core.tcp6,
  pair = core.pair,
  fromfd = core.fromfd,
  gettime = core.gettime,
  wait_read = core.wait_read,
  wait_write = core.wait_write,
}

socket.unix = setmetatable({ stream = core.unix, tcp = core.unix }, {
  __call = function(_, ...) return core.unix(...) end,
})

--- Waits, as LuaSocket's `socket.sleep`: a negative time is none.
-- @tparam number seconds
function socket.sleep(...)
  local seconds = tonumber((...))
  if not seconds then
    error(("bad argument #1 to 'sleep' (number expected, got %s)"):format(
      select("#", ...) == 0 and "no value" or type((...))), 2)
  end
  sleep(math.max(seconds, 0))
end

local function open(family)
  if family == "inet6" then return core.tcp6() end
  return core.tcp4()
end

local function listen(address, port, backlog)
  local sock, err = open(address.family)
  if not sock then return nil, err end
  sock:setoption("reuseaddr", true)
  local ok
  ok, err = sock:bind(address.addr, port)
  if ok then ok, err = sock:listen(backlog) end
  if ok then return sock end
  sock:close()
  return nil, err
end

--- Listens on the first address of a host that can be had.
-- @usage local server <close> = assert(socket.bind("*", 8080))
-- @tparam string host `"*"` is every IPv4 address of this machine
-- @tparam number|string port 0 lets the system choose (see `getsockname`)
-- @tparam[opt=32] integer backlog
-- @treturn[1] server
-- @treturn[2] nil
-- @treturn[2] string `"address already in use"`, `"permission denied"` …
function socket.bind(host, port, backlog)
  if host == "*" then host = "0.0.0.0" end
  local addresses, err = core.resolve(host)
  if not addresses then return nil, err end
  for _, address in ipairs(addresses) do
    local sock
    sock, err = listen(address, port, backlog)
    if sock then return sock end
  end
  return nil, err
end

local families = { unspec = core.tcp, inet = core.tcp4, inet6 = core.tcp6 }

local function connect(host, port, local_host, local_port, family, timeout)
  local create = families[family or "unspec"]
  if not create then error(("bad family '%s' to 'connect'"):format(family), 3) end
  local sock, err = create()
  if not sock then return nil, err end
  sock:settimeout(timeout)
  local ok = true
  if local_host then ok, err = sock:bind(local_host, local_port or 0) end
  if ok then ok, err = sock:connect(host, port) end
  if not ok then
    sock:close()
    return nil, err
  end
  sock:settimeout()
  return sock
end

--- Connects to the first address of a host that answers.
-- @usage local conn <close> = assert(socket.connect("localhost", 8080))
-- @usage local conn <close> = assert(socket.connect { host = "::1", port = 8080, timeout = 2 })
-- @tparam string|table host or a table with `host`, `port`, `timeout` (seconds for
--   each address), `local_host`, `local_port` and `family`
-- @tparam number|string port
-- @tparam[opt] string local_host to connect from
-- @tparam[opt] number|string local_port
-- @tparam[opt="unspec"] string family `"inet"` or `"inet6"` for one kind only
-- @treturn[1] client without a timeout of its own
-- @treturn[2] nil
-- @treturn[2] string `"connection refused"`, `"timeout"`,
--   `"host or service not provided, or not known"` …
function socket.connect(host, port, local_host, local_port, family)
  if type(host) ~= "table" then return connect(host, port, local_host, local_port, family) end
  local o = host
  return connect(o.host, o.port, o.local_host, o.local_port, o.family, o.timeout)
end

--- As `connect`, over IPv4 only.
function socket.connect4(host, port, local_host, local_port)
  return connect(host, port, local_host, local_port, "inet")
end

--- As `connect`, over IPv6 only.
function socket.connect6(host, port, local_host, local_port)
  return connect(host, port, local_host, local_port, "inet6")
end

return socket

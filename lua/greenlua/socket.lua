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
-- * Hosts are looked up on the hub (see `greenlua.dns`), and a socket's timeout
--   covers that; one that never waits (0) waits for it nevertheless.
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
local dns = require "greenlua.socket.dns"
local except = require "greenlua.socket.except"
local ltn12 = require "greenlua.socket.ltn12"
local check_string = require("greenlua.object").check_string
local sleep = require("greenlua").sleep

--- @table constants
-- @field BLOCKSIZE bytes that sources read at once; may be set
-- @field _DATAGRAMSIZE of what `receive` takes of a datagram, if it is not told
-- @field _SETSIZE LuaSocket's `select` takes so many descriptors; here there is no limit
-- @field _SOCKETINVALID what `getfd` says of a socket without a descriptor
local socket = {
  _VERSION = "greenlua.socket 0.1 (LuaSocket 3.1.0)",
  BLOCKSIZE = 2048,
  _DATAGRAMSIZE = 8192,
  _SETSIZE = 1 << 20, -- more than the kernel gives a process
  _SOCKETINVALID = -1,
  tcp = core.tcp,
  tcp4 = core.tcp4,
  tcp6 = core.tcp6,
  udp = core.udp,
  udp4 = core.udp4,
  udp6 = core.udp6,
  pair = core.pair,
  fromfd = core.fromfd,
  gettime = core.gettime,
  wait_read = core.wait_read,
  wait_write = core.wait_write,
  select = require("greenlua.socket.select").select,
  dns = dns,
  newtry = except.newtry,
  protect = except.protect,
  try = except.newtry(),
  choose = ltn12.choose,
  sink = ltn12.sink,
  sinkt = ltn12.sinkt,
  source = ltn12.source,
  sourcet = ltn12.sourcet,
}

-- LuaSocket's module "socket.unix" is this table, too.
socket.unix = {
  stream = core.unix, tcp = core.unix, dgram = core.unixdgram, udp = core.unixdgram,
}
socket.unix.__call = function(self) return self.stream() end
setmetatable(socket.unix, socket.unix)

--- Leaves out the first of some values: `local body = socket.skip(1, http.request(url))`.
-- @tparam integer count how many
-- @param ...
-- @return the rest
function socket.skip(count, ...)
  count = math.tointeger(count)
  if not count then error("bad argument #1 to 'skip' (integer expected)", 2) end
  if count >= select("#", ...) then return end
  return select(math.max(count, 0) + 1, ...)
end

--- The `try` without a finalizer: `newtry()`.
-- @function try
-- @param ... a value, and a message in case it is none
-- @return the same

--- Does nothing, as LuaSocket's on systems of this kind.
function socket.__unload() end

--- Waits, as LuaSocket's `socket.sleep`: a negative time is none.
-- @tparam number seconds
function socket.sleep(...)
  local seconds = tonumber((...))
  if not seconds then
    error(("bad argument #1 to 'sleep' (number expected, got %s)"):format(
      select("#", ...) == 0 and "no value" or type((...))), 2)
  end
  if seconds ~= seconds then error("bad argument #1 to 'sleep' (not a number: NaN)", 2) end
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
  host, port = check_string("bind", 1, host), check_string("bind", 2, port)
  if host == "*" then host = "0.0.0.0" end
  if backlog ~= nil and not tonumber(backlog) then
    error(("bad argument #3 to 'bind' (number expected, got %s)"):format(type(backlog)), 2)
  end
  local addresses, err = require("greenlua.core.dns").lookup(nil, host)
  if not addresses then return nil, err end
  for _, address in ipairs(addresses) do
    local sock
    sock, err = listen(address, port, backlog)
    if sock then return sock end
  end
  return nil, err
end

local families = { unspec = core.tcp, inet = core.tcp4, inet6 = core.tcp6 }

-- By tail calls only: whom it blames is the caller of `socket.connect`.
local function connect(name, host, port, local_host, local_port, family)
  host, port = check_string(name, 1, host), check_string(name, 2, port)
  local_host = local_host ~= nil and check_string(name, 3, local_host) or nil
  local_port = local_port ~= nil and check_string(name, 4, local_port) or nil
  local create = families[family == nil and "unspec" or check_string(name, 5, family)]
  if not create then
    error(("bad argument #5 to '%s' (invalid option '%s')"):format(name, family), 2)
  end
  local sock, err = create()
  if not sock then return nil, err end
  local ok = true
  if local_host then ok, err = sock:bind(local_host, local_port or 0) end
  if ok then ok, err = sock:connect(host, port) end
  if not ok then
    sock:close()
    return nil, err
  end
  return sock
end

--- Connects to the first address of a host that answers.
-- @usage local conn <close> = assert(socket.connect("localhost", 8080))
-- @usage local conn <close> = assert(socket.connect { host = "::1", port = 8080, timeout = 2 })
-- @tparam string|table host or a table of options, with which it races IPv6 and
--   IPv4, and can speak TLS: see `greenlua.socket.connect`
-- @tparam number|string port
-- @tparam[opt] string local_host to connect from
-- @tparam[opt] number|string local_port
-- @tparam[opt="unspec"] string family `"inet"` or `"inet6"` for one kind only
-- @treturn[1] client without a timeout of its own
-- @treturn[2] nil
-- @treturn[2] string `"connection refused"`, `"timeout"`,
--   `"host or service not provided, or not known"` …
function socket.connect(host, port, local_host, local_port, family)
  if type(host) == "table" then return require("greenlua.socket.connect").connect(host) end
  return connect("connect", host, port, local_host, local_port, family)
end

--- As `connect`, over IPv4 only.
function socket.connect4(host, port, local_host, local_port)
  return connect("connect4", host, port, local_host, local_port, "inet")
end

--- As `connect`, over IPv6 only.
function socket.connect6(host, port, local_host, local_port)
  return connect("connect6", host, port, local_host, local_port, "inet6")
end

--- What can be waited for with any descriptor.
-- @section ready

--- Waits until a descriptor can be read (or is at its end). For the descriptors
-- of other libraries; any number of greenlets may wait for one of those.
-- @function wait_read
-- @tparam integer|table|userdata descriptor or an object with a method `getfd`
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"closed"` …

--- Waits until a descriptor can be written, as `wait_read`.
-- @function wait_write

--- Making sockets.
-- @section new

--- A TCP socket without a descriptor, to `bind` or to `connect`. `tcp4` and
-- `tcp6` have one from the start.
-- @function tcp
-- @treturn master

--- A TCP socket for IPv4.
-- @function tcp4

--- A TCP socket for IPv6, and nothing else.
-- @function tcp6

--- Two connected UNIX sockets.
-- @function pair
-- @treturn[1] client
-- @treturn[1] client
-- @treturn[2] nil
-- @treturn[2] string message

--- A socket object for a stream socket's descriptor, which it owns from then on.
-- @function fromfd
-- @tparam integer fd
-- @treturn[1] socket of the class that the descriptor's state asks for
-- @treturn[2] nil
-- @treturn[2] string message

--- A UDP socket without a descriptor, for either family. `udp4` and `udp6` have
-- one from the start.
-- @function udp
-- @treturn unconnected

--- A UDP socket for IPv4.
-- @function udp4

--- A UDP socket for IPv6, and nothing else.
-- @function udp6

--- UNIX sockets: `unix.stream()`, which `unix()` is as well, and `unix.dgram()`. They
-- have `bind(path)` and `connect(path)`; a datagram socket has what UDP's have, with
-- a path in place of a host and a port.
-- @field unix

--- Seconds since 1970, with fractions.
-- @function gettime
-- @treturn number

--- A connection: what `connect`, `accept` and `pair` give.
--
-- Methods that are not described here are LuaSocket's: `close`, `getfd`, `setfd`,
-- `getpeername`, `getsockname`, `getfamily`, `getstats`, `setstats`, `dirty`,
-- `gettimeout`, `getoption`.
-- @type Client

--- Reads a line, a number of bytes, or all up to the end.
-- @function Client:receive
-- @tparam[opt="*l"] string|integer pattern `"*l"`: a line, without its end;
--   `"*a"`: everything until the peer closes; a number: so many bytes
-- @tparam[opt] string prefix goes before the result, and counts for a number
-- @treturn[1] string data
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"` …
-- @treturn[2] string what came before that

--- Reads what is there: waits for at least one byte only.
-- @function Client:receive_some
-- @tparam[opt] integer max bytes
-- @treturn[1] string data
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"` …

--- Reads up to a delimiter, which is taken off the stream and left out.
-- @usage local head = conn:read_until("\r\n\r\n", 65536)
-- @function Client:read_until
-- @tparam string delimiter
-- @tparam[opt] integer max bytes before it
-- @treturn[1] string data
-- @treturn[2] nil
-- @treturn[2] string `"too long"`: what was read stays; `"closed"`, `"timeout"` …
-- @treturn[2] string what came before that

--- Iterates over the lines until the connection ends; a last line without an end
-- counts. A timeout is raised: a loop has no other way to tell.
-- @usage for line in conn:lines() do print(line) end
-- @function Client:lines

--- Sends a string, or a part of it, or a list of strings as one.
-- @usage conn:send { "HTTP/1.1 200 OK\r\nContent-Length: ", #body, "\r\n\r\n", body }
-- @function Client:send
-- @tparam string|table data
-- @tparam[opt=1] integer i from here
-- @tparam[opt=-1] integer j to here
-- @treturn[1] integer index of the last byte that was sent
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"` …
-- @treturn[2] integer index of the last byte that was sent

--- Sends a file, or a part of it, which does not pass through Lua's memory. The
-- file's own position is neither used nor moved.
-- @usage conn:sendfile("index.html")
-- @usage conn:sendfile(file, first, last - first + 1)
-- @function Client:sendfile
-- @tparam file|string|integer file an open file, a path, or a descriptor
-- @tparam[opt=0] integer offset of the first byte
-- @tparam[opt] integer length at most; all that there is without one
-- @treturn[1] integer how many bytes were sent
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`, `"No such file or directory"` …
-- @treturn[2] integer how many bytes were sent

--- Ends one direction of the connection, or both; the descriptor stays open.
-- @function Client:shutdown
-- @tparam[opt="both"] string how `"send"`, `"receive"` or `"both"`
-- @treturn integer 1

--- Limits how long calls wait, as it does for all sockets. 0 never waits (but gives
-- way to others now and then); nil or a negative number waits for ever.
-- @function Client:settimeout
-- @tparam[opt] number seconds
-- @tparam[opt="b"] string mode `"b"` and `"t"`, as LuaSocket has them: both count
--   from the start of a call; if both are set, `"b"` limits each wait in it
-- @treturn integer 1

--- Sets an option: LuaSocket's, and `"coalesce"` (see above).
-- @function Client:setoption
-- @tparam string name
-- @param value
-- @treturn[1] integer 1
-- @treturn[2] nil
-- @treturn[2] string message

--- Gives the descriptor up: this object is closed, the connection is not. What
-- has gathered is written first, which may wait.
-- @function Client:detach
-- @treturn[1] integer descriptor
-- @treturn[1] string what was already read from it
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`

--- A listening socket: what `bind` gives.
-- @type Server

--- Waits for a connection. While the process has no descriptor left it goes on
-- waiting, and tries again as one of its sockets is closed.
-- @usage for conn in server.accept, server do green.spawn(serve, conn) end
-- @function Server:accept
-- @treturn[1] client without a timeout
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"` …

--- A UDP or UNIX datagram socket.
--
-- It is *unconnected* at first; `setpeername` makes it a *connected* one, which
-- exchanges datagrams with one peer only. One greenlet may receive at a time; any
-- number may send. A datagram of no bytes is one. A closed socket receives
-- `nil, "closed"`.
--
-- @usage
-- local server <close> = socket.udp()
-- assert(server:setsockname("127.0.0.1", 5353))
-- while true do
--   local datagram, host, port = server:receivefrom()
--   if datagram then server:sendto(datagram:upper(), host, port) end
-- end
-- @type Datagram

--- Receives a datagram. What is beyond the size is lost.
-- @function Datagram:receive
-- @tparam[opt=8192] integer size
-- @treturn[1] string datagram
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"connection refused"` (an earlier datagram was) …

--- Receives a datagram and tells whose it is. For unconnected ones.
-- @function Datagram:receivefrom
-- @tparam[opt=8192] integer size
-- @treturn[1] string datagram
-- @treturn[1] string host, or the path of a UNIX socket: empty if it has none
-- @treturn[1] integer port
-- @treturn[2] nil
-- @treturn[2] string `"timeout"` …

--- Sends a datagram to the peer. For connected ones.
-- @function Datagram:send
-- @tparam string datagram
-- @treturn[1] integer its size
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"connection refused"`, `"Message too long"` …

--- Sends a datagram to an address; names are not resolved. For unconnected ones.
-- @function Datagram:sendto
-- @tparam string datagram
-- @tparam string host a number, or the path of a UNIX socket
-- @tparam integer port
-- @treturn[1] integer its size
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"Name or service not known"`, `"refused"` (closed) …

--- Connects to a peer; `"*"` ends that.
-- @function Datagram:setpeername
-- @tparam string host
-- @tparam integer port
-- @treturn[1] integer 1
-- @treturn[2] nil
-- @treturn[2] string message

--- Binds it to an address of this machine.
-- @function Datagram:setsockname
-- @tparam string host `"*"` is all of them
-- @tparam integer port 0 lets the system choose
-- @treturn[1] integer 1
-- @treturn[2] nil
-- @treturn[2] string message

--- Sets an option. Besides the common ones: `broadcast`, `dontroute`,
-- `ip-multicast-if`, `ip-multicast-ttl`, `ip-multicast-loop`, `ip-add-membership` and
-- `ip-drop-membership` (`{ multiaddr =, interface = }`), and `ipv6-unicast-hops`,
-- `ipv6-multicast-hops`, `ipv6-multicast-loop`, `ipv6-add-membership`,
-- `ipv6-drop-membership`.
-- @function Datagram:setoption
-- @tparam string name
-- @param value
-- @treturn[1] integer 1
-- @treturn[2] nil
-- @treturn[2] string message

return socket

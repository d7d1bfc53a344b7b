-- As probe.lua, for datagrams. What greenlua does differently by intent is not
-- asked: a closed socket receives "closed" (LuaSocket: endless empty datagrams),
-- ipv6-multicast-hops is not ipv6-unicast-hops, ip-multicast-ttl can be read, and a
-- UNIX datagram socket has more methods and options than LuaSocket's.

local socket = require(arg[1])
local unix = arg[2] and require(arg[2]) or socket.unix
local ask = dofile "spec/greenlua/socket/ask.lua"
local known, line, call, method, section =
  ask.known, ask.line, ask.call, ask.method, ask.section

local function port_of(sock)
  return math.tointeger(tonumber((select(2, sock:getsockname()))))
end

section "classes"
local a = socket.udp()
call("tostring", tostring, a)
line("class", getmetatable(a).__index.class, type(getmetatable(a).__index))
for _, name in ipairs { "close", "dirty", "getfamily", "getfd", "getoption", "getpeername",
  "getsockname", "receive", "receivefrom", "send", "sendto", "setfd", "setoption", "setpeername",
  "setsockname", "settimeout", "gettimeout" } do
  line(name, type(getmetatable(a).__index[name]), type(a[name]))
end
for _, name in ipairs { "accept", "listen", "connect", "bind", "shutdown", "getstats" } do
  line(name, a[name])
end
call("no self", a.receive, 12)
call("no self", a.close)
call("no self", a.sendto)
call("no self", a.send, {})
call("wrong self", a.receive, socket.tcp())

section "without a descriptor"
method(a, "getfd")
method(a, "getfamily")
method(a, "dirty")
method(a, "getsockname")
method(a, "getpeername")
method(a, "send", "x")
method(a, "setoption", "broadcast", true)
method(a, "getoption", "broadcast")
method(a, "settimeout", 0.02)
method(a, "gettimeout")
method(a, "setpeername", "*")
line("still none", a:getfd())

section "sendto"
local b = socket.udp()
method(b, "setsockname", "127.0.0.1", 0)
method(b, "getfamily")
known[port_of(b)] = "B"
call("getsockname", function()
  local ip, port, family = b:getsockname()
  return ip, tonumber(port) > 0, family
end)
method(b, "settimeout", 60)
method(a, "sendto", "hello", "localhost", port_of(b))
method(a, "sendto", "hello", "127.0.0.1", "no such service")
method(a, "sendto", "hello", "a..b", 1)
method(a, "sendto", "hello", "127.0.0.1")
method(a, "sendto", "hello")
method(a, "sendto")
method(a, "sendto", "hello", "127.0.0.1", port_of(b))
line("has one", a:getfd() > 2)
known[port_of(a)] = "A"
method(b, "receivefrom")
method(a, "sendto", "", "127.0.0.1", port_of(b))
method(b, "receivefrom")
method(a, "sendto", "", "127.0.0.1", tostring(port_of(b)))
method(b, "receive")
method(a, "sendto", 12.5, "127.0.0.1", port_of(b))
method(b, "receive")
method(a, "sendto", "a\0b", "127.1", port_of(b))
method(b, "receive")
method(a, "sendto", ("x"):rep(70000), "127.0.0.1", port_of(b))
method(a, "sendto", "x", "255.255.255.255", port_of(b))
method(a, "sendto", "x", "::1", port_of(b))

section "truncation"
local function feed(n) assert(a:sendto(("0123456789"):rep(n // 10), "127.0.0.1", port_of(b))) end
for _, size in ipairs { 0, 1, 5, 8192, 9000, 20000, 1e9 } do
  feed(10000)
  local datagram, host, port = b:receivefrom(size)
  line("receivefrom", size, #datagram, datagram:sub(-3), host, known[port])
end
feed(10000)
line("by itself", #b:receive())
feed(60000)
line("large", #b:receive(65535))
feed(10)
method(b, "receive", "4")
feed(10)
method(b, "receive", 4.5)
method(b, "receive", -1)
method(b, "receive", "x")
method(b, "receive", {})
feed(10)
method(b, "receive", nil)

section "timeouts"
for _, args in ipairs { { 0 }, { 0.02 }, { 0.02, "t" }, { 0.02, "r" }, { 1, "x" }, { "y" } } do
  method(b, "settimeout", table.unpack(args))
  method(b, "receive")
  method(b, "receivefrom")
end
method(b, "settimeout", nil, "t")
method(b, "settimeout", 60)

section "connected"
method(a, "setpeername", "127.0.0.1", port_of(b))
call("tostring", tostring, a)
line("class", getmetatable(a).__index.class)
method(a, "getpeername")
method(a, "sendto", "x", "127.0.0.1", port_of(b))
method(a, "receivefrom")
method(a, "setsockname", "127.0.0.1", 0)
method(a, "send", "to the peer")
method(a, "send", "")
method(a, "send")
method(a, "send", {})
line("arrives", (b:receivefrom()))
line("arrives", (b:receivefrom()))
method(b, "sendto", "reply", "127.0.0.1", port_of(a))
method(a, "settimeout", 60)
method(a, "receive")
local c = socket.udp4()
c:sendto("not from the peer", "127.0.0.1", port_of(a))
a:settimeout(0.02)
method(a, "receive")
method(a, "setpeername", "127.0.0.1", port_of(c))
method(c, "getpeername")
method(a, "setpeername")
method(a, "setpeername", "127.0.0.1")
method(a, "setpeername", "127.0.0.1", "no such service")
method(a, "setpeername", "no..such.host", 1)
call("tostring", tostring, a)
method(a, "setpeername", "*")
call("tostring", tostring, a)
method(a, "getpeername")
method(a, "send", "x")
c:close()

section "nobody there"
local dead = socket.udp4()
dead:setsockname("127.0.0.1", 0)
local port = port_of(dead)
known[port] = "DEAD"
dead:close()
method(a, "setpeername", "127.0.0.1", port)
a:settimeout(60)
method(a, "send", "x")
method(a, "receive")
method(a, "send", "x")
method(a, "send", "x")
method(a, "send", "x")
a:setpeername("*")
method(a, "sendto", "x", "127.0.0.1", port)
a:settimeout(0.02)
method(a, "receivefrom")

section "names"
local names = socket.udp()
method(names, "setsockname", "127.0.0.1", port_of(b))
method(names, "setsockname", "a..b", 0)
method(names, "setsockname", "127.0.0.1", "no such service")
method(names, "setsockname", "1.2.3.4", 0)
method(names, "setsockname")
method(names, "setsockname", "127.0.0.1")
method(names, "setsockname", "127.0.0.1", 0)
method(names, "setsockname", "127.0.0.1", 0)
method(names, "close")
method(names, "close")
names = socket.udp4()
method(names, "setsockname", "*", 0)
call("getsockname", function() return (names:getsockname()) end)
names:close()

section "options"
for _, name in ipairs { "dontroute", "broadcast", "reuseaddr", "reuseport", "ip-multicast-loop" } do
  method(b, "getoption", name)
  method(b, "setoption", name, true)
  method(b, "getoption", name)
  method(b, "setoption", name, false)
  method(b, "getoption", name)
  method(b, "setoption", name)
  method(b, "setoption", name, 1)
end
method(b, "setoption", "ip-multicast-ttl", 3)
method(b, "setoption", "ip-multicast-ttl", 1000)
method(b, "getoption", "ip-multicast-if")
method(b, "setoption", "ip-multicast-if", "127.0.0.1")
method(b, "getoption", "ip-multicast-if")
method(b, "setoption", "ip-multicast-if", "*")
method(b, "setoption", "ip-multicast-if", "nonsense")
for _, value in ipairs { { multiaddr = "239.1.2.3", interface = "127.0.0.1" },
  { multiaddr = "239.1.2.3" }, { interface = "*" }, { multiaddr = "x", interface = "*" },
  { multiaddr = "239.1.2.3", interface = "x" }, { multiaddr = "127.0.0.1", interface = "*" } } do
  method(b, "setoption", "ip-add-membership", value)
  method(b, "setoption", "ip-drop-membership", value)
end
method(b, "setoption", "ip-add-membership", 1)
method(b, "getoption", "ip-add-membership")
method(b, "getoption", "error")
method(b, "setoption", "error", true)
for _, name in ipairs { "keepalive", "linger", "tcp-nodelay", "nonsense", "",
  "an option with a name that is longer than anybody would have thought" } do
  method(b, "getoption", name)
  method(b, "setoption", name, true)
end
method(b, "setoption", "recv-buffer-size", 30000)
method(b, "getoption", "recv-buffer-size")
method(b, "setoption", "send-buffer-size", 30000)
method(b, "getoption", "send-buffer-size")

section "IPv6"
local six, other = socket.udp6(), socket.udp()
if six and six:setsockname("::1", 0) then
  known[port_of(six)] = "SIX"
  method(six, "getfamily")
  call("getsockname", function()
    local ip, _, family = six:getsockname()
    return ip, family
  end)
  method(other, "sendto", "x", "::1", port_of(six))
  method(other, "getfamily")
  known[port_of(other)] = "OTHER"
  six:settimeout(60)
  method(six, "receivefrom")
  method(six, "sendto", "x", "127.0.0.1", port_of(b))
  method(six, "setpeername", "::1", port_of(other))
  method(six, "getpeername")
  method(six, "send", "reply")
  other:settimeout(60)
  method(other, "receivefrom")
  for _, name in ipairs { "ipv6-v6only", "ipv6-multicast-loop" } do
    method(other, "setoption", name, true)
    method(other, "getoption", name)
  end
  method(other, "setoption", "ipv6-unicast-hops", 7)
  method(other, "getoption", "ipv6-unicast-hops")
  for _, value in ipairs { { multiaddr = "ff02::1:2" }, { multiaddr = "ff02::1:2", interface = 1 },
    { multiaddr = "x" }, {} } do
    call("membership", function()
      other:setoption("ipv6-drop-membership", value)
    end)
  end
  method(other, "setoption", "ipv6-add-membership", 1)
  other:close()
  six:close()
end

section "closed"
method(a, "close")
method(a, "close")
method(a, "getfd")
method(a, "sendto", "x", "127.0.0.1", port_of(b))
method(a, "getsockname")
method(a, "settimeout", 60)
call("tostring", tostring, a)
method(a, "setpeername", "127.0.0.1", port_of(b))
line("again", a:getfd() > 2)
a:close()
method(a, "send", "x")
b:close()

section "descriptors"
local from, to = socket.udp4(), socket.udp4()
to:setsockname("127.0.0.1", 0)
known[port_of(to)] = "TO"
local heir = socket.udp4()
heir:close()
heir:setfd(to:getfd())
to:setfd(-1)
from:sendto("handed over", "127.0.0.1", port_of(heir))
heir:settimeout(60)
method(heir, "receive")
heir:close()
from:close()

section "UNIX"
local path, peer_path = os.tmpname(), os.tmpname()
os.remove(path)
os.remove(peer_path)
known[path], known[peer_path] = "PATH", "PEER"
local server, client = unix.dgram(), unix.udp()
call("tostring", tostring, server)
for _, name in ipairs { "bind", "close", "connect", "dirty", "getfd", "send", "sendto", "receive",
  "receivefrom", "setfd", "setoption", "setpeername", "setsockname", "getsockname", "settimeout",
  "gettimeout" } do
  line(name, type(server[name]))
end
method(server, "getsockname")
method(server, "bind", path)
method(server, "getsockname")
method(server, "settimeout", 60)
method(server, "send", "x")
method(client, "sendto", "hello", path)
method(server, "receivefrom")
method(client, "sendto", "", path)
method(server, "receive")
method(client, "sendto", "0123456789", path)
method(server, "receive", 4)
method(client, "sendto", "x", path .. "nowhere")
method(client, "sendto", "x", ("x"):rep(200))
method(client, "sendto", "x")
method(client, "sendto")
method(client, "bind", peer_path)
method(client, "sendto", "named", path)
method(server, "receivefrom")
method(server, "sendto", "back", peer_path)
method(client, "settimeout", 60)
method(client, "receivefrom")
method(client, "connect", path)
call("tostring", tostring, client)
method(client, "send", "connected")
method(client, "sendto", "x", path)
method(client, "receivefrom")
method(client, "bind", peer_path)
method(server, "receivefrom")
method(server, "sendto", "to it", peer_path)
method(client, "receive")
method(client, "settimeout", 0.02)
method(client, "receive")
method(client, "dirty")
method(client, "setoption", "reuseaddr", true)
method(client, "setoption", "nonsense", true)
method(server, "close")
method(client, "send", "x")
client:close()
os.remove(path)
os.remove(peer_path)
client = unix.dgram()
method(client, "connect", path)
line("closed", client:getfd())
client = unix.dgram()
method(client, "connect", ("x"):rep(200))
method(client, "connect")
method(client, "bind", ("x"):rep(200))
method(client, "bind")
method(client, "bind", "/no such directory/socket")
line("closed", client:getfd())
call("no self", client.receive, 1)
call("no self", client.bind)

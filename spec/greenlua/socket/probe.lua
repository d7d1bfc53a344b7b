-- What a socket library answers to the calls below, one line each. Run under
-- LuaSocket and under greenlua the lines must be the same:
--
--     lua5.4 probe.lua socket socket.unix
--     greenlua probe.lua greenlua.socket
--
-- What greenlua does differently by intent is not asked: getsockname's port is a
-- number, options of a wrong type raise, connect4 and connect6 keep to their family.

local socket = require(arg[1])
local unix = arg[2] and require(arg[2]) or socket.unix

local ask = dofile "spec/greenlua/socket/ask.lua"
local known, line, call, method, section =
  ask.known, ask.line, ask.call, ask.method, ask.section

local server = assert(socket.bind("127.0.0.1", 0))
local port = math.tointeger(select(2, server:getsockname()))
known[port] = "PORT"
assert(server:settimeout(60))

local function couple()
  local client = assert(socket.connect("127.0.0.1", port))
  local peer = assert(server:accept())
  client:settimeout(60)
  peer:settimeout(60)
  return client, peer
end

section "classes"
local master = socket.tcp()
local client, peer = couple()
for _, object in ipairs { master, client, peer, server } do
  call("tostring", tostring, object)
  line("class", getmetatable(object).__index.class, type(getmetatable(object).__index))
  method(object, "getfamily")
end
for _, name in ipairs { "accept", "bind", "close", "connect", "dirty", "getfamily", "getfd",
  "getoption", "getpeername", "getsockname", "getstats", "setstats", "listen", "receive", "send",
  "setfd", "setoption", "setpeername", "setsockname", "settimeout", "gettimeout", "shutdown" } do
  line(name, type(getmetatable(client).__index[name]), type(client[name]))
end
method(master, "receive")
method(master, "send", "x")
method(master, "accept")
method(master, "shutdown")
method(server, "receive")
method(server, "bind", "127.0.0.1", 0)
method(client, "accept")
method(client, "listen")
call("no self", client.receive, 12)
call("no self", client.close)
call("getfd", function() return master:getfd(), client:getfd() > 2 end)
method(master, "getpeername")
method(master, "getsockname")
method(master, "setoption", "keepalive", true)
method(master, "getoption", "keepalive")
method(master, "listen")

section "names"
method(client, "getpeername")
call("getsockname", function()
  local ip, number, family = client:getsockname()
  return ip, tonumber(number) > 0, family
end)
method(server, "getpeername")

section "receive"
local function feed(text)
  assert(client:send(text))
  socket.sleep(0.02)
end
feed "one\ntwo\r\na\rb\r\n\n\r\nrest"
for _ = 1, 5 do method(peer, "receive") end
method(peer, "receive", 4)
feed "12345678"
method(peer, "receive", 4, "87654321")
method(peer, "receive", 8, "87654321")
method(peer, "receive", 10, "87654321")
method(peer, "dirty")
method(peer, "receive", "3")
method(peer, "receive", 3.0)
method(peer, "dirty")
feed "line\n"
method(peer, "receive", "*l", "prefix ")
feed "x"
method(peer, "receive", 0)
method(peer, "receive", 1)
for _, bad in ipairs { "*n", -1, "foo", "", true, { {} } } do method(peer, "receive", bad) end
method(peer, "receive", 1, {})
call("nan", peer.receive, peer, 0 / 0)

section "timeouts"
for _, args in ipairs { { 0 }, { 0.02 }, { "0.02" }, { 0.02, "b" }, { -1 }, { 0.02, "t" } } do
  method(peer, "settimeout", table.unpack(args))
  method(peer, "gettimeout")
  if args[1] ~= -1 then method(peer, "receive") end
end
feed "par\rtial"
method(peer, "receive", "*l", "pre")
method(peer, "receive", "*l")
feed "more"
method(peer, "receive", 10)
feed "all"
method(peer, "receive", "*a")
method(peer, "receive", "*a", "pre")
method(peer, "settimeout", 1, "x")
method(peer, "settimeout", "x")
method(peer, "settimeout", nil)
method(peer, "settimeout", nil, "t")
method(peer, "gettimeout")
local function elapsed(seconds, f)
  local before = socket.gettime()
  call("times out", f)
  local took = socket.gettime() - before
  line("in time", took >= seconds - 0.01, took < seconds + 10)
end
peer:settimeout(0.05)
elapsed(0.05, function() return peer:receive() end)
peer:settimeout(nil)
peer:settimeout(0.05, "t")
elapsed(0.05, function() return peer:receive() end)
peer:settimeout(60)
peer:settimeout(0.05, "t")
elapsed(0.05, function() return peer:receive() end)
server:settimeout(0.05)
elapsed(0.05, function() return server:accept() end)
server:settimeout(0)
method(server, "accept")
server:settimeout(60)
peer:settimeout(60)
peer:settimeout(nil, "t")

section "send"
method(client, "send", "hello")
method(client, "send", "hello", 2)
method(client, "send", "hello", 2, 3)
method(client, "send", "hello", -2)
method(client, "send", "hello", -4, -2)
method(client, "send", "hello", 9)
method(client, "send", "hello", 3, 2)
method(client, "send", "hello", 0, 99)
method(client, "send", "")
method(client, "send", 12.5)
method(client, "send")
method(client, "send", true)
method(client, "send", "x", "y")
method(peer, "receive", 5 + 4 + 2 + 2 + 3 + 5 + 4)
peer:settimeout(0)
client:settimeout(0)
local big = ("x"):rep(30000000)
local answer = table.pack(client:send(big))
line("no room", answer[1], answer[2], type(answer[3]))
local total, at = 0, answer[3]
while at and at < #big do
  local data, _, partial = peer:receive(1000000)
  total = total + #(data or partial)
  local last, err, index = client:send(big, at + 1)
  if not last and err ~= "timeout" then break end
  at = last or index
end
peer:settimeout(60)
local rest = peer:receive(#big - total)
line("all of it", at == #big, total + #rest == #big)
client:settimeout(60)

section "counts"
call("getstats", function()
  local received, sent, age = peer:getstats()
  return received > 1000, sent, age >= 0
end)
method(peer, "setstats", 1, 2, 10)
call("getstats", function()
  local received, sent, age = peer:getstats()
  return received, sent, age >= 10
end)

section "options"
for _, name in ipairs { "keepalive", "reuseaddr", "reuseport", "tcp-nodelay" } do
  method(client, "setoption", name, true)
  method(client, "getoption", name)
  method(client, "setoption", name, false)
  method(client, "getoption", name)
  method(client, "setoption", name)
  method(client, "setoption", name, 1)
end
for _, name in ipairs { "tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl" } do
  method(client, "setoption", name, 7)
  method(client, "getoption", name)
end
method(client, "getoption", "linger")
method(client, "setoption", "linger", { on = true, timeout = 3 })
method(client, "getoption", "linger")
method(client, "setoption", "linger", { on = false, timeout = 0 })
method(client, "setoption", "linger", { on = 1, timeout = 3 })
method(client, "setoption", "linger", { on = true })
method(client, "setoption", "linger", 1)
method(client, "getoption", "error")
method(client, "getoption", "nonsense")
method(client, "setoption", "nonsense", true)
method(client, "setoption")
method(client, "setoption", "error", true)

section "half-close and close"
client:send "last words"
method(client, "shutdown", "send")
method(peer, "receive", "*a")
method(peer, "receive", "*a")
method(peer, "receive", "*l")
method(peer, "receive", 3)
method(peer, "receive", 0)
method(peer, "send", "reply\n")
method(client, "receive")
method(client, "shutdown", "nonsense")
method(peer, "close")
method(peer, "close")
method(client, "receive")
method(client, "receive", "*a", "prefix")
for _, name in ipairs { "receive", "getpeername", "getsockname", "shutdown", "dirty", "getfd" } do
  method(peer, name)
end
method(peer, "send", "x")
method(peer, "send", "xyz", 2)
method(peer, "send", "")
method(peer, "receive", 2, "87")
method(peer, "receive", 0)
method(peer, "receive", "*a")
method(peer, "setoption", "keepalive", true)
method(peer, "settimeout", 60)
call("tostring", tostring, peer)
method(peer, "connect", "127.0.0.1", port)
line("connected again", peer:getfd() > 2)
peer:close()
client:close()
server:accept():close()

section "the peer has gone"
client, peer = couple()
client:send "line\npart"
client:close()
method(peer, "receive")
method(peer, "receive")
method(peer, "receive")
peer:send "x"
socket.sleep(0.02)
call("send", function()
  local sent, err = peer:send "y"
  return sent, err
end)
method(peer, "receive")
peer:close()

section "connect"
local refusing = assert(socket.bind("127.0.0.1", 0))
local dead = math.tointeger(select(2, refusing:getsockname()))
known[dead] = "DEAD"
refusing:close()
call("refused", socket.connect, "127.0.0.1", dead)
call("bad host", socket.connect, "no..such.host", port)
call("empty host", socket.connect, "", port)
call("bad port", socket.connect, "127.0.0.1", "no such service")
line("no port", (pcall(socket.connect, "127.0.0.1")))
line("no host", (pcall(socket.connect)))
line("bad family", (pcall(socket.connect, "127.0.0.1", port, nil, nil, "nonsense")))
master = socket.tcp()
method(master, "connect", "127.0.0.1", dead)
call("tostring", tostring, master)
method(master, "connect", "127.0.0.1", port)
method(master, "connect", "127.0.0.1", port)
method(master, "connect", nil)
master:close()
server:accept():close()
local bound = socket.connect("127.0.0.1", port, "127.0.0.1", 0)
line("from", (bound:getsockname()))
bound:close()
server:accept():close()
master = socket.tcp4()
line("tcp4", master:getfd() > 2, master:getfamily())
method(master, "bind", "127.0.0.1", port)
method(master, "bind", "no..such.host", 0)
method(master, "bind", "*", 0)
call("getsockname", function() return (master:getsockname()) end)
method(master, "listen", 5)
call("tostring", tostring, master)
method(master, "listen")
master:close()

section "bind"
call("taken", socket.bind, "127.0.0.1", port)
call("bad host", socket.bind, "no..such.host", 0)
call("not ours", socket.bind, "1.2.3.4", 0)
local any = socket.bind("*", 0)
line("any", (any:getsockname()))
any:close()

section "IPv6"
local six = socket.bind("::1", 0)
if six then
  local address, number, family = six:getsockname()
  line("name", address, tonumber(number) > 0, family)
  line("family", six:getfamily())
  local from = socket.connect("::1", number)
  line("peer", (from:getpeername()))
  method(from, "getoption", "keepalive")
  from:close()
  six:accept():close()
  six:close()
end

section "UNIX"
local path = os.tmpname()
os.remove(path)
known[path] = "PATH"
local listener = unix()
call("tostring", tostring, listener)
method(listener, "bind", path)
method(listener, "getsockname")
method(listener, "listen")
call("tostring", tostring, listener)
local again = unix()
method(again, "bind", path)
again:close()
again = unix.stream()
method(again, "connect", path .. "nowhere")
again:close()
again = unix()
method(again, "connect", ("x"):rep(200))
method(again, "receive")
method(again, "connect", path)
call("tostring", tostring, again)
local other = listener:accept()
call("tostring", tostring, other)
other:settimeout(0.05)
method(again, "send", "over UNIX\n")
method(other, "receive")
method(other, "receive")
method(again, "connect", path)
method(again, "shutdown")
method(other, "receive")
method(again, "setoption", "keepalive", true)
method(again, "setoption", "nonsense", true)
again:close()
other:close()
listener:close()
os.remove(path)

section "descriptors"
client, peer = couple()
local taken = socket.tcp()
taken:setfd(client:getfd())
client:setfd(-1)
method(client, "receive")
method(client, "close")
taken:connect("127.0.0.1", port) -- only the class changes
method(taken, "send", "handed over\n")
method(peer, "receive")
taken:close()
peer:close()

section "time"
line("gettime", math.abs(socket.gettime() - os.time()) < 2)
call("sleep", socket.sleep, -1)
call("sleep", socket.sleep, "0.001")
call("sleep", socket.sleep)
call("sleep", socket.sleep, "x")
server:close()

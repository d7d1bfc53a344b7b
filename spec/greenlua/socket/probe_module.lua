-- As probe.lua, for what the module has besides sockets. What greenlua does
-- differently by intent is not asked: select takes numbers of descriptors, and
-- knows no limit for them.

local socket = require(arg[1])
local unix = arg[2] and require(arg[2]) or socket.unix
local ask = dofile "spec/greenlua/socket/ask.lua"
local line, call, method, section = ask.line, ask.call, ask.method, ask.section

section "names"
for _, name in ipairs { "__unload", "_DATAGRAMSIZE", "_DEBUG", "_SETSIZE", "_SOCKETINVALID",
  "_VERSION", "BLOCKSIZE", "bind", "choose", "connect", "connect4", "connect6", "dns", "gettime",
  "newtry", "protect", "select", "sink", "sinkt", "skip", "sleep", "source", "sourcet", "tcp",
  "tcp4", "tcp6", "try", "udp", "udp4", "udp6" } do
  line(name, type(socket[name]))
end
line("sizes", socket._DATAGRAMSIZE, socket._SOCKETINVALID, socket.BLOCKSIZE)
line("limit", socket._SETSIZE >= 1024)
call("unload", socket.__unload)
for _, name in ipairs { "stream", "dgram", "tcp", "udp" } do line(name, type(unix[name])) end
line("the same", unix.stream == unix.tcp, unix.dgram == unix.udp)

section "skip"
call("skip", socket.skip, 1, "a", "b", "c")
call("skip", socket.skip, 0, "a", nil)
call("skip", socket.skip, 3, "a")
call("skip", socket.skip, 1.0, "a", "b")
line("skip", (pcall(socket.skip)))
line("skip", (pcall(socket.skip, "x")))

section "try"
local try = socket.try
call("true", try, 1, "two", nil)
call("try", function() return select("#", try(1, nil, nil)) end)
local ok, err = pcall(try, nil, "the message", "more")
line("raised", ok, type(err), #err, err[1], getmetatable(err))
ok, err = pcall(try, false)
line("raised", ok, type(err), err[1])
ok, err = pcall(try)
line("raised", ok, type(err), err[1])
ok, err = pcall(try, nil, { "a table" })
line("raised", ok, err[1])

section "connect, misused"
for _, args in ipairs { {}, { {}, 9 }, { "127.0.0.1" }, { "127.0.0.1", {} },
  { "127.0.0.1", 9, {} }, { "127.0.0.1", 9, "127.0.0.1", {} },
  { "127.0.0.1", 9, nil, nil, "x" }, { "127.0.0.1", 9, nil, nil, print } } do
  if args[1] and type(args[1]) ~= "table" then -- which is an extension
    call("connect", function() return socket.connect(table.unpack(args, 1, 5)) end)
  end
end

section "protect"
local protect = socket.protect
call("success", protect(function(...) return ... end), 1, nil, 3)
call("none", protect(function() end))
call("failure", protect(function() try(nil, "the message") end))
call("no message", protect(function() try(nil) end))
call("false", protect(function() try(false, "x") end))
call("object", protect(function() try(nil, { 1 }) end))
call("string", protect(function() error("a string", 0) end))
call("table", protect(function() error { "the message" } end))
call("own metatable", protect(function()
  error(setmetatable({ "x" }, { __metatable = false }))
end))
call("nil", protect(function() error() end))
call("number", protect(function() error(12) end))
local thrown = {}
ok, err = pcall(protect(function() error(thrown) end))
line("unchanged", ok, err == thrown)
call("nested", protect(function()
  return "outer", protect(function() try(nil, "inner") end)()
end))
call("through two", protect(function() return (protect(error))("x", 0) end))
line("no function", (pcall(protect(nil))))
call("several", protect(function() return try(protect(function() return 1, 2 end)()) end))

section "newtry"
local order = {}
local mine = socket.newtry(function(...) order[#order + 1] = select("#", ...) end)
call("true", mine, "value")
call("false", protect(function() mine(nil, "message") end))
line("finalized", order)
call("finalizer fails", protect(function()
  socket.newtry(function() error("in the finalizer", 0) end)(nil, "message")
end))
call("finalizer tries", protect(function()
  socket.newtry(function() try(nil, "in the finalizer") end)(nil, "message")
end))
call("nil", protect(function() socket.newtry(nil)(nil, "message") end))
line("no function", (pcall(protect(function() socket.newtry(1)(nil, "message") end))))

section "choose"
local chosen = socket.choose {
  default = function(...) return "default", ... end,
  other = function(...) return "other", ... end,
}
call("default", chosen, 1, 2)
call("none", chosen)
call("other", chosen, "other", 1, 2)
call("too many", chosen, "other", 1, 2, 3)
call("unknown", chosen, "unknown", 1)
for _, name in ipairs { "default", "keep-open", "close-when-done", "http-chunked" } do
  line(name, type(socket.sinkt[name]))
end
for _, name in ipairs { "default", "by-length", "until-closed", "http-chunked" } do
  line(name, type(socket.sourcet[name]))
end

section "sinks and sources"
local server = assert(socket.bind("127.0.0.1", 0))
local port = select(2, server:getsockname())
local function couple()
  local client = assert(socket.connect("127.0.0.1", port))
  local peer = assert(server:accept())
  client:settimeout(5)
  peer:settimeout(5)
  return client, peer
end
local client, peer = couple()
local sink = socket.sink("keep-open", client)
line("sink", type(sink), sink:getfd() == client:getfd(), sink:dirty())
call("sink", sink, "chunk")
call("sink", sink, "")
call("sink", sink, nil)
line("open", client:getfd() > 2)
method(peer, "receive", 5)
call("default", socket.sink(client), "more")
method(peer, "receive", 4)
local source = socket.source("by-length", peer, 5000)
line("source", type(source), source:getfd() == peer:getfd(), source:dirty())
client:send(("x"):rep(6000))
for _ = 1, 4 do
  local chunk, message = source()
  line("chunk", chunk and #chunk, message)
end
socket.BLOCKSIZE = 100
line("block", #socket.source("by-length", peer, 1000)())
socket.BLOCKSIZE = 2048
line("rest", #peer:receive(900))
call("nothing", socket.source("by-length", peer, 0))
peer:settimeout(0.02)
call("timeout", socket.source("by-length", peer, 5))
call("timeout", socket.source("until-closed", peer))
peer:settimeout(5)
sink = socket.sink("close-when-done", client)
client:send(("y"):rep(3000))
call("close", sink, "the end")
call("close", sink)
line("closed", client:getfd())
call("after the end", sink, "x")
source = socket.source(peer)
for _ = 1, 3 do
  local chunk, message = source()
  line("chunk", chunk and #chunk, message)
end
line("closed", peer:getfd())
call("by length of a closed one", socket.source("by-length", peer, 5))
client, peer = couple()
client:close()
source = socket.source("until-closed", peer)
call("nothing", source)
call("nothing", source)
call("unknown", socket.sink, "unknown", client)
call("unknown", socket.source, "unknown", client)

section "select"
local function show(r, w, message)
  return #r, #w, message
end
local function selecting(name, ...)
  call(name, function(...) return show(socket.select(...)) end, ...)
end
selecting("nothing", nil, nil, 0)
selecting("empty", {}, {}, 0)
selecting("waits", {}, {}, 0.01)
selecting("a string", {}, {}, "0")
call("bad", socket.select, 1)
call("bad", socket.select, {}, "x", 0)
call("bad", socket.select, {}, {}, "x")
call("bad", socket.select, {}, {}, {})
line("bad", (pcall(socket.select, { print }, nil, 0)))
selecting("no sockets", { {}, "string", { getfd = function() end } }, nil, 0)
selecting("none", { { getfd = function() return -1 end } }, nil, 0)
selecting("not numbers", { { getfd = function() return {} end } }, nil, 0)
local closed = socket.tcp4()
closed:close()
selecting("closed", { closed }, { closed }, 0)
client, peer = couple()
selecting("not yet", { client, peer, server }, nil, 0)
selecting("writers", nil, { client, peer }, 0)
selecting("writers", nil, { client, peer })
selecting("twice", nil, { client, client }, 0)
client:send "one\ntwo\n"
local r, w, message = socket.select({ server, peer, client }, { client }, 5)
line("ready", r[1] == peer, r[peer], r[client], #r, w[1] == client, w[client], message)
peer:receive()
r = socket.select({ client, peer }, nil)
line("buffered", #r, r[1] == peer, r[peer], peer:dirty())
local wrapped = {
  getfd = function() return peer:getfd() end,
  dirty = function() return peer:dirty() end,
}
r = socket.select({ client, wrapped }, nil, 5)
line("wrapped", #r, r[1] == wrapped, r[wrapped])
r, w = socket.select({ { getfd = function() return client:getfd() end, dirty = function()
  return true
end }, peer }, { peer, client }, 5)
line("dirty first", #r, r[2] == peer, #w)
peer:receive()
selecting("read", { client, peer }, nil, 0.01)
local second_client, second = couple()
second_client:send "x"
client:send "x"
socket.sleep(0.02)
r = socket.select({ second, peer }, nil, 5)
line("in the order of descriptors", #r,
  (r[1] == peer) == (peer:getfd() < second:getfd()), r[peer] + r[second])
r = socket.select({ second, peer, second }, nil, 5)
line("each once", #r)
local udp = socket.udp4()
udp:setsockname("127.0.0.1", 0)
selecting("udp", { udp }, { udp }, 0)
udp:sendto("x", "127.0.0.1", (select(2, udp:getsockname())))
r = socket.select({ udp }, nil, 5)
line("udp", r[1] == udp)
local master = socket.tcp4()
master:settimeout(0)
master:connect("127.0.0.1", port)
r, w = socket.select(nil, { master }, 5)
line("connected", #r, w[1] == master)
r = socket.select({ server }, nil, 5)
line("acceptable", r[1] == server)
server:accept():close()
client:close()
r = socket.select({ peer }, nil, 5)
line("the end", r[1] == peer)
call("one more", function()
  local list = setmetatable({}, { __index = function(_, i) return i == 1 and peer or nil end })
  return #(socket.select(list, nil, 0))
end)

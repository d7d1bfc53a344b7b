-- One of everything that greenlua makes, in each state of its life, for
-- misuse_spec.lua.

local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"

local condition = require "greenlua.condition"
local dns = require "greenlua.dns"
local lock = require "greenlua.lock"
local queue = require "greenlua.queue"
local servers = require "greenlua.server"
local waitlist = require "greenlua.core.waitlist"

local M = {}

local function closed(object)
  object:close()
  return object
end

local function add_sockets(add)
  for _, create in ipairs { socket.tcp, socket.tcp4, socket.tcp6, socket.udp, socket.udp4,
    socket.udp6, socket.unix.stream, socket.unix.dgram } do
    add(create())
    add(closed(create()))
  end
  local client, peer = sockets.couple()
  add(client) add(peer) add((sockets.listen()))
  local a, b = socket.pair()
  a:send "a line\nand more"
  b:receive(1) -- the rest is buffered
  add(a) add(b)
  local receiver, sender = socket.udp4(), socket.udp4()
  receiver:setsockname("127.0.0.1", 0)
  sender:setpeername(receiver:getsockname())
  sender:send "a datagram"
  add(receiver) add(sender)
end

local function add_tls(add, pair, authority)
  local server = assert(ssl.server(pair))
  local client = assert(ssl.client { ca = authority })
  add(server) add(client)
  add(assert(ssl.newcontext { mode = "client", protocol = "any" }))
  add(ssl.loadcertificate(M.pem))
  local a, b = socket.pair()
  local g = green.spawn(server.accept, server, b, 5)
  add(assert(client:connect(a, "localhost", 5)))
  add(assert(g:get()))
  local half, other = socket.pair()
  add(assert(ssl.wrap(half, { mode = "client", protocol = "any" })))
  add(other)
  add(closed(assert(ssl.wrap(socket.pair(), { mode = "server", protocol = "any" }))))
end

local function add_servers(add, pair)
  local function quiet(server)
    function server.warn() end
    return server
  end
  for _, class in ipairs { servers.StreamServer, servers.DatagramServer } do
    add(quiet(class("127.0.0.1:0", function() end)))
    local started = class("127.0.0.1:0", function() end)
    assert(started:start())
    add(quiet(started))
    local stopped = class("127.0.0.1:0", function() end, { pool = 2 })
    assert(stopped:start())
    stopped:stop()
    add(quiet(stopped))
  end
  add(quiet(servers.StreamServer("127.0.0.1:0", function() end, { tls = pair })))
  add(quiet(servers.BaseServer("127.0.0.1:0", function() end)))
end

local function add_primitives(add)
  for _, object in ipairs {
    green.Event(), green.AsyncResult(), green.Queue(), green.Queue(1, { 1 }),
    green.PriorityQueue(), green.LifoQueue(), green.Channel(), queue.JoinableQueue(),
    queue.SimpleQueue(), green.Semaphore(1), lock.BoundedSemaphore(1), lock.DummySemaphore(),
    green.RLock(), lock.ReadWriteLock(), green.Condition(), condition.Barrier(2),
    green.Group(), green.Pool(2), green.Local(), green.Supervisor {}, green.Timeout(),
    green.select.poll(), waitlist.new "misuse", green.Greenlet(function() end),
    green.spawn(function() end), green.GreenletExit(), queue.Empty,
    dns.Resolver { servers = { "127.0.0.1:1" }, timeout = 0.01, attempts = 1 },
    closed(dns.Resolver()),
  } do add(object) end
end

--- A list of new objects, and a function that ends them.
function M.make(pair, authority)
  local list = {}
  M.pem = M.pem or io.open(pair.certificate):read "a"
  local function add(object) list[#list + 1] = object end
  add_primitives(add)
  add_sockets(add)
  add_tls(add, pair, authority)
  add_servers(add, pair)
  return list
end

return M

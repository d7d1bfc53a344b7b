-- A library that was written for LuaSocket and knows nothing of greenlets, as it is:
-- Debian's lua-redis. Many clients at once in one thread, transactions, and
-- publish/subscribe, which waits inside coroutines of the library's own.
--
-- usage: redis_unmodified.lua host:port [clients]
--
-- A server to try it with (it keeps nothing, and ends with Ctrl-C):
--
--     redis-server --port 6379 --save ""

require("greenlua.monkey").patch_all() -- before anything that uses sockets
local green = require "greenlua"

-- Debian has it for Lua 5.3, and it runs on 5.4.
package.path = package.path .. ";/usr/share/lua/5.3/?.lua"
local redis = require "redis"

local host, port = (arg[1] or ""):match "^(.+):(%d+)$"
local clients = tonumber(arg[2]) or 50
if not host then
  print "usage: redis_unmodified.lua host:port [clients]"
  print "There is no server yet? redis-server --port 6379 --save ''"
  os.exit(1)
end

local function connect() return redis.connect(host, tonumber(port)) end

local main = connect()
local prefix = ("greenlua:%d:"):format(main:incr "greenlua:runs")
local hits, queue, alice, bob = prefix .. "hits", prefix .. "queue", prefix .. "alice",
  prefix .. "bob"

-- Many at once: each waits for somebody's push, and for nobody else.
local waiting = green.Group()
for _ = 1, clients do
  waiting:spawn(function()
    local client = connect()
    local task = client:blpop(queue, 10)[2]
    client:incrby(hits, tonumber(task))
    client:quit()
  end)
end
for i = 1, clients do main:rpush(queue, i) end
waiting:join()
print(("%d clients have added up to %s"):format(clients, main:get(hits)))

-- Transactions that go wrong if somebody else changes an account meanwhile, and
-- are then begun once more.
local function pay(amount)
  local client = connect()
  client:transaction({ watch = { alice, bob }, cas = true, retry = 1000 }, function(t)
    local a, b = tonumber(t:get(alice)), tonumber(t:get(bob))
    t:multi()
    t:set(alice, a - amount)
    t:set(bob, b + amount)
  end)
  client:quit()
end
main:mset(alice, 100, bob, 0)
local payments = green.Group()
for i = 1, 10 do payments:spawn(pay, i) end
payments:join()
print(("alice has %s, bob has %s"):format(main:get(alice), main:get(bob)))

-- Subscribers. The iterator is a coroutine of the library's.
local channel, ready = prefix .. "news", green.Queue()
local function subscribe(name)
  local heard, client = {}, connect()
  for message, abort in client:pubsub { subscribe = { channel } } do
    if message.kind == "subscribe" then
      ready:put(name)
    elseif message.payload == "bye" then
      abort()
    elseif message.kind == "message" then
      heard[#heard + 1] = message.payload
    end
  end
  client:quit()
  return ("%s has heard %s"):format(name, table.concat(heard, ", "))
end
local names = { "Ada", "Alan", "Grace" }
local subscribers = {}
for i, name in ipairs(names) do subscribers[i] = green.spawn(subscribe, name) end
for _ in ipairs(names) do ready:get() end
for _, text in ipairs { "one", "two", "three", "bye" } do main:publish(channel, text) end
for _, subscriber in ipairs(subscribers) do print(subscriber:get()) end

main:del(hits, alice, bob)
main:quit()

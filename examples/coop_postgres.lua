-- Queries a PostgreSQL server many times at once, from one thread, through a
-- driver that knows nothing of greenlets: LuaSQL on libpq, both unmodified.
--
-- Each query takes a while on the server; together they take hardly longer than
-- one, since libpq waits by poll(2), and --coop-libc lends it one that lets other
-- greenlets run meanwhile. A query that takes too long is given up.
--
--     greenlua --coop-libc examples/coop_postgres.lua "dbname=test user=me"
--
-- usage: coop_postgres.lua conninfo [queries [seconds each]]

local green = require "greenlua"

local conninfo = arg[1]
if not conninfo then
  print "usage: greenlua --coop-libc coop_postgres.lua conninfo [queries [seconds each]]"
  os.exit(1)
end
local queries, seconds = tonumber(arg[2]) or 50, tonumber(arg[3]) or 1

local env = require("luasql.postgres").postgres()

-- Connections are made for this, and never shared: each is in the midst of
-- something while it waits.
local function query(sql)
  local conn = assert(env:connect(conninfo))
  local _ <close> = setmetatable({}, { __close = function() conn:close() end })
  local cursor = assert(conn:execute(sql))
  local _ <close> = setmetatable({}, { __close = function() cursor:close() end })
  return cursor:fetch()
end

local answered, started = 0, os.time()
local group = green.Group()
for i = 1, queries do
  group:spawn(function()
    local answer = query(("select %d * %d from pg_sleep(%f)"):format(i, i, seconds))
    assert(tonumber(answer) == i * i)
    answered = answered + 1
  end)
end
group:join(nil, true)
print(("%d queries of %g s each: answered after %d s"):format(answered, seconds,
  os.time() - started))

print("in time:", green.within(seconds / 10 + 0.01, query, "select pg_sleep(3600)"))

env:close()

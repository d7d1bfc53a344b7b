-- Libraries as Debian has them, under --coop-libc: LuaSQL and LuaDBI on libpq
-- against a real server, and LuaSocket's own C module.

local postgres = require "spec.support.postgres"
local support = require "spec.support"

local server
setup(function() server = postgres.start() end)
teardown(function() server:stop() end)

local function prints(expected, script, options, env)
  local code, out, err = server:run(script, options, env)
  assert.equal("", err)
  assert.equal(expected, out)
  assert.equal(0, code)
end

local luasql = [[
local green = require "greenlua"
local env = require "luasql.postgres".postgres()
local unix, tcp = ...
local function ask(conn, sql)
  local cursor = assert(conn:execute(sql))
  if type(cursor) ~= "userdata" then return cursor end
  local answer = cursor:fetch()
  cursor:close()
  return answer
end
local function waiting(conn) -- on the server, for a lock
  return tonumber(ask(conn, "select count(*) from pg_stat_activity where wait_event = 'advisory'"))
end
local gate = assert(env:connect(unix))
]]

-- Twenty wait on the server for what only one more greenlet can give. If the
-- first one stopped the thread, that would not come.
local gathering = [[
ask(gate, "select pg_advisory_lock(1)")
local passed, all = 0, {}
for i = 1, 20 do
  all[i] = green.spawn(function()
    local conn = connect(i % 2 == 0 and unix or tcp)
    query(conn, "select pg_advisory_lock_shared(1)")
    passed = passed + 1
    conn:close()
  end)
end
local n
repeat green.sleep(0.01) n = waiting(gate) until n == 20
print(n, passed)
ask(gate, "select pg_advisory_unlock(1)")
green.joinall(all, nil, true)
print(passed)
gate:close()
]]

describe("LuaSQL under --coop-libc", function()
  it("queries twenty times at once", function()
    prints("20\t0\n20\n", luasql .. [[
      local function connect(info) return assert(env:connect(info)) end
      local query = ask
    ]] .. gathering)
  end)

  it("stops the thread without the option", function()
    prints("0\n", luasql .. [[
      local turns = 0
      green.spawn(function() turns = turns + 1 end)
      ask(gate, "select pg_sleep(0.01)")
      print(turns)
    ]], {})
  end)

  it("raises a Timeout in its place, and has a dead connection then", function()
    for _, host in ipairs { "unix", "tcp" } do
      prints("false\ttrue\nnil\nfresh\n", luasql .. ([[
        local conn = assert(env:connect(%s))
        local timer
        print(pcall(function()
          local t <close> = green.Timeout(0.05)
          timer = t
          conn:execute "select pg_sleep(60)"
        end), select(2, pcall(function()
          local t <close> = green.Timeout(0.05)
          timer = t
          assert(env:connect(%s)):execute "select pg_sleep(60)"
        end)) == timer)
        print((conn:execute "select 'fresh'"))
        conn:close()
        conn = assert(env:connect(%s))
        print(ask(conn, "select 'fresh'"))
      ]]):format(host, host, host))
    end
  end)

  it("is killed anywhere", function()
    prints("killed\ttrue\n", luasql .. [[
      local count = 0
      for i = 0, 40 do
        local g = green.spawn(function()
          local conn = assert(env:connect(i % 2 == 0 and unix or tcp))
          for k = 1, 100 do ask(conn, "select " .. k) end
          ask(conn, "select pg_sleep(60)")
        end)
        for _ = 1, i do green.sleep(0) end
        if i > 35 then green.sleep(0.01) end
        g:kill()
        assert(g:successful() or g.exception == nil)
        if g:ready() then count = count + 1 end
      end
      print("killed", count == 41)
    ]])
  end)

  it("sends and receives large values at once", function()
    prints("ok\n", luasql .. [[
      local all = {}
      for i = 1, 4 do
        all[i] = green.spawn(function()
          local conn = assert(env:connect(i % 2 == 0 and unix or tcp))
          local text = tostring(i):rep(2000000)
          assert(ask(conn, "select '" .. text .. "'") == text)
        end)
      end
      for i = 1, 4 do all[i]:get() end
      print "ok"
    ]])
  end)

  it("connects to a server that does not answer for as long as it may", function()
    prints("false\nnil\n", luasql .. [[
      local silent = assert(require "greenlua.socket".bind("127.0.0.1", 0))
      local _, port = silent:getsockname()
      local info = "host=127.0.0.1 user=postgres port=" .. port
      print(green.within(0.02, env.connect, env, info))
      local g = green.spawn(function() return (env:connect(info)) end)
      local peer
      repeat peer = silent:accept() until peer:receive(1) -- past the one that gave up
      peer:close()
      silent:close()
      print(g:get())
    ]])
  end)
end)

describe("LuaDBI under --coop-libc", function()
  local dbi = luasql .. [[
    local DBI = require "DBI"
    local function connect(info)
      return assert(DBI.Connect("PostgreSQL", "postgres", "postgres", nil,
        info:match "host=(%S+)", info:match "port=(%d+)"))
    end
    local function query(conn, sql)
      local statement = assert(conn:prepare(sql))
      local ok, err = statement:execute()
      local answer = ok and statement:fetch()
      statement:close() -- or its finalizer would: see host/coop/coop.h
      return answer and answer[1], err
    end
  ]]

  it("queries twenty times at once", function()
    prints("20\t0\n20\n", dbi .. gathering)
  end)

  it("gives up at a Timeout", function()
    -- LuaDBI does not free what the server has answered to a PREPARE that fails.
    prints("false\n1\n", dbi .. [[
      local conn = connect(tcp)
      print(green.within(0.05, query, conn, "select pg_sleep(60)"))
      print((query(connect(unix), "select 1")))
      conn:close()
    ]], nil, { ASAN_OPTIONS = "detect_leaks=0" })
  end)
end)

describe("LuaSocket's own C module under --coop-libc", function()
  local luasocket = [[
    local green = require "greenlua"
    local socket = require "socket"
    assert(getmetatable(socket.tcp()).__tostring) -- a userdata of its own
    local function serve(f)
      local listener = assert(socket.bind("127.0.0.1", 0))
      local _, port = listener:getsockname()
      local g = green.spawn(function()
        while true do
          local conn = listener:accept()
          if not conn then break end
          green.spawn(f, conn)
        end
      end)
      return port, g, listener
    end
  ]]

  it("makes requests at once", function()
    prints("10\n", luasocket .. [[
      local here, all = 0, green.Event()
      local port, g = serve(function(conn)
        repeat local line = conn:receive() until line == ""
        here = here + 1
        if here == 10 then all:set() end
        all:wait() -- for all ten
        conn:send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        conn:close()
      end)
      local http = require "socket.http"
      local fetches = {}
      for i = 1, 10 do
        fetches[i] = green.spawn(http.request, ("http://127.0.0.1:%d/"):format(port))
      end
      local good = 0
      for i = 1, 10 do
        local body, code = fetches[i]:get()
        if body == "hello" and code == 200 then good = good + 1 end
      end
      print(good)
      g:kill()
    ]])
  end)

  it("selects, sleeps, times out and is killed", function()
    local expected = "1\tclosed\t\n0\ttimeout\nnil\ttimeout\ttrue\nnil\ttimeout\n" ..
      "false\nfalse\nhi\n"
    prints(expected, luasocket .. [[
      local hello, all = nil, {} -- what is collected is closed
      local port, g, listener = serve(function(conn)
        socket.sleep(0.001)
        hello = conn
        all[#all + 1] = conn
      end)
      local conn = assert(socket.connect("127.0.0.1", port))
      green.spawn(function() while not hello do green.sleep(0) end hello:send "x" end)
      local ready = socket.select({ conn }, nil)
      conn:receive(1)
      local other = assert(socket.connect("localhost", port))
      green.spawn(function()
        while #all < 2 do socket.sleep(0.001) end
        all[2]:close()
      end)
      print(#ready, select(2, other:receive()))
      ready, _, why = socket.select({ conn }, nil, 0.001)
      print(#ready, why)
      conn:settimeout(0.01)
      local before = socket.gettime()
      local line, err = conn:receive()
      print(line, err, socket.gettime() - before >= 0.008) -- it asks poll for whole ms
      listener:settimeout(0.001)
      g:kill()
      print(listener:accept())
      conn:settimeout(nil)
      print(green.within(0.001, conn.receive, conn))
      print(green.within(0.001, socket.select, { conn }, nil))
      local pair = assert(socket.connect("127.0.0.1", port))
      local peer = listener:accept()
      local reader = green.spawn(function() return pair:receive() end)
      green.sleep(0)
      peer:send "hi\n"
      print((reader:get()))
      os.exit(true, true)
    ]])
  end)

  it("moves much between two greenlets", function()
    prints("true\n", luasocket .. [[
      local text = ("0123456789"):rep(500000)
      local port, g = serve(function(conn)
        conn:send(conn:receive(#text))
        conn:close()
      end)
      local conn = assert(socket.connect("127.0.0.1", port))
      assert(conn:send(text))
      print(conn:receive "*a" == text)
      g:kill()
    ]])
  end)

  it("leaves nothing behind when it is killed and timed out at random", function()
    local code, out, err = support.run({ "--coop-libc", "-" }, luasocket .. [[
      math.randomseed(7)
      local port, g, listener = serve(function(conn)
        conn:settimeout(60)
        while true do
          local line = conn:receive()
          if not line or not conn:send(line .. "\n") then break end
        end
        conn:close()
      end)
      local function client()
        local conn = assert(socket.connect("127.0.0.1", port))
        local _ <close> = setmetatable({}, { __close = function() conn:close() end })
        for i = 1, 20 do
          assert(conn:send(i .. "\n"))
          assert(conn:receive() == tostring(i))
        end
      end
      local ended, expired = 0, 0
      local pool = green.Pool(20)
      for i = 1, 300 do
        local c = pool:spawn(function()
          if not green.within(math.random() * 0.01, client) then expired = expired + 1 end
          ended = ended + 1
        end)
        if i % 3 == 0 then
          green.spawn(function() green.sleep(math.random() * 0.01) c:kill() end)
        end
      end
      pool:join()
      g:kill()
      listener:close()
      print(ended > 0 and expired > 0)
      local lowest
      repeat -- the servers see that their clients have gone
        green.sleep(0.01)
        collectgarbage()
        local sock = socket.tcp4()
        lowest = sock:getfd()
        sock:close()
      until lowest < 15
    ]])
    assert.equal("", err)
    assert.equal("true\n", out)
    assert.equal(0, code)
  end)
end)

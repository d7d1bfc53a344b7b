local green = require "greenlua"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"
local support = require "spec.support"

local connect, stream = servers.connect, servers.stream

local function turns(n)
  for _ = 1, n or 3 do green.sleep(0) end
end

-- Connections that are in the backlog of a server before anybody else has run.
local function rush(server, n)
  local conns = {}
  for i = 1, n do
    conns[i] = assert(socket.tcp4())
    conns[i]:settimeout(0)
    conns[i]:connect("127.0.0.1", server.port)
    conns[i]:settimeout(60)
  end
  return conns
end

local function close_all(conns)
  for _, conn in ipairs(conns) do conn:close() end
end

describe("a server under load", function()
  for what, pool in pairs { ["a limit"] = function() return 3 end,
    ["a pool"] = function() return green.Pool(3) end } do
    it("accepts no more than " .. what .. " allows, and goes on as handlers end", function()
      local running, most = 0, 0
      local server <close> = stream(function(conn)
        running = running + 1
        most = math.max(most, running)
        conn:receive()
        running = running - 1
        conn:send "ok\n"
      end, { pool = pool() })
      local conns = rush(server, 10)
      servers.await(function() return running == 3 end)
      turns(10)
      assert.same({ 3, 3, true }, { running, #server, server:full() })
      for _, conn in ipairs(conns) do conn:send "x\n" end
      for _, conn in ipairs(conns) do assert.equal("ok", (conn:receive())) end
      servers.await(function() return #server == 0 end)
      assert.same({ 3, false }, { most, server:full() })
      close_all(conns)
    end)
  end

  it("runs handlers in a pool that others use, too", function()
    local pool = green.Pool(2)
    local other = pool:spawn(green.sleep, 100)
    local server <close> = stream(function(conn) conn:send(#pool .. "\n") end, { pool = pool })
    local second <close> = stream(function(conn) conn:send(#pool .. "\n") end, { pool = pool })
    for _ = 1, 5 do
      for _, s in ipairs { server, second } do
        local conn <close> = connect(s)
        conn:settimeout(60)
        assert.equal("2", (conn:receive()))
      end
    end
    other:kill()
  end)

  it("changes its limit while it runs", function()
    local server <close> = stream(function(conn) conn:receive() end, { pool = 1 })
    local conns = rush(server, 4)
    servers.await(function() return #server == 1 end)
    server:set_pool(3)
    conns[1]:send "x\n" -- whoever waits looks again
    servers.await(function() return #server == 3 end)
    assert.is_true(server:full())
    server:set_pool(nil)
    assert.is_false(server:full())
    assert.error_matches(function() server:set_pool "x" end, "bad option 'pool'")
    close_all(conns)
    servers.await(function() return #server == 0 end)
  end)

  it("accepts so many at most before others have a turn", function()
    local order = {}
    local server <close> = stream(function() order[#order + 1] = "h" end, { max_accept = 4 })
    local conns = rush(server, 12)
    servers.await(function() return #order == 12 end)
    close_all(conns)
    -- an observer that runs once a turn
    local seen, done = {}, false
    local g = green.spawn(function()
      while not done do
        seen[#seen + 1] = #server
        green.sleep(0)
      end
    end)
    server:set_handle(function(conn) conn:receive() end)
    conns = rush(server, 12)
    servers.await(function() return #server == 12 end)
    done = true
    g:join()
    for i = 2, #seen do assert.is_true(seen[i] - seen[i - 1] <= 4, i) end
    close_all(conns)
    servers.await(function() return #server == 0 end)
  end)

  it("does not let a flood of connections starve those that it has", function()
    local server <close> = stream(servers.echo)
    local first <close> = connect(server)
    first:send "a\n"
    assert.equal("a", (first:receive()))
    local flood, ended = {}, false
    local g = green.spawn(function()
      for i = 1, 10 do flood[i] = rush(server, 60) end
      ended = true
    end)
    local turns_taken = 0
    while not ended or #server < 601 do
      first:send "b\n"
      assert.equal("b", (first:receive()))
      turns_taken = turns_taken + 1
    end
    assert.is_true(turns_taken > 5)
    g:join()
    for _, conns in ipairs(flood) do close_all(conns) end
    servers.await(function() return #server == 1 end)
  end)

  it("survives 1,000 connections that are reset", function()
    local handled = 0
    local reports = servers.errors(function()
      local server <close> = stream(function(conn)
        handled = handled + 1
        conn:send(("x"):rep(1000))
        conn:receive "*a"
      end)
      for round = 1, 20 do
        local conns = rush(server, 50)
        if round % 2 == 0 then turns(2) end -- some are reset in the backlog
        for _, conn in ipairs(conns) do
          conn:setoption("linger", { on = true, timeout = 0 })
          conn:close()
        end
      end
      turns(5)
      servers.await(function() return #server == 0 end)
      local conn <close> = connect(server)
      assert.equal(1000, #conn:receive(1000))
      assert.is_true(server.started)
    end)
    assert.same({}, reports)
    assert.is_true(handled > 500)
  end)

  it("goes on after failures that pass, and says so once", function()
    local sockets = require "greenlua.core.socket"
    local accept, failures = sockets.accept, 0
    finally(function() sockets.accept = accept end)
    function sockets.accept(listener)
      if failures == 3 then return accept(listener) end
      failures = failures + 1
      return nil, "Operation not permitted"
    end
    local server <close> = stream(servers.echo)
    local warnings = servers.warnings(server)
    local conn <close> = connect(server)
    conn:settimeout(60)
    conn:send "hi\n"
    assert.equal("hi", (conn:receive()))
    assert.same({ 3, { "Operation not permitted" } }, { failures, warnings })
  end)

  it("ends after a failure that does not pass", function()
    local sockets = require "greenlua.core.socket"
    local accept = sockets.accept
    finally(function() sockets.accept = accept end)
    function sockets.accept() return nil, "Bad file descriptor" end
    local server = green.server.StreamServer("127.0.0.1:0", print)
    local ok, err = pcall(server.serve_forever, server)
    assert.is_false(ok)
    assert.matches("^StreamServer can listen no more on 127.0.0.1:%d+: Bad file descriptor$", err)
    assert.is_true(server.closed)
  end)

  it("waits for descriptors when none is left, and says so once", function()
    local pipe = assert(io.popen(("ulimit -n 64; env -u LD_PRELOAD timeout %d %s %s 2>&1"):format(
      support.LIMIT, support.greenlua, "spec/greenlua/server/starve.lua")))
    local said, warned = {}, {}
    for line in pipe:lines() do table.insert(line:find "^served" and said or warned, line) end
    pipe:close()
    assert.same({ "served 1", "served all" }, said)
    assert.equal(1, #warned, table.concat(warned, "\n"))
    assert.matches(
      "Z StreamServer on 127.0.0.1:%d+: cannot accept: Too many open files; connections wait$",
        warned[1])
  end)
end)

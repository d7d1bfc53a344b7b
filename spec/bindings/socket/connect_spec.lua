local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

-- Runs a program with so few descriptors, and gives what it printed.
local function run_with_limit(descriptors, program)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(program)
  file:close()
  local pipe = assert(io.popen(("ulimit -n %d; env -u LD_PRELOAD timeout %d %s %s 2>&1"):format(
    descriptors, support.LIMIT, support.greenlua, path)))
  local out = pipe:read "a"
  pipe:close()
  os.remove(path)
  return out
end

describe("greenlua.core.socket accept", function()
  waitable {
    new = function() return (sockets.listen()) end,
    wait = function(server) return server:accept() end,
    no_timeout = true,
    free = function(server) server:close() end,
  }

  it("loses no connection to the kill of a greenlet that never has to wait", function()
    local server <close> = assert(socket.bind("127.0.0.1", 0, 256))
    local _, port = server:getsockname()
    local clients, peers = {}, {}
    for i = 1, 150 do clients[i] = assert(socket.connect("127.0.0.1", port)) end
    while #peers < 150 do
      local g = green.spawn(function()
        while true do peers[#peers + 1] = assert(server:accept()) end
      end)
      green.sleep(0)
      g:kill()
    end
    for i = 1, 150 do
      peers[i]:send "x"
      peers[i]:close()
    end
    for i = 1, 150 do
      assert.equal("x", clients[i]:receive "*a")
      clients[i]:close()
    end
  end)

  it("takes all connections that wait", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local clients = {}
    for i = 1, 20 do clients[i] = assert(socket.connect("127.0.0.1", port)) end
    for i = 1, 20 do
      local peer <close> = assert(server:accept())
      assert.equal(select(2, clients[i]:getsockname()), select(2, peer:getpeername()))
    end
    server:settimeout(0)
    assert.same({ nil, "timeout" }, { server:accept() })
    for i = 1, 20 do clients[i]:close() end
  end)

  it("gives a socket without a timeout, with TCP_NODELAY", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    server:settimeout(60)
    local client <close> = assert(socket.connect("127.0.0.1", port))
    local peer <close> = assert(server:accept())
    assert.same({ -1, -1 }, { peer:gettimeout() })
    assert.is_true(peer:getoption "tcp-nodelay")
    assert.is_true(client:getoption "tcp-nodelay")
  end)

  it("passes TCP_NODELAY off on", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    server:setoption("tcp-nodelay", false)
    local client <close> = assert(socket.connect("127.0.0.1", port)) -- luacheck: ignore
    local peer <close> = assert(server:accept())
    assert.is_false(peer:getoption "tcp-nodelay")
  end)

  it("ends with the socket", function()
    local server = sockets.listen()
    local g = green.spawn(server.accept, server)
    green.sleep(0)
    server:close()
    assert.same({ nil, "closed" }, { g:get() })
    assert.same({ nil, "closed" }, { server:accept() })
  end)

  it("can stand in a for loop", function()
    local server, port = sockets.listen()
    local n = 0
    local g = green.spawn(function()
      for _ = 1, 3 do assert(socket.connect("127.0.0.1", port)):close() end
      while n < 3 do green.sleep(0) end
      server:close()
    end)
    for peer in server.accept, server do
      n = n + 1
      peer:close()
    end
    assert.equal(3, n)
    g:get()
  end)

  it("waits without spinning while no descriptor is left", function()
    assert.equal("waits\nin time\naccepted\n", run_with_limit(40, [[
      local green = require "greenlua"
      local socket = require "greenlua.socket"
      local server = assert(socket.bind("127.0.0.1", 0))
      local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
      local held = {}
      repeat
        local sock = socket.tcp4()
        held[#held + 1] = sock
      until not sock
      local g = green.spawn(server.accept, server)
      local before = os.clock()
      green.sleep(0.2)
      print(g:ready() and "ready" or "waits")
      print(os.clock() - before < 0.1 and "in time" or "spins")
      held[1]:close() -- which wakes it at once, before it looks again by itself
      green.sleep(0) green.sleep(0)
      print(g:ready() and g:get() and "accepted" or "not at once")
    ]]))
  end)

  it("notices that somebody else closed a descriptor, and keeps its timeout", function()
    assert.equal("timeout\naccepted\n", run_with_limit(40, [[
      local green = require "greenlua"
      local socket = require "greenlua.socket"
      local server = assert(socket.bind("127.0.0.1", 0))
      local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
      local files = {}
      repeat
        local file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      server:settimeout(0.05)
      print(select(2, server:accept()))
      server:settimeout()
      local g = green.spawn(server.accept, server)
      green.sleep(0.02)
      files[1]:close()
      print(g:get() and "accepted")
    ]]))
  end)
end)

describe("greenlua.core.socket connect", function()
  it("uses the hosts file", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local client <close> = assert(socket.connect("localhost", port))
    assert.equal("127.0.0.1", (client:getpeername()))
  end)

  it("polls with a timeout of 0", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local client <close> = socket.tcp()
    client:settimeout(0)
    local ok, err = client:connect("127.0.0.1", port)
    if not ok then assert.equal("timeout", err) end
    assert.is_true(socket.wait_write(client, 60))
    assert.is_nil(client:getoption "error")
    assert.equal("127.0.0.1", (client:getpeername()))
  end)

  it("shows a failure after the fact in the option error", function()
    local server, port = sockets.listen()
    server:close()
    local client <close> = socket.tcp()
    client:settimeout(0)
    local _, err = client:connect("127.0.0.1", port)
    if err == "timeout" then
      socket.wait_write(client, 60)
      err = client:getoption "error"
    end
    assert.equal("connection refused", err)
  end)

  -- A UNIX server whose backlog is full, its path, and who fills it.
  local function busy_server()
    local path = os.tmpname()
    os.remove(path)
    local server = socket.unix()
    assert(server:bind(path))
    assert(server:listen(0))
    local held = {}
    for i = 1, 10 do
      local client = socket.unix()
      client:settimeout(0.01)
      if not client:connect(path) then break end
      held[i] = client
    end
    return server, path, held
  end

  it("is interrupted where it waits for a UNIX server that is busy", function()
    local server <close>, path, held = busy_server()
    local client <close> = socket.unix()
    assert.is_false(green.within(0.001, client.connect, client, path))
    local g = green.spawn(client.connect, client, path)
    green.sleep(0)
    g:kill()
    assert.is_true(green.GreenletExit.is(g.value))
    client:settimeout(0.001)
    assert.same({ nil, "timeout" }, { client:connect(path) })
    server:accept():close()
    client:settimeout()
    assert.equal(1, (client:connect(path)))
    for _, sock in ipairs(held) do sock:close() end
    os.remove(path)
  end)

  it("ends when the socket is closed by another greenlet", function()
    local server <close>, path, held = busy_server()
    local waiting = socket.unix()
    local g = green.spawn(waiting.connect, waiting, path)
    green.sleep(0.005)
    assert.is_false(g:ready())
    local other = socket.unix()
    local h = green.spawn(other.connect, other, path)
    waiting:close()
    assert.same({ nil, "closed" }, { g:get() })
    server:accept():close()
    assert.equal(1, (h:get()))
    for _, sock in ipairs(held) do sock:close() end
    other:close()
    os.remove(path)
  end)

  it("goes over UNIX sockets with abstract names", function()
    local name = "\0greenlua-" .. socket.gettime()
    local server <close> = socket.unix()
    assert(server:bind(name))
    assert(server:listen())
    local client <close> = socket.unix()
    assert.equal(1, (client:connect(name)))
    assert.equal(name, (client:getpeername()))
    server:accept():close()
  end)
end)

-- socket.connect { … }: many addresses, some of them dead (RFC 8305).

local green = require "greenlua"
local core = require "greenlua.core"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local socket = require "greenlua.socket"
local waitable = require "spec.support.waitable"

local reply = nameserver.reply

local function listen(host, port, backlog)
  local create = host:find ":" and socket.tcp6 or socket.tcp4
  local server = assert(create())
  server:setoption("reuseaddr", true)
  assert(server:bind(host, port or 0))
  assert(server:listen(backlog or 32))
  return server, math.tointeger(select(2, server:getsockname()))
end

-- Servers on one port of both families: which port that is, others have a say in.
local function listen_on_both()
  for _ = 1, 20 do
    local four, port = listen "127.0.0.1"
    local ok, six = pcall(listen, "::1", port)
    if ok then return four, six, port end
    four:close()
  end
  error "no port is free in both families"
end

-- A server that does not answer: its backlog is full. And what fills it.
local function stall(host, port)
  local server
  server, port = listen(host, port, 0)
  local held, late = { server }, 0
  repeat -- one may be late because the machine is slow
    local sock = (host:find ":" and socket.tcp6 or socket.tcp4)()
    held[#held + 1] = sock
    sock:settimeout(0.02)
    late = sock:connect(host, port) and 0 or late + 1
  until late == 2
  return setmetatable(held, { __close = function()
    for _, sock in ipairs(held) do sock:close() end
  end })
end

describe("socket.connect with a table", function()
  local liar, resolver
  local delay, silence -- what names answer after, and which kind never does

  setup(function()
    liar = nameserver.lie(function(q)
      local kind = q.type == 28 and "inet6" or "inet"
      green.sleep(delay[kind] or 0)
      if silence[kind] then return end
      if q.name == "none.test" then return reply(q, { rcode = 3 }) end
      if q.name == "four.test" and kind == "inet6" then return reply(q) end
      if q.name == "many.test" and kind == "inet" then
        return reply(q, { answers = { nameserver.a(0, 127, 0, 0, 1), nameserver.a(0, 127, 0, 0, 2),
          nameserver.a(0, 127, 0, 0, 3) } })
      end
      return reply(q, { answers = { kind == "inet6" and nameserver.aaaa(0, 1)
        or nameserver.a(0, 127, 0, 0, 1) } })
    end)
    resolver = dns.Resolver { servers = { liar.address }, timeout = 30 }
  end)
  teardown(function()
    resolver:close()
    liar:close()
  end)
  before_each(function() delay, silence = {}, {} end)

  local function connect(port, o)
    o = o or {}
    o.host, o.port, o.resolver = o.host or "both.test", port, resolver
    o.timeout = o.timeout or 60
    return socket.connect(o)
  end

  -- A connection, and the family that it has.
  local function family_of(port, o)
    local conn <close> = assert(connect(port, o))
    assert.same({ -1, -1 }, { conn:gettimeout() })
    return (select(3, conn:getpeername()))
  end

  it("prefers IPv6", function()
    local four, six, port = listen_on_both()
    assert.equal("inet6", family_of(port, { resolution_delay = 60, attempt_delay = 60 }))
    delay.inet6 = 0.005
    assert.equal("inet6", family_of(port, { resolution_delay = 60, attempt_delay = 60 }))
    four:close()
    six:close()
  end)

  it("takes the other family at once when the first is refused", function()
    local four <close>, port = listen "127.0.0.1" -- luacheck: ignore
    assert.equal("inet", family_of(port, { attempt_delay = 100 }))
  end)

  it("tries the next address beside one that does not answer", function()
    local four <close>, port = listen "127.0.0.1" -- luacheck: ignore
    local stalled <close> = stall("::1", port) -- luacheck: ignore
    local began = core.now()
    assert.equal("inet", family_of(port, { attempt_delay = 0.02 }))
    assert.is_true(core.now() - began >= 0.02)
  end)

  it("does not wait long for IPv6 addresses", function()
    local four <close>, port = listen "127.0.0.1" -- luacheck: ignore
    silence.inet6 = true
    local began = core.now()
    assert.equal("inet", family_of(port, { resolution_delay = 0.02 }))
    assert.is_true(core.now() - began >= 0.02)
  end)

  it("does not wait for IPv4 addresses at all", function()
    local six <close>, port = listen "::1" -- luacheck: ignore
    silence.inet = true
    assert.equal("inet6", family_of(port))
  end)

  it("takes addresses that come late", function()
    local six <close>, port = listen "::1" -- luacheck: ignore
    delay.inet6 = 0.03
    assert.equal("inet6", family_of(port, { resolution_delay = 0.001, attempt_delay = 0.001 }))
  end)

  it("tries all addresses", function()
    local last <close>, port = listen "127.0.0.3" -- luacheck: ignore
    local conn <close> = assert(connect(port, { host = "many.test" }))
    assert.equal("127.0.0.3", (conn:getpeername()))
  end)

  it("keeps to one family if it is told to", function()
    local four, six, port = listen_on_both()
    assert.equal("inet", family_of(port, { family = "inet" }))
    assert.equal("inet6", family_of(port, { family = "inet6" }))
    assert.equal("NODATA", select(3, connect(port, { host = "four.test", family = "inet6" })))
    assert.equal("NODATA", select(3, connect(port, { host = "127.0.0.1", family = "inet6" })))
    four:close()
    six:close()
  end)

  it("connects to numbers, from where it is told to", function()
    local four <close>, port = listen "127.0.0.1"
    local conn <close> = assert(connect(port, { host = "127.0.0.1", local_host = "127.0.0.9" }))
    local peer <close> = assert(four:accept())
    assert.equal("127.0.0.9", (peer:getpeername()))
    local by_name <close> = assert(connect(port, { local_host = "127.0.0.8" }))
    assert.equal("127.0.0.8", (by_name:getsockname()))
    assert.is_truthy(conn:getpeername())
  end)

  it("tells why not", function()
    local server, port = listen "127.0.0.1"
    server:close()
    assert.same({ nil, "connection refused" }, { connect(port) })
    assert.same({ nil, "connection refused" }, { connect(port, { host = "::1" }) })
    assert.same({ nil, "host or service not provided, or not known", "NXDOMAIN" },
      { connect(port, { host = "none.test" }) })
    assert.same({ nil, "host or service not provided, or not known", "BADNAME" },
      { connect(port, { host = "a..b" }) })
  end)

  it("has one timeout for all of it", function()
    local stalled <close> = stall("::1", 0)
    local port = math.tointeger(select(2, stalled[1]:getsockname()))
    local began = core.now()
    assert.same({ nil, "timeout" }, { connect(port, { host = "::1", timeout = 0.02 }) })
    assert.same({ nil, "timeout" }, { connect(port, { timeout = 0.02, attempt_delay = 0.001 }) })
    assert.is_true(core.now() - began >= 0.04)
    silence.inet, silence.inet6 = true, true
    assert.same({ nil, "timeout" }, { connect(port, { timeout = 0.01 }) })
  end)

  it("leaves nothing of those that lost", function()
    local four, six, port = listen_on_both()
    for _ = 1, 20 do
      local conn <close> = assert(connect(port, { attempt_delay = 0 })) -- luacheck: ignore
    end
    four:settimeout(0)
    for peer in four.accept, four do peer:close() end
    four:close()
    six:close()
  end)

  it("hands a connection to TLS, with the host and the time that is left", function()
    local four <close>, port = listen "127.0.0.1" -- luacheck: ignore
    local seen
    local context = { connect = function(_, sock, host, timeout)
      seen = { host, timeout > 0 and timeout <= 60 }
      return sock
    end }
    assert.equal("inet", family_of(port, { tls = context }))
    assert.same({ "both.test", true }, seen)
    context.connect = function() return nil, "certificate verify failed" end
    assert.same({ nil, "certificate verify failed" }, { connect(port, { tls = context }) })
    context.connect = function(_, _, _, timeout) green.sleep(timeout * 100) end
    local g = green.spawn(connect, port, { tls = context })
    green.sleep(0.02)
    g:kill()
  end)

  it("calls misuse by its name", function()
    local server = require("greenlua.ssl").server { sni = function() end }
    for _, one in ipairs { { "host", 5 }, { "port", {} }, { "port", 65536 }, { "port", "-1" },
      { "port", 0.5 }, { "family", "unix" }, { "timeout", -1 }, { "attempt_delay", -1 },
      { "resolution_delay", "x" }, { "tls", 5 }, { "tls", "x" }, { "tls", server },
      { "resolver", 5 }, { "resolver", {} }, { "local_host", {} }, { "local_port", {} } } do
      local o = { host = "127.0.0.1", port = 1 }
      o[one[1]] = one[2]
      assert.error_matches(function()
        local conn = socket.connect(o)
        return conn
      end, "'connect' %(" .. one[1])
    end
    assert.error_matches(function() socket.connect { host = "x", port = 1, timout = 1 } end,
      "#1 to 'connect' %(unknown option 'timout'%)")
  end)

  describe("while names are looked up", function()
    waitable {
      new = function()
        silence.inet, silence.inet6 = true, true
        return 1
      end,
      wait = function(port, timeout)
        return socket.connect { host = "both.test", port = port, resolver = resolver,
          timeout = timeout }
      end,
      expired = function(...) assert.same({ nil, "timeout" }, { ... }) end,
      check_misuse = false,
    }
  end)

  describe("while nobody answers", function()
    local held, port
    setup(function()
      held = stall("::1", 0)
      port = math.tointeger(select(2, held[1]:getsockname()))
    end)
    teardown(function() getmetatable(held).__close() end)
    waitable {
      new = function()
        silence.inet = true
        return port
      end,
      wait = function(p, timeout)
        return socket.connect { host = "both.test", port = p, resolver = resolver,
          timeout = timeout, attempt_delay = 0.001 }
      end,
      expired = function(...) assert.same({ nil, "timeout" }, { ... }) end,
      check_misuse = false,
    }
  end)
end)

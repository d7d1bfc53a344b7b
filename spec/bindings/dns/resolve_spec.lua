-- Sockets that are given names.

local green = require "greenlua"
local core = require "greenlua.core"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local waitable = require "spec.support.waitable"

describe("greenlua.core.socket with a name", function()
  local liar, resolver, gate

  setup(function()
    liar = nameserver.lie(function(q)
      if q.name:find "^silent" then return end
      if q.name:find "^gated" then gate:wait() end
      if q.name:find "^none" then return nameserver.reply(q, { rcode = 3 }) end
      if q.type ~= 1 then return nameserver.reply(q) end
      return nameserver.reply(q, { answers = { nameserver.a(0, 127, 0, 0, 1) } })
    end)
    resolver = dns.Resolver { servers = { liar.address }, timeout = 30 }
    dns.use(resolver)
  end)
  teardown(function()
    dns.use()
    resolver:close()
    liar:close()
  end)
  before_each(function() gate = green.Event() end)

  it("leaves no descriptor where it asks what addresses this machine has", function()
    local function lowest() -- descriptor that is free
      local sock <close> = socket.tcp4()
      return sock:getfd()
    end
    local before = lowest()
    for _, family in ipairs { "inet", "inet6" } do
      require("greenlua.core.dns").has_family(family)
    end
    assert.equal(before, lowest())
  end)

  it("connects", function()
    local server <close>, port = sockets.listen()
    for _, create in ipairs { socket.tcp, socket.tcp4 } do
      local sock <close> = create()
      assert.equal(1, sock:connect("here.test", port))
      assert.equal("127.0.0.1", (sock:getpeername()))
      local peer <close> = server:accept() -- luacheck: ignore
    end
    local conn <close> = assert(socket.connect("here.test", port))
    assert.equal("127.0.0.1", (conn:getpeername()))
  end)

  it("knows the name for its own family only", function()
    local sock <close> = socket.tcp6()
    assert.same({ nil, "host or service not provided, or not known" },
      { sock:connect("here.test", 1) })
  end)

  it("binds", function()
    local sock <close> = socket.tcp()
    assert.equal(1, sock:bind("here.test", 0))
    assert.equal("127.0.0.1", (sock:getsockname()))
    local server <close> = assert(socket.bind("here.test", 0))
    assert.equal("127.0.0.1", (server:getsockname()))
  end)

  it("names the peer of datagrams", function()
    local to <close> = socket.udp4()
    assert(to:setsockname("here.test", 0))
    local _, port = to:getsockname()
    local from <close> = socket.udp()
    assert.equal(1, from:setpeername("here.test", port))
    from:send "hello"
    assert.equal("hello", to:receive())
  end)

  it("tells why not, in LuaSocket's words", function()
    local sock <close> = socket.tcp()
    local udp <close> = socket.udp()
    local unknown = { nil, "host or service not provided, or not known" }
    assert.same(unknown, { sock:connect("none.test", 1) })
    assert.same(unknown, { sock:connect("a..b", 1) })
    assert.same(unknown, { sock:connect("here.test\0", 1) })
    assert.same(unknown, { udp:setpeername("none.test", 1) })
    assert.same(unknown, { socket.tcp():bind("none.test", 1) })
    assert.same({ nil, "service not supported for socket type" },
      { socket.tcp():connect("here.test", "no such service") })
    local found, message = socket.bind("none.test", 0)
    assert.same(unknown, { found, message })
  end)

  it("counts the lookup as a part of its timeout", function()
    for _, mode in ipairs { "b", "t" } do
      local sock <close> = socket.tcp()
      sock:settimeout(0.01, mode)
      local began = core.now()
      assert.same({ nil, "timeout" }, { sock:connect("silent.test", 1) })
      assert.is_true(core.now() - began >= 0.01)
    end
  end)

  it("looks up even if it never waits for peers", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local sock <close> = socket.tcp()
    sock:settimeout(0)
    local ok, err = sock:connect("here.test", port)
    assert.is_true(ok == 1 or err == "timeout", err)
    local _, writable = socket.select(nil, { sock }, 60)
    assert.equal(sock, writable[1])
  end)

  it("is told when it is closed meanwhile", function()
    for _, create in ipairs { socket.tcp, socket.tcp4 } do
      local sock = create()
      local g = green.spawn(sock.connect, sock, "silent.test", 1)
      green.sleep(0)
      sock:close()
      assert.same({ nil, "closed" }, { g:get() })
      assert.equal(0, resolver:stats().out)
    end
  end)

  it("is told so if it is closed as the answer comes", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local sock = socket.tcp()
    local g = green.spawn(sock.connect, sock, "gated.test", port)
    local other = green.spawn(resolver.getaddrinfo, resolver, "gated.test")
    other:rawlink(function() sock:close() end)
    green.sleep(0)
    gate:set()
    local ok, err = g:get()
    if ok then ok = sock:getpeername() end -- it was faster
    assert.is_nil(ok)
    assert.is_truthy(err == "closed" or err == nil)
    sock:close()
  end)

  it("lets only one greenlet look up at a time", function()
    local sock <close> = socket.tcp()
    local g = green.spawn(sock.connect, sock, "silent.test", 1)
    green.sleep(0)
    assert.error_matches(function() sock:connect("silent.test", 1) end, "waits in resolve there")
    g:kill()
  end)

  it("can be used again after a kill", function()
    local server <close>, port = sockets.listen() -- luacheck: ignore
    local sock <close> = socket.tcp()
    local g = green.spawn(sock.connect, sock, "silent.test", 1)
    green.sleep(0)
    g:kill()
    assert.equal(1, sock:connect("here.test", port))
  end)

  describe("waits to connect, and", function()
    waitable {
      new = socket.tcp, no_timeout = true,
      wait = function(sock) return sock:connect("silent.test", 1) end,
      free = function(sock) sock:close() end,
    }
  end)

  describe("waits to bind, and", function()
    waitable {
      new = socket.tcp, no_timeout = true,
      wait = function(sock) return sock:bind("silent.test", 1) end,
      free = function(sock) sock:close() end,
    }
  end)
end)

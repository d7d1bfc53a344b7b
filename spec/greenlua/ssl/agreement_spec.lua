-- What two ends of a TLS connection agree on: names, protocols, sessions, clients.

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local ssl = require "greenlua.ssl"
local tls = require "spec.support.tls"

describe("greenlua.ssl", function()
  local ca, pair, server, client

  setup(function()
    ca, server, client, pair = tls.parties { "localhost", "a.example", "b.example" }
  end)
  teardown(function() ca:close() end)

  local function new_server(options)
    local all = { certificate = pair.certificate, key = pair.key }
    for name, value in pairs(options) do all[name] = value end
    return assert(ssl.server(all))
  end

  local function new_client(options)
    options.ca = options.ca or ca.certificate
    return assert(ssl.client(options))
  end

  local function subject(conn) return conn:getpeercertificate():subject()[1].value end

  describe("names (SNI)", function()
    local for_name

    setup(function()
      for_name = {}
      for _, name in ipairs { "a.example", "*.b.example" } do
        for_name[name] = assert(ssl.server(ca:issue(name)))
      end
    end)

    it("choose among the contexts of a table", function()
      local s = new_server { sni = for_name }
      for name, expected in pairs {
        ["a.example"] = "a.example", ["A.Example"] = "a.example",
        ["x.b.example"] = "*.b.example", ["b.example"] = "localhost", localhost = "localhost",
      } do
        local conn, peer, why = tls.couple(client, s, name)
        assert.is_truthy(conn, why)
        assert.equal(expected, subject(conn))
        assert.equal(name, peer:getsniname())
      end
    end)

    it("are not sent for addresses", function()
      local asked = {}
      local s = new_server { sni = function(name) asked[#asked + 1] = tostring(name) end }
      local conn = tls.couple(new_client { verify_hostname = false }, s, "127.0.0.1")
      assert.is_truthy(conn)
      assert.same({ "nil" }, asked)
    end)

    it("can be refused by a function", function()
      local s = new_server { sni = function(name)
        if name == "localhost" then return for_name["a.example"] end
        return false
      end }
      assert.equal("a.example", subject(tls.couple(new_client { verify_hostname = false }, s,
        "localhost")))
      local conn, _, why = tls.couple(client, s, "b.example")
      assert.is_nil(conn)
      assert.equal("tlsv1 unrecognized name", why)
    end)

    it("are looked up by functions that may wait", function()
      local s = new_server { sni = function(name)
        green.sleep(0.005)
        return for_name[name]
      end }
      local all = {}
      for i = 1, 5 do
        all[i] = green.spawn(function() return subject(tls.couple(client, s, "a.example")) end)
      end
      for i = 1, 5 do assert.equal("a.example", all[i]:get()) end
    end)

    it("pass errors of the function, and a kill of whoever waits there", function()
      local problem = {}
      local s = new_server { sni = function() error(problem, 0) end }
      local a, b = require("spec.support.sockets").couple()
      local g = green.spawn(client.connect, client, a, "localhost", 60)
      local ok, err = pcall(s.accept, s, b, 60)
      assert.same({ false, problem }, { ok, err })
      assert.equal(-1, b:getfd())
      assert.matches("alert internal error", select(2, g:get()))

      local asleep = new_server { sni = function() green.sleep(100) end }
      local c, d = require("spec.support.sockets").couple()
      local waiter = green.spawn(asleep.accept, asleep, d)
      g = green.spawn(client.connect, client, c, "localhost", 60)
      while not tostring(waiter):find "sleep" and not waiter:ready() do
        green.sleep(0.001)
        if green.util.tree():find "sleep" then break end
      end
      waiter:kill()
      assert.equal(-1, d:getfd())
      assert.is_nil((g:get()))
    end)

    it("do without a connection that is closed meanwhile", function()
      local a, b = require("spec.support.sockets").couple()
      local s = new_server { sni = function() b:close() green.sleep(0) end }
      local g = green.spawn(client.connect, client, a, "localhost", 60)
      assert.same({ nil, "closed" }, { s:accept(b, 60) })
      assert.same({ nil, "closed" }, { g:get() })
    end)

    it("lead to nothing but contexts", function()
      local s = new_server { sni = { localhost = 42 } }
      local a, b = require("spec.support.sockets").couple()
      local g = green.spawn(client.connect, client, a, "localhost", 60)
      assert.error_matches(function() s:accept(b, 60) end, "sni: a Context, nil or false expected")
      g:get()
    end)
  end)

  describe("protocols (ALPN)", function()
    it("are the server's choice among the client's", function()
      local s = new_server { alpn = { "h2", "http/1.1" } }
      local conn, peer = tls.couple(new_client { alpn = { "http/1.1", "h2" } }, s, "localhost")
      assert.same({ "h2", "h2" }, { conn:getalpn(), peer:getalpn() })
      conn, peer = tls.couple(client, s, "localhost")
      assert.is_nil(conn:getalpn())
      assert.is_nil(peer:getalpn())
    end)

    it("must have one in common, if both have any", function()
      local s = new_server { alpn = { "h2" } }
      local conn, _, why = tls.couple(new_client { alpn = { "smtp" } }, s, "localhost")
      assert.is_nil(conn)
      assert.equal("tlsv1 alert no application protocol", why)
      assert.is_truthy(tls.couple(new_client { alpn = { "smtp" } }, server, "localhost"))
    end)
  end)

  describe("sessions", function()
    -- Tickets come behind the handshake: with what is read first.
    local function visit(c, s, name)
      local conn, peer, why = tls.couple(c, s, name or "localhost")
      assert.is_truthy(conn, why)
      peer:send "x"
      conn:receive(1)
      local reused = conn:session_reused()
      assert.equal(reused, peer:session_reused())
      conn:close()
      peer:close()
      return reused
    end

    it("are resumed, with each server its own", function()
      for _, version in ipairs { "1.2", "1.3" } do
        local c = new_client { max_version = version }
        assert.is_false(visit(c, server))
        assert.is_true(visit(c, server))
        assert.is_true(visit(c, server))
        assert.is_false(visit(c, server, "a.example"))
        assert.is_true(visit(c, server, "a.example"))
        assert.is_true(visit(c, server))
      end
    end)

    it("are not, if client or server does not want it", function()
      local c = new_client { sessions = false }
      assert.is_false(visit(c, server))
      assert.is_false(visit(c, server))
      local d, s = new_client {}, new_server { tickets = false }
      assert.is_false(visit(d, s))
      assert.is_false(visit(d, s))
    end)

    it("of one server are none for another", function()
      local c = new_client {}
      assert.is_false(visit(c, server))
      assert.is_false(visit(c, new_server {}))
    end)

    it("of one name open no door that asks for certificates", function()
      local strict = new_server { verify = "required", ca = ca.certificate }
      local s = new_server { sni = { ["a.example"] = strict } }
      local c = new_client { verify_hostname = false }
      assert.is_false(visit(c, s))
      -- The session of "localhost", shown for "a.example".
      local a, b = require("spec.support.sockets").couple()
      local g = green.spawn(s.accept, s, b, 60)
      local conn = c:connect(a, "a.example", 5)
      local why = select(2, g:get())
      assert.equal("peer did not return a certificate", why)
      assert.is_truthy(not conn or conn:receive() == nil)
    end)
  end)

  describe("certificates of clients", function()
    local mine, known

    setup(function()
      mine = ca:issue("a client", {}, { purpose = "clientAuth" })
      known = new_client { certificate = mine.certificate, key = mine.key }
    end)

    it("may be asked for", function()
      local s = new_server { verify = "optional", ca = ca.certificate }
      local conn, peer, why = tls.couple(known, s, "localhost")
      assert.is_truthy(conn, why)
      assert.equal("a client", subject(peer))
      assert.equal("a client", peer:getpeerchain()[1]:subject()[1].value)
      conn, peer = tls.couple(client, s, "localhost")
      assert.is_truthy(conn)
      assert.is_nil(peer:getpeercertificate())
      assert.same({}, peer:getpeerchain())
    end)

    it("may be required", function()
      for _, version in ipairs { "1.2", "1.3" } do
        local s = new_server { verify = "required", ca = ca.certificate, max_version = version }
        assert.equal("a client", subject(select(2, tls.couple(known, s, "localhost"))))
        local conn, peer, why, why_not = tls.couple(client, s, "localhost")
        assert.is_nil(peer)
        assert.equal("peer did not return a certificate", why_not)
        -- With TLS 1.3 a client learns of it when it reads.
        if conn then why = select(2, conn:receive()) end
        assert.matches("alert", why)
      end
    end)

    it("must come from the right authority", function()
      local elsewhere <close> = certificates.authority "somebody else"
      local his = elsewhere:issue("a client", {})
      local c = new_client { certificate = his.certificate, key = his.key }
      local s = new_server { verify = "optional", ca = ca.certificate }
      local _, peer, _, why_not = tls.couple(c, s, "localhost")
      assert.is_nil(peer)
      assert.matches("^certificate verify failed: unable to get local issuer", why_not)
    end)
  end)

  describe("reload", function()
    it("takes the files as they are now, and leaves connections alone", function()
      local function put(one)
        ca:file("live.pem", certificates.read(one.certificate))
        ca:file("live.key", certificates.read(one.key))
      end
      local first, second = ca:issue("first", { "localhost" }), ca:issue("second", { "localhost" })
      put(first)
      local s = assert(ssl.server { certificate = ca.folder .. "/live.pem",
        key = ca.folder .. "/live.key" })
      local c = new_client { sessions = false }
      local conn, peer = tls.couple(c, s, "localhost")
      assert.equal("first", subject(conn))
      put(second)
      assert.is_true(s:reload())
      local other = tls.couple(c, s, "localhost")
      assert.equal("second", subject(other))
      conn:send "still here\n"
      assert.equal("still here", peer:receive())

      ca:file("live.pem", "nonsense")
      assert.same({ nil, ("certificate %s/live.pem: no start line"):format(ca.folder) },
        { s:reload() })
      assert.equal("second", subject(tls.couple(c, s, "localhost")))
    end)

    it("keeps sessions good", function()
      local c, s = new_client {}, new_server {}
      for turn = 1, 2 do
        local conn, peer = tls.couple(c, s, "localhost")
        assert.equal(turn == 2, conn:session_reused())
        peer:send "x"
        conn:receive(1)
        conn:close()
        assert.is_true(s:reload())
      end
    end)
  end)
end)

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"
local tls = require "spec.support.tls"

describe("greenlua.ssl", function()
  local ca, pair, server, client

  setup(function()
    ca, server, client, pair = tls.parties { "localhost", "*.wild.example", "127.0.0.1", "::1" }
  end)
  teardown(function() ca:close() end)

  -- Both ends of a connection, or why not.
  local function couple(c, s, name)
    return tls.couple(c or client, s or server, name or "localhost")
  end

  -- It works in both directions.
  local function assert_talks(a, b)
    a:send "ping\n"
    assert.equal("ping", b:receive())
    b:send "pong\n"
    assert.equal("pong", a:receive())
  end

  describe("a handshake", function()
    it("makes a TLS connection of a socket, with all its methods", function()
      local a, b = sockets.couple()
      a:settimeout(60)
      local g = green.spawn(server.accept, server, b)
      local conn <close> = assert(client:connect(a, "localhost"))
      local peer <close> = g:get()
      assert.equal(a, conn)
      assert.equal(b, peer)
      assert.matches("^SSL connection: 0x%x+$", tostring(conn))
      assert.equal("SSL:Connection", getmetatable(conn).__index.class)
      assert.same({ 60, -1 }, { conn:gettimeout() })
      assert_talks(conn, peer)
      assert.same({ 5, 5 }, { conn:getstats(), (select(2, conn:getstats())) })
      local info = conn:info()
      assert.equal("TLSv1.3", info.protocol)
      assert.equal("TLSv1.3", conn:info "protocol")
      assert.equal(256, info.bits)
      conn:close()
      assert.matches("%(closed%)$", tostring(conn))
      assert.same({ nil, "closed" }, { conn:info() })
    end)

    it("takes what the socket has read already as its beginning", function()
      local a, b = sockets.couple()
      local g = green.spawn(function()
        a:send "PROXY TCP4 1.2.3.4\r\n"
        return client:connect(a, "localhost", 60)
      end)
      assert.equal("PROXY TCP4 1.2.3.4", b:receive())
      green.sleep(0.01)
      assert.is_true((socket.wait_read(b, 60)))
      local peer <close> = assert(server:accept(b, 60))
      local conn <close> = g:get()
      assert_talks(conn, peer)
    end)

    it("works over UNIX sockets", function()
      local a, b = socket.pair()
      local g = green.spawn(server.accept, server, b, 60)
      local conn <close> = assert(client:connect(a, "localhost", 60))
      local peer <close> = g:get()
      assert_talks(conn, peer)
    end)

    it("has one deadline for all of it", function()
      local a, b <close> = sockets.couple()
      -- Somebody who sends a byte now and then is no faster for that.
      local g = green.spawn(function()
        b:send "\22\3\1\1\0\1\0\0\252\3\3" -- a ClientHello begins
        while b:send "\0" do green.sleep(0.005) end
      end)
      assert.same({ nil, "timeout" }, { server:accept(a, 0.03) })
      assert.equal(-1, a:getfd())
      g:kill()
      local c <close> = green.Timeout(0.01)
      local d, e <close> = sockets.couple()
      local ok, err = pcall(client.connect, client, d, "localhost", c)
      assert.same({ false, c }, { ok, err })
      assert.equal(-1, d:getfd())
      assert.is_truthy(e)
    end)

    it("leaves nothing when it is killed", function()
      local a, b <close> = sockets.couple()
      local g = green.spawn(server.accept, server, a)
      green.sleep(0)
      g:kill()
      assert.equal(-1, a:getfd())
      assert.same({ nil, "closed", "" }, { b:receive() })
    end)

    it("ends with the socket", function()
      local a, b <close> = sockets.couple() -- luacheck: ignore
      local g = green.spawn(server.accept, server, a)
      green.sleep(0)
      a:close()
      assert.same({ nil, "closed" }, { g:get() })
      local c, d = sockets.couple()
      d:close()
      assert.same({ nil, "closed" }, { client:connect(c, "localhost", 60) })
    end)

    it("works under C boundaries", function()
      local a, b = sockets.couple()
      local g = green.spawn(server.accept, server, b, 60)
      local conn;
      ("x"):gsub(".", function() conn = client:connect(a, "localhost", 60) end)
      local peer <close> = g:get()
      assert_talks(conn, peer)
      conn:close()
    end)

    it("tells who speaks something else", function()
      local a, b <close> = sockets.couple()
      b:send "GET / HTTP/1.1\r\n\r\n"
      assert.same({ nil, "http request" }, { server:accept(a, 5) })
      local c, d <close> = sockets.couple()
      d:send "220 smtp.example.com ESMTP\r\n"
      assert.same({ nil, "wrong version number: the peer does not speak TLS" },
        { client:connect(c, "localhost", 60) })
    end)

    it("is misused loudly", function()
      local a, b = sockets.couple()
      assert.error_matches(function() client:connect(a) end,
        "#2 to 'connect' %(name of a host expected, got nil")
      assert.error_matches(function() client:accept(a) end, "'accept' on the context of a client")
      assert.error_matches(function() server:connect(a, "x") end, "on the context of a server")
      assert.error_matches(function() client:connect({}, "x") end, "a connected socket expected")
      local listener <close> = assert(socket.bind("127.0.0.1", 0))
      assert.error_matches(function() server:accept(listener) end, "got tcp{server}")
      assert.is_truthy(b)
    end)

    it("is done once", function()
      local conn, peer = couple()
      assert.error_matches(function() client:connect(conn, "localhost") end,
        "a connected socket expected, got SSL connection")
      assert.is_truthy(peer)
    end)
  end)

  describe("verification", function()
    local function refused(c, s, name)
      local conn, _, why, why_not = couple(c, s, name)
      assert.is_nil(conn)
      return why, why_not
    end

    it("takes names, wildcards and addresses of the certificate", function()
      for _, name in ipairs { "localhost", "LOCALHOST", "localhost.", "a.wild.example", "127.0.0.1",
        "::1" } do
        local conn, peer, why = couple(nil, nil, name)
        assert.is_truthy(conn, why)
        assert.is_true((conn:getpeerverification()))
        assert.is_truthy(peer)
      end
    end)

    it("refuses other names", function()
      for _, name in ipairs { "example.com", "a.b.wild.example", "127.0.0.2", "::2",
        "wild.example" } do
        local why, why_not = refused(nil, nil, name)
        assert.equal("hostname mismatch, the certificate is not for: " .. name, why)
        assert.matches("alert", why_not)
      end
    end)

    it("heeds names where they belong, and no part of them", function()
      local nameless = assert(ssl.server(ca:issue("localhost", {}, { subject = "/CN=localhost" })))
      assert.matches("^hostname mismatch", (refused(nil, nameless)))
      local a = sockets.couple()
      assert.error_matches(function() client:connect(a, ".wild.example") end, "name of a host")
      local longest = ("a."):rep(127) .. "a"
      assert.error_matches(function() client:connect(a, longest .. "b") end, "name of a host")
      assert.matches("^hostname mismatch", (refused(nil, nil, longest)))
    end)

    it("refuses whom no authority vouches for", function()
      local own = assert(ssl.server(ca:issue("localhost", nil, { by = false })))
      assert.equal("certificate verify failed: self-signed certificate", refused(nil, own))
      local elsewhere <close> = certificates.authority "somebody else"
      local other = assert(ssl.server(elsewhere:issue "localhost"))
      assert.equal("certificate verify failed: unable to get local issuer certificate",
        refused(nil, other))
      local expired = assert(ssl.server(ca:issue("localhost", nil, { days = -1 })))
      assert.equal("certificate verify failed: certificate has expired", refused(nil, expired))
      local default = assert(ssl.to_client(true))
      assert.equal(default, ssl.to_client(true))
      assert.matches("^certificate verify failed: ", refused(default))
    end)

    it("can be left out, in parts or altogether", function()
      local nameless = assert(ssl.client { ca = ca.certificate, verify_hostname = false })
      local a, b, why = couple(nameless, nil, "example.com")
      assert.is_truthy(a, why)
      local trusting = assert(ssl.client { verify = false })
      local c, d, why_not = couple(trusting)
      assert.is_truthy(c, why_not)
      assert.is_false((c:getpeerverification()))
      assert.is_truthy(b and d)
    end)

    it("takes authorities as text, folder and list", function()
      local text = certificates.read(ca.certificate)
      for _, authority in ipairs { text, { text }, { "system", ca.certificate } } do
        local conn, peer, why = couple(assert(ssl.client { ca = authority }))
        assert.is_truthy(conn, why)
        assert.is_truthy(peer)
      end
      assert.is_truthy(ssl.client { ca = ca.folder })
    end)
  end)

  describe("a context", function()
    it("tells which file it cannot read, and why", function()
      assert.same({ nil, "certificate /nowhere: No such file or directory" },
        { ssl.server { certificate = "/nowhere", key = pair.key } })
      assert.same({ nil, "key /nowhere: No such file or directory" },
        { ssl.server { certificate = pair.certificate, key = "/nowhere" } })
      assert.same({ nil, ("certificate %s: no start line"):format(pair.key) },
        { ssl.server { certificate = pair.key, key = pair.key } })
      local other = ca:issue "localhost"
      assert.same({ nil, ("key %s: key values mismatch"):format(other.key) },
        { ssl.server { certificate = pair.certificate, key = other.key } })
      assert.same({ nil, "ca: /nowhere: No such file or directory" },
        { ssl.client { ca = "/nowhere" } })
      assert.matches("^ciphers nonsense: ", select(2, ssl.client { ciphers = "nonsense" }))
      assert.matches("^curves nonsense: ", select(2, ssl.client { curves = "nonsense" }))
      assert.matches("^keylog /nowhere/x: ", select(2, ssl.client { keylog = "/nowhere/x" }))
    end)

    it("raises misuse", function()
      for _, case in ipairs {
        { "client", { nonsense = 1 }, "unknown option 'nonsense'" },
        { "client", { ca = 1 }, "ca: string or table expected, got integer" },
        { "client", { min_version = "2.0" }, "min_version: unknown '2.0'" },
        { "client", { alpn = { "" } }, "alpn: invalid ALPN name" },
        { "client", { verify = "optional" }, "verify: unknown kind 'optional'" },
        { "client", { options = { "x" } }, "options: unknown 'x'" },
        { "server", {}, "a certificate is needed" },
        { "server", { certificate = "x" }, "certificate: needs the option key" },
        { "server", { certificate = "x", key = "x", verify = "required" }, "needs the option ca" },
        { "server", { certificates = { 1 } }, "certificates[1]: a table" },
      } do
        local ok, err = pcall(ssl[case[1]], case[2])
        assert.is_false(ok)
        assert.is_truthy(tostring(err):find(case[3], 1, true), err)
      end
      assert.error_matches(function() ssl.server() end, "table expected, got nil")
    end)

    it("takes certificates as text", function()
      local text = certificates.read(pair.certificate) .. certificates.read(pair.key)
      local conn, peer = couple(nil, assert(ssl.server { certificate = text }))
      assert_talks(conn, peer)
    end)

    it("takes an encrypted key with its password, and never asks for one", function()
      local path = ca.folder .. "/encrypted.key"
      assert(os.execute(("openssl ec -aes128 -passout pass:secret -in %s -out %s 2>/dev/null")
        :format(pair.key, path)))
      local function new(password)
        return ssl.server { certificate = pair.certificate, key = path, password = password }
      end
      assert.is_truthy(new "secret")
      assert.is_truthy(new(function() return "secret" end))
      assert.matches("^key .*: ", select(2, new "wrong"))
      assert.matches("^key .*: ", select(2, new()))
      local problem = {}
      local ok, err = pcall(new, function() error(problem) end)
      assert.same({ false, problem }, { ok, err })
    end)

    it("speaks TLS 1.2 and more, or what it is told", function()
      local old = assert(ssl.client { ca = ca.certificate, max_version = "1.2" })
      local conn, peer = couple(old)
      assert.equal("TLSv1.2", conn:info "protocol")
      assert_talks(conn, peer)
      local new = assert(ssl.server { certificate = pair.certificate, key = pair.key,
        min_version = "1.3" })
      local c, _, why, why_not = couple(old, new)
      assert.is_nil(c)
      assert.equal("tlsv1 alert protocol version", why)
      assert.equal("unsupported protocol", why_not)
    end)

    it("agrees on ciphers and curves", function()
      local c = assert(ssl.client { ca = ca.certificate, max_version = "1.2",
        ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305", curves = "P-256" })
      local conn, peer = couple(c)
      assert.equal("ECDHE-ECDSA-CHACHA20-POLY1305", conn:info "cipher")
      local d = assert(ssl.client { ca = ca.certificate, ciphersuites = "TLS_AES_128_GCM_SHA256" })
      local other, its_peer = couple(d)
      assert.equal(128, other:info "bits")
      assert.is_truthy(peer and its_peer)
    end)

    it("writes the secrets of its connections to a file", function()
      local path = ca.folder .. "/keys.log"
      local conn, peer = couple(assert(ssl.client { ca = ca.certificate, keylog = path }))
      assert.matches("CLIENT_TRAFFIC_SECRET_0 %x+ %x+\n", certificates.read(path))
      assert.is_truthy(conn and peer)
    end)

    it("can have several certificates", function()
      local path = ca.folder .. "/rsa"
      assert(os.execute(("openssl req -x509 -newkey rsa:2048 -nodes -keyout %s.key -out %s.pem " ..
        "-subj /CN=rsa 2>/dev/null"):format(path, path)))
      local both = assert(ssl.server { certificates = {
        pair, { certificate = path .. ".pem", key = path .. ".key" },
      } })
      local c = assert(ssl.client { verify = false, max_version = "1.2", ciphers = "aRSA" })
      local conn, peer = couple(c, both)
      assert.equal("rsa", conn:getpeercertificate():subject()[1].value)
      assert.is_truthy(peer)
    end)
  end)
end)

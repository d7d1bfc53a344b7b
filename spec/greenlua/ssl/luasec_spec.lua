-- As LuaSec: its answers, its https module, and what programs do with it.

local await = require "spec.support.await"
local certificates = require "spec.support.certificates"
local green = require "greenlua"
local lfs = require "lfs"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"
local support = require "spec.support"
local tls = require "spec.support.tls"

describe("greenlua.ssl as LuaSec", function()
  local ca, pair

  setup(function()
    ca = certificates.authority()
    pair = ca:issue("localhost", { "localhost", "127.0.0.1", "::1" })
    ca:file("server.pem", certificates.read(pair.certificate))
    ca:file("server.key", certificates.read(pair.key))
  end)
  teardown(function() ca:close() end)

  local function config(mode, more)
    local cfg = { mode = mode, protocol = "any" }
    if mode == "server" then cfg.certificate, cfg.key = pair.certificate, pair.key end
    for k, v in pairs(more or {}) do cfg[k] = v end
    return cfg
  end

  -- Two ends after their handshakes: conn, peer, and what each said.
  local function couple(client, server, name, sni)
    local a, b = sockets.couple()
    local peer = assert(ssl.wrap(b, server))
    if sni then peer:sni(table.unpack(sni)) end
    local conn = assert(ssl.wrap(a, client))
    if name then conn:sni(name) end
    local g = green.spawn(peer.dohandshake, peer)
    local said = table.pack(conn:dohandshake())
    return conn, peer, said, table.pack(g:get())
  end

  it("answers what LuaSec answers", function()
    local server = assert(ssl.server(pair))
    local listener <close>, port = tls.serve(server, function(conn) -- luacheck: ignore
      conn:send "hello\n"
      for line in conn:lines() do
        if line == "quit" then break end
        conn:send(line .. "\n")
      end
    end)
    local function probe(command, modules)
      local program <close> = tls.start(
        ("sh -c '%s spec/greenlua/ssl/probe.lua %s %s %d; echo ENDED'"):format(command, modules,
          ca.folder, port))
      program:await "ENDED\n$"
      return program:output()
    end
    local expected = {}
    for line in probe("lua5.4", "ssl socket"):gmatch "[^\n]+" do expected[#expected + 1] = line end
    local i, section = 0, ""
    for line in probe(support.greenlua, "greenlua.ssl greenlua.socket"):gmatch "[^\n]+" do
      i = i + 1
      if line:find "^==" then section = line end
      assert.equal(section .. "\n" .. tostring(expected[i]), section .. "\n" .. line)
    end
    assert.equal(#expected, i)
    assert.is_true(i > 100)
  end)

  it("chooses contexts by name", function()
    local map = {}
    for _, name in ipairs { "a.example", "b.example" } do
      local one = ca:issue(name)
      map[name] = ssl.newcontext(config("server", { certificate = one.certificate, key = one.key }))
    end
    local function subject(name, strict)
      local conn, _, said = couple(config "client", config "server", name, { map, strict })
      if not said[1] then return said[2] end
      return conn:getpeercertificate():subject()[1].value
    end
    assert.equal("a.example", subject "a.example")
    assert.equal("b.example", subject("b.example", true))
    assert.equal("localhost", subject "c.example")
    assert.equal("localhost", subject(nil, true))
    assert.equal("tlsv1 unrecognized name", subject("c.example", true))
    local _, peer = couple(config "client", config "server")
    assert.error_matches(function() peer:sni "x" end, "table expected, got string")
  end)

  it("agrees on protocols", function()
    local function chosen(client, server)
      local conn, peer, said = couple(config("client", { alpn = client }),
        config("server", { alpn = server }))
      assert.is_true(said[1], said[2])
      assert.equal(conn:getalpn(), peer:getalpn())
      return conn:getalpn()
    end
    assert.equal("b", chosen({ "a", "b" }, { "b", "a" }))
    assert.equal("a", chosen("a", { "b", "a" }))
    assert.is_nil(chosen("c", { "b", "a" }))
    local offered
    assert.equal("b", chosen({ "a", "b" }, function(list) offered = list return "b" end))
    assert.same({ "a", "b" }, offered)
    assert.is_nil(chosen({ "a", "b" }, function() end))
  end)

  it("uses pre-shared keys", function()
    local asked
    local conn, _, said, its = couple(
      config("client", { protocol = "tlsv1_2", ciphers = "PSK", psk = function(hint)
        asked = hint
        return "me", "secret"
      end }),
      { mode = "server", protocol = "tlsv1_2", ciphers = "PSK", psk = {
        hint = "who?", callback = function(identity) return identity == "me" and "secret" end,
      } })
    assert.is_true(said[1], said[2])
    assert.is_true(its[1], its[2])
    assert.equal("who?", asked)
    assert.matches("PSK", conn:info "cipher")
  end)

  it("verifies whatever a certificate is for, if it is told so", function()
    local mine = ca:issue("a client", {}, { purpose = "serverAuth" })
    local function accepted(verifyext)
      local _, _, _, said = couple(
        config("client", { certificate = mine.certificate, key = mine.key }),
        config("server", { verify = { "peer", "fail_if_no_peer_cert" }, cafile = ca.certificate,
          verifyext = verifyext }))
      return said[1]
    end
    assert.is_true(accepted "lsec_ignore_purpose")
    assert.is_falsy(accepted())
  end)

  it("has certificates that can be closed", function()
    local certificate = assert(ssl.loadcertificate(certificates.read(pair.certificate)))
    do
      local _ <close> = certificate
      assert.equal("string", type(certificate:digest()))
    end
    assert.error_matches(function() certificate:digest() end, "the certificate is closed")
  end)

  it("verifies by DANE", function()
    local file <close> = assert(io.popen("openssl x509 -outform DER -in " .. pair.certificate))
    local der = file:read "a"
    for _, case in ipairs { { der, true }, { der:reverse(), false } } do
      local a, b = sockets.couple()
      local peer = assert(ssl.wrap(b, config "server"))
      local conn = assert(ssl.wrap(a, config("client", { verify = "peer", dane = true })))
      assert.is_true(conn:setdane "localhost")
      assert.equal(case[2], conn:settlsa(3, 0, 0, case[1]))
      local g = green.spawn(peer.dohandshake, peer)
      assert.equal(case[2], (conn:dohandshake()))
      g:get()
    end
  end)

  it("wraps anything that has a descriptor", function()
    local a, b = sockets.couple()
    local fd = a:detach()
    local foreign = { getfd = function() return fd end }
    function foreign:setfd(to) fd = to end -- luacheck: ignore
    local conn = assert(ssl.wrap(foreign, config "client"))
    assert.equal(-1, fd)
    local peer = assert(ssl.wrap(b, config "server"))
    local g = green.spawn(peer.dohandshake, peer)
    assert.is_true(conn:dohandshake())
    assert.is_true(g:get())
    conn:send "hello\n"
    assert.equal("hello", peer:receive())
    local unconnected = assert(ssl.wrap(require("greenlua.socket").tcp(), config "client"))
    assert.same({ false, "closed" }, { unconnected:dohandshake() })
  end)

  it("lets its parts be used", function()
    local a, b = sockets.couple()
    local ctx = assert(ssl.context.create "any")
    assert.is_true(ssl.context.setmode(ctx, "client"))
    local conn = assert(ssl.core.create(ctx))
    assert.equal(-1, conn:getfd())
    ssl.core.setfd(conn, a:getfd())
    a:setfd(ssl.core.SOCKET_INVALID)
    assert.error_matches(function() ssl.core.setfd(conn, 1) end, "invalid SSL object state")
    local peer = assert(ssl.wrap(b, config "server"))
    local g = green.spawn(peer.dohandshake, peer)
    assert.is_true(conn:dohandshake())
    g:get()
    assert.matches("TLS", (ssl.core.info(conn)))
    local methods = getmetatable(conn).__index
    finally(function() methods.shout = nil end)
    ssl.core.setmethod("shout", function(self, text) return self:send(text:upper() .. "\n") end)
    conn:shout "hi"
    assert.equal("HI", peer:receive())
  end)

  describe("with nginx", function()
    local nginx, port

    setup(function()
      local guard
      port, guard = sockets.reserve_port()
      ca:file("index.html", "<p>" .. ("x"):rep(1000) .. "</p>")
      local conf = ca:file("nginx.conf", ([[
daemon off; master_process off; pid %s/nginx.pid; error_log stderr warn;
events { worker_connections 1100; }
http {
  access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;
  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;
  server {
    listen 127.0.0.1:%d ssl backlog=1100;
    ssl_certificate %s; ssl_certificate_key %s;
    root %s;
    location = /slow { return 200 "slow"; }
  }
}
]]):gsub("%%s/", ca.folder .. "/"):format(port, pair.certificate, pair.key, ca.folder))
      nginx = tls.start(("nginx -p %s -e stderr -c %s"):format(ca.folder, conf), guard)
      await(function()
        local sock = require("greenlua.socket").connect("127.0.0.1", port)
        return sock and sock:close()
      end, function() return nginx:output() end)
    end)
    teardown(function()
      nginx:close()
      for i = 1, 5 do lfs.rmdir(("%s/t%d"):format(ca.folder, i)) end
    end)

    it("runs ssl.https unmodified, many requests at once", function()
      local code, out, err = support.run({ "-e", ([[
        local green = require "greenlua"
        local socket = green.socket
        if not socket.try then -- LuaSocket's own, in Lua
          for name, f in pairs(require "socket.core") do socket[name] = socket[name] or f end
          package.loaded["socket.core"] = socket
          socket = require "socket"
        end
        package.loaded.socket, package.loaded.ssl = socket, green.ssl
        local ltn12, https = require "ltn12", require "ssl.https"
        local all, right = {}, 0
        for i = 1, %d do
          all[i] = green.spawn(function()
            local body, code = https.request("https://127.0.0.1:%d/index.html")
            if code == 200 and #body == 1007 then right = right + 1 else print(body, code) end
          end)
        end
        green.joinall(all)
        print(right)
        local parts = {}
        print(https.request { url = "https://localhost:%d/slow", sink = ltn12.sink.table(parts),
          verify = "peer", cafile = %q })
        print(table.concat(parts))
        print(https.request { url = "https://localhost:%d/", verify = "peer",
          cafile = "/dev/null" })
      ]]):format(40, port, port, ca.certificate, port) })
      assert.same({ 0, "" }, { code, err })
      assert.matches("^40\n1\t200\ttable: 0x%x+\tHTTP/1.1 200 OK\nslow\n", out)
      assert.matches("\nnil\t.-\n$", out)
    end)

    it("takes turns with session tickets", function()
      local c = assert(ssl.client { ca = ca.certificate })
      for turn = 1, 3 do
        local conn <close> = assert(c:connect(tls.connect(port), "localhost", 60))
        assert.equal(turn > 1, conn:session_reused())
        conn:send "GET /index.html HTTP/1.0\r\n\r\n"
        assert.matches("x</p>$", conn:receive "*a")
      end
    end)
  end)
end)

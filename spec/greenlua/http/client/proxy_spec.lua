-- The client behind proxies.

local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local green = require "greenlua"
local http = require "greenlua.http"
local proxies = require "greenlua.http.client.proxy"
local scripted = require "spec.support.scripted"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"
local urls = require "greenlua.http.client.url"
local web = require "spec.support.http"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("http.client", function()
  local ca, mine, secure, plain, trust

  local function handler(req, res)
    if req.path == "/echo" then return web.must(req:read "a") end
    if req.path == "/other" then
      local sock = web.must(res:upgrade "echo")
      for line in sock:lines() do sock:send(line .. "\n") end
      return
    end
    return req.target .. " " .. req.host .. " " .. (req:header "proxy-authorization" or "-")
  end

  setup(function()
    ca = certificates.authority()
    mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    plain = web.server(handler)
    secure = web.server(handler, { tls = { certificate = mine.certificate, key = mine.key } })
    function secure.warn() end
    trust = { ca = ca.certificate }
  end)

  teardown(function()
    plain:stop(0)
    secure:stop(0)
    ca:close()
  end)

  -- Whoever is between us and a server may be a little later than we are.
  local function settle()
    servers.await(function() return plain:counts() == 0 and secure:counts() == 0 end)
  end

  local function plain_url(path, host)
    return ("http://%s:%d%s"):format(host or "localhost", plain.port, path or "/")
  end

  local function secure_url(path, host)
    return ("https://%s:%d%s"):format(host or "localhost", secure.port, path or "/")
  end

  -- A proxy for CONNECT that knows one user, if any; it counts what it opens. With a
  -- context it speaks TLS.
  local function connect_proxy(authorization, context)
    local proxy
    proxy = scripted.server(function(peer)
      if context then
        peer = context:accept(peer)
        if not peer then return end
      end
      local head = scripted.read(peer)
      proxy.requests[#proxy.requests + 1] = head
      local host, port = head:match "^CONNECT ([^: ]+):(%d+) HTTP/1.1\r\n"
      if authorization and head:match "\r\nProxy%-Authorization: ([^\r]*)" ~= authorization then
        return peer:send "HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n"
      end
      local target <close> = assert(socket.connect(host, tonumber(port)))
      peer:send "HTTP/1.1 200 Connected\r\n\r\n"
      local back = green.spawn(function()
        local bytes = target:receive_some()
        while bytes and peer:send(bytes) do bytes = target:receive_some() end
        peer:close()
      end)
      local bytes = peer:receive_some()
      while bytes and target:send(bytes) do bytes = peer:receive_some() end
      back:close()
    end)
    return proxy
  end

  describe("behind a proxy", function()
    it("asks it with the whole URL", function()
      local proxy <close> = scripted.server { OK, OK }
      local client <close> = http.client { proxy = proxy.url }
      assert.equal("ok", client:get("http://x.example/a?b").body)
      assert.equal("ok", client:get("http://y.example:81/").body)
      assert.matches("^GET http://x.example/a%?b HTTP/1.1\r\nHost: x.example\r\n",
        proxy.requests[1])
      assert.matches("^GET http://y.example:81/ HTTP/1.1\r\nHost: y.example:81\r\n",
        proxy.requests[2])
      assert.equal(1, proxy.accepted)
    end)

    it("asks nginx", function()
      finally(settle)
      local nginx <close> = daemon.nginx "location / { proxy_pass http://$http_host$uri; }"
      local client <close> = http.client { proxy = "127.0.0.1:" .. nginx.port }
      local res = web.must(client:get("http://127.0.0.1:" .. plain.port .. "/a"))
      assert.matches("^/a 127.0.0.1 %-$", res.body)
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("says who it is", function()
      local proxy <close> = scripted.server { OK }
      local client <close> = http.client { proxy = proxy.url:gsub("//", "//u:p@") }
      client:get "http://x.example/"
      assert.matches("\r\nProxy%-Authorization: Basic dTpw\r\n", proxy.requests[1])
    end)

    it("goes through a tunnel with TLS, and keeps it", function()
      finally(settle)
      local proxy <close> = connect_proxy "Basic dTpw"
      local client <close> = http.client { tls = trust, proxy = proxy.url:gsub("//", "//u:p@") }
      for _ = 1, 2 do
        assert.equal("/x localhost -", web.must(client:get(secure_url "/x")).body)
      end
      assert.equal(1, #proxy.requests)
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("is told what the proxy thinks of it", function()
      local proxy <close> = connect_proxy "Basic dTpw"
      local client <close> = http.client { tls = trust, proxy = proxy.url }
      assert.same({ nil, "the proxy says 407 Who are you?", "proxy" }, { client:get(secure_url()) })
      local dead <close> = scripted.server(function() end)
      assert.same({ nil, "closed", "proxy" }, { client:get(secure_url(), { proxy = dead.url }) })
      local noisy <close> = scripted.server "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
      assert.same({ nil, "the proxy says more than it was asked", "proxy" },
        { client:get(secure_url(), { proxy = noisy.url }) })
      assert.same({ 0, 0 }, { client:counts() })
    end)

    it("tells what no proxy is", function()
      local client <close> = http.client()
      for proxy, why in pairs {
        ["socks4://x/"] = 'the scheme "socks4" is not known', ["http://"] = "no host",
        ["http+unix://%2Fx"] = "UNIX", ["socks5://:p@x"] = "a user",
        ["socks5://" .. ("u"):rep(256) .. "@x"] = "255 bytes",
      } do
        local _, err, phase = client:get("http://x/", { proxy = proxy })
        assert.matches(why, err, 1, true)
        assert.equal("proxy", phase)
      end
    end)

    it("knows whom to ask directly", function()
      local function excepted(list, url) return proxies.excepted(list, urls.parse(url)) end
      assert.is_true(excepted("*", "http://a/"))
      assert.is_true(excepted("b, a", "http://a/"))
      assert.is_true(excepted("A.org", "http://x.a.org/"))
      assert.is_true(excepted(".a.org", "http://a.org/"))
      assert.is_true(excepted("*.a.org", "http://x.a.org/"))
      assert.is_true(excepted("a:81", "http://a:81/"))
      assert.is_true(excepted("[::1]", "http://[::1]/"))
      assert.is_true(excepted("::1", "http://[::1]/"))
      assert.is_true(excepted("[::1]:80", "http://[::1]/"))
      assert.is_true(excepted("10.0.0.0/8", "http://10.255.3.4/"))
      assert.is_true(excepted("a,172.16.0.0/12", "http://172.31.0.1:81/"))
      assert.is_true(excepted("10.1.2.3/32,fd00::/9", "http://[fd7f::1]/"))
      assert.is_true(excepted("0.0.0.0/0", "http://1.2.3.4/"))
      assert.is_false(excepted("172.16.0.0/12", "http://172.32.0.1/"))
      assert.is_false(excepted("10.1.2.3/32", "http://10.1.2.4/"))
      assert.is_false(excepted("fd00::/9", "http://[fd80::1]/"))
      assert.is_false(excepted("10.0.0.0/8,0.0.0.0/0", "http://ten.example/"))
      assert.is_false(excepted("0.0.0.0/0,0.0.0.0/33,x/8,a/", "http://[::1]/"))
      assert.is_false(excepted("a:81", "http://a/"))
      assert.is_false(excepted("a.org", "http://xa.org/"))
      assert.is_false(excepted("", "http://a/"))
      assert.is_false(excepted("[::1]:81", "http://[::1]/"))
    end)

    it("does as the environment says", function()
      local real = os.getenv
      finally(function() os.getenv = real end) -- luacheck: ignore
      local environment = {
        http_proxy = "http://p:1", HTTPS_PROXY = "q:2", HTTP_PROXY = "http://evil/", NO_PROXY = "x",
      }
      os.getenv = function(name) return environment[name] end -- luacheck: ignore
      local function found(url, option)
        local proxy = proxies.find(urls.parse(url), option)
        return proxy and proxy.host
      end
      assert.equal("p", found "http://a/")
      assert.equal("q", found "https://a/")
      assert.is_nil(found "http://x/")
      assert.is_nil(found("http://a/", false))
      assert.is_nil(found "http+unix://%2Fa/")
      assert.equal("r", found("http://x/", "http://r/"))
      environment = { HTTP_PROXY = "http://evil/" }
      assert.is_nil(found "http://a/")
      environment = { ALL_PROXY = "z" }
      assert.equal("z", found "https://a/")
    end)
  end)

  describe("behind a proxy that is reached by TLS", function()
    local context

    setup(function()
      context = web.must(ssl.server { certificate = mine.certificate, key = mine.key })
    end)

    it("asks nginx", function()
      finally(settle)
      local port, _ <close> = daemon.reserve_port()
      -- luacheck: ignore
      local nginx <close> = daemon.nginx(([[
        listen 127.0.0.1:%d ssl; ssl_certificate %s; ssl_certificate_key %s;
        location / { proxy_pass http://$http_host$uri; }]]):format(port, mine.certificate,
          mine.key))
      local client <close> = http.client { proxy = "https://u:p@localhost:" .. port,
        proxy_tls = trust }
      for _ = 1, 2 do
        assert.equal("/a 127.0.0.1 Basic dTpw",
          web.must(client:get(plain_url("/a", "127.0.0.1"))).body)
      end
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("verifies it", function()
      finally(settle)
      local proxy <close> = connect_proxy(nil, context)
      local at = proxy.url:gsub("http", "https")
      local client <close> = http.client { proxy = at, verify = false }
      for _, url in ipairs { secure_url(), plain_url() } do
        local _, err, phase = client:get(url)
        assert.matches("certificate verify failed", err)
        assert.equal("proxy", phase)
      end
      assert.equal(200, web.must(client:get(secure_url(), { proxy_tls = trust })).status)
      local _, err, phase = client:get(secure_url(), { proxy_tls = { ca = "/nonexistent" } })
      assert.matches("/nonexistent", err)
      assert.equal("proxy", phase)
    end)

    it("speaks TLS within TLS, and keeps that", function()
      finally(settle)
      local proxy <close> = connect_proxy("Basic dTpw", context)
      local client <close> = http.client { tls = trust, proxy_tls = trust,
        proxy = proxy.url:gsub("http://", "https://u:p@") }
      local body = ("0123456789"):rep(300000)
      for _ = 1, 3 do
        assert.equal("/x localhost -", web.must(client:get(secure_url "/x")).body)
        assert.equal(body, web.must(client:post(secure_url "/echo", { body = body })).body)
      end
      assert.equal(1, #proxy.requests)
      assert.same({ 1, 1 }, { client:counts() })
      assert.is_nil(client:get(secure_url(), { tls = {} }))
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("begins anew when what it kept has been closed", function()
      finally(settle)
      local proxy <close> = connect_proxy(nil, context)
      local client <close> = http.client { tls = trust, proxy_tls = trust,
        proxy = proxy.url:gsub("http", "https") }
      web.must(client:get(secure_url()))
      for _, g in ipairs(proxy.greenlets) do g:close() end
      servers.await(function()
        return web.must(client:get(secure_url())).status == 200 and #proxy.requests == 2
      end)
    end)

    it("leaves nothing running behind it", function()
      finally(settle)
      local proxy <close> = connect_proxy(nil, context)
      local client <close> = http.client { tls = trust, proxy_tls = trust,
        proxy = proxy.url:gsub("http", "https") }
      web.must(client:get(secure_url()))
      local res = web.must(client:get { url = secure_url "/other", stream = true,
        headers = { Upgrade = "echo", Connection = "Upgrade" } })
      local sock <close> = web.must(res:upgrade())
      sock:send "hello\n"
      assert.equal("hello", sock:receive())
      local g = green.spawn(client.get, client, { url = secure_url(), stream = true })
      g:get():close()
    end)

    it("is told what the proxy thinks of it", function()
      local proxy <close> = connect_proxy("Basic dTpw", context)
      local client <close> = http.client { tls = trust, proxy_tls = trust,
        proxy = proxy.url:gsub("http", "https") }
      assert.same({ nil, "the proxy says 407 Who are you?", "proxy" }, { client:get(secure_url()) })
      assert.same({ 0, 0 }, { client:counts() })
    end)
  end)

  describe("behind a proxy of SOCKS 5", function()
    -- What it gets in pieces of so many bytes, and what it says to each.
    local function script(steps, got)
      return scripted.server(function(peer)
        for _, step in ipairs(steps) do
          got[#got + 1] = peer:receive(step[1])
          peer:send(step[2])
        end
        peer:receive "*a"
      end)
    end

    local function socks_url(server, scheme, user)
      return ("%s://%s127.0.0.1:%d"):format(scheme or "socks5h", user or "", server.port)
    end

    local FINE <const> = "\5\0\0\1\127\0\0\1\0\0"

    it("asks microsocks", function()
      finally(settle)
      local folder, port, guard = daemon.folder(), daemon.reserve_port()
      local proxy <close> = daemon.start(folder, port, guard, "microsocks -i 127.0.0.1 -p " .. port)
      for _, scheme in ipairs { "socks5", "socks5h" } do
        local client <close> = http.client { tls = trust, proxy = socks_url(proxy, scheme) }
        for _ = 1, 2 do
          assert.equal("/a localhost -", web.must(client:get(plain_url "/a")).body)
          assert.equal("/b localhost -", web.must(client:get(secure_url "/b")).body)
          assert.equal("/ 127.0.0.1 -", web.must(client:get(plain_url("/", "127.0.0.1"))).body)
        end
        assert.same({ 3, 3 }, { client:counts() })
        local body = ("0123456789"):rep(100000)
        assert.equal(body, web.must(client:post(secure_url "/echo", { body = body })).body)
        local unheard, _ <close> = daemon.reserve_port()
        local nobody = ("http://127.0.0.1:%d/"):format(unheard)
        assert.same({ nil, "the proxy says: connection refused", "proxy" },
          { client:get(nobody) })
      end
    end)

    it("logs in at microsocks", function()
      finally(settle)
      local folder, port, guard = daemon.folder(), daemon.reserve_port()
      local proxy <close> = daemon.start(folder, port, guard,
        "microsocks -i 127.0.0.1 -u me -P secret -p " .. port)
      local client <close> = http.client { proxy = socks_url(proxy, nil, "me:secret@") }
      assert.equal("/a localhost -", web.must(client:get(plain_url "/a")).body)
      assert.same({ nil, "the proxy wants a user and a password", "proxy" },
        { client:get(plain_url(), { proxy = socks_url(proxy) }) })
      assert.same({ nil, "the proxy does not take the user and the password", "proxy" },
        { client:get(plain_url(), { proxy = socks_url(proxy, nil, "me:wrong@") }) })
    end)

    it("says where to as the URL does", function()
      for host, where in pairs {
        ["10.1.2.3"] = "\1\10\1\2\3", ["x.example"] = "\3\9x.example",
        ["[2001:db8::1:2]"] = "\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\1\0\2",
      } do
        local got = {}
        local proxy <close> = script({ { 3, "\5\0" }, { 5 + #where, FINE },
          { 4, OK } }, got)
        local client <close> = http.client { proxy = socks_url(proxy) }
        assert.equal("ok", web.must(client:get("http://" .. host .. ":258/")).body)
        assert.same({ "\5\1\0", "\5\1\0" .. where .. "\1\2", "GET " }, got)
      end
    end)

    it("looks names up itself for socks5", function()
      local got = {}
      local proxy <close> = script({ { 3, "\5\0" }, { 10, FINE }, { 4, OK } }, got)
      local client <close> = http.client { proxy = socks_url(proxy, "socks5"),
        connect = { family = "inet" } }
      assert.equal("ok", web.must(client:get "http://localhost:258/").body)
      assert.equal("\5\1\0\1\127\0\0\1\1\2", got[2])
      local _, err, phase = client:get "http://nobody.invalid/"
      assert.is_string(err)
      assert.equal("proxy", phase)
      assert.equal(3, #got)
    end)

    it("takes an answer of any shape", function()
      for _, answer in ipairs { FINE, "\5\0\0\3\4name\1\2", "\5\0\0\3\0\1\2",
        "\5\0\0\4" .. ("x"):rep(18) } do
        local proxy <close> = script({ { 3, "\5\0" }, { 8, answer .. OK } }, {})
        local client <close> = http.client { proxy = socks_url(proxy) }
        assert.equal("ok", web.must(client:get "http://x/").body)
      end
    end)

    it("is told what is wrong", function()
      local where = { 8, "" }
      for why, steps in pairs {
        ["the proxy does not speak SOCKS 5"] = { { 3, "HT" } },
        ["the proxy wants a user and a password"] = { { 3, "\5\255" } },
        ["the proxy's answer makes no sense"] = { { 3, "\5\2" } },
        ["the proxy says: host unreachable"] = { { 3, "\5\0" }, { 8, "\5\4\0\1\0" } },
        ["the proxy says: error 99"] = { { 3, "\5\0" }, { 8, "\5\99\0\1\0" } },
        ["timeout"] = { { 3, "\5\0" }, where },
      } do
        local proxy <close> = script(steps, {})
        local client <close> = http.client { proxy = socks_url(proxy),
          timeouts = { connect = why == "timeout" and 0.02 or 10 } }
        assert.same({ nil, why, "proxy" }, { client:get "http://x/" })
        assert.same({ 0, 0 }, { client:counts() })
      end
      for _, bad in ipairs { "\4\0\0\1\0", "\5\0\0\2\0" } do
        local proxy <close> = script({ { 3, "\5\0" }, { 8, bad } }, {})
        local client <close> = http.client { proxy = socks_url(proxy) }
        assert.same({ nil, "the proxy's answer makes no sense", "proxy" },
          { client:get "http://x/" })
      end
      for _, steps in ipairs { {}, { { 3, "\5" } }, { { 3, "\5\0" }, { 8, FINE:sub(1, 7) } } } do
        local closing <close> = scripted.server(function(peer)
          for _, step in ipairs(steps) do
            peer:receive(step[1])
            peer:send(step[2])
          end
        end)
        local client <close> = http.client { proxy = socks_url(closing) }
        assert.same({ nil, "closed", "proxy" }, { client:get "http://x/" })
      end
    end)

    it("gives no connection of one user to another", function()
      local got = {}
      local proxy <close> = script({ { 4, "\5\2" }, { 5, "\1\0" }, { 8, FINE }, { 4, OK } }, got)
      local client <close> = http.client()
      for i, user in ipairs { "a:b@", "a:c@" } do
        local res = web.must(client:get("http://x/", { proxy = socks_url(proxy, nil, user) }))
        assert.equal("ok", res.body)
        assert.equal(i, proxy.accepted)
      end
      assert.same({ "\1\1a\1b", "\1\1a\1c" }, { got[2], got[6] })
    end)
  end)
end)

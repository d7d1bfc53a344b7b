-- The client with TLS, and through proxies.

local await = require "spec.support.await"
local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local green = require "greenlua"
local http = require "greenlua.http"
local proxies = require "greenlua.http.client.proxy"
local scripted = require "spec.support.scripted"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"
local urls = require "greenlua.http.client.url"
local web = require "spec.support.http"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("http.client", function()
  local ca, mine, secure, plain, trust

  local function handler(req)
    if req.path == "/echo" then return web.must(req:read "a") end
    return req.target .. " " .. req.host .. " " .. (req:header "proxy-authorization" or "-")
  end

  local said = {} -- by the servers, about handshakes

  setup(function()
    ca = certificates.authority()
    mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    plain = web.server(handler)
    secure = web.server(handler, { tls = { certificate = mine.certificate, key = mine.key } })
    function secure.warn(_, message) said[#said + 1] = message end
    trust = { ca = ca.certificate }
  end)

  teardown(function()
    plain:stop(0)
    secure:stop(0)
    ca:close()
  end)

  local function secure_url(path, host)
    return ("https://%s:%d%s"):format(host or "localhost", secure.port, path or "/")
  end

  describe("with TLS", function()
    it("verifies whom it talks to", function()
      local client <close> = http.client()
      local res, err, phase = client:get(secure_url())
      assert.is_nil(res)
      assert.matches("certificate verify failed", err)
      assert.equal("tls", phase)
      assert.same({ 0, 0 }, { client:counts() })
      await(function() return said[1] end)
      assert.matches("unknown ca", said[1])
      local other <close> = http.client { tls = trust }
      assert.equal("/ localhost -", web.must(other:get(secure_url())).body)
      assert.equal("/ 127.0.0.1 -", web.must(other:get(secure_url("/", "127.0.0.1"))).body)
      local wrong <close> = certificates.authority()
      assert.is_nil(other:get { url = secure_url(), tls = { ca = wrong.certificate } })
    end)

    it("does not verify if it is told not to", function()
      local client <close> = http.client { verify = false }
      assert.equal(200, web.must(client:get(secure_url())).status)
      assert.equal(200, web.must(client:get(secure_url(), { tls = { verify = false } })).status)
    end)

    it("keeps connections, of each identity its own", function()
      local client <close> = http.client { tls = trust }
      for _ = 1, 3 do assert.equal(200, web.must(client:get(secure_url())).status) end
      assert.same({ 1, 1 }, { client:counts() })
      web.must(client:get(secure_url(), { tls = ssl.client { ca = ca.certificate } }))
      assert.same({ 2, 2 }, { client:counts() })
      web.must(client:get(secure_url(), { verify = false }))
      assert.same({ 3, 3 }, { client:counts() })
    end)

    it("moves much, both ways", function()
      local client <close> = http.client { tls = trust }
      local body = ("0123456789"):rep(300000)
      assert.equal(body, web.must(client:post(secure_url "/echo", { body = body })).body)
      local file <close> = assert(io.tmpfile())
      file:write(body)
      file:seek "set"
      assert.equal(body, web.must(client:post(secure_url "/echo", { body = file })).body)
    end)

    it("does not take a cut for the end of a body", function()
      local context = web.must(ssl.server { certificate = mine.certificate, key = mine.key })
      local cutting <close> = scripted.server(function(peer)
        local conn = web.must(context:accept(peer))
        scripted.read(conn)
        conn:send "HTTP/1.1 200 OK\r\n\r\nso far"
        socket.fromfd(conn:detach()):close()
      end)
      local client <close> = http.client { tls = trust }
      assert.same({ nil, "closed", "body" },
        { client:get((cutting.url:gsub("http", "https"))) })
      local fine <close> = scripted.server(function(peer)
        local conn <close> = web.must(context:accept(peer))
        scripted.read(conn)
        conn:send "HTTP/1.1 200 OK\r\n\r\nall"
      end)
      local url = fine.url:gsub("http", "https")
      assert.equal("all", web.must(client:get(url)).body)
    end)

    it("says which file it cannot read", function()
      local client <close> = http.client { tls = { ca = "/nonexistent" } }
      local _, err, phase = client:get(secure_url())
      assert.matches("/nonexistent", err)
      assert.equal("tls", phase)
    end)
  end)

  -- A proxy for CONNECT that knows one user, if any; it counts what it opens.
  local function connect_proxy(authorization)
    local proxy
    proxy = scripted.server(function(peer)
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
        ["https://x/"] = "only http://", ["socks5://x/"] = "scheme", ["http://"] = "no host",
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
end)

-- The client with TLS.

local await = require "spec.support.await"
local certificates = require "spec.support.certificates"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"
local web = require "spec.support.http"

describe("http.client", function()
  local ca, mine, secure, trust

  local function handler(req)
    if req.path == "/echo" then return web.must(req:read "a") end
    return req.target .. " " .. req.host
  end

  local said = {} -- by the servers, about handshakes

  setup(function()
    ca = certificates.authority()
    mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    secure = web.server(handler, { tls = { certificate = mine.certificate, key = mine.key } })
    function secure.warn(_, message) said[#said + 1] = message end
    trust = { ca = ca.certificate }
  end)

  teardown(function()
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
      assert.equal("/ localhost", web.must(other:get(secure_url())).body)
      assert.equal("/ 127.0.0.1", web.must(other:get(secure_url("/", "127.0.0.1"))).body)
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
end)

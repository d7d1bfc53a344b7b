-- Fields that the client sends behind a body.

local daemon = require "spec.support.daemon"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local servers = require "spec.support.servers"
local web = require "spec.support.http"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("http.client's trailers", function()
  local server

  setup(function()
    server = web.server(function(req)
      local body = web.must(req:read "a")
      return ("%s|%s|%s"):format(body, req.trailers["x-sum"], req:header "trailer")
    end)
  end)

  teardown(function() server:stop(0) end)

  local function post(options)
    local client <close> = http.client { proxy = false }
    return web.must(client:post(("http://127.0.0.1:%d/"):format(server.port), options)).body
  end

  -- What is sent behind the head, and the head.
  local function sent(options)
    local body
    local peer <close> = scripted.server(function(conn)
      local head = scripted.read(conn)
      body = head .. conn:read_until "\r\n\r\n" .. "\r\n\r\n"
      conn:send(OK)
    end)
    local client <close> = http.client { proxy = false }
    options.url, options.method = peer.url, "POST"
    assert.equal("ok", web.must(client:request(options)).body)
    return body:match "\r\n\r\n(.*)$", body
  end

  it("follow a body of any kind, in chunks", function()
    local file <close> = assert(io.tmpfile())
    file:write "not this, hello"
    file:seek("set", 10)
    local fields = { ["X-Sum"] = "5" }
    for _, body in ipairs { "hello", { "he", "llo" }, ("h-e-l-l-o"):gmatch "%a", file } do
      assert.equal("hello|5|X-Sum", post { body = body, trailers = fields })
    end
    assert.equal("|5|X-Sum", post { body = "", trailers = fields })
    assert.equal("a=b|5|X-Sum", post { form = { a = "b" }, trailers = fields })
    assert.equal("[1]|5|X-Sum", post { json = { 1 }, trailers = fields })
  end)

  it("are written as they are given", function()
    local behind, head = sent { body = "hello", trailers = { { "B", "1" }, { "A", "2" } } }
    assert.equal("5\r\nhello\r\n0\r\nB: 1\r\nA: 2\r\n\r\n", behind)
    assert.matches("\r\nTrailer: B, A\r\nTransfer%-Encoding: chunked\r\n", head)
    behind, head = sent { body = "hello", trailers = {} }
    assert.equal("5\r\nhello\r\n0\r\n\r\n", behind)
    assert.no_matches("Trailer", head)
  end)

  it("may be known at the end only", function()
    local size = 0
    local pieces = ("a bb ccc"):gmatch "%a+"
    assert.equal("abbccc|6|x-sum", post {
      headers = { Trailer = "x-sum" },
      body = function()
        local piece = pieces()
        size = size + #(piece or "")
        return piece
      end,
      trailers = function() return { ["X-Sum"] = size } end,
    })
  end)

  it("get through nginx, or are left there", function()
    finally(function() servers.await(function() return server:counts() == 0 end) end)
    local nginx <close> = daemon.nginx(([[location / {
      proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; }]]):format(server.port))
    local client <close> = http.client()
    for _ = 1, 2 do
      local res = web.must(client:post(("http://127.0.0.1:%d/"):format(nginx.port),
        { body = ("x"):rep(100000), trailers = { ["X-Sum"] = "1" } }))
      assert.matches("^x+|", res.body)
      assert.equal(100000, #res.body:match "^x+")
    end
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("come again after a redirect that wants the body again", function()
    local bodies = {}
    local peer <close> = scripted.server(function(conn, _, self)
      for i = 1, 2 do
        local head = scripted.read(conn)
        bodies[i] = conn:read_until "\r\n\r\n"
        self.requests[i] = head
        conn:send(i == 1 and "HTTP/1.1 307 x\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n" or OK)
      end
    end)
    local client <close> = http.client()
    assert.equal("ok", web.must(client:post(peer.url, { body = "hi", trailers = { A = 1 } })).body)
    assert.same({ "2\r\nhi\r\n0\r\nA: 1", "2\r\nhi\r\n0\r\nA: 1" }, bodies)
  end)

  it("are misuse if they are none", function()
    local client <close> = http.client()
    for why, options in pairs {
      ["trailers: there is no body"] = { trailers = { A = 1 } },
      ["trailers: Content-Length must precede the body"] =
        { body = "a", trailers = { ["Content-Length"] = 1 } },
      ["trailers: host must precede the body"] = { body = "a", trailers = { host = "b" } },
      ["headers: A: a control character"] = { body = "a", trailers = { A = "b\r\nc" } },
      ["trailers: they follow chunks"] =
        { body = "a", headers = { ["Content-Length"] = 1 }, trailers = { A = 1 } },
      ["trailers: table or function expected, got string"] = { body = "a", trailers = "A: b" },
      ["HTTP/1.0 must know its length"] = { body = "a", version = "1.0", trailers = { A = 1 } },
    } do
      local ok, err = pcall(client.post, client, "http://127.0.0.1:1/", options)
      assert.is_false(ok)
      assert.matches(why, err, 1, true)
    end
  end)

  it("end the request if they fail", function()
    local client <close> = http.client()
    local url = ("http://127.0.0.1:%d/"):format(server.port)
    for why, trailers in pairs {
      ["no sum"] = function() error("no sum", 0) end,
      ["bad request (trailers: table expected, got nil)"] = function() end,
      ["bad request (trailers: Host must precede the body)"] = function() return { Host = "x" } end,
    } do
      local ok, err = pcall(client.post, client, url, { body = "a", trailers = trailers })
      assert.is_false(ok)
      assert.equal(why, err)
      assert.same({ 0, 0 }, { client:counts() })
    end
  end)
end)

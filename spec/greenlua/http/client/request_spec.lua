-- What the client sends, byte for byte.

local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("http.client's requests", function()
  -- The head and the body that arrive.
  local function sent(method, options, path)
    local server <close> = scripted.server(OK)
    local client <close> = http.client { proxy = false }
    options.url = server.url .. (path or "/")
    local res, err = client[method](client, options)
    if not res then error(err, 0) end
    return server.requests[1]:gsub("127%.0%.0%.1:" .. server.port, "HOST"), server.bodies[1]
  end

  it("have what they must have", function()
    assert.equal("GET /a?b=c HTTP/1.1\r\nHost: HOST\r\nUser-Agent: greenlua\r\nAccept: */*\r\n" ..
      "Accept-Encoding: gzip\r\n\r\n", (sent("get", {}, "/a?b=c#d")))
    assert.matches("^POST / HTTP/1.1\r\n.*\r\nContent%-Length: 0\r\n\r\n$", (sent("post", {})))
    assert.matches("^PATCH / ", (sent("request", { method = "PATCH" })))
    assert.matches("^DELETE / ", (sent("delete", {})))
    assert.matches("^PUT / ", (sent("put", {})))
    assert.matches("^GET / HTTP/1.0\r\n", (sent("get", { version = "1.0" })))
  end)

  it("have the program's fields, in place of their own", function()
    local head = sent("get", {
      headers = { ["X-Two"] = { "1", 2 }, host = "other", accept = false, ["user-agent"] = "me" },
    })
    assert.equal("GET / HTTP/1.1\r\nX-Two: 1\r\nX-Two: 2\r\nhost: other\r\nuser-agent: me\r\n" ..
      "Accept-Encoding: gzip\r\n\r\n", head)
    head = sent("get", { headers = { { "B", "1" }, { "A", "2" }, { "B", "3" } }, gzip = false,
      agent = false })
    assert.equal("GET / HTTP/1.1\r\nHost: HOST\r\nB: 1\r\nA: 2\r\nB: 3\r\nAccept: */*\r\n\r\n",
      head)
  end)

  it("have the client's fields, unless they have the same", function()
    local server <close> = scripted.server { OK, OK }
    local client <close> = http.client { headers = { ["X-A"] = "1", ["X-B"] = "2" } }
    assert(client:get(server.url, { headers = { ["x-a"] = "3" } }))
    assert.matches("\r\nx%-a: 3\r\nX%-B: 2\r\n", server.requests[1])
    assert(client:get(server.url, { headers = { ["x-b"] = false } }))
    assert.matches("\r\nX%-A: 1\r\n", server.requests[2])
    assert.no_matches("[Xx]%-[Bb]", server.requests[2])
  end)

  it("do not ask for a part of something compressed", function()
    assert.no_matches("gzip", (sent("get", { headers = { Range = "bytes=0-1" } })))
  end)

  it("add a query to the URL", function()
    assert.matches("^GET /%?a=1&b=x%+y ", (sent("get", { query = { b = "x y", a = 1 } })))
    assert.matches("^GET /%?c=d&a=1 ", (sent("get", { query = { a = 1 } }, "/?c=d")))
    assert.matches("^GET /%?raw ", (sent("get", { query = "raw" })))
  end)

  it("prove who asks", function()
    assert.matches("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n",
      (sent("get", { auth = { "Aladdin", "open sesame" } })))
    assert.matches("\r\nAuthorization: Bearer abc\r\n", (sent("get", { bearer = "abc" })))
    local server <close> = scripted.server(OK)
    local client <close> = http.client()
    assert.equal(server.url .. "/x",
      assert(client:get((server.url:gsub("//", "//u:p%%40@") .. "/x"))).url)
    assert.matches("\r\nAuthorization: Basic dTpwQA==\r\n", server.requests[1])
  end)

  it("carry strings, lists, forms and JSON", function()
    local head, body = sent("post", { body = "a\0b" })
    assert.matches("\r\nContent%-Length: 3\r\n", head)
    assert.equal("a\0b", body)
    head, body = sent("post", { body = { "a", "", "bc" } })
    assert.matches("\r\nContent%-Length: 3\r\n", head)
    assert.equal("abc", body)
    head, body = sent("post", { form = { q = "a b" } })
    assert.matches("\r\nContent%-Type: application/x%-www%-form%-urlencoded\r\n", head)
    assert.equal("q=a+b", body)
    head, body = sent("put", { json = { a = { 1 } }, headers = { ["Content-Type"] = "text/x" } })
    assert.matches("\r\nContent%-Type: text/x\r\n", head)
    assert.equal('{"a":[1]}', body)
  end)

  it("carry files, from where they stand", function()
    local file <close> = assert(io.tmpfile())
    file:write("0123456789")
    file:seek("set", 4)
    local head, body = sent("post", { body = file })
    assert.matches("\r\nContent%-Length: 6\r\n", head)
    assert.equal("456789", body)
  end)

  local function chunks(server_read)
    return scripted.server(function(peer)
      local head = peer:read_until "\r\n\r\n"
      server_read.head, server_read.body = head, peer:read_until "0\r\n\r\n"
      peer:send(OK)
    end)
  end

  it("carry what an iterator gives, in chunks", function()
    local got = {}
    local server <close> = chunks(got)
    local client <close> = http.client()
    local list = { "one", "", "three" }
    assert(client:post(server.url, { body = function() return table.remove(list, 1) end }))
    assert.matches("\r\nTransfer%-Encoding: chunked", got.head)
    assert.equal("3\r\none\r\n5\r\nthree\r\n", got.body)
  end)

  it("count what an iterator gives, if they say how much it is", function()
    local list = { "one", "two" }
    local head, body = sent("post", {
      headers = { ["Content-Length"] = 6 }, body = function() return table.remove(list, 1) end,
    })
    assert.no_matches("chunked", head)
    assert.equal("onetwo", body)
    for _, pieces in ipairs { { "one" }, { "one", "four" } } do
      assert.has_error(function()
        sent("post", {
          headers = { ["Content-Length"] = 6 },
          body = function() return table.remove(pieces, 1) end,
        })
      end)
    end
  end)

  it("fail as their iterator fails", function()
    local problem = {}
    local server <close> = scripted.server(OK)
    local client <close> = http.client()
    local _, err = pcall(client.post, client, server.url, { body = function() error(problem) end })
    assert.equal(problem, err)
    assert.same({ 0, 0 }, { client:counts() })
  end)

  it("ask before they send much", function()
    local order = {}
    local server <close> = scripted.server(function(peer)
      order[1] = peer:read_until "\r\n\r\n"
      peer:settimeout(0.01)
      order[2] = select(2, peer:receive(1))
      peer:settimeout()
      peer:send "HTTP/1.1 100 Continue\r\n\r\n"
      order[3] = #peer:receive(100000)
      peer:send(OK)
    end)
    local client <close> = http.client { expect = 100000 }
    assert(client:post(server.url, { body = ("x"):rep(100000) }))
    assert.matches("\r\nExpect: 100%-continue", order[1])
    assert.same({ "timeout", 100000 }, { order[2], order[3] })
  end)

  it("do not send what is not wanted", function()
    local server <close> = scripted.server(function(peer)
      peer:read_until "\r\n\r\n"
      peer:send "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
      peer:receive "*a"
    end)
    local client <close> = http.client { expect = true }
    assert.equal(413, assert(client:post(server.url, { body = "x" })).status)
    assert.same({ 0, 0 }, { client:counts() })
  end)

  it("come again without Expect where that is not understood", function()
    local requests = {}
    local server <close> = scripted.server(function(peer, n)
      requests[n] = n == 1 and peer:read_until "\r\n\r\n" or scripted.read(peer)
      peer:send(n == 1 and "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n" or OK)
    end)
    local client <close> = http.client { expect = true }
    assert.equal(200, client:post(server.url, { body = "x" }).status)
    assert.matches("Expect", requests[1])
    assert.no_matches("Expect", requests[2])
  end)

  it("are answered before they are sent, if the server likes", function()
    local server <close> = scripted.server(function(peer)
      peer:read_until "\r\n\r\n"
      peer:send "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
      peer:receive_some()
      green.sleep(60)
    end)
    local client <close> = http.client { expect = false }
    local res = assert(client:post(server.url, { body = ("x"):rep(20000000) }))
    assert.same({ 403, "no" }, { res.status, res.body })
    assert.same({ 0, 0 }, { client:counts() })
  end)

  it("go through UNIX sockets", function()
    local path = os.tmpname() .. ".sock"
    local server = http.Server("unix:" .. path, function(req) return req.host .. req.path end)
    assert(server:start())
    finally(function() server:stop(0) end)
    local client <close> = http.client()
    assert.equal("localhost/a", client:get("http+unix://" .. http.escape(path) .. "/a").body)
    assert.equal("docker/b", client:get("http://docker/b", { unix = path }).body)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("are misuse if they are none", function()
    local client <close> = http.client()
    for why, options in pairs {
      ["url: string expected, got nil"] = {}, ["no scheme"] = { url = "x" },
      ["unknown option 'metod'"] = { url = "http://a/", metod = "GET" },
      ["method"] = { url = "http://a/", method = "G T" },
      ["CONNECT"] = { url = "http://a/", method = "CONNECT" },
      ["no field name"] = { url = "http://a/", headers = { ["a b"] = "c" } },
      ["a control character"] = { url = "http://a/", headers = { a = "b\r\nc: d" } },
      ["chooses the Transfer-Encoding"] = {
        url = "http://a/", headers = { ["transfer-encoding"] = "x" },
      },
      ["one of them is enough"] = { url = "http://a/", body = "", json = 1 },
      ["Content-Length says 3"] = {
        url = "http://a/", body = "ab", headers = { ["Content-Length"] = 3 },
      },
      ["body: a string"] = { url = "http://a/", body = 5 },
      ["body[2]: string expected"] = { url = "http://a/", body = { "a", 2 } },
      ["HTTP/1.0 must know"] = { url = "http://a/", version = "1.0", body = function() end },
      ["version"] = { url = "http://a/", version = "2" },
      ["auth"] = { url = "http://a/", auth = { "a:b", "c" } },
      ["timeouts: unknown phase 'conect'"] = { url = "http://a/", timeouts = { conect = 1 } },
      ["timeouts: connect"] = { url = "http://a/", timeouts = { connect = 0 } },
      ["timeout: a number, not negative"] = { url = "http://a/", timeout = -1 },
      ["query"] = { url = "http://a/", query = "a b" },
      ["unknown option 'max_per_host'"] = { url = "http://a/", max_per_host = 1 },
    } do
      local ok, err = pcall(client.request, client, options)
      assert.is_false(ok, why)
      assert.matches(why, err, 1, true)
    end
    assert.has_error(function() http.client { max_per_host = "x" } end)
    assert.has_error(function() http.client { max_per_host = 0 } end)
    local _, err = pcall(function() client:get "x" end)
    assert.matches("request_spec.lua:%d+: bad request", err)
    client:close()
    assert.has_error(function() client:get "http://a/" end)
  end)
end)

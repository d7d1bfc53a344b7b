-- The opening handshake, from both sides; extensions.

local green = require "greenlua"
local http = require "greenlua.http"
local certificates = require "spec.support.certificates"
local raw = require "spec.support.websocket"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("websocket.upgrade", function()
  local server, options

  setup(function()
    server = web.server(function(req, res)
      res:set_cookie("a", "b")
      local ws = websocket.upgrade(req, res, options)
      ws:send(ws.protocol or "none")
    end)
  end)

  teardown(function() server:stop(0) end)

  before_each(function() options = { close_timeout = 0.01 } end)

  local function ask(fields, method)
    local conn <close> = web.connect(server)
    conn:send((raw.head(fields):gsub("^GET", method or "GET")))
    return web.must(web.read(conn))
  end

  it("answers the key of the RFC as the RFC does", function()
    local r = ask()
    assert.equal(101, r.status)
    assert.equal(raw.ACCEPT, r.headers["sec-websocket-accept"])
    assert.equal("websocket", r.headers.upgrade:lower())
    assert.equal("upgrade", r.headers.connection:lower())
    assert.equal("a=b", r.headers["set-cookie"]:match "^[^;]*")
    assert.is_nil(r.headers["sec-websocket-protocol"])
    assert.is_nil(r.headers["content-length"])
  end)

  it("takes fields as browsers write them", function()
    assert.equal(101, ask { Connection = "keep-alive, Upgrade", Upgrade = "WebSocket" }.status)
  end)

  it("refuses what is no handshake", function()
    local refused = {
      { 426, { Upgrade = false } }, { 426, { Connection = "close" } }, { 426, { Upgrade = "h2c" } },
      { 426, { ["Sec-WebSocket-Version"] = "8" } }, { 400, { ["Sec-WebSocket-Key"] = false } },
      { 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ" } },
      { 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==x" } },
    }
    for _, case in ipairs(refused) do assert.equal(case[1], ask(case[2]).status) end
    assert.equal("13", ask { ["Sec-WebSocket-Version"] = "12" }.headers["sec-websocket-version"])
    assert.equal(405, ask({ ["Content-Length"] = "0" }, "POST").status)
    assert.same({}, server.failures)
  end)

  it("agrees on the subprotocol that it prefers", function()
    options.protocols = { "v2", "v1" }
    assert.equal("v2",
      ask { ["Sec-WebSocket-Protocol"] = "v1, v2" }.headers["sec-websocket-protocol"])
    assert.equal("v1",
      ask { ["Sec-WebSocket-Protocol"] = "v0,v1" }.headers["sec-websocket-protocol"])
    assert.is_nil(ask { ["Sec-WebSocket-Protocol"] = "v0" }.headers["sec-websocket-protocol"])
  end)

  it("lets in the origins that may", function()
    local function status(allowed, origin)
      options.origin = allowed
      return ask({ Origin = origin }).status
    end
    assert.equal(101, status(nil, "http://evil.test"))
    assert.equal(101, status("same", "http://localhost"))
    assert.equal(403, status("same", "http://localhost.evil.test"))
    assert.equal(403, status("same", "null"))
    assert.equal(101, status("same", nil))
    assert.equal(101, status("https://a.test", "https://A.test"))
    assert.equal(403, status({ "https://a.test", "https://b.test" }, "http://a.test"))
    assert.equal(101, status({ "https://a.test", "https://b.test" }, "https://b.test"))
    assert.equal(101, status(function(origin) return origin:find "test$" end, "http://x.test"))
    assert.equal(403, status(function() return false end, "http://x.test"))
  end)

  it("takes what the client has sent with the handshake", function()
    local echo = raw.echo()
    local conn <close> = web.connect(echo)
    conn:send(raw.head() .. raw.frame("text", "early") .. raw.close(1000))
    conn:read_until "\r\n\r\n"
    assert.same({ "text early", "close 1000" }, raw.read_all(conn))
    echo:stop(0)
  end)

  it("raises on bad options", function()
    for name, value in pairs { max_message = -1, compress = 1, overflow = "drop", ping_interval = 0,
      protocols = { "a b" }, nonsense = 1, timeout = 1 } do
      assert.error_matches(function() websocket.upgrade({}, {}, { [name] = value }) end,
        "bad argument #3 to 'upgrade' %(.*" .. name)
    end
  end)
end)

describe("permessage-deflate", function()
  local extension = require "greenlua.websocket.extension"

  it("is agreed on as RFC 7692 has it", function()
    local cases = { -- option, offer, answer
      { true, "permessage-deflate", "permessage-deflate" },
      { false, "permessage-deflate", nil },
      { true, nil, nil },
      { true, "x-webkit-deflate-frame", nil },
      { true, "permessage-deflate; client_max_window_bits", "permessage-deflate" },
      { true, "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=10" },
      { true, "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=10" },
      { true, "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        "permessage-deflate" },
      { true, "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover" },
      { { server_no_context_takeover = true, client_max_window_bits = 9 },
        'permessage-deflate; client_max_window_bits="12"',
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=9" },
      { true, "permessage-deflate; unknown", nil },
      { true, "permessage-deflate; server_max_window_bits", nil },
      { true, "permessage-deflate; server_max_window_bits=16", nil },
      { true, "permessage-deflate; server_max_window_bits=010", nil },
      { true, "permessage-deflate; server_no_context_takeover=1", nil },
      { true, "permessage-deflate; client_max_window_bits; client_max_window_bits=9", nil },
    }
    for _, case in ipairs(cases) do assert.equal(case[3], (extension.accept(case[2], case[1]))) end
  end)

  it("is not what a server may make of it", function()
    for _, answer in ipairs { "permessage-deflate; x", "permessage-bzip2",
      "permessage-deflate, permessage-deflate", "permessage-deflate; client_max_window_bits" } do
      assert.is_nil((extension.confirm(answer, true)))
    end
    assert.is_nil((extension.confirm("permessage-deflate", false)))
    assert.is_nil((extension.confirm("permessage-deflate", { server_max_window_bits = 10 })))
    assert.is_nil((extension.confirm("permessage-deflate", { server_no_context_takeover = true })))
    assert.same({}, extension.confirm(nil, true))
    assert.equal(0, extension.confirm("permessage-deflate; client_max_window_bits=8",
      true).send_bits)
  end)

  it("refuses options that are none", function()
    for name, value in pairs { server_max_window_bits = 8, client_max_window_bits = 16, level = 0,
      min = -1, x = true, server_no_context_takeover = 1 } do
      assert.error_matches(function() extension.offer { [name] = value } end,
        "bad option 'compress'")
    end
  end)
end)

describe("websocket.connect", function()
  -- A server that answers `reply` (%s is the right Sec-WebSocket-Accept), and the request.
  local function scripted(reply, body)
    local core = require "greenlua.core.websocket"
    local listener, port = sockets.listen()
    local g = green.spawn(function()
      local conn <close> = listener:accept()
      local head = conn:read_until "\r\n\r\n"
      local key = head:match "Sec%-WebSocket%-Key: (%S+)"
      conn:send((reply:gsub("\n", "\r\n"):gsub("%%s", core.accept(key))) .. (body or ""))
      if reply:find "^HTTP/1.1 101" then conn:receive(1) end
      return head
    end)
    return "ws://127.0.0.1:" .. port .. "/path?query", g, listener
  end

  local good <const> = "HTTP/1.1 101 Hi\nUpgrade: websocket\nConnection: Upgrade\n"
    .. "Sec-WebSocket-Accept: %s\n"

  it("asks as the RFC has it", function()
    local url, g, listener = scripted(good .. "Sec-WebSocket-Protocol: b\nX-One: 1\n\n")
    local ws = assert(websocket.connect(url, { protocols = { "a", "b" }, origin = "http://x.test",
      headers = { ["X-Mine"] = "2", Cookie = "c=d" }, compress = true }))
    assert.same({ "b", 101, "1" }, { ws.protocol, ws.response.status,
      ws.response.headers["x-one"] })
    ws:_cut()
    local head = g:get()
    for _, line in ipairs { "GET /path?query HTTP/1.1", "Host: 127.0.0.1:" .. url:match ":(%d+)",
      "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "X-Mine: 2",
      "Cookie: c=d", "Origin: http://x.test", "Sec-WebSocket-Protocol: a, b",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits" } do
      assert.truthy((head .. "\r\n"):find(line .. "\r\n", 1, true), line)
    end
    listener:close()
  end)

  it("does not take just any answer", function()
    local cases = {
      { good:gsub("%%s", "x") .. "\n", "a wrong Sec%-WebSocket%-Accept" },
      { good:gsub("Upgrade: w", "X: w") .. "\n", "no 'Upgrade: websocket'" },
      { good:gsub("Connection: Upgrade", "Connection: close") .. "\n", "no 'Connection: Upgrade'" },
      { good .. "Sec-WebSocket-Protocol: x\n\n", "protocol 'x' was not offered" },
      { good .. "Sec-WebSocket-Extensions: permessage-deflate\n\n",
        "extensions that were not offered" },
      { "HTTP/1.0 200 OK\n\n", "does not speak HTTP" }, { "garbage\n\n", "does not speak HTTP" },
      { "", "^closed$" },
    }
    for _, case in ipairs(cases) do
      local url, g, listener = scripted(case[1])
      local ws, err = websocket.connect(url)
      assert.is_nil(ws)
      assert.matches(case[2], err)
      g:get()
      listener:close()
    end
  end)

  it("gives the response that is a refusal", function()
    local url, g, listener = scripted("HTTP/1.1 403 No\nContent-Length: 5\nX-Why: so\n\n", "hello")
    local ws, err, response = websocket.connect(url)
    assert.is_nil(ws)
    assert.equal("the server answers 403 No", err)
    assert.same({ 403, "so", "hello" }, { response.status, response.headers["x-why"],
      response.body })
    g:get()
    listener:close()
  end)

  it("takes no body whose length is none", function()
    for _, length in ipairs { "-5", "2.5", "0x5", "5, 5", "99999999999999999999" } do
      local url, g, listener =
        scripted("HTTP/1.1 403 No\nContent-Length: " .. length .. "\n\n", "hello")
      local _, err, response = websocket.connect(url)
      assert.equal("the server answers 403 No", err)
      assert.equal("", response.body)
      g:get()
      listener:close()
    end
  end)

  it("waits only so long", function()
    local listener, port = sockets.listen()
    local url = "ws://127.0.0.1:" .. port
    assert.same({ nil, "timeout" }, { websocket.connect(url, { timeout = 0.02 }) })
    local timeout <close> = green.Timeout(0.02)
    local ok, err = pcall(websocket.connect, url, { timeout = false })
    assert.same({ false, timeout }, { ok, err })
    local g = green.spawn(websocket.connect, url)
    green.sleep(0.01)
    g:kill()
    listener:close()
  end)

  it("tells why it cannot connect", function()
    local listener, port = sockets.listen()
    listener:close()
    local ws, err = websocket.connect("ws://127.0.0.1:" .. port)
    assert.is_nil(ws)
    assert.matches("refused", err)
  end)

  it("raises on what is no URL, and on bad fields", function()
    for _, url in ipairs { "", "x", "ftp://a", "ws://", "ws://a b/", "ws://a/#x", "ws://a:99999/",
      1 } do
      assert.error_matches(function() websocket.connect(url) end, "bad argument #1 to 'connect'")
    end
    for _, headers in ipairs { { ["a b"] = "c" }, { a = "b\r\nc" } } do
      assert.error_matches(function() websocket.connect("ws://a/", { headers = headers }) end,
        "bad argument #2 to 'connect'")
    end
  end)

  it("speaks TLS, and checks who answers", function()
    local ca <close> = certificates.authority()
    local own = ca:issue("localhost", { "localhost" })
    local server = http.Server("127.0.0.1:0", websocket.handler(function(ws)
      for message in ws:messages() do ws:send(message) end
    end), { tls = { certificate = own.certificate, key = own.key } })
    assert(server:start())
    local url = "wss://localhost:" .. server.port
    local where = { host = "127.0.0.1" }
    local trusting = { ca = ca.certificate }
    do
      local ws <close> = assert(websocket.connect(url, { tls = trusting,
        connect = { family = "inet" } }))
      ws:send(("x"):rep(300000))
      assert.equal(300000, #ws:receive())
      ws:send "small"
      assert.equal("small", ws:receive())
    end
    assert.is_nil((websocket.connect(url, { connect = where })))
    server:stop(0)
  end)

  it("speaks over a socket that it is given", function()
    local server = raw.echo()
    local sock = assert(socket.connect("127.0.0.1", server.port))
    local ws <close> = assert(websocket.connect("ws://elsewhere.test/", { socket = sock }))
    ws:send "x"
    assert.equal("x", ws:receive())
    ws:close()
    server:stop(0)
  end)
end)

-- WebSockets whose TLS changes its keys, or negotiates anew, in the midst of things.

local certificates = require "spec.support.certificates"
local core = require "greenlua.core.websocket"
local green = require "greenlua"
local raw = require "spec.support.websocket"
local servers = require "spec.support.servers"
local sockets = require "spec.support.sockets"
local tls = require "spec.support.tls"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("a WebSocket with TLS", function()
  local ca, pair, server, trust

  setup(function()
    ca = certificates.authority()
    pair = ca:issue("localhost", { "localhost", "127.0.0.1" })
    trust = { ca = ca.certificate }
    local function echo(ws)
      for message, kind in ws:messages() do
        if message == "update" then ws.socket:update_keys() end
        if not ws:send(message, kind) then return end
      end
    end
    server = web.server(websocket.handler(echo, { max_message = 8 << 20 }),
      { tls = { certificate = pair.certificate, key = pair.key } })
    function server.warn() end
  end)

  teardown(function()
    server:stop(0)
    ca:close()
  end)

  local function open(options)
    local all = { tls = trust, max_message = 8 << 20 }
    for name, value in pairs(options or {}) do all[name] = value end
    return websocket.connect(("wss://localhost:%d/"):format(server.port), all)
  end

  it("changes keys while messages go both ways", function()
    local ws <close> = assert(open())
    local large = ("0123456789abcdef"):rep(1 << 16)
    local sender = green.spawn(function()
      for i = 1, 20 do
        assert(ws:send(i % 5 == 0 and "update" or tostring(i)))
        assert(ws:send_binary(large))
        if i % 3 == 0 then assert(ws.socket:update_keys()) end
      end
    end)
    for i = 1, 20 do
      assert.equal(i % 5 == 0 and "update" or tostring(i), (ws:receive(20)))
      assert.is_true(ws:receive(20) == large)
    end
    sender:get()
    assert.equal("TLSv1.3", ws.socket:info "protocol")
  end)

  describe("with openssl s_client", function()
    local function dial(options)
      local peer = tls.start(("openssl s_client -connect localhost:%d %s -CAfile %s"):format(
        server.port, options, ca.certificate))
      peer:await "Verify return code: 0"
      peer.input:write(raw.head())
      peer:await(("Sec-WebSocket-Accept: " .. raw.ACCEPT):gsub("%p", "%%%0"))
      return peer
    end

    it("has keys changed as it likes", function()
      local peer <close> = dial "-tls1_3"
      for i, key in ipairs { "K", "k", "K" } do
        peer.input:write(raw.frame("text", "before " .. i))
        peer:await("before " .. i)
        peer.input:write(key .. "\n")
        peer:await(("KEYUPDATE.*"):rep(i))
        peer.input:write(raw.frame("text", "after " .. i))
        peer:await("after " .. i)
      end
    end)

    it("negotiates nothing anew, and harms nobody", function()
      local ws <close> = assert(open())
      local peer <close> = dial "-tls1_2"
      peer.input:write(raw.frame("text", "before"))
      peer:await "before"
      peer.input:write "R\n"
      peer:await "RENEGOTIATING.*no renegotiation"
      ws:send "hello"
      assert.equal("hello", ws:receive(10))
    end)
  end)

  describe("with openssl s_server", function()
    local function unmasked(payload, mask)
      local i = 0
      return (payload:gsub(".", function(c)
        i = i % 4 + 1
        return string.char(c:byte() ~ mask:byte(i))
      end))
    end

    -- The short frames that have arrived: "text hello" …; what s_server says itself is skipped.
    local function frames(peer)
      local list, at = {}, 1
      local output = peer:output():match "\r\n\r\n(.*)$"
      while true do
        local from = output:find("[\x81\x88\x89\x8a][\x80-\xfd]", at)
        if not from or #output < from + 5 then return list end
        local first, size = output:byte(from, from + 1)
        size = size & 127
        local mask = output:sub(from + 2, from + 5)
        at = from + 6 + size
        if #output < at - 1 then return list end
        local name = ({ [1] = "text", [8] = "close", [9] = "ping", [10] = "pong" })[first & 15]
        list[#list + 1] = name .. " " .. unmasked(output:sub(from + 6, at - 1), mask)
      end
    end

    local function await(peer, n)
      for _ = 1, 1000 do
        local list = frames(peer)
        if #list >= n then return list end
        green.sleep(0.005)
      end
      error("they never came: " .. table.concat(frames(peer), ", "), 2)
    end

    local function say(peer, kind, text)
      peer.input:write(raw.frame(kind, text, { mask = false }))
    end

    -- A WebSocket of ours and the s_server at its other end, which negotiates with `again()`.
    local function connect(options)
      local port, guard = sockets.reserve_port()
      local peer = tls.start(("openssl s_server -accept 127.0.0.1:%d -cert %s -key %s %s"):format(
        port, pair.certificate, pair.key, options), guard)
      peer:await "ACCEPT"
      local g = green.spawn(websocket.connect, ("wss://localhost:%d/"):format(port),
        { tls = trust })
      local key = peer:await "Sec%-WebSocket%-Key: ([^\r]*)\r\n"
      peer.input:write(("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
        "Sec-WebSocket-Accept: %s\r\n\r\n"):format(core.accept(key)))
      local times = 0
      return assert(g:get(10)), peer, function()
        peer.input:write "r\n"
        times = times + 1
        peer:await(("SSL_do_handshake.*"):rep(times))
      end
    end

    it("has keys changed as it likes", function()
      local ws, peer = connect "-tls1_3"
      for i = 1, 3 do
        ws:send("to " .. i)
        assert.equal("text to " .. i, await(peer, i)[i])
        peer.input:write "K\n"
        green.sleep(0.02)
        say(peer, "text", "from " .. i)
        assert.equal("from " .. i, ws:receive(10))
      end
      ws:_abandon()
      peer:close()
    end)

    it("negotiates anew while it waits for messages", function()
      local ws, peer, again = connect "-tls1_2"
      local messages = {}
      local reader = green.spawn(function()
        for message in ws:messages() do messages[#messages + 1] = message end
      end)
      for i = 1, 3 do
        again()
        say(peer, "ping", "p" .. i)
        assert.equal("pong p" .. i, await(peer, i)[i])
        say(peer, "text", "m" .. i)
        -- what is written in a row s_server may take for one
        servers.await(function() return #messages == i end)
      end
      peer.input:write(raw.frame("close", "\x03\xe8", { mask = false }))
      reader:join(10)
      assert.same({ "m1", "m2", "m3" }, messages)
      assert.equal("close \x03\xe8", await(peer, 4)[4])
      peer:close()
    end)

    it("negotiates anew while it sends", function()
      local ws, peer, again = connect "-tls1_2"
      local reader = green.spawn(ws.receive, ws)
      local expected = {}
      for i = 1, 60 do
        if i % 20 == 10 then again() end
        assert(ws:send("line " .. i))
        expected[i] = "text line " .. i
      end
      say(peer, "text", "enough")
      assert.equal("enough", reader:get(10))
      assert.same(expected, await(peer, 60))
      ws:_abandon()
      peer:close()
    end)

    it("negotiates anew when nobody receives", function()
      local ws, peer = connect "-tls1_2"
      assert(ws:send "first")
      await(peer, 1)
      peer.input:write "r\n"
      green.sleep(0.05)
      assert.same({ nil, "timeout" }, { ws:receive(0) }) -- finds what the server asks for
      assert(ws:send "second")
      peer:await "SSL_do_handshake"
      assert.same({ "text first", "text second" }, await(peer, 2))
      ws:_abandon()
      peer:close()
    end)
  end)
end)

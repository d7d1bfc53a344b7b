-- TLS with the programs that others use.

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"
local support = require "spec.support"
local tls = require "spec.support.tls"

describe("greenlua.ssl", function()
  local ca, pair, server, client

  setup(function()
    ca = certificates.authority()
    pair = ca:issue("localhost", { "localhost", "127.0.0.1" })
    server = assert(ssl.server { certificate = pair.certificate, key = pair.key,
      alpn = { "echo", "http/1.1" } })
    client = assert(ssl.client { ca = ca.certificate })
  end)
  teardown(function() ca:close() end)

  local function echo(conn)
    for line in conn:lines() do conn:send(line .. "\n") end
  end

  it("serves openssl s_client, keys changed in the midst of things", function()
    local listener <close>, port = tls.serve(server, echo) -- luacheck: ignore
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local peer <close> = tls.start(("openssl s_client -connect localhost:%d %s -alpn echo" ..
        " -CAfile %s -verify_return_error"):format(port, version, ca.certificate))
      peer:await "Verify return code: 0 %(ok%)"
      peer.input:write "one\n"
      peer:await "\none\n"
      if version == "-tls1_3" then
        peer.input:write "K\n"
        peer:await "KEYUPDATE"
        peer.input:write "k\n"
        peer:await "KEYUPDATE\nKEYUPDATE"
      end
      peer.input:write "two\n"
      peer:await "\ntwo\n"
      peer.input:write "Q\n"
    end
  end)

  it("serves curl", function()
    local listener <close>, port = tls.serve(server, function(conn) -- luacheck: ignore
      conn:read_until "\r\n\r\n"
      conn:send { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello" }
    end)
    local peer <close> = tls.start(("curl -sS --http1.1 --cacert %s https://localhost:%d/"):format(
      ca.certificate, port))
    peer:await "hello"
  end)

  describe("with openssl s_server", function()
    -- A connection to one with these options.
    local function connect(options)
      local port, guard = sockets.reserve_port()
      local peer = tls.start(("openssl s_server -accept 127.0.0.1:%d -cert %s -key %s %s"):format(
        port, pair.certificate, pair.key, options), guard)
      peer:await "ACCEPT"
      return assert(client:connect(tls.connect(port), "localhost", 60)), peer
    end

    it("talks, and hears the end", function()
      local conn, peer = connect "-tls1_3 -state"
      conn:send "from greenlua\n"
      peer:await "from greenlua\n"
      peer.input:write "K\n"
      peer:await "write server key update" -- a command has to be read alone
      peer.input:write "from openssl\n"
      assert.equal("from openssl", conn:receive())
      peer.input:write "Q\n"
      assert.same({ nil, "closed", "" }, { conn:receive() })
      conn:close()
      peer:close()
    end)

    -- `work` goes on while the server renegotiates, which ends it at last.
    local function renegotiate(work)
      local conn, peer = connect "-tls1_2 -state"
      conn:settimeout(60)
      local times = 0
      work(conn, peer, function()
        peer.input:write "r\n"
        times = times + 1
        peer:await(("SSL_accept:SSLv3/TLS read finished.*"):rep(times + 1))
      end)
      conn:close()
      peer:close()
    end

    it("renegotiates while it reads", function()
      renegotiate(function(conn, peer, again)
        local g = green.spawn(conn.receive, conn)
        for _ = 1, 3 do
          again()
        end
        peer.input:write "hello\n"
        assert.equal("hello", g:get())
        conn:send "done\n"
        peer:await "done\n"
      end)
    end)

    it("renegotiates when it is to write", function()
      renegotiate(function(conn, peer)
        conn:send "first\n"
        peer:await "first\n"
        peer.input:write "r\n"
        assert(socket.wait_read(conn, 60))
        -- What the server asks for is found by who reads.
        conn:settimeout(0)
        conn:receive()
        conn:settimeout(60)
        conn:send "second\n"
        peer:await "SSL_do_handshake.*second\n"
        peer.input:write "and back\n"
        assert.equal("and back", conn:receive())
      end)
    end)

    it("renegotiates while it reads and writes", function()
      renegotiate(function(conn, peer, again)
        local reader = green.spawn(conn.receive, conn)
        local writer = green.spawn(function()
          for i = 1, 300 do
            if i % 100 == 50 then again() end
            if i % 10 == 0 then green.sleep(0.001) end
            assert(conn:send(("line %d\n"):format(i)))
          end
        end)
        writer:get()
        peer:await "line 300\n"
        peer.input:write "hello\n"
        assert.equal("hello", reader:get())
      end)
    end)
  end)

  it("costs the start of the program nothing", function()
    local pipe <close> = assert(io.popen("ldd " .. support.greenlua))
    local libraries = pipe:read "a"
    assert.matches("libc%.so", libraries)
    assert.not_matches("libssl", libraries)
    assert.not_matches("libcrypto", libraries)
  end)
end)

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"

local connect, stream = servers.connect, servers.stream

describe("a server with TLS", function()
  local authority, own, client

  setup(function()
    authority = certificates.authority()
    own = authority:issue("localhost", { "localhost", "127.0.0.1" })
    client = assert(ssl.client { ca = authority.certificate })
  end)

  teardown(function() authority:close() end)

  local function options(more)
    local o = { tls = { certificate = own.certificate, key = own.key } }
    for key, value in pairs(more or {}) do o[key] = value end
    return o
  end

  local function secure(server, head)
    local sock = connect(server)
    if head then sock:send(head) end
    return assert(client:connect(sock, "localhost", 60))
  end

  it("gives handlers TLS connections", function()
    for _, tls in ipairs { { certificate = own.certificate, key = own.key },
        assert(ssl.server { certificate = own.certificate, key = own.key }) } do
      local server <close> = stream(function(conn, address)
        conn:send(("%s %s\n"):format(conn:receive(), address.host))
      end, { tls = tls })
      local conns = {}
      for i = 1, 5 do conns[i] = secure(server) end
      for i, conn in ipairs(conns) do
        conn:send("hello " .. i .. "\n")
        assert.same({ ("hello %d 127.0.0.1\n"):format(i) }, { conn:receive "*a" })
        conn:close()
      end
    end
  end)

  it("takes a PROXY header before the handshake", function()
    local server <close> = stream(function(conn, address)
      conn:send(tostring(address) .. " " .. conn:receive() .. "\n")
    end, options { proxy_protocol = true })
    local conn <close> = secure(server, "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n")
    conn:send "hi\n"
    assert.equal("192.0.2.1:5000 hi\n", (conn:receive "*a"))
  end)

  it("takes the header and the handshake in one piece", function()
    local server <close> = stream(function(conn, address)
      conn:send(tostring(address) .. "\n")
    end, options { proxy_protocol = true })
    -- A relay that sends both at once, as a proxy does.
    local relay <close> = assert(socket.bind("127.0.0.1", 0))
    local g = green.spawn(function()
      local from <close> = assert(relay:accept())
      local to <close> = connect(server)
      local hello = from:receive_some()
      to:send("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n" .. hello)
      local back = green.spawn(function()
        while true do
          local data = to:receive_some()
          if not data or not from:send(data) then break end
        end
        from:shutdown "send"
      end)
      while true do
        local data = from:receive_some()
        if not data or not to:send(data) then break end
      end
      to:close()
      back:join()
    end)
    local sock = assert(socket.connect("127.0.0.1", (select(2, relay:getsockname()))))
    local conn = assert(client:connect(sock, "localhost", 60))
    assert.equal("192.0.2.1:5000\n", (conn:receive "*a"))
    conn:close()
    g:join()
  end)

  it("closes who cannot shake hands, warns now and then, and serves on", function()
    local server <close> = stream(function(conn) conn:send "ok" end, options())
    local warnings = servers.warnings(server)
    for _, text in ipairs { "GET / HTTP/1.0\r\n\r\n", "\22\3\1\255\255", "" } do
      local conn <close> = connect(server)
      conn:send(text)
      conn:shutdown "send"
      conn:settimeout(60)
      conn:receive "*a"
    end
    servers.await(function() return #server == 0 end)
    assert.equal(1, #warnings)
    assert.matches("^no TLS handshake with 127.0.0.1:%d+: ", warnings[1])
    local conn <close> = secure(server)
    assert.equal("ok", (conn:receive "*a"))
  end)

  it("does not wait for a handshake for ever, nor does anybody for it", function()
    local server <close> = stream(function(conn) conn:send "ok" end, options())
    servers.warnings(server)
    local patient <close> = connect(server) -- luacheck: ignore 211
    servers.await(function() return #server == 1 end)
    local conn <close> = secure(server)
    assert.equal("ok", (conn:receive "*a"))
    server.handshake_timeout = 0.05
    local silent <close> = connect(server)
    silent:settimeout(60)
    assert.same({ nil, "closed", "" }, { silent:receive() })
  end)

  it("is stopped in the midst of handshakes", function()
    local server <close> = stream(print, options())
    local silent <close> = connect(server)
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop(0))
    assert.same({ nil, "closed", "" }, { silent:receive() })
  end)

  it("kills handlers, and closes their connections", function()
    local server <close> = stream(function(conn) conn:receive() end, options())
    local conn <close> = secure(server)
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop(0.002))
    conn:settimeout(60)
    assert.same({ nil, "closed" }, { conn:receive(), (select(2, conn:receive())) })
  end)

  it("does not start without its files, and reads them again at each start", function()
    local copy = authority.folder .. "/copy.pem"
    local server = green.server.StreamServer("127.0.0.1:0", function(conn) conn:send "ok" end,
      { tls = { certificate = copy, key = own.key } })
    local ok, err = server:start()
    assert.is_nil(ok)
    assert.matches("^no TLS: .*copy.pem", err)
    assert.is_true(server.closed)
    local file = assert(io.open(copy, "wb"))
    file:write(certificates.read(own.certificate))
    file:close()
    assert(server:start())
    local conn <close> = secure(server)
    assert.equal("ok", (conn:receive "*a"))
    server:stop()
  end)
end)

local servers = require "spec.support.servers"

local connect, stream = servers.connect, servers.stream

-- Tells what it has been told, and the first line.
local function tell(conn, address)
  local line = conn:receive()
  local header = address.proxy
  conn:send(("%s %s %s %s\n"):format(address, tostring(address.peer and address.peer.host),
    header and header.version or "none", line))
end

local V2 = "\r\n\r\n\0\r\nQUIT\n"

-- A header that sounds like one, and an answer, for a server's options.
local function answer(server, text)
  local conn <close> = connect(server)
  conn:settimeout(60)
  conn:send(text)
  return (conn:receive "*a")
end

describe("a server behind a proxy", function()
  it("tells handlers the client that the proxy names", function()
    for _, option in ipairs { true, "require", { "127.0.0.0/8" }, { "::1", "127.0.0.1" } } do
      local server <close> = stream(tell, { proxy_protocol = option })
      assert.equal("192.0.2.1:5000 127.0.0.1 1 hi\n",
        answer(server, "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\nhi\n"))
      assert.equal("[2001:db8::1]:5000 127.0.0.1 1 hi\n",
        answer(server, "PROXY TCP6 2001:db8::1 ::2 5000 80\r\nhi\n"))
      assert.equal("192.0.2.1:5000 127.0.0.1 2 hi\n", answer(server,
        V2 .. "\x21\x11\0\12\192\0\2\1\192\0\2\2\x13\x88\0\80hi\n"))
    end
  end)

  it("takes the connection's own address where the proxy names none", function()
    local server <close> = stream(tell, { proxy_protocol = true })
    assert.matches("^127.0.0.1:%d+ 127.0.0.1 1 hi\n$", answer(server, "PROXY UNKNOWN\r\nhi\n"))
    assert.matches("^127.0.0.1:%d+ 127.0.0.1 2 hi\n$", answer(server, V2 .. "\x20\0\0\0hi\n"))
  end)

  it("serves those as they are that are no proxies", function()
    local server <close> = stream(tell, { proxy_protocol = { "192.0.2.0/24" } })
    assert.matches("^127.0.0.1:%d+ nil none PROXY UNKNOWN\n$", answer(server, "PROXY UNKNOWN\r\n"))
    local at = os.tmpname() .. ".sock"
    for _, unix in ipairs { true, false } do
      local there <close> = stream(tell, { at = { path = at }, proxy_protocol = { unix and "unix"
        or "::1" } })
      assert.equal(unix and "1.2.3.4:1 nil 1 hi\n"
        or "unix: nil none PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        answer(there, "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\nhi\n"))
    end
  end)

  it("closes what has no right header, and warns now and then", function()
    local server <close> = stream(function() error "it must not run" end, { proxy_protocol = true })
    local warnings = servers.warnings(server)
    for _, text in ipairs { "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 x y 1 2\r\n", V2
      .. "\x31\0\0\0" } do
      assert.is_not_equal("hi", answer(server, text))
    end
    local conn = connect(server)
    conn:send "PRO"
    conn:close()
    servers.await(function() return #server == 0 end)
    assert.equal(1, #warnings)
    assert.matches("^no PROXY header from 127.0.0.1:%d+: no header$", warnings[1])
  end)

  it("does not wait for ever", function()
    local server <close> = stream(tell, { proxy_protocol = true, handshake_timeout = 0.005 })
    local warnings = servers.warnings(server)
    for _, text in ipairs { "", "PROXY TCP4 192.0.2.1", V2 } do
      assert.is_true(#(answer(server, text) or "") == 0)
    end
    assert.matches("timeout$", warnings[1])
    assert.equal(1, #warnings)
  end)

  it("leaves the handler a connection without a timeout", function()
    local server <close> = stream(function(conn)
      conn:send(("%g %g\n"):format(conn:gettimeout()))
    end, { proxy_protocol = true, handshake_timeout = 60 })
    assert.equal("-1 -1\n", answer(server, "PROXY UNKNOWN\r\n"))
  end)

  it("is stopped while headers are awaited", function()
    local server <close> = stream(tell, { proxy_protocol = true })
    local conn <close> = connect(server)
    conn:send "PROXY"
    servers.await(function() return #server == 1 end)
    assert.is_false(server:stop(0))
    assert.same({ nil, "closed", "" }, { conn:receive() })
  end)

  it("names the client that the proxy names when a handler fails", function()
    local reports = servers.errors(function()
      local server <close> = stream(function() error("x", 0) end, { proxy_protocol = true })
      answer(server, "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n")
    end)
    assert.matches("handler of 192.0.2.1:5000$", reports[1][1])
  end)

  it("understands curl", function()
    local server <close> = stream(function(conn, address)
      repeat local line = conn:receive() until line == "" or not line
      local body = tostring(address) .. "\n"
      conn:send { "HTTP/1.1 200 OK\r\nContent-Length: ", #body, "\r\n\r\n", body }
    end, { proxy_protocol = true })
    local out = os.tmpname()
    local done = false
    local command = "curl -s -m 60 --haproxy-protocol http://127.0.0.1:" .. server.port
    os.execute(("{ env -u LD_PRELOAD %s; echo $?; } >%s 2>&1 &"):format(command, out))
    local text
    servers.await(function()
      local file <close> = assert(io.open(out))
      text = file:read "a"
      done = text:find "\n%d+\n$"
      return done
    end)
    os.remove(out)
    assert.matches("^127.0.0.1:%d+\n0\n$", text)
  end)

  it("survives garbage", function()
    local random = require "spec.support.random"(99)
    local server <close> = stream(tell, { proxy_protocol = true, handshake_timeout = 60 })
    servers.warnings(server)
    for _ = 1, 200 do
      local bytes = {}
      for i = 1, random(40) do bytes[i] = string.char(random(256) - 1) end
      local start = ({ "", "PROXY ", V2, V2 .. "\x21\x11" })[random(4)]
      local conn = connect(server)
      conn:send(start .. table.concat(bytes))
      if random(2) == 1 then conn:shutdown "send" end
      conn:close()
    end
    servers.await(function() return #server == 0 end)
    assert.equal("1.2.3.4:1 127.0.0.1 1 hi\n", answer(server,
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\nhi\n"))
  end)
end)

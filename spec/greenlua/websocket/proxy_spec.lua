-- WebSockets through proxies.

local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local green = require "greenlua"
local raw = require "spec.support.websocket"
local scripted = require "spec.support.scripted"
local servers = require "spec.support.servers"
local socket = require "greenlua.socket"
local ssl = require "greenlua.ssl"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("a WebSocket, behind a proxy,", function()
  local ca, mine, plain, secure, trust

  local function echo(ws)
    for message, kind in ws:messages() do ws:send(message, kind) end
  end

  setup(function()
    ca = certificates.authority()
    mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    trust = { ca = ca.certificate }
    plain = raw.echo { max_message = 8 << 20 }
    secure = web.server(websocket.handler(echo, { max_message = 8 << 20 }),
      { tls = { certificate = mine.certificate, key = mine.key } })
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

  local function urls()
    return { ("ws://localhost:%d/"):format(plain.port),
      ("wss://localhost:%d/"):format(secure.port) }
  end

  local function talk(options)
    options.tls, options.max_message = trust, 8 << 20
    for _, url in ipairs(urls()) do
      local ws <close> = assert(websocket.connect(url, options))
      for _, size in ipairs { 5, 3 << 20 } do
        local message = ("x"):rep(size)
        local sender = green.spawn(ws.send, ws, message)
        assert.is_true(ws:receive(20) == message)
        assert.is_true(sender:get())
      end
      green.sleep(0.03) -- whoever limits something has limited it by now
      ws:send "still there"
      assert.equal("still there", ws:receive(10))
    end
  end

  -- One for CONNECT; with a context it speaks TLS.
  local function connect_proxy(context)
    local proxy
    proxy = scripted.server(function(peer)
      peer = context and context:accept(peer) or peer
      local head = scripted.read(peer)
      proxy.requests[#proxy.requests + 1] = head
      local host, port = head:match "^CONNECT ([^: ]+):(%d+) HTTP/1.1\r\n"
      if not host then return end
      local target <close> = assert(socket.connect(host, tonumber(port)))
      peer:send "HTTP/1.1 200 Connected\r\n\r\n"
      local back <close> = green.spawn(function() -- luacheck: ignore
        local bytes = target:receive_some()
        while bytes and peer:send(bytes) do bytes = target:receive_some() end
        peer:close()
      end)
      local bytes = peer:receive_some()
      while bytes and target:send(bytes) do bytes = peer:receive_some() end
    end)
    return proxy
  end

  it("goes through a tunnel, with and without TLS", function()
    finally(settle)
    local proxy <close> = connect_proxy()
    talk { proxy = proxy.url:gsub("//", "//u:p@"), timeout = 10 }
    assert.equal(2, #proxy.requests)
    assert.matches("\r\nProxy%-Authorization: Basic dTpw\r\n", proxy.requests[1])
  end)

  it("goes through one that is reached by TLS", function()
    finally(settle)
    local proxy <close> = connect_proxy(web.must(ssl.server { certificate = mine.certificate,
      key = mine.key }))
    local url = proxy.url:gsub("http", "https")
    talk { proxy = url, proxy_tls = trust }
    assert.matches("certificate verify failed",
      (select(2, websocket.connect(urls()[1], { proxy = url }))))
  end)

  it("goes through microsocks", function()
    finally(settle)
    local folder, port, guard = daemon.folder(), daemon.reserve_port()
    local proxy <close> = daemon.start(folder, port, guard, "microsocks -i 127.0.0.1 -p " .. port)
    talk { proxy = "socks5h://127.0.0.1:" .. proxy.port }
  end)

  it("tells why it does not", function()
    local url = urls()[1]
    local no <close> = scripted.server "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    assert.same({ nil, "the proxy says 403 No" }, { websocket.connect(url, { proxy = no.url }) })
    local silent <close> = scripted.server(function(peer) peer:receive "*a" end)
    assert.same({ nil, "timeout" },
      { websocket.connect(url, { proxy = silent.url, timeout = 0.02 }) })
    local timer = green.Timeout(0.02)
    assert.same({ false, timer },
      { pcall(websocket.connect, url, { proxy = silent.url, timeout = timer }) })
    assert.same({ nil, "bad proxy: there is no host" },
      { websocket.connect(url, { proxy = "http://" }) })
    assert.error_matches(function() websocket.connect(url, { proxy = true }) end,
      "proxy: a URL or false expected")
  end)

  it("asks the environment", function()
    local proxy <close> = connect_proxy()
    local real = os.getenv
    finally(function()
      os.getenv = real -- luacheck: ignore
      settle()
    end)
    local environment = { http_proxy = proxy.url, https_proxy = proxy.url }
    os.getenv = function(name) return environment[name] end -- luacheck: ignore
    talk {}
    assert.equal(2, #proxy.requests)
    talk { proxy = false }
    environment.no_proxy = "localhost"
    talk {}
    assert.equal(2, #proxy.requests)
  end)
end)

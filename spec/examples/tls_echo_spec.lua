local certificates = require "spec.support.certificates"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"
local support = require "spec.support"
local tls = require "spec.support.tls"

describe("examples/tls_echo.lua", function()
  it("makes itself a certificate and serves openssl", function()
    local server <close> = support.start { "examples/tls_echo.lua", "0" }
    local port = sockets.port_of(server)
    local client <close> = tls.start("openssl s_client -quiet -connect localhost:" .. port)
    client.input:write "hello\n"
    client:await "\nhello\n"
    local c = assert(ssl.client { verify = false })
    local conn <close> = assert(c:connect(tls.connect(port)))
    conn:send "hello\n"
    assert.equal("hello", conn:receive())
    server:kill "INT"
    local out, err = sockets.await_end(server)
    assert.matches("^listening on 127.0.0.1 port %d+\ntry: openssl .*\nbye\n$", out)
    assert.equal("", err)
  end)

  it("takes a certificate, and tells who does not speak TLS", function()
    local ca <close> = certificates.authority()
    local pair = ca:issue "localhost"
    local server <close> = support.start {
      "examples/tls_echo.lua", "0", pair.certificate, pair.key,
    }
    local port = sockets.port_of(server)
    local c = assert(ssl.client { ca = ca.certificate })
    local conn <close> = assert(c:connect(tls.connect(port), "localhost"))
    conn:send "hello\n"
    assert.equal("hello", conn:receive())
    local stray <close> = tls.connect(port)
    stray:send "GET / HTTP/1.0\r\n\r\n"
    while not server:output():find "no handshake: http request" do
      require("greenlua").sleep(0.005)
    end
  end)
end)

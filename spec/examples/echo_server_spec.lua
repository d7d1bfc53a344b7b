local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

describe("examples/echo_server.lua", function()
  it("sends back what it receives, to many at once", function()
    local server <close> = support.start { "examples/echo_server.lua", "0", "127.0.0.1" }
    local port = sockets.port_of(server)
    local peers = {}
    for i = 1, 50 do
      peers[i] = green.spawn(function()
        local conn <close> = assert(socket.connect("127.0.0.1", port))
        conn:send(("from %d\n"):format(i):rep(1000))
        conn:shutdown "send"
        return (conn:receive "*a")
      end)
    end
    for i = 1, 50 do assert.equal(("from %d\n"):format(i):rep(1000), peers[i]:get()) end
  end)

  it("ends cleanly, with connections open", function()
    for _, signal in ipairs { "INT", "TERM" } do
      local server <close> = support.start { "examples/echo_server.lua", "0", "127.0.0.1" }
      local conn <close> = assert(socket.connect("127.0.0.1", sockets.port_of(server)))
      conn:send "x"
      assert.equal("x", conn:receive(1))
      server:kill(signal)
      assert.same({ nil, "closed", "" }, { conn:receive() })
      local out, err = sockets.await_end(server)
      assert.matches("^listening on 127.0.0.1 port %d+\nbye\n$", out)
      assert.equal("", err)
    end
  end)

  it("serves nc", function()
    local server <close> = support.start { "examples/echo_server.lua", "0", "127.0.0.1" }
    local pipe = assert(io.popen(("echo hello | timeout 60 nc -N 127.0.0.1 %d"):format(
      sockets.port_of(server))))
    local out = pipe:read "a"
    pipe:close()
    assert.equal("hello\n", out)
  end)
end)

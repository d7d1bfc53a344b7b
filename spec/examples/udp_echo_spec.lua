local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

local PROGRAM = "examples/udp_echo.lua"

describe(PROGRAM, function()
  it("shows both sides without arguments", function()
    local code, out, err = support.run { PROGRAM }
    assert.same({ 0, "one\tone\ntwo\ttwo\nthree\tthree\n", "" }, { code, out, err })
  end)

  it("echoes to its own client and to others, on either family", function()
    for _, address in ipairs { "127.0.0.1", "::1" } do
      local server <close> = support.start { PROGRAM, "server", "0", address }
      local port = sockets.port_of(server)
      local code, out = support.run { PROGRAM, "client", address, port, "hello", "" }
      assert.same({ 0, "hello\thello\n\t\n" }, { code, out })
      local sock <close> = socket.udp()
      sock:setpeername(address, port)
      local large = ("x"):rep(60000)
      sock:send(large)
      assert.equal(large, sock:receive(65535))
      server:kill "INT"
      assert.matches("bye\n$", (sockets.await_end(server)))
    end
  end)

  it("has a client that gives up", function()
    local code, out = support.run { PROGRAM, "client", "no..such.host", "1", "hello" }
    assert.equal(1, code)
    assert.equal("", out)
  end)

  it("says how it is used", function()
    local code, _, err = support.run { PROGRAM, "client", "127.0.0.1" }
    assert.equal(2, code)
    assert.matches("^usage: ", err)
  end)
end)

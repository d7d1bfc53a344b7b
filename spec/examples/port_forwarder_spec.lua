local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

describe("examples/port_forwarder.lua", function()
  it("copies both ways, and passes half-closes on", function()
    local target <close> = assert(socket.bind("127.0.0.1", 0))
    local _, target_port = target:getsockname()
    local forwarder <close> = support.start { "examples/port_forwarder.lua", "0", "127.0.0.1",
      tostring(target_port), "127.0.0.1" }
    local near <close> = assert(socket.connect("127.0.0.1", sockets.port_of(forwarder)))
    local far <close> = assert(target:accept())
    local data = ("0123456789"):rep(200000)
    local g = green.spawn(function()
      near:send(data)
      near:shutdown "send"
    end)
    assert.equal(data, far:receive "*a")
    g:join()
    far:send "the answer"
    far:close()
    assert.equal("the answer", near:receive "*a")
  end)

  it("lets go of a peer whose target does not answer", function()
    local target = assert(socket.bind("127.0.0.1", 0))
    local _, target_port = target:getsockname()
    target:close()
    local forwarder <close> = support.start { "examples/port_forwarder.lua", "0", "127.0.0.1",
      tostring(target_port), "127.0.0.1" }
    local near <close> = assert(socket.connect("127.0.0.1", sockets.port_of(forwarder)))
    assert.same({ nil, "closed", "" }, { near:receive() })
    assert.matches("cannot connect to 127.0.0.1 port %d+: connection refused",
      (forwarder:output()))
    forwarder:kill "TERM"
    assert.matches("bye\n$", (sockets.await_end(forwarder)))
  end)

  it("says how it is used", function()
    local code, _, err = support.run { "examples/port_forwarder.lua", "1" }
    assert.equal(2, code)
    assert.matches("^usage: ", err)
  end)
end)

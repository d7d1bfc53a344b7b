local green = require "greenlua"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

describe("examples/telnet_server.lua", function()
  it("greets nc, and counts", function()
    local server <close> = support.start { "examples/telnet_server.lua", "0" }
    local port = sockets.port_of(server)
    for _ = 1, 3 do
      local command = ("timeout 60 nc -N 127.0.0.1 %d </dev/null"):format(port)
      local pipe <close> = assert(io.popen(command))
      assert.equal("Hello from a telnet!\n0\n1\n2\n3\n4\n", pipe:read "a")
    end
  end)

  it("ends at an interrupt from the keyboard", function()
    local server <close> = support.start { "examples/telnet_server.lua", "0" }
    sockets.port_of(server)
    green.sleep(0.01)
    server:kill "INT"
    local _, err = sockets.await_end(server)
    assert.matches("interrupted!", err)
  end)
end)

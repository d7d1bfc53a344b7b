local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

describe("examples/chat.lua", function()
  local function join(port, name)
    local conn = assert(socket.connect("127.0.0.1", port))
    conn:settimeout(60)
    assert.equal("What is your name? ", conn:receive(19))
    conn:send(name .. "\n")
    return conn
  end

  it("passes on what each peer says", function()
    local server <close> = support.start { "examples/chat.lua", "0", "127.0.0.1" }
    local port = sockets.port_of(server)
    local ada <close> = join(port, "Ada")
    local alan <close> = join(port, "Alan") -- asked for his name after Ada has told hers
    assert.equal("* Alan has come", ada:receive())
    alan:send "hello\nis anybody there?\n"
    assert.equal("Alan: hello", ada:receive())
    assert.equal("Alan: is anybody there?", ada:receive())
    ada:send "I am\n"
    assert.equal("Ada: I am", alan:receive())
    local late <close> = join(port, "Ada")
    assert.equal("That one is taken. Another? ", late:receive(28))
    late:send "Grace\n"
    assert.equal("* Grace has come", ada:receive())
    assert.equal("* Grace has come", alan:receive())
    alan:close()
    assert.equal("* Alan has gone", ada:receive())
    server:kill "INT"
    assert.same({ nil, "closed", "" }, { ada:receive() })
  end)
end)

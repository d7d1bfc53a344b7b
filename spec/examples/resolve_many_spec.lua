local green = require "greenlua"
local nameserver = require "spec.support.nameserver"
local support = require "spec.support"

local EXAMPLE = "examples/resolve_many.lua"

describe(EXAMPLE, function()
  it("looks up this machine if it gets no names", function()
    local code, out, err = support.run { EXAMPLE }
    assert.equal("", err)
    assert.equal(0, code)
    assert.matches("localhost %-> ", out)
  end)

  it("takes names from stdin, and tells of those that are none", function()
    local _, out = support.run({ EXAMPLE, "-n", "1" }, "127.0.0.1\n\na..b\n")
    assert.equal("127.0.0.1 -> 127.0.0.1\n"
      .. "a..b: host or service not provided, or not known (BADNAME)\n", out)
  end)

  it("asks for many at once, and prints answers as they come", function()
    local last = green.Event()
    local liar <close> = nameserver.lie(function(q)
      if q.name == "first.test" then last:wait() end
      if q.name == "last.test" then last:set() end
      if q.type ~= 1 then return nameserver.reply(q) end
      return nameserver.reply(q, { answers = { nameserver.a(0, 127, 0, 0, #q.name) } })
    end)
    local conf = os.tmpname()
    local file = assert(io.open(conf, "w"))
    file:write("nameserver ", liar.address, "\n")
    file:close()
    local child <close> = support.start({ EXAMPLE, "first.test", "second.test", "last.test" },
      { GREENLUA_RESOLV_CONF = conf })
    while child:running() do green.sleep(0.002) end
    os.remove(conf)
    local out, err = child:output()
    assert.equal("", err)
    assert.matches("^second.test %-> 127.0.0.11\n", out)
    assert.matches("first.test %-> 127.0.0.10\n", out)
  end)
end)

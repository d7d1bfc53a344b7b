local redis = require "spec.support.redis"
local support = require "spec.support"

local function run(script, ...)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write('package.path = package.path .. ";/usr/share/lua/5.3/?.lua"\n', script)
  file:close()
  local code, out, err = support.run { "--monkey", path, ... }
  os.remove(path)
  assert.same({ 0, "" }, { code, err })
  return out
end

describe("examples/redis_unmodified.lua", function()
  local server
  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  it("serves many clients, transactions and subscribers in one thread", function()
    local where = "127.0.0.1:" .. server.port
    for _, clients in ipairs { 50, 200 } do
      local code, out, err = support.run { "examples/redis_unmodified.lua", where, clients }
      assert.equal("", err)
      assert.equal(([[
%d clients have added up to %d
alice has 45, bob has 55
Ada has heard one, two, three
Alan has heard one, two, three
Grace has heard one, two, three
]]):format(clients, clients * (clients + 1) // 2), out)
      assert.equal(0, code)
    end
  end)

  it("says how to start a server", function()
    local code, out = support.run { "examples/redis_unmodified.lua" }
    assert.equal(1, code)
    assert.matches("^usage: redis_unmodified.lua host:port %[clients%]\n.*redis%-server", out)
  end)

  describe("lua-redis, as it is, under --monkey", function()
    it("connects by a UNIX socket", function()
      assert.equal("true\tgreen\n", run([[
        local client = require "redis".connect { scheme = "unix", path = arg[1] }
        print(client:ping(), client:set("colour", "green") and client:get "colour")
        client:quit()]], server.folder .. "/socket"))
    end)

    it("sends a thousand requests in one pipeline", function()
      assert.equal("1000\t1000\ttrue\n", run([[
        local client = require "redis".connect("127.0.0.1", tonumber(arg[1]))
        client:set("n", 1)
        local replies, n = client:pipeline(function(p)
          for _ = 1, 1000 do p:exists "n" end
        end)
        print(n, #replies, replies[1000])]], server.port))
    end)

    it("is interrupted by a Timeout where it waits, in its own coroutines, too", function()
      assert.equal("false\nfalse\ntrue\n", run([[
        local green, redis = require "greenlua", require "redis"
        local function connect() return redis.connect("127.0.0.1", tonumber(arg[1])) end
        local a, b, c = connect(), connect(), connect()
        print((green.within(0.01, a.blpop, a, "never", 0)))
        local messages = b:pubsub { subscribe = "never" }
        messages()
        print((green.within(0.01, messages)))
        print(c:ping())]], server.port))
    end)

    it("tells of a server that is not there", function()
      assert.matches("could not connect to 127.0.0.1:1 %[connection refused%]", run [[
        print(select(2, pcall(require "redis".connect, "127.0.0.1", 1)))]])
    end)
  end)
end)

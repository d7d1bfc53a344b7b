local postgres = require "spec.support.postgres"
local support = require "spec.support"

describe("examples/coop_postgres.lua", function()
  local server
  setup(function() server = postgres.start() end)
  teardown(function() server:stop() end)

  it("queries many times at once, and gives up in time", function()
    for _, host in ipairs { server.folder, "127.0.0.1" } do
      local code, out, err = support.run({ "--coop-libc", "examples/coop_postgres.lua",
        server:conninfo(host), "40", "0.1" }, nil, postgres.env)
      assert.equal("", err)
      assert.matches("^40 queries of 0.1 s each: answered after %d+ s\nin time:\tfalse\n$", out)
      assert.equal(0, code)
    end
  end)
end)

local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("greenlua.core.http's reader, out of memory", function()
  it("says so, and all is usable afterwards", function()
    local code, out, err = support.run { "spec/bindings/http/fail_each_client.lua" }
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > 30)
    for line in err:gmatch "[^\n]+" do assert.matches("not enough memory", line) end
  end)
end)

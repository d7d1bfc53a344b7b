local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("running out of memory", function()
  it("while names are looked up is told", function()
    local code, out, err = support.run { "spec/bindings/dns/fail_each.lua" }
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > 100)
  end)
end)

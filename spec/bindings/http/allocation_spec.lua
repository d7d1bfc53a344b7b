local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("greenlua.core.http, out of memory", function()
  it("ends the connection, or answers, and all is usable afterwards", function()
    local code, out, err = support.run { "spec/bindings/http/fail_each.lua" }
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > 100)
    for line in err:gmatch "[^\n]+" do assert.matches("not enough memory", line) end
  end)
end)

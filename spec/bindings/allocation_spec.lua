local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("running out of memory", function()
  it("at any allocation is an error, and all is usable afterwards", function()
    local code, out, err = support.run { "spec/bindings/fail_each.lua" }
    assert.equal(0, code, err)
    local in_main, in_greenlet = out:match "^(%d+)\t(%d+)\n$"
    assert.is_true(tonumber(in_main) > 100)
    assert.is_true(tonumber(in_greenlet) > 100)
    -- Ends that could not be told, for instance.
    for line in err:gmatch "[^\n]+" do
      assert.matches("not enough memory", line)
    end
  end)
end)

local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("greenlua.core.websocket, out of memory", function()
  it("ends the connection, or goes on, and all is usable afterwards", function()
    local code, out, err = support.run { "spec/bindings/websocket/fail_each.lua" }
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > 100)
    for line in err:gmatch "[^\n]+" do
      assert.truthy(line:find "not enough memory" or line:find "^stack traceback"
        or line:find "^\t", line)
    end
  end)
end)

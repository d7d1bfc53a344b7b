local certificates = require "spec.support.certificates"
local core = require "greenlua.core"
local support = require "spec.support"

if core.fail_allocation(0) == -1 then return end -- not a testing build

describe("running out of memory with TLS", function()
  it("at any allocation is an error, and all is usable afterwards", function()
    local ca <close> = certificates.authority()
    local pair = ca:issue "localhost"
    local code, out, err = support.run { "spec/bindings/ssl/fail_each.lua", pair.certificate,
      pair.key, ca.certificate }
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > 30)
  end)
end)

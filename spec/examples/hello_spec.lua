local support = require "spec.support"

describe("examples/hello.lua", function()
  it("greets in turn, and says good night when each delay is over", function()
    local code, out, err = support.run { "examples/hello.lua", "0.1" }
    assert.equal([[
good morning, Ada
good morning, Alan
good morning, Grace
good night, Alan
good night, Grace
good night, Ada
everybody sleeps
]], out)
    assert.equal("", err)
    assert.equal(0, code)
  end)
end)

local support = require "spec.support"

local PROGRAM = "examples/http_fetch_many.lua"

describe(PROGRAM, function()
  it("fetches all pages of its own server at once", function()
    local code, out, err = support.run { PROGRAM }
    assert.same({ 0, "" }, { code, err })
    for i = 1, 20 do
      assert.matches(("http://127.0.0.1:%%d+/%d\t%d bytes\n"):format(i, i < 10 and 21 or 22), out)
    end
    local pages, bytes, seconds = out:match "(%d+) pages, (%d+) bytes in (%d+%.%d) s\n$"
    assert.same({ "20", "431" }, { pages, bytes })
    assert.is_true(tonumber(seconds) < 2) -- one after the other it would be that
  end)

  it("tells what cannot be fetched", function()
    local code, out = support.run { PROGRAM, "http://127.0.0.1:1/" }
    assert.equal(0, code)
    assert.matches("^http://127.0.0.1:1/\tconnection refused\n1 pages, 0 bytes", out)
  end)

  it("says what to install where LuaSocket is missing", function()
    local code, _, err = support.run({ PROGRAM }, nil, { LUA_PATH = "/nowhere/?.lua" })
    assert.equal(1, code)
    assert.matches("apt%-get install lua%-socket", err)
  end)
end)

local cookies = require "greenlua.http.cookies"
local web = require "spec.support.http"

describe("greenlua.http.cookies", function()
  it("reads what a browser sends", function()
    assert.same({ a = "1", b = "x=y", c = "q", d = "" },
      cookies.parse 'a=1; b=x=y;c="q" ; d=; a=2; nonsense; =x')
    assert.same({}, cookies.parse "")
  end)

  it("writes them, safe unless told otherwise", function()
    assert.equal("a=b; Path=/; HttpOnly; SameSite=Lax", cookies.format("a", "b"))
    assert.equal("a=b; Path=/x; Domain=d; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:09 GMT; "
      .. "Secure; SameSite=None", cookies.format("a", "b", { path = "/x", domain = "d",
        max_age = 60, expires = 9, secure = true, http_only = false, same_site = "none" }))
    assert.equal("a=b; Path=/; HttpOnly", cookies.format("a", "b", { same_site = false }))
    assert.equal("a=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; "
      .. "SameSite=Lax", cookies.format "a")
  end)

  it("refuses what would be another cookie, or field", function()
    for _, arguments in ipairs { { "a b", "c" }, { "a", "b; Domain=x" }, { "a", "b\r\nX: y" },
      { "", "b" }, { "a", "b c" }, { "a", "b", { path = "/;x" } }, { "a", "b", { domain = "x\n" } },
      { "a", "b", { same_site = "some" } } } do
      assert.error_matches(function() cookies.format(table.unpack(arguments)) end, "of a cookie")
    end
  end)

  it("come and go with requests and responses", function()
    local server = web.server(function(req, res)
      res:set_cookie("seen", req.cookies.seen and "again" or "first"):set_cookie("old")
    end)
    finally(function() server:stop(0) end)
    assert.matches("Set%-Cookie: seen=first; .*\r\nSet%-Cookie: old=; ", web.get(server, "/").head)
    assert.matches("seen=again", web.get(server, "/", { Cookie = "seen=first" }).head)
  end)
end)

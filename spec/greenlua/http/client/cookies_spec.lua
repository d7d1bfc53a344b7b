local Jar = require("greenlua.http.client.cookies").Jar
local http = require "greenlua.http"
local urls = require "greenlua.http.client.url"
local web = require "spec.support.http"

describe("greenlua.http.client.cookies", function()
  local function store(jar, url, text, time) return jar:store(urls.parse(url), text, time) end
  local function header(jar, url, time) return jar:header(urls.parse(url), time) end

  -- What a jar with that cookie says to each of those URLs: yes or no.
  local function check(from, text, to)
    local jar = Jar()
    store(jar, from, text, 1000)
    for url, expected in pairs(to) do
      assert.equal(expected and "a=b" or nil, header(jar, url, 1000), text .. " " .. url)
    end
  end

  it("are sent to the host that set them", function()
    check("http://x.org/", "a=b", {
      ["http://x.org/"] = true, ["http://x.org:81/y"] = true, ["https://x.org/"] = true,
      ["http://w.x.org/"] = false, ["http://org/"] = false, ["http://xx.org/"] = false,
    })
  end)

  it("are sent to a domain if they say so", function()
    check("http://w.x.org/", "a=b; Domain=X.org", {
      ["http://x.org/"] = true, ["http://w.x.org/"] = true, ["http://v.w.x.org/"] = true,
      ["http://yx.org/"] = false, ["http://x.org.evil.com/"] = false,
    })
    check("http://w.x.org/", "a=b; domain=.x.org", { ["http://v.x.org/"] = true })
    for _, domain in ipairs { "y.org", "org", "v.w.x.org", "ww.x.org", "2.3.4" } do
      assert.is_false(store(Jar(), "http://w.x.org/", "a=b; Domain=" .. domain), domain)
    end
    assert.is_false(store(Jar(), "http://1.2.3.4/", "a=b; Domain=3.4"))
    assert.is_true(store(Jar(), "http://1.2.3.4/", "a=b; Domain=1.2.3.4"))
    assert.is_true(store(Jar(), "http://localhost/", "a=b; Domain=localhost"))
  end)

  it("are sent to a path", function()
    check("http://x/y/z", "a=b", {
      ["http://x/"] = false, ["http://x/y"] = true, ["http://x/y/"] = true, ["http://x/yy"] = false,
      ["http://x/y/w/v?q"] = true,
    })
    check("http://x/y/z", "a=b; Path=/", { ["http://x/"] = true })
    check("http://x/", "a=b; Path=/y/", { ["http://x/y"] = false, ["http://x/y/"] = true })
    check("http://x/y/z", "a=b; Path=nonsense", { ["http://x/y/"] = true, ["http://x/"] = false })
  end)

  it("are sent by TLS only if they say so", function()
    check("https://x/", "a=b; Secure; HttpOnly", { ["http://x/"] = false, ["https://x/"] = true })
    assert.is_false(store(Jar(), "http://x/", "a=b; Secure"))
  end)

  it("have an end", function()
    local function lives(attributes, time)
      local jar = Jar()
      store(jar, "http://x/", "a=b" .. attributes, 1000)
      return header(jar, "http://x/", time) ~= nil
    end
    assert.is_true(lives("", 1e9))
    assert.is_true(lives("; Max-Age=10", 1009))
    assert.is_false(lives("; Max-Age=10", 1010))
    assert.is_false(lives("; Max-Age=0", 1000))
    assert.is_false(lives("; Max-Age=-1", 1000))
    assert.is_true(lives("; Max-Age=x", 1e9))
    assert.is_true(lives("; Expires=Thu, 01 Jan 1970 01:00:00 GMT", 3599))
    assert.is_false(lives("; Expires=Thu, 01 Jan 1970 01:00:00 GMT", 3600))
    assert.is_false(lives("; Expires=Thu, 01-Jan-1970 01:00:00 GMT", 3600))
    assert.is_true(lives("; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10", 1005))
  end)

  it("replace and remove those of their name", function()
    local jar = Jar()
    store(jar, "http://x/", "a=1")
    store(jar, "http://x/", "b=2")
    store(jar, "http://x/", "a=3")
    assert.equal("a=3; b=2", header(jar, "http://x/"))
    store(jar, "http://x/", "a=; Max-Age=0")
    assert.equal("b=2", header(jar, "http://x/"))
    assert.equal(1, #jar)
    jar:clear()
    assert.is_nil(header(jar, "http://x/"))
  end)

  it("come in order: longer paths first, then the older ones", function()
    local jar = Jar()
    for _, text in ipairs { "a=1; Path=/", "b=2; Path=/y/z", "c=3; Path=/y", "d=4; Path=/" } do
      store(jar, "http://x/y/z", text)
    end
    assert.equal("b=2; c=3; a=1; d=4", header(jar, "http://x/y/z"))
    assert.equal("a", jar:all()[1].name)
  end)

  it("are not taken if they are none", function()
    for _, text in ipairs {
      "", "a", "=b", ";", "a\r\n=b", "a=\0", "a=" .. ("x"):rep(5000),
    } do
      assert.is_false(store(Jar(), "http://x/", text))
    end
    assert.is_true(store(Jar(), "http://x/", ' a = "b c" ; Path=/'))
  end)

  it("are not too many", function()
    local jar = Jar()
    for i = 1, 60 do store(jar, "http://x/", ("c%d=1"):format(i)) end
    assert.equal(50, #jar)
    assert.equal("c11", jar:all()[1].name)
    for i = 1, 3100 do store(jar, ("http://h%d/"):format(i), "a=b") end
    assert.equal(3000, #jar)
  end)

  it("are kept by a client that is asked to", function()
    local server = web.server(function(req, res)
      if req.path == "/login" then
        res:set_cookie("session", "1")
        return res:redirect "/home"
      elseif req.path == "/two" then
        res:set_cookie("a", "1")
        res:set_cookie("b", "2")
      end
      return req:header "cookie" or "none"
    end)
    finally(function() server:stop(0) end)
    local url = "http://127.0.0.1:" .. server.port
    local client <close> = http.client { cookies = true }
    assert.equal("session=1", client:get(url .. "/login").body)
    client:get(url .. "/two")
    assert.equal("session=1; a=1; b=2", client:get(url).body)
    assert.equal("x=y; session=1; a=1; b=2", client:get(url, { headers = { Cookie = "x=y" } }).body)
    assert.equal("none", client:get(url, { cookies = false }).body)
    assert.equal(3, #client.cookies)
    local jar = http.client.Jar()
    local other <close> = http.client()
    other:get(url .. "/login", { cookies = jar })
    assert.equal(1, #jar)
    assert.equal("none", other:get(url).body)
  end)
end)

local urls = require "greenlua.http.client.url"

describe("greenlua.http.client.url", function()
  it("takes URLs apart", function()
    local function check(text, scheme, host, port, target)
      local url = assert(urls.parse(text))
      assert.same({ scheme, host, port, target }, { url.scheme, url.host, url.port, url.target })
    end
    check("http://example.org", "http", "example.org", 80, "/")
    check("HTTP://Example.ORG:8080/A", "http", "example.org", 8080, "/A")
    check("https://example.org:/", "https", "example.org", 443, "/")
    check("http://example.org?a=1", "http", "example.org", 80, "/?a=1")
    check("http://example.org/a?b=c?d#e?f", "http", "example.org", 80, "/a?b=c?d")
    check("http://example.org#x", "http", "example.org", 80, "/")
    check("http://[::1]:81/", "http", "::1", 81, "/")
    check("http://[fe80::1%25eth0]/", "http", "fe80::1%eth0", 80, "/")
    check("  http://a/  ", "http", "a", 80, "/")
    check("http://a/b c\u{fc}\"<>^`{}\\|", "http", "a", 80, "/b%20c%C3%BC%22%3C%3E%5E%60%7B%7D%5C|")
    check("http://a/%20%zz", "http", "a", 80, "/%20%zz")
    check("http://ex%61mple.org/", "http", "example.org", 80, "/")
  end)

  it("takes user and password out of them", function()
    local url = assert(urls.parse "http://a%40b:c:d%2F@host/x@y")
    assert.same({ "a@b", "c:d/", "host", "/x@y" }, { url.user, url.password, url.host, url.target })
    assert.equal("http://host/x@y", urls.format(url))
  end)

  it("knows UNIX sockets", function()
    local url = assert(urls.parse "http+unix://%2Frun%2Fa.sock/path?q")
    assert.same({ "http", "/run/a.sock", "/path?q" }, { url.scheme, url.unix, url.target })
    assert.equal("http+unix://%2Frun%2Fa.sock/path?q", urls.format(url))
  end)

  it("refuses what is none", function()
    for text, why in pairs {
      [""] = "no scheme", ["example.org"] = "no scheme", ["/path"] = "no scheme",
      ["ftp://a/"] = 'scheme "ftp"', ["http://"] = "no host", ["http:///x"] = "no host",
      ["http://a:0/"] = "no port", ["http://a:65536/"] = "no port",
      ["http://a:123456789012345678901/"] = "no port",
      ["http://a:x/"] = "no host with a port", ["http://::1/"] = "no host with a port",
      ["http://[::1/"] = "no host with a port", ["http://[1.2.3.4]/"] = "no IPv6 address",
      ["http://[::g]/"] = "no IPv6 address", ["http://[fe80::1%]/"] = "no IPv6 address",
      ["http://[fe80::1%25a b]/"] = "no IPv6 address",
      ["http://b\u{fc}cher.de/"] = "written in ASCII",
      ["http://a b/"] = "no host", ["http://a%0d/"] = "no host", ["http://a\r\nX: y/"] = "control",
      ["http://a/\0"] = "control", ["http+unix:///x"] = "no path of a socket",
    } do
      local url, problem = urls.parse(text)
      assert.is_nil(url, text)
      assert.matches(why, problem, 1, true)
    end
  end)

  it("resolves references as RFC 3986 has it", function()
    local base = assert(urls.parse "http://a/b/c/d;p?q")
    for reference, expected in pairs {
      ["g"] = "http://a/b/c/g", ["./g"] = "http://a/b/c/g", ["g/"] = "http://a/b/c/g/",
      ["/g"] = "http://a/g", ["//g"] = "http://g/", ["?y"] = "http://a/b/c/d;p?y",
      ["g?y"] = "http://a/b/c/g?y", ["#s"] = "http://a/b/c/d;p?q", ["g#s"] = "http://a/b/c/g",
      [";x"] = "http://a/b/c/;x", [""] = "http://a/b/c/d;p?q", ["."] = "http://a/b/c/",
      ["./"] = "http://a/b/c/", [".."] = "http://a/b/", ["../g"] = "http://a/b/g",
      ["../.."] = "http://a/", ["../../g"] = "http://a/g", ["../../../g"] = "http://a/g",
      ["/./g"] = "http://a/g", ["/../g"] = "http://a/g", ["g."] = "http://a/b/c/g.",
      ["..g"] = "http://a/b/c/..g", ["./../g"] = "http://a/b/g", ["./g/."] = "http://a/b/c/g/",
      ["g/./h"] = "http://a/b/c/g/h", ["g/../h"] = "http://a/b/c/h",
      ["g?y/../x"] = "http://a/b/c/g?y/../x", ["https://h:1/x"] = "https://h:1/x",
      ["/a b"] = "http://a/a%20b",
    } do
      assert.equal(expected, urls.format(assert(urls.resolve(base, reference))), reference)
    end
    assert.is_nil(urls.resolve(base, "mailto:a@b"))
    assert.is_nil(urls.resolve(base, "/a\r\nb"))
  end)

  it("knows where one server ends and another begins", function()
    local function same(a, b)
      return urls.origin(urls.parse(a)) == urls.origin(urls.parse(b))
    end
    assert.is_true(same("http://a/x", "http://A:80/y"))
    assert.is_false(same("http://a/", "https://a/"))
    assert.is_false(same("http://a/", "http://a:81/"))
    assert.is_false(same("http://a/", "http://b.a/"))
  end)
end)

-- Fields that follow a body.

local web = require "spec.support.http"

describe("the trailer of a request", function()
  local server, seen

  setup(function()
    server = web.server(function(req)
      seen = { before = req.trailers == nil }
      if req.path == "/leave" then return "left" end
      if req.path == "/pieces" then req:read_some(2) end
      seen.within = req.trailers == nil
      local body, err = req:read "a"
      seen.body, seen.err, seen.trailers = body, err, req.trailers
      seen.sum = req.trailers and req.trailers["x-SUM"]
      return "read"
    end, { max_headers = 5, max_line = 64, max_head = 200 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function() server.failures = {} end)

  local function post(trailer, path)
    return ("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"):format(path or "/")
      .. "5\r\nhello\r\n0\r\n" .. trailer .. "\r\n"
  end

  it("is there when the body has been read", function()
    local conn <close> = web.connect(server)
    conn:send(post("X-Sum: a \r\nB:c\r\nX-Sum:\td\r\n", "/pieces"))
    assert.equal(200, web.read(conn).status)
    assert.is_true(seen.before and seen.within)
    assert.equal("llo", seen.body)
    assert.equal("a, d", seen.sum)
    local fields = {}
    for name, value in pairs(seen.trailers) do fields[#fields + 1] = name .. "=" .. value end
    assert.same({ "X-Sum=a", "B=c", "X-Sum=d" }, fields)
  end)

  it("is empty where there is none", function()
    local conn <close> = web.connect(server)
    for _, bytes in ipairs { post "", web.request("GET", "/"),
      web.request("POST", "/", nil, "hello") } do
      conn:send(bytes)
      assert.equal(200, web.read(conn).status)
      assert.is_nil(pairs(seen.trailers)())
    end
  end)

  it("is not the next request's", function()
    local conn <close> = web.connect(server)
    local sums = {}
    for i, bytes in ipairs { post "X-Sum: 1\r\n", post "", post("X-Sum: 2\r\n", "/leave"),
      post "" } do
      conn:send(bytes)
      web.read(conn)
      sums[i] = seen.sum or "none"
    end
    assert.same({ "1", "none", "none", "none" }, sums)
  end)

  it("has no say in what the head decides", function()
    local conn <close> = web.connect(server)
    conn:send(post "Content-Length: 7\r\nHost: y\r\nTRANSFER-ENCODING: x\r\nx-sum: 1\r\n")
    assert.equal("read", web.read(conn).body)
    assert.equal("1", seen.sum)
    for _, name in ipairs { "content-length", "host", "transfer-encoding" } do
      assert.is_nil(seen.trailers[name])
    end
    conn:send(post "Authorization: me\r\nCookie: a=b\r\n")
    assert.equal("read", web.read(conn).body)
    assert.is_nil(pairs(seen.trailers)())
  end)

  it("has the limits of a head", function()
    for _, trailer in ipairs { ("A: b\r\n"):rep(6), "A: " .. ("b"):rep(70) .. "\r\n",
      ("A: " .. ("b"):rep(50) .. "\r\n"):rep(4), "A: " .. ("b"):rep(100) } do
      assert.matches("^HTTP/1.1 200 ", (web.raw(server, post(trailer))))
      assert.equal("bad chunk", seen.err)
      assert.is_nil(seen.trailers)
    end
    local conn <close> = web.connect(server)
    conn:send(post(("A: b\r\n"):rep(5)))
    assert.equal("read", web.read(conn).body)
    assert.equal("hello", seen.body)
  end)

  it("is refused if it is none", function()
    for _, trailer in ipairs { " A: b\r\n", "A: b\r\n c\r\n", "A\0: b\r\n", "A: \0\r\n",
      "A(: b\r\n",
      "A: b\1\r\n", "A: \127\r\n", ": b\r\n", "A: b\rC: d\r\n", "A: b\nC: d\r\n", "A\t: b\r\n" } do
      assert.matches("^HTTP/1.1 200 ", (web.raw(server, post(trailer))))
      assert.equal("bad chunk", seen.err)
    end
  end)
end)

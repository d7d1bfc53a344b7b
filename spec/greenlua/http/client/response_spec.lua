-- What the client makes of what a server says.

local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"

local function gzip(text, flags)
  local path = os.tmpname()
  local pipe = assert(io.popen(("gzip -c %s >%s"):format(flags or "", path), "w"))
  pipe:write(text)
  pipe:close()
  local file <close> = assert(io.open(path, "rb"))
  os.remove(path)
  return file:read "a"
end

local function with_length(body, fields)
  return ("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s"):format(fields or "", #body, body)
end

describe("http.client's responses", function()
  -- What comes of those bytes, and how many connections are left.
  local function get(bytes, options, method)
    local server <close> = scripted.server(bytes)
    local client <close> = http.client(options)
    local res, err, phase = client[method or "get"](client, server.url)
    return res, err, phase, client:counts()
  end

  it("have a status, fields and a body", function()
    local res = assert(get(with_length("body", "X-A: 1\r\nx-a:2 \r\nX-B:\t\r\n")))
    assert.same({ 200, "OK", "1.1", "body", true }, { res.status, res.reason, res.version, res.body,
      res.ok })
    assert.equal("1, 2", res.headers["X-a"])
    assert.equal("", res.headers["x-b"])
    assert.is_nil(res.headers["x-c"])
    assert.same({ "1", "2" }, res:header_list "x-A")
    local names = {}
    for name, value in pairs(res.headers) do names[#names + 1] = name .. "=" .. value end
    assert.same({ "X-A=1", "x-a=2", "X-B=", "Content-Length=4" }, names)
    assert.has_error(function() res.headers.a = "b" end)
  end)

  it("may lack a reason", function()
    assert.equal("", get("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").reason)
    assert.equal("", get("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").reason)
    assert.is_false(get("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").ok)
  end)

  it("end as they say", function()
    assert.equal("abc", get("HTTP/1.1 200 OK\r\n\r\nabc").body)
    assert.equal("abc", get("HTTP/1.0 200 OK\r\n\r\nabc").body)
    assert.equal("", get("HTTP/1.1 200 OK\r\n\r\n").body)
    assert.equal("a\0bcd", get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" ..
      "3;x=y\r\na\0b\r\n02\r\ncd\r\n0\r\n\r\n").body)
    for _, status in ipairs { 204, 304 } do
      local res = assert(get(("HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n"):format(status)))
      assert.same({ status, "" }, { res.status, res.body })
    end
    assert.equal("", get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", nil, "head").body)
    assert.equal("", get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", nil, "head").body)
  end)

  it("leave the connection to the next request if they say where they end", function()
    local function left(bytes, method)
      return (select(4, get(bytes, nil, method)))
    end
    assert.equal(1, left(with_length "x"))
    assert.equal(1, left "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert.equal(1, left "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    assert.equal(1, left("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "head"))
    assert.equal(0, left "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert.equal(0, left "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert.equal(0, left "HTTP/1.1 200 OK\r\n\r\nx")
    assert.equal(0, left(with_length "x" .. "more than was asked for"))
  end)

  it("have trailers", function()
    local res = assert(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" ..
      "1\r\nx\r\n0\r\nX-Sum: 1\r\nx-sum: \t2 \r\nY:\r\n\r\n"))
    assert.same({ ["x-sum"] = "1, 2", y = "" }, res.trailers)
    assert.is_nil(get(with_length "x").trailers)
  end)

  it("may be preceded by others", function()
    local res = assert(get("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n" ..
      "Link: </x>\r\n\r\n" .. with_length "x"))
    assert.same({ 200, "x" }, { res.status, res.body })
    assert.is_nil(res.headers.link)
    local _, err = get(("HTTP/1.1 102 Processing\r\n\r\n"):rep(200))
    assert.equal("bad response: too many interim responses", err)
  end)

  it("are refused if two programs could read them in two ways", function()
    for _, head in ipairs {
      "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
      "HTTP/1.1 200 OK\r\n: b\r\n\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/1.1 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\nContent-Length: 0\r\n\r\n", "<html>\r\n</html>\r\n\r\n",
    } do
      local res, err, phase, left = get(head)
      assert.is_nil(res, head)
      assert.matches("^bad response: ..", err)
      assert.same({ "header", 0 }, { phase, left })
    end
  end)

  it("are refused where their chunks are bad", function()
    for _, chunks in ipairs {
      "x\r\n", "-1\r\n", "0x1\r\na\r\n", "\r\n", "1\r\nab\r\n", "1\na\r\n", "1 1\r\na\r\n",
      "ffffffffffffffffff\r\n", "1\r\na\n0\r\n\r\n", "0\r\nno trailer\r\n\r\n", "0\r\n: x\r\n\r\n",
      "1;\1\r\na\r\n", ("1"):rep(5000),
    } do
      local res, err, phase, left =
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunks)
      assert.is_nil(res, chunks)
      assert.same({ "bad response: a bad chunk", "body", 0 }, { err, phase, left })
    end
  end)

  it("may not end early", function()
    for _, bytes in ipairs { "", "HTTP", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n" } do
      local _, err, phase, left = get(bytes)
      assert.same({ "closed", "header", 0 }, { err, phase, left })
    end
    for _, bytes in ipairs {
      "Content-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\n1234",
      "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n1234",
      "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n",
    } do
      local _, err, phase, left = get("HTTP/1.1 200 OK\r\n" .. bytes)
      assert.same({ "closed", "body", 0 }, { err, phase, left })
    end
  end)

  it("have limits", function()
    local _, err = get("HTTP/1.1 200 OK\r\nA: " .. ("x"):rep(20000) .. "\r\n\r\n")
    assert.equal("bad response: a field is too long", err)
    _, err = get("HTTP/1.1 200 " .. ("x"):rep(20000) .. "\r\n\r\n")
    assert.equal("bad response: the status line is too long", err)
    _, err = get("HTTP/1.1 200 OK\r\n" .. ("A: b\r\n"):rep(300) .. "\r\n")
    assert.equal("bad response: too many fields", err)
    _, err = get("HTTP/1.1 200 OK\r\n" .. ("A: " .. ("b"):rep(1000) .. "\r\n"):rep(100) .. "\r\n")
    assert.equal("bad response: the head is too large", err)
    local phase, left
    for _, bytes in ipairs {
      with_length(("x"):rep(11)), "HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(11),
    } do
      _, err, phase, left = get(bytes, { max_body = 10 })
      assert.same({ "too large", "body", 0 }, { err, phase, left })
    end
    local bomb = gzip(("x"):rep(10000000))
    _, err = get(with_length(bomb, "Content-Encoding: gzip\r\n"), { max_body = 1000000 })
    assert.equal("too large", err)
    assert.equal(10, #get(with_length(("x"):rep(10)), { max_body = 10 }).body)
  end)

  it("are decompressed", function()
    local text = ("hello "):rep(50000)
    local res = assert(get(with_length(gzip(text), "Content-Encoding: gzip\r\n")))
    assert.equal(text, res.body)
    assert.equal("gzip", res.decoded)
    res = assert(get(with_length(gzip "a" .. gzip "b", "Content-Encoding: x-gzip\r\n")))
    assert.equal("ab", res.body)
    -- what is between gzip's head and its sums has no head of its own
    local raw = gzip("hello", "-n"):sub(11, -9)
    assert.equal("hello", get(with_length(raw, "Content-Encoding: deflate\r\n")).body)
    local zlib = "\120\156\203\72\205\201\201\7\0\6\44\2\21"
    assert.equal("hello", get(with_length(zlib, "Content-Encoding: deflate\r\n")).body)
    assert.equal("", get(with_length("", "Content-Encoding: gzip\r\n")).body)
    assert.equal("x", get(with_length("x", "Content-Encoding: br\r\n")).body)
    local plain = assert(get(with_length("x", "Content-Encoding: gzip\r\n"), { gzip = false }))
    assert.same({ "x" }, { plain.body, plain.decoded })
  end)

  it("may not be badly compressed", function()
    local good = gzip(("hello "):rep(1000))
    for bytes, why in pairs {
      ["nonsense"] = "bad response: bad compression",
      [good:sub(1, -5)] = "bad response: the compression is cut short",
      [good:sub(1, 20) .. "xxxxxxxxxxx" .. good:sub(31)] = "bad response: bad compression",
    } do
      local _, err, phase = get(with_length(bytes, "Content-Encoding: gzip\r\n"))
      assert.same({ why, "body" }, { err, phase })
    end
  end)

  describe("as streams", function()
    local function open(bytes)
      local server = scripted.server(bytes)
      local client = http.client()
      local res = assert(client:get { url = server.url, stream = true })
      return setmetatable({ res = res, client = client }, { __close = function(self)
        if self.res then self.res:close() end
        client:close()
        server:close()
      end })
    end

    it("are read in pieces, lines and whole", function()
      local s <close> = open(with_length "one\r\ntwo\n\nthree and more")
      local res, client = s.res, s.client
      assert.equal(24, res.content_length)
      assert.equal("on", res:read(2))
      assert.equal("e", res:read "l")
      assert.equal("two", res:read "*l")
      assert.equal("", res:read "l")
      assert.equal("thr", res:read_some(3))
      assert.equal("", res:read(0))
      assert.equal("ee and more", res:read())
      assert.is_nil(res:read(1))
      assert.is_nil(res:read "l")
      assert.equal("", res:read "a")
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("are iterated over", function()
      local s <close> = open(with_length "a\nb\nc")
      local res, client = s.res, s.client
      local lines = {}
      for line in res:lines() do lines[#lines + 1] = line end
      assert.same({ "a", "b", "c" }, lines)
      assert.same({ 1, 1 }, { client:counts() })
    end)

    it("raise from iterators what went wrong", function()
      local s <close> = open "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab\nc"
      local res, client = s.res, s.client
      local all = {}
      local ok, err = pcall(function()
        for piece in res:chunks(1) do all[#all + 1] = piece end
      end)
      assert.same({ false, "closed", "ab\nc" }, { ok, err, table.concat(all) })
      assert.same({ nil, "closed", "body" }, { res:read "a" })
      assert.same({ 0, 0 }, { client:counts() })
    end)

    it("come before they are complete", function()
      local event = green.Event()
      local server <close> = scripted.server(function(peer)
        peer:read_until "\r\n\r\n"
        peer:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n"
        event:wait()
        peer:send "2\r\n2\n\r\n0\r\nA: b\r\n\r\n"
      end)
      local client <close> = http.client()
      local res <close> = assert(client:get { url = server.url, stream = true })
      local lines = res:lines()
      assert.equal("1", lines())
      assert.is_nil(res.trailers)
      event:set()
      assert.equal("2", lines())
      assert.is_nil(lines())
      assert.same({ a = "b" }, res.trailers)
    end)

    it("end their connection if they are closed early", function()
      local s <close> = open(with_length(("x"):rep(100000)))
      local res, client = s.res, s.client
      assert.equal("x", res:read(1))
      assert.same({ 1, 0 }, { client:counts() })
      res:close()
      res:close()
      assert.same({ 0, 0 }, { client:counts() })
      assert.same({ nil, "closed", "body" }, { res:read_some() })
    end)

    it("end it if nobody has them any more", function()
      local s <close> = open(with_length(("x"):rep(100000)))
      local res, client = s.res, s.client
      assert.is_true(res.ok)
      s.res, res = nil, nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.same({ 0, 0 }, { client:counts() })
    end)

    it("end what is still being sent, too, if nobody has them", function()
      local server <close> = scripted.server(function(peer)
        peer:read_until "\r\n\r\n"
        peer:send "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        peer:receive "*a"
      end)
      local client <close> = http.client()
      local res = assert(client:post { url = server.url, stream = true, body = function()
        green.sleep(0.001)
        return "x"
      end })
      assert.equal(9, res.content_length)
      res = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.same({ 0, 0 }, { client:counts() })
    end)

    it("are decompressed no faster than they are read", function()
      local bomb = gzip(("\0"):rep(5000000))
      local s <close> = open(with_length(bomb, "Content-Encoding: gzip\r\n"))
      local res = s.res
      assert.is_true(#res:read_some() <= 32768)
      assert.equal("\0", res:read_some(1))
    end)

    it("give the connection away after a 101", function()
      local server <close> = scripted.server(function(peer)
        peer:read_until "\r\n\r\n"
        peer:send "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nfirst\n"
        for line in peer:lines() do peer:send(line .. "\n") end
      end)
      local client <close> = http.client()
      local res = assert(client:get(server.url, { headers = { Upgrade = "echo" } }))
      local conn <close> = assert(res:upgrade())
      assert.same({ 0, 0 }, { client:counts() })
      assert.equal("first", conn:receive())
      conn:send "second\n"
      assert.equal("second", conn:receive())
      local plain = get(with_length "x")
      assert.is_nil(plain:upgrade())
      assert.same({ nil, "bad response: a 101 that nobody asked for", "header", 0, 0 },
        { get "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n" })
    end)

    it("say what is no way to read them", function()
      local res = get(with_length "x")
      assert.has_error(function() res:read(-1) end)
      assert.has_error(function() res:read "x" end)
      assert.has_error(function() res:read_some(0) end)
    end)
  end)
end)

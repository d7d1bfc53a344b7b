-- What no server may take: bytes that two programs could read differently, and what
-- is no HTTP at all. All are refused, and the connection ends.

local green = require "greenlua"
local web = require "spec.support.http"

local get = "GET / HTTP/1.1\r\nHost: x\r\n"
local post = "POST /read HTTP/1.1\r\nHost: x\r\n"
local chunked = post .. "Transfer-Encoding: chunked\r\n\r\n"

-- status -> what is refused with it, before a handler sees it
local refused = {
  [400] = {
    -- two lengths
    ["Content-Length and Transfer-Encoding"] = post .. "Content-Length: 5\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["Transfer-Encoding and Content-Length"] = post .. "Transfer-Encoding: chunked\r\n"
      .. "Content-Length: 5\r\n\r\n0\r\n\r\n",
    ["two Content-Lengths"] = post .. "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ["the same Content-Length twice"] = post
      .. "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ["a list of lengths"] = post .. "Content-Length: 5, 5\r\n\r\nhello",
    ["a signed length"] = post .. "Content-Length: +5\r\n\r\nhello",
    ["a negative length"] = post .. "Content-Length: -5\r\n\r\nhello",
    ["a length in hexadecimal"] = post .. "Content-Length: 0x5\r\n\r\nhello",
    ["a length with a space"] = post .. "Content-Length: 5 5\r\n\r\nhello",
    ["a length with a point"] = post .. "Content-Length: 5.0\r\n\r\nhello",
    ["an empty length"] = post .. "Content-Length:\r\n\r\nhello",
    ["a length that overflows"] = post .. "Content-Length: 18446744073709551621\r\n\r\nhello",
    ["two Transfer-Encodings"] = post .. "Transfer-Encoding: chunked\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["chunked that is not last"] = post .. "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ["identity"] = post .. "Transfer-Encoding: identity\r\n\r\n",
    ["an unknown coding"] = post .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ["chunked in quotes"] = post .. "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ["an empty coding"] = post .. "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    ["a coding in HTTP/1.0"] = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    -- lines
    ["a bare LF after the request line"] = "GET / HTTP/1.1\nHost: x\r\n\r\n",
    ["bare LFs"] = "GET / HTTP/1.1\nHost: x\n\n",
    ["a bare LF after a field"] = get .. "A: b\nC: d\r\n\r\n",
    ["a bare LF as the empty line"] = get .. "\n",
    ["a bare CR in a value"] = get .. "A: b\rC: d\r\n\r\n",
    ["a bare CR before a value"] = get .. "A: \rTransfer-Encoding: chunked\r\n\r\n",
    ["a bare CR at the end of a value"] = get .. "A: b\r\r\n\r\n",
    ["a bare CR in the request line"] = "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n",
    ["a folded field"] = get .. "A: b\r\n c\r\n\r\n",
    ["a folded field by tab"] = get .. "A: b\r\n\tc\r\n\r\n",
    ["a folded length"] = post .. "Content-Length:\r\n 5\r\n\r\nhello",
    ["a first field that begins with a space"] = "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    ["a line of spaces"] = get .. "   \r\n\r\n",
    -- fields
    ["a space before the colon"] = get .. "Content-Length : 5\r\n\r\n",
    ["a tab before the colon"] = get .. "Content-Length\t: 5\r\n\r\n",
    ["a space in a name"] = get .. "A b: c\r\n\r\n",
    ["no colon"] = get .. "nonsense\r\n\r\n",
    ["an empty name"] = get .. ": value\r\n\r\n",
    ["a NUL in a name"] = get .. "A\0b: c\r\n\r\n",
    ["a NUL in a value"] = get .. "A: b\0c\r\n\r\n",
    ["a control character in a value"] = get .. "A: b\1c\r\n\r\n",
    ["a DEL in a value"] = get .. "A: b\127c\r\n\r\n",
    ["a name of other bytes"] = get .. "H\xc3\xa9: c\r\n\r\n",
    ["no Host"] = "GET / HTTP/1.1\r\n\r\n",
    ["two Hosts"] = get .. "Host: y\r\n\r\n",
    ["a Host with a path"] = "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    ["a Host with a user"] = "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    ["a Host with two ports"] = "GET / HTTP/1.1\r\nHost: x:1:2\r\n\r\n",
    ["a Host with a port that is none"] = "GET / HTTP/1.1\r\nHost: x:8a\r\n\r\n",
    ["a Host that is a list"] = "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n",
    ["a Host with half an address"] = "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    ["a vertical tab before a coding"] = post
      .. "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n",
    ["a form feed behind a coding"] = post .. "Transfer-Encoding: chunked\f\r\n\r\n0\r\n\r\n",
    ["chunked, identity"] = post .. "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ["a coding with a parameter"] = post .. "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ["a coding with a comma"] = post .. "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    ["a user in the target"] = "GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ["no host in the target"] = "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n",
    ["a target that is no path"] = "GET a/b HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an authority"] = "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an asterisk for a GET"] = "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an asterisk and more"] = "OPTIONS *x HTTP/1.1\r\nHost: x\r\n\r\n",
    ["CONNECT to a path"] = "CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n",
    ["CONNECT without a port"] = "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n",
    ["CONNECT with a user"] = "CONNECT a@x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ["HTTP/2's preface"] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ["a Host with a space"] = "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    -- request lines
    ["no target"] = "GET HTTP/1.1\r\nHost: x\r\n\r\n",
    ["a target with a space"] = "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    ["a target with a NUL"] = "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an escape that is none"] = "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an escape that is cut"] = "GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n",
    ["an escaped NUL"] = "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n",
    ["two spaces before the target"] = "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    ["two spaces before the version"] = "GET /  HTTP/1.1\r\nHost: x\r\n\r\n",
    ["another protocol"] = "GET / ICY/1.1\r\nHost: x\r\n\r\n",
  },
  [501] = {
    ["a method that nobody knows"] = "BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    ["words"] = "hello world\r\n\r\n",
    ["a method in lower case"] = "get / HTTP/1.1\r\nHost: x\r\n\r\n",
    ["a coding before chunked"] = post .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
  },
  [505] = {
    ["no version"] = "GET /\r\nHost: x\r\n\r\n",
    ["HTTP/2.0 in a request"] = "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    ["HTTP/0.9 with fields"] = "GET / HTTP/0.9\r\nHost: x\r\n\r\n",
    ["a space behind the version"] = "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
    ["a version of the future"] = "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
  },
  [414] = { ["a request line that is too long"] = "GET /" .. ("a"):rep(9000) .. " HTTP/1.1\r\n" },
  [431] = {
    ["a field that is too long"] = get .. "A: " .. ("a"):rep(9000) .. "\r\n\r\n",
    ["a field that does not end"] = get .. "A: " .. ("a"):rep(9000),
    ["too many fields"] = get .. ("A: b\r\n"):rep(101) .. "\r\n",
    ["too large a head"] = get .. ("A: " .. ("b"):rep(7000) .. "\r\n"):rep(10) .. "\r\n",
  },
  [417] = { ["an expectation that nobody knows"] = get .. "Expect: tea\r\n\r\n" },
}

-- Found when the body is read: 400, or 413.
local broken = {
  ["a size that is none"] = chunked .. "x\r\nhello\r\n0\r\n\r\n",
  ["an empty size"] = chunked .. "\r\nhello\r\n0\r\n\r\n",
  ["a signed size"] = chunked .. "+5\r\nhello\r\n0\r\n\r\n",
  ["a size with 0x"] = chunked .. "0x5\r\nhello\r\n0\r\n\r\n",
  ["a space before the size"] = chunked .. " 5\r\nhello\r\n0\r\n\r\n",
  ["a size that overflows"] = chunked .. "10000000000000005\r\nhello\r\n0\r\n\r\n",
  ["a size that ends with LF"] = chunked .. "5\nhello\r\n0\r\n\r\n",
  ["data that go on"] = chunked .. "5\r\nhelloworld\r\n0\r\n\r\n",
  ["data that end with LF"] = chunked .. "5\r\nhello\n0\r\n\r\n",
  ["data that end with CR and something"] = chunked .. "5\r\nhello\rX0\r\n\r\n",
  ["an extension that is too long"] = chunked .. "5;" .. ("a"):rep(5000)
    .. "\r\nhello\r\n0\r\n\r\n",
  ["an extension with a NUL"] = chunked .. "5;a\0b\r\nhello\r\n0\r\n\r\n",
  ["an extension with a CR"] = chunked .. "5;a\rb\r\nhello\r\n0\r\n\r\n",
  ["a size with words behind"] = chunked .. "5 hello\r\nhello\r\n0\r\n\r\n",
  ["a trailer without a colon"] = chunked .. "0\r\nnonsense\r\n\r\n",
  ["a trailer with a space before the colon"] = chunked .. "0\r\nA : b\r\n\r\n",
  ["a trailer that ends with LF"] = chunked .. "0\r\nA: b\n\r\n",
  ["too many trailers"] = chunked .. "0\r\n" .. ("A: b\r\n"):rep(101) .. "\r\n",
  ["a trailer that does not end"] = chunked .. "0\r\n" .. ("a"):rep(9000),
}

describe("http.Server refuses", function()
  local server, handled, entries

  setup(function()
    server = web.server(function(req)
      handled = handled + 1
      if req.path == "/read" then assert(req:read "a") end
      return "ok"
    end, { log = function(entry) table.insert(entries, entry) end })
  end)

  teardown(function() server:stop(0) end)

  before_each(function()
    handled, entries, server.failures = 0, {}, {}
  end)

  -- What follows the garbage must never be taken for a request.
  local smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

  for status, cases in pairs(refused) do
    for what, bytes in pairs(cases) do
      it(("%s with a %d"):format(what, status), function()
        local reply = web.raw(server, bytes .. smuggled)
        assert.equal(tostring(status), reply:match "^HTTP/1%.1 (%d+) [^\r]+\r\n")
        assert.matches("\r\nConnection: close\r\n", reply)
        assert.is_nil(reply:find("HTTP/1.1", 2, true))
        assert.equal(0, handled)
        assert.equal(1, #entries)
        assert.equal(status, entries[1].status)
        assert.is_string(entries[1].reason)
      end)
    end
  end

  for what, bytes in pairs(broken) do
    it("in a body " .. what, function()
      local reply = web.raw(server, bytes .. smuggled)
      assert.equal("400", reply:match "^HTTP/1%.1 (%d+) ")
      assert.is_nil(reply:find("HTTP/1.1", 2, true))
      assert.equal(1, handled)
      assert.same({}, server.failures)
    end)
  end

  it("all of it byte by byte, too", function()
    for status, bytes in pairs { [400] = refused[400]["a bare CR before a value"],
      [501] = refused[501]["a method that nobody knows"] } do
      local conn <close> = web.connect(server)
      for byte in bytes:gmatch "." do
        conn:send(byte)
        green.sleep(0)
      end
      assert.equal(tostring(status), (conn:receive "*a"):match "^HTTP/1%.1 (%d+)")
    end
  end)

  it("bytes that are no text", function()
    for _, bytes in ipairs { "\22\3\1\2\0\1\0\1\252\3\3", ("\255"):rep(100) .. "\r\n\r\n",
      "\0\0\0\0\r\n\r\n" } do
      local conn <close> = web.connect(server)
      conn:send(bytes)
      conn:shutdown "send"
      local reply = conn:receive "*a"
      assert.is_true(not reply or reply:find "^HTTP/1.1 [45]%d%d" ~= nil)
      assert.equal(0, handled)
    end
  end)

  it("nothing of what is strange, but allowed", function()
    local conn <close> = web.connect(server)
    for _, bytes in ipairs {
      get .. "A:b\r\nEmpty:\r\nB:\t c d \t\r\n!#$%&'*+-.^_`|~9: \xff\xfe\r\n\r\n",
      post .. "tRANSFER-eNCODING: CHUNKED\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;x\r\nA: b\r\n\r\n",
      chunked .. "00000005 \r\nhello\r\n000\r\n\r\n",
      post .. "Content-Length: 0005\r\n\r\nhello",
      "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
      "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /%41?%zz=1 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n" and get .. "\r\n",
    } do
      conn:send(bytes)
      local r = web.read(conn)
      assert.equal(200, r.status)
    end
    assert.equal(7, handled)
  end)
end)

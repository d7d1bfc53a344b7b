-- The examples that serve HTTP, asked by curl.

local green = require "greenlua"
local json = require "greenlua.http.json"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

describe("examples of HTTP", function()
  -- What curl says; `%s` in the arguments is the server.
  local function curl(program, arguments)
    local pipe = assert(io.popen("curl -sS --max-time 60 " ..
      arguments:gsub("%%s", "http://127.0.0.1:" .. sockets.port_of(program)) .. " 2>&1"))
    local out = pipe:read "a"
    pipe:close()
    return out
  end

  it("hello_http.lua says hello", function()
    local program <close> = support.start { "examples/hello_http.lua", "0" }
    assert.equal("<b>hello world</b>\n", curl(program, "%s/"))
    assert.matches("^HTTP/1.1 404 Not Found\r\n", curl(program, "-i %s/x"))
  end)

  it("rest_api.lua keeps books", function()
    local program <close> = support.start { "examples/rest_api.lua", "0" }
    assert.equal("[]", curl(program, "%s/books"))
    local out = curl(program, [[-i %s/books -d '{"title": "Momo"}']])
    assert.matches("^HTTP/1.1 201 Created\r\n", out)
    assert.matches("\r\nLocation: /books/1\r\n", out)
    assert.same({ id = 1, title = "Momo" }, json.decode(curl(program, "%s/books/1")))
    curl(program, [[-X PUT %s/books/1 -d '{"title": "Emil"}']])
    assert.same({ { id = 1, title = "Emil" } },
      json.decode(curl(program, "%s/books")))
    assert.matches("^HTTP/1.1 400 ", curl(program, "-i %s/books -d nonsense"))
    assert.matches("^HTTP/1.1 422 .*a book has a title\n$", curl(program, "-i %s/books -d '{}'"))
    assert.matches("^HTTP/1.1 204 ", curl(program, "-i -X DELETE %s/books/1"))
    assert.matches("^HTTP/1.1 404 .*no such book\n$", curl(program, "-i %s/books/1"))
    assert.matches("^HTTP/1.1 405 ", curl(program, "-i -X PATCH %s/books/1"))
  end)

  it("streaming_orders.lua answers each order before the next one comes", function()
    local program <close> = support.start { "examples/streaming_orders.lua", "0" }
    local conn <close> = assert(socket.connect("127.0.0.1", sockets.port_of(program)))
    conn:settimeout(60)
    conn:send "PUT /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    conn:send "9\r\n3 apples\n\r\n"
    assert.matches("\r\nTransfer%-Encoding: chunked$", conn:read_until "\r\n\r\n")
    assert.equal("1a\r\n3 apples are on their way\n\r\n", conn:receive(32))
    conn:send "9\r\nnonsense\n\r\n0\r\n\r\n"
    assert.matches("what is 'nonsense'%?\n.*3 in all\n\r\n0$", conn:read_until "\r\n\r\n")
    assert.matches("2 pears are on their way\n2 in all\n$",
      curl(program, "%s/orders -d '2 pears'"))
  end)

  it("request_local.lua gives each request its session", function()
    local program <close> = support.start { "examples/request_local.lua", "0" }
    local port = sockets.port_of(program)
    local function greeting(cookie)
      local conn <close> = assert(socket.connect("127.0.0.1", port))
      conn:send("GET / HTTP/1.0\r\n" .. cookie .. "\r\n")
      return (conn:receive "*a"):match "\r\n\r\n(.*)"
    end
    local all = {}
    for i, cookie in ipairs { "Cookie: session=ada\r\n", "", "Cookie: session=alan\r\n" } do
      all[i] = green.spawn(greeting, cookie)
    end
    assert.equal("Hello ada, from 127.0.0.1\n", all[1]:get())
    assert.equal("Hello nobody, from 127.0.0.1\n", all[2]:get())
    assert.equal("Hello alan, from 127.0.0.1\n", all[3]:get())
  end)

  it("file_upload.lua takes files and gives them back", function()
    local path = os.tmpname()
    os.remove(path)
    os.execute("mkdir " .. path)
    finally(function() os.execute("rm -r " .. path) end)
    local program <close> = support.start { "examples/file_upload.lua", "0", path }
    assert.matches("<form ", curl(program, "%s/"))
    os.execute("seq 1 100000 >" .. path .. "/numbers")
    assert.equal("numbers: 588895 bytes, /files/1\n",
      curl(program, "-F file=@" .. path .. "/numbers %s/upload"))
    assert.equal("", curl(program, "%s/files/1 | cmp - " .. path .. "/numbers"))
    assert.matches("^HTTP/1.1 404 ", curl(program, "-i %s/files/2"))
  end)

  describe("reverse_proxy.lua", function()
    it("stands before its own server", function()
      local program <close> = support.start { "examples/reverse_proxy.lua", "0" }
      assert.equal("/a for 127.0.0.1\n", curl(program, "%s/a"))
      assert.equal("/a for 1.2.3.4, 127.0.0.1\n",
        curl(program, "-H 'X-Forwarded-For: 1.2.3.4' %s/a"))
    end)

    it("streams both ways, no faster than the slower side", function()
      local program <close> = support.start { "examples/reverse_proxy.lua", "0" }
      local path = os.tmpname()
      finally(function() os.remove(path) end)
      os.execute("seq 1 500000 >" .. path)
      assert.equal("", curl(program, ("-T %s -X POST %%s/x | cmp - %s"):format(path, path)))
      assert.equal("", curl(program,
        ("-H 'Transfer-Encoding: chunked' -T %s -X POST %%s/x | cmp - %s"):format(path, path)))
    end)

    it("leaves out what is about one connection", function()
      local scripted = require "spec.support.scripted"
      local upstream <close> = scripted.server("HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\n" ..
        "Keep-Alive: 5\r\nX-Hop: 1\r\nX-End: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nbody")
      local program <close> = support.start { "examples/reverse_proxy.lua", "0", upstream.url }
      local conn <close> = assert(socket.connect("127.0.0.1", sockets.port_of(program)))
      conn:settimeout(60)
      conn:send("GET /p?q HTTP/1.1\r\nHost: outside\r\nConnection: X-Mine\r\nX-Mine: 1\r\n" ..
        "TE: trailers\r\nX-Other: 2\r\n\r\n")
      local head = conn:read_until "\r\n\r\n"
      assert.matches("^HTTP/1.1 200 OK", head)
      assert.matches("X%-End: 2\r\n.*Set%-Cookie: a=1\r\nSet%-Cookie: b=2", head)
      assert.no_matches("X%-Hop", head)
      assert.no_matches("Keep%-Alive", head)
      local asked = upstream.requests[1]
      assert.matches("^GET /p%?q HTTP/1.1\r\nHost: 127.0.0.1:", asked)
      assert.matches("\r\nX%-Other: 2\r\n.*X%-Forwarded%-Host: outside\r\n", asked)
      assert.no_matches("X%-Mine", asked)
      assert.no_matches("TE:", asked)
    end)

    it("passes on the path of a whole URL, and nothing that is none", function()
      local program <close> = support.start { "examples/reverse_proxy.lua", "0" }
      assert.equal("/a for 127.0.0.1\n", curl(program, "--noproxy '' --proxy %s http://x.test/a?b"))
      assert.equal("/ for 127.0.0.1\n", curl(program, "--noproxy '' --proxy %s http://x.test"))
      assert.equal("only paths are passed on\n",
        curl(program, "-X OPTIONS --request-target '*' %s/"))
    end)

    it("tells that nobody answers", function()
      local program <close> = support.start { "examples/reverse_proxy.lua", "0",
        "http://127.0.0.1:1" }
      assert.matches("^HTTP/1.1 502 .*connect: connection refused\n$", curl(program, "-i %s/"))
    end)
  end)
end)

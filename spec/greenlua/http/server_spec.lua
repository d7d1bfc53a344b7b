local green = require "greenlua"
local http = require "greenlua.http"
local web = require "spec.support.http"

describe("http.Server", function()
  local routes, server = {}, nil

  setup(function()
    server = web.server(function(req, res)
      local handler = routes[req.path]
      if not handler then return 404, "no such page\n" end
      return handler(req, res)
    end)
  end)

  teardown(function() server:stop(0) end)

  before_each(function() server.failures = {} end)

  local function get(target, headers) return web.get(server, target, headers) end

  describe("sends what a handler returns:", function()
    routes["/string"] = function() return "hello" end
    routes["/list"] = function() return { "one, ", 2, ", three" } end
    routes["/nothing"] = function() end
    routes["/number"] = function() return 201 end
    routes["/status"] = function() return 404, "gone\n" end
    routes["/headers"] = function()
      return 200, { ["X-One"] = "1", ["X-Many"] = { "a", "b" } }, "body"
    end
    routes["/generator"] = function()
      return coroutine.wrap(function()
        for i = 1, 3 do
          coroutine.yield(i .. ";")
          green.sleep(0)
        end
      end)
    end
    routes["/triple"] = function()
      return function(list, i)
        if i < #list then return list:sub(i + 1, i + 1) end
      end, "", 0
    end
    routes["/iterator"] = function()
      return 202, { ["Content-Type"] = "text/csv" }, ("a,b,c"):gmatch "[^,]+"
    end

    it("a string", function()
      local r = get "/string"
      assert.equal(200, r.status)
      assert.equal("OK", r.reason)
      assert.equal("5", r.headers["content-length"])
      assert.equal("text/plain; charset=utf-8", r.headers["content-type"])
      assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", r.headers.date)
      assert.equal("hello", r.body)
    end)

    it("a list of strings and numbers", function()
      local r = get "/list"
      assert.equal("one, 2, three", r.body)
      assert.equal("13", r.headers["content-length"])
    end)

    it("nothing: an empty response", function()
      local r = get "/nothing"
      assert.equal(200, r.status)
      assert.equal("0", r.headers["content-length"])
      assert.is_nil(r.headers["content-type"])
    end)

    it("a status alone, with a body, with headers", function()
      assert.equal(201, get("/number").status)
      local r = get "/status"
      assert.equal(404, r.status)
      assert.equal("gone\n", r.body)
      r = get "/headers"
      assert.equal("1", r.headers["x-one"])
      assert.matches("X%-Many: a\r\nX%-Many: b", r.head)
      assert.equal("body", r.body)
    end)

    it("an iterator, piece by piece", function()
      local r = get "/generator"
      assert.equal("chunked", r.headers["transfer-encoding"])
      assert.is_nil(r.headers["content-length"])
      assert.same({ "1;", "2;", "3;" }, r.chunks)
      assert.equal("", get("/triple").body)
      r = get "/iterator"
      assert.equal(202, r.status)
      assert.equal("text/csv", r.headers["content-type"])
      assert.same({ "a", "b", "c" }, r.chunks)
    end)
  end)

  describe("gives the request:", function()
    local seen
    routes["/a b"] = function(req) seen = req.path .. "|" .. req.raw_path return "ok" end
    routes["/fields"] = function(req)
      seen = { method = req.method, path = req.path, query_string = req.query_string,
        target = req.target, version = req.version, host = req.host, query = req.query,
        length = req.content_length, type = req.content_type, alive = req.keep_alive,
        agent = req.headers["user-agent"], AGENT = req.headers["USER-AGENT"],
        many = req.headers["x-many"], list = req:header_list "x-many", none = req.headers.nothing,
        cookie = req.headers.cookie, cookies = req.cookies, empty = req.headers["x-empty"],
        address = tostring(req.remote_address), host_of = req.remote_host, all = {},
        values = req:query_list "a", server = req.server }
      for name, value in pairs(req.headers) do table.insert(seen.all, name .. "=" .. value) end
      return "ok"
    end

    it("method, target, fields, address", function()
      local conn <close> = web.connect(server)
      conn:send("PUT /fields?a=1&b=%20x+y&a=2 HTTP/1.1\r\nHOST: Example.com:80\r\n" ..
        "User-Agent: me\r\nX-Many: 1\r\nx-many:  2 \t\r\nCookie: a=1\r\n" ..
        "Cookie: b=2\r\nX-Empty:\r\n" ..
        "Content-Type: Text/Plain; charset=utf-8\r\nContent-Length: 0\r\n\r\n")
      assert.equal(200, web.read(conn).status)
      assert.equal("PUT", seen.method)
      assert.equal("/fields", seen.path)
      assert.equal("a=1&b=%20x+y&a=2", seen.query_string)
      assert.equal("/fields?a=1&b=%20x+y&a=2", seen.target)
      assert.same({ a = "1", b = " x y" }, seen.query)
      assert.same({ "1", "2" }, seen.values)
      assert.equal("1.1", seen.version)
      assert.equal("example.com", seen.host)
      assert.equal("me", seen.agent)
      assert.equal("me", seen.AGENT)
      assert.equal("1, 2", seen.many)
      assert.same({ "1", "2" }, seen.list)
      assert.equal("a=1; b=2", seen.cookie)
      assert.same({ a = "1", b = "2" }, seen.cookies)
      assert.equal("", seen.empty)
      assert.is_nil(seen.none)
      assert.equal(0, seen.length)
      assert.equal("text/plain", seen.type)
      assert.is_true(seen.alive)
      assert.equal("127.0.0.1", seen.host_of)
      assert.matches("^127%.0%.0%.1:%d+$", seen.address)
      assert.equal(server, seen.server)
      assert.same({ "HOST=Example.com:80", "User-Agent=me", "X-Many=1", "x-many=2", "Cookie=a=1",
        "Cookie=b=2", "X-Empty=", "Content-Type=Text/Plain; charset=utf-8", "Content-Length=0" },
        seen.all)
    end)

    it("decoded paths, and absolute targets", function()
      assert.equal(200, get("/a%20b").status)
      assert.equal("/a b|/a%20b", seen)
      assert.equal(200, get("http://other/a%20b").status)
      assert.equal("/a b|/a%20b", seen)
      assert.equal(404, get("http://other").status)
    end)

    routes["/own"] = function(req, res)
      req.user = "ada"
      res.mark = 1
      local ok, why = pcall(function() req.method = "PUT" end)
      local ok2, why2 = pcall(function() req.read = 1 end)
      return ("%s %s %s %s %s %s %s"):format(req.user, res.mark, tostring(req.nothing), ok, why,
        ok2, why2)
    end

    it("fields of the program's own", function()
      local body = get("/own").body
      assert.matches("^ada 1 nil false ", body)
      assert.matches("'method' of a request cannot be set", body)
      assert.matches("'read' is a method and cannot be set", body)
    end)
  end)

  describe("keeps the connection", function()
    it("for the next request, in order, pipelined or not", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/string"))
      assert.equal("hello", web.read(conn).body)
      conn:send(web.request("GET", "/list") .. web.request("GET", "/generator")
        .. web.request("GET", "/gone") .. web.request("GET", "/string"))
      assert.equal("one, 2, three", web.read(conn).body)
      assert.equal("1;2;3;", web.read(conn).body)
      assert.equal(404, web.read(conn).status)
      assert.equal("hello", web.read(conn).body)
    end)

    it("unless one side says that it ends", function()
      local reply = web.raw(server, web.request("GET", "/string", { Connection = "close" }))
      assert.matches("\r\nConnection: close\r\n", reply)
      reply = web.raw(server, "GET /string HTTP/1.0\r\n\r\n")
      assert.matches("^HTTP/1.1 200 OK\r\n.*\r\nConnection: close\r\n.*hello$", reply)
      reply = web.raw(server, "GET /string HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        .. "GET /string HTTP/1.0\r\n\r\n")
      assert.matches("\r\nConnection: keep%-alive\r\n.*\r\nConnection: close\r\n", reply)
    end)

    routes["/closing"] = function(_, res)
      res:set_header("Connection", "close")
      return "bye"
    end

    it("not if the handler ends it", function()
      assert.matches("Connection: close.*bye$", web.raw(server, web.request("GET", "/closing")
        .. web.request("GET", "/string")))
    end)

    it("and streams to a client of HTTP/1.0 until it closes", function()
      local reply = web.raw(server, "GET /generator HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      assert.matches("Connection: close\r\n\r\n1;2;3;$", reply)
      assert.is_nil(reply:find "chunked")
    end)
  end)

  describe("answers", function()
    it("HEAD as GET, without the body", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("HEAD", "/string") .. web.request("HEAD", "/generator")
        .. web.request("GET", "/string"))
      local string, generator = web.read(conn, "HEAD").headers, web.read(conn, "HEAD").headers
      assert.equal("5", string["content-length"])
      assert.equal("chunked", generator["transfer-encoding"])
      for _, headers in ipairs { string, generator } do
        assert.equal("text/plain; charset=utf-8", headers["content-type"])
      end
      assert.equal("hello", web.read(conn).body)
    end)

    routes["/204"] = function() return 204, "never sent" end
    routes["/304"] = function(_, res)
      res.status = 304
      res:write "never sent"
    end

    it("204 and 304 without a body", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/204") .. web.request("GET", "/304")
        .. web.request("GET", "/string"))
      local r = web.read(conn)
      assert.equal(204, r.status)
      assert.is_nil(r.headers["content-length"])
      assert.equal(304, web.read(conn).status)
      assert.equal("hello", web.read(conn).body)
    end)

    it("empty lines before a request with patience", function()
      local conn <close> = web.connect(server)
      conn:send("\r\n\r\n" .. web.request("GET", "/string"))
      assert.equal("hello", web.read(conn).body)
    end)
  end)

  describe("lets a handler send by itself:", function()
    routes["/send"] = function(_, res)
      res.status = 201
      res.headers["Content-Type"] = "text/html"
      res.headers["X-Gone"] = "1"
      res.headers["x-gone"] = nil
      return res:send { "<p>", "hi" }
    end
    routes["/write"] = function(_, res)
      assert(res:write "one ")
      assert(res:write "")
      assert(res:write { "two", " " })
      res:write "three"
    end
    routes["/sized"] = function(_, res)
      res:set_header("Content-Length", 6)
      res:write "abc"
      res:write "def"
    end
    routes["/trailers"] = function(_, res)
      res:set_header("Trailer", "X-Sum")
      res:write "data"
      res:finish { ["X-Sum"] = "42" }
    end
    routes["/hints"] = function(_, res)
      res:inform(103, { Link = { "</a.css>; rel=preload", "</b.css>; rel=preload" } })
      return "page"
    end

    it("whole", function()
      local r = get "/send"
      assert.equal(201, r.status)
      assert.equal("text/html", r.headers["content-type"])
      assert.is_nil(r.headers["x-gone"])
      assert.equal("<p>hi", r.body)
    end)

    it("in pieces, of known length, with trailers", function()
      assert.same({ "one ", "two ", "three" }, get("/write").chunks)
      local r = get "/sized"
      assert.equal("6", r.headers["content-length"])
      assert.equal("abcdef", r.body)
      r = get "/trailers"
      assert.equal("data", r.body)
      assert.equal("42", r.trailers["x-sum"])
    end)

    it("hints before the response", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/hints"))
      assert.equal(103, web.read(conn).status)
      assert.equal("page", web.read(conn).body)
    end)

    local kept
    routes["/keep"] = function(req, res)
      kept = { req = req, res = res }
      return "kept"
    end

    it("while it runs, and never afterwards", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/keep"))
      web.read(conn)
      local req, res = kept.req, kept.res
      assert.is_true(req.over and res.over)
      assert.equal("/keep", req.path)
      assert.error_matches(function() res:write "x" end, "the response is over")
      assert.error_matches(function() res:set_header("a", "b") end, "the response is over")
      assert.error_matches(function() req:read() end, "the request is over")
      conn:send(web.request("GET", "/string"))
      assert.equal("hello", web.read(conn).body)
    end)
  end)

  describe("refuses of a handler", function()
    local values = {
      ["a line end in a value"] = function(res) res:set_header("X", "a\r\nSet-Cookie: b") end,
      ["a NUL in a value"] = function(res) res:add_header("X", "a\0b") end,
      ["a bare LF"] = function(res) res.headers.X = "a\nb" end,
      ["a bad name"] = function(res) res:set_header("X Y", "a") end,
      ["a name with a colon"] = function(res) res:set_header("X: y\r\nZ", "a") end,
      ["an empty name"] = function(res) res:set_header("", "a") end,
      ["a table as value"] = function(res) res:set_header("X", { {} }) end,
      ["a coding of its own"] = function(res) res:set_header("Transfer-Encoding", "chunked") end,
      ["a bad length"] = function(res) res:set_header("Content-Length", "many") end,
      ["a bad status"] = function(res) res.status = 99 end,
      ["a status that is no number"] = function(res) res.status = "fine" end,
      ["a second head"] = function(res) res:write "x" res.status = 404 end,
      ["a second response"] = function(res) res:send "x" res:send "y" end,
      ["a bad trailer"] = function(res) res:write "x" res:finish { ["a\r\nb"] = "1" } end,
      ["too many bytes"] = function(res) res:set_header("Content-Length", 2) res:write "abc" end,
    }
    for what, f in pairs(values) do
      it(what, function()
        local message
        routes["/refused"] = function(_, res)
          local ok, err = pcall(f, res)
          message = ok and "it did not" or tostring(err)
        end
        pcall(get, "/refused")
        assert.not_equal("it did not", message)
        assert.is_string(message)
      end)
    end
  end)

  describe("when a handler fails", function()
    routes["/error"] = function() error "secret" end
    routes["/half"] = function(_, res)
      res:write "half"
      error "secret"
    end
    routes["/short"] = function(_, res)
      res:set_header("Content-Length", 10)
      res:write "12345"
    end
    routes["/abort"] = function() http.abort(403, "not you", { ["X-Why"] = "because" }) end
    routes["/boolean"] = function() return true end
    routes["/nil"] = function() return nil, "no database" end
    routes["/timeout"] = function()
      local _ <close> = green.Timeout(0.001) -- luacheck: ignore
      green.sleep(10)
    end

    it("answers 500, tells nothing to the client and all to the log", function()
      local r = get "/error"
      assert.equal(500, r.status)
      assert.equal("close", r.headers.connection)
      assert.is_nil(r.body:find "secret")
      assert.matches("secret", server.failures[1])
      assert.equal(1, #server.failures)
    end)

    it("cuts what is begun", function()
      local reply = web.raw(server, web.request("GET", "/half"))
      assert.matches("\r\n\r\n4\r\nhalf\r\n$", reply)
      assert.equal(1, #server.failures)
      reply = web.raw(server, web.request("GET", "/short") .. web.request("GET", "/string"))
      assert.matches("\r\n\r\n12345$", reply)
    end)

    it("resets what only its close would end", function()
      local conn <close> = web.connect(server)
      conn:send "GET /half HTTP/1.0\r\n\r\n"
      local whole, err = conn:receive "*a"
      assert.is_nil(whole)
      assert.equal("closed", err)
    end)

    it("answers 500 if the body is longer than it said, and nothing is out", function()
      routes["/long"] = function(_, res)
        res:set_header("Content-Length", 2)
        res:write "abc"
      end
      assert.equal(500, get("/long").status)
      assert.matches("Content%-Length is 2, and 3 bytes are written", server.failures[1])
    end)

    it("heeds http.abort, and does not call it a failure", function()
      local r = get "/abort"
      assert.equal(403, r.status)
      assert.equal("not you\n", r.body)
      assert.equal("because", r.headers["x-why"])
      assert.same({}, server.failures)
    end)

    it("counts what means nothing as a failure", function()
      assert.equal(500, get("/boolean").status)
      assert.matches("returned a boolean", server.failures[1])
      assert.equal(500, get("/nil").status)
      assert.equal("no database", server.failures[2])
    end)

    it("counts a Timeout as one", function()
      assert.equal(500, get("/timeout").status)
      assert.matches("Timeout", server.failures[1])
    end)

    it("serves the others as before", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/string"))
      web.read(conn)
      get "/error"
      conn:send(web.request("GET", "/string"))
      assert.equal("hello", web.read(conn).body)
    end)
  end)

  describe("hands the connection over", function()
    routes["/upgrade"] = function(_, res)
      res:set_header("X-Token", "t")
      local sock = assert(res:upgrade "echo")
      for line in sock:lines() do
        if line == "end" then break end
        sock:send("> " .. line .. "\n")
      end
    end

    it("with what the client has sent already", function()
      local conn <close> = web.connect(server)
      conn:send(web.request("GET", "/upgrade", { Connection = "Upgrade", Upgrade = "echo" })
        .. "one\n")
      local r = web.read(conn)
      assert.equal(101, r.status)
      assert.equal("Upgrade", r.headers.connection)
      assert.equal("echo", r.headers.upgrade)
      assert.equal("t", r.headers["x-token"])
      assert.is_nil(r.headers["content-length"])
      assert.equal("> one", conn:receive())
      conn:send "two\nend\n"
      assert.equal("> two", conn:receive())
      assert.equal("closed", select(2, conn:receive()))
    end)
  end)

  it("forgets between two requests what belongs to one", function()
    local storage, context = green.Local(), green.context
    local own = web.server(function()
      local before = tostring(storage.user)
      storage.user = "ada"
      return before
    end)
    finally(function() own:stop(0) end)
    assert.is_truthy(context)
    local conn <close> = web.connect(own)
    for _ = 1, 3 do
      conn:send(web.request("GET", "/"))
      assert.equal("nil", web.read(conn).body)
    end
  end)

  it("checks its arguments", function()
    local function handler() end
    assert.error_matches(function() http.Server(0) end, "bad argument #2 to 'http.Server'")
    assert.error_matches(function() http.Server(0, handler, { idle_timeout = -1 }) end,
      "bad option 'idle_timeout'")
    assert.error_matches(function() http.Server(0, handler, { max_body = "x" }) end,
      "bad option 'max_body'")
    assert.error_matches(function() http.Server(0, handler, { nonsense = 1 }) end,
      "unknown option 'nonsense'")
  end)
end)

local green = require "greenlua"
local web = require "spec.support.http"

describe("the body of an http.Request", function()
  local routes, server, seen = {}, nil, nil

  setup(function()
    server = web.server(function(req, res) return routes[req.path](req, res) end,
      { max_body = 1000000, max_drain = 100000 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function() seen, server.failures = nil, {} end)

  local function post(target, body, headers)
    return web.ask(server, "POST", target, headers, body)
  end

  -- A request whose body comes in chunks of these pieces.
  local function chunked(target, pieces)
    local head = "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    local out = { head:format(target) }
    for _, piece in ipairs(pieces) do out[#out + 1] = ("%x\r\n%s\r\n"):format(#piece, piece) end
    out[#out + 1] = "0\r\n\r\n"
    return table.concat(out)
  end

  local function talk(bytes)
    local conn <close> = web.connect(server)
    conn:send(bytes)
    return web.read(conn)
  end

  routes["/echo"] = function(req) return assert(req:read "a") end
  routes["/count"] = function(req)
    local n = 0
    for piece in function() return req:read_some() end do n = n + #piece end
    return tostring(n)
  end
  routes["/pieces"] = function(req)
    seen = {}
    while true do
      local piece = req:read(4)
      if not piece then break end
      seen[#seen + 1] = piece
    end
    seen.after = req:read "a"
  end
  routes["/lines"] = function(req)
    seen = {}
    for line in req:lines() do seen[#seen + 1] = line end
  end
  routes["/leave"] = function() return "left" end
  routes["/limited"] = function(req)
    local body, err = req:read("a", 10)
    return err or body
  end

  it("is read whole, with a length and in chunks, zeros included", function()
    local body = "a\0b\r\n\r\nc" .. ("x"):rep(100000)
    assert.equal(body, post("/echo", body).body)
    assert.equal(body, talk(chunked("/echo", { "a\0b\r\n", "\r\nc" .. ("x"):rep(100000) })).body)
    assert.equal("", post("/echo", "").body)
    assert.equal("", web.get(server, "/echo").body)
    assert.equal("", talk(chunked("/echo", {})).body)
  end)

  it("is read in pieces", function()
    post("/pieces", "0123456789")
    assert.same({ "0123", "4567", "89", after = "" }, seen)
    talk(chunked("/pieces", { "01", "2345678", "9" }))
    assert.same({ "0123", "4567", "89", after = "" }, seen)
    assert.equal("300000", talk(chunked("/count", { ("x"):rep(300000) })).body)
  end)

  it("is read by lines", function()
    post("/lines", "one\r\n\ntwo\nthree")
    assert.same({ "one", "", "two", "three" }, seen)
    talk(chunked("/lines", { "on", "e\r", "\n", "t", "wo" }))
    assert.same({ "one", "two" }, seen)
  end)

  it("comes when it comes", function()
    local conn <close> = web.connect(server)
    for byte in chunked("/echo", { "hello", " ", "world" }):gmatch "." do
      conn:send(byte)
      green.sleep(0)
    end
    assert.equal("hello world", web.read(conn).body)
  end)

  it("is no part of the next request, read or not", function()
    local conn <close> = web.connect(server)
    local poison = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
    conn:send(web.request("POST", "/leave", {}, poison) .. chunked("/leave", { poison, poison })
      .. web.request("POST", "/pieces", {}, poison) .. web.request("GET", "/leave"))
    for _ = 1, 4 do assert.equal(200, web.read(conn).status) end
    conn:send(web.request("GET", "/leave"))
    assert.equal("left", web.read(conn).body)
  end)

  it("ends the connection if it is left, and large", function()
    local reply = web.raw(server, web.request("POST", "/leave", {}, ("x"):rep(200000)))
    assert.matches("Connection: close\r\n\r\nleft$", reply)
    local conn <close> = web.connect(server)
    conn:send(chunked("/leave", { ("x"):rep(200000) }))
    assert.equal("left", web.read(conn).body)
    assert.is_nil((web.read(conn)))
  end)

  it("is limited: by the server with a 413, by the handler as it likes", function()
    local r = talk("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n")
    assert.equal(413, r.status)
    assert.equal("close", r.headers.connection)
    local conn <close> = web.connect(server)
    conn:send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nf4241\r\n")
    assert.equal(413, web.read(conn).status)
    assert.equal("too large", post("/limited", "0123456789a").body)
    assert.equal("0123456789", post("/limited", "0123456789").body)
    assert.same({}, server.failures)
  end)

  describe("with Expect: 100-continue", function()
    local expecting = "POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
      .. "Content-Length: 5\r\n\r\n"

    it("is asked for when it is read, once", function()
      local conn <close> = web.connect(server)
      conn:send(expecting:format "/pieces")
      assert.equal(100, web.read(conn).status)
      conn:send "hello"
      assert.equal(200, web.read(conn).status)
      assert.same({ "hell", "o", after = "" }, seen)
    end)

    it("is not asked for if nobody reads it, and the connection ends", function()
      assert.matches("^HTTP/1.1 200 OK\r\n.*Connection: close\r\n.*left$",
        web.raw(server, expecting:format "/leave"))
    end)

    it("is not asked for if it is there, or the response has begun", function()
      routes["/late"] = function(req, res)
        res:write "first "
        res:write(req:read "a")
      end
      local conn <close> = web.connect(server)
      conn:send(expecting:format "/late")
      local head = conn:read_until "\r\n\r\n"
      assert.matches("^HTTP/1.1 200 ", head)
      conn:send "hello"
      assert.matches("first .*hello", (conn:receive "*a"))
    end)
  end)

  describe("ends early:", function()
    routes["/why"] = function(req)
      local body, err = req:read "a"
      seen = { body, err }
      return "unread"
    end

    it("by a reset or a close", function()
      local conn = web.connect(server)
      conn:send("POST /why HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
      green.sleep(0.005)
      conn:close()
      while not seen do green.sleep(0.001) end
      assert.same({ nil, "closed" }, seen)
    end)

    it("by half a close, within a chunk", function()
      local conn <close> = web.connect(server)
      conn:send("POST /why HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
      conn:shutdown "send"
      assert.equal("unread", web.read(conn).body)
      assert.same({ nil, "closed" }, seen)
    end)

    it("by a kill, and a Timeout that the handler catches leaves it readable", function()
      routes["/timed"] = function(req)
        local ok = green.within(0.001, req.read, req, "a")
        seen = { ok }
        return (ok == false and "late " or "in time ") .. req:read "a"
      end
      local conn <close> = web.connect(server)
      conn:send("POST /timed HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
      while not seen do green.sleep(0.001) end
      conn:send "hello"
      assert.equal("late hello", web.read(conn).body)
    end)
  end)

  it("has one reader at a time", function()
    routes["/two"] = function(req)
      local other = green.spawn(function() return pcall(req.read_some, req) end)
      green.sleep(0)
      local ok, err = pcall(req.read_some, req)
      seen = { ok, err }
      other:kill()
      return "done"
    end
    local conn <close> = web.connect(server)
    conn:send("POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
    assert.equal("done", web.read(conn).body)
    assert.is_false(seen[1])
    assert.matches("cannot read on the request: .* waits in read there", seen[2])
  end)
end)

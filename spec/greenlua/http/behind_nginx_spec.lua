-- The server behind nginx, which parses what it lets through by itself. What the two
-- would read differently could smuggle a request past the first: so for each connection
-- the requests that nginx passed on must be those that the handler saw.

local daemon = require "spec.support.daemon"
local green = require "greenlua"
local web = require "spec.support.http"

describe("http.Server, behind nginx", function()
  local server, nginx, seen

  setup(function()
    server = web.server(function(req)
      local entry = { line = req.method .. " " .. req.target }
      seen[#seen + 1] = entry
      entry.body, entry.err = req:read "a"
      return ("seen %s %s"):format(req.path, entry.body or entry.err)
    end)
    nginx = daemon.nginx(([[
      underscores_in_headers on; ignore_invalid_headers off; merge_slashes off;
      location / {
        proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; proxy_request_buffering off;
        proxy_set_header Connection ""; proxy_next_upstream off; proxy_pass_request_headers on;
      }
    ]]):format(server.port))
  end)

  teardown(function()
    nginx:close()
    server:stop(0)
  end)

  before_each(function() seen, server.failures = {}, {} end)

  local function through(bytes)
    local conn <close> = web.connect(nginx)
    conn:settimeout(60)
    conn:send(bytes .. "GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    local reply, _, partial = conn:receive "*a"
    reply = reply or partial or ""
    local statuses = {}
    for status in reply:gmatch "HTTP/1%.1 (%d%d%d) " do statuses[#statuses + 1] = status end
    return statuses, reply
  end

  local head = "POST /first HTTP/1.1\r\nHost: x\r\n"
  local smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
  local inner = ("%x\r\n%s\r\n0\r\n\r\n"):format(#smuggled, smuggled)

  -- The second request is part of the first one's body, whichever way it is told.
  local hidden = {
    ["a length"] = ("Content-Length: %d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["a length with zeros"] = ("Content-Length: 000%d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["chunks"] = "Transfer-Encoding: chunked\r\n\r\n" .. inner,
    ["chunks with extensions"] = "Transfer-Encoding: chunked\r\n\r\n"
      .. inner:gsub("\r\n", ";a=b\r\n", 1),
    ["chunks with a quoted CRLF"] = "Transfer-Encoding: chunked\r\n\r\n"
      .. inner:gsub("\r\n", ";a=\"\r\n", 1),
    ["a trailer"] = "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    ["a trailer with a length"] = "Transfer-Encoding: chunked\r\n\r\n"
      .. "0\r\nContent-Length: 40\r\n\r\n",
    ["both"] = ("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"):format(#inner) .. inner,
    ["both, the other way"] = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" .. inner,
    ["a coding with a tab"] = "Transfer-Encoding:\tchunked\r\n\r\n" .. inner,
    ["a coding with a vertical tab"] = "Transfer-Encoding: \vchunked\r\n\r\n" .. inner,
    ["a space before the colon"] = "Transfer-Encoding : chunked\r\n\r\n" .. inner,
    ["an unknown coding"] = "Transfer-Encoding: xchunked\r\n\r\n" .. inner,
    ["chunked, identity"] = "Transfer-Encoding: chunked, identity\r\n\r\n" .. inner,
    ["identity, chunked"] = "Transfer-Encoding: identity, chunked\r\n\r\n" .. inner,
    ["a folded coding"] = "Transfer-Encoding:\r\n chunked\r\n\r\n" .. inner,
    ["an underscore"] = ("Transfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n"):format(#inner)
      .. inner,
    ["a bare LF"] = ("X: y\nContent-Length: %d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["bare LFs in chunks"] = "Transfer-Encoding: chunked\r\n\r\n" .. inner:gsub("\r\n", "\n", 1),
    ["a bare CR"] = ("X: y\rContent-Length: %d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["a NUL"] = ("X: y\0\r\nContent-Length: %d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["a list of lengths"] = ("Content-Length: %d, %d\r\n\r\n"):format(#smuggled, #smuggled)
      .. smuggled,
    ["two lengths"] = ("Content-Length: 0\r\nContent-Length: %d\r\n\r\n"):format(#smuggled)
      .. smuggled,
    ["a signed length"] = ("Content-Length: +%d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["a hexadecimal length"] = ("Content-Length: 0x%x\r\n\r\n"):format(#smuggled) .. smuggled,
    ["a size that overflows"] = "Transfer-Encoding: chunked\r\n\r\n1" .. ("0"):rep(16) .. inner,
    ["a size with 0x"] = "Transfer-Encoding: chunked\r\n\r\n0x" .. inner,
    ["an upgrade"] = ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n")
      :format(#smuggled) .. smuggled,
    ["a Connection that names the length"] = ("Connection: Content-Length\r\n"
      .. "Content-Length: %d\r\n\r\n"):format(#smuggled) .. smuggled,
    ["an expectation"] = ("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"):format(#smuggled)
      .. smuggled,
  }

  for what, rest in pairs(hidden) do
    it("sees no request in the body of another: " .. what, function()
      local statuses = through(head .. rest)
      for _, entry in ipairs(seen) do
        assert.is_nil(entry.line:find("smuggled", 1, true), table.concat(statuses, " "))
      end
      assert.is_true(#statuses >= 1 and #seen <= 2)
      if #statuses == 2 then assert.equal("GET /end", seen[#seen].line) end
      if statuses[1] == "200" and rest:find("smuggled", 1, true) then
        assert.equal(what == "an underscore" and inner or smuggled, seen[1].body)
      end
      assert.same({}, server.failures)
    end)
  end

  it("sees as many as nginx did", function()
    local statuses, reply = through("GET /a HTTP/1.1\r\nHost: x\r\n\r\n" .. head
      .. "Transfer-Encoding: chunked\r\n\r\n" .. inner .. "GET /b?c HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.same({ "200", "200", "200", "200" }, statuses)
    assert.equal(4, #seen)
    assert.equal("GET /a", seen[1].line)
    assert.matches("seen /b .*seen /end $", reply)
  end)

  it("reads the same paths", function()
    for _, target in ipairs { "/a/%2f/b", "/a//b", "/a/./b", "/a;b=c", "/a%0ab",
      "/%20", "/a\\b", "http://x/y", "/a%5c..%5cb" } do
      seen = {}
      local statuses = through(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(target))
      assert.equal(2, #statuses, target)
      assert.same({ "GET " .. target:gsub("^http://x", ""), "GET /end" },
        { seen[1].line, seen[2].line })
    end
  end)

  it("keeps its connections to it over all that", function()
    local list = {}
    for i = 1, 20 do
      list[i] = green.spawn(through, ("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"):format(i):rep(10))
    end
    for _, g in ipairs(list) do assert.equal(11, #g:get()) end
    assert.equal(220, #seen)
  end)
end)

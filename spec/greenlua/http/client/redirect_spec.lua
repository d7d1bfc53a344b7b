local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local web = require "spec.support.http"

describe("http.client's redirects", function()
  local server, other

  -- "/302?to=/x" leads there; everything else tells what it was asked.
  local function handler(req, res)
    local status = tonumber(req.path:match "^/(%d%d%d)$")
    local body = req:read "a"
    if status then return res:redirect(req.query.to, status) end
    if req.path == "/loop" then return res:redirect "/loop" end
    if req.path == "/count" then
      local n = tonumber(req.query.n)
      return n == 0 and "end" or res:redirect("/count?n=" .. n - 1)
    end
    return table.concat({
      req.method, req.path, body, req:header "authorization" or "-", req:header "cookie" or "-",
      req:header "content-type" or "-", req:header "x-mine" or "-",
    }, " ")
  end

  setup(function() server, other = web.server(handler), web.server(handler) end)
  teardown(function()
    server:stop(0)
    other:stop(0)
  end)

  local function url(path, of)
    return ("http://127.0.0.1:%d%s"):format((of or server).port, path)
  end

  local function follow(method, status, options)
    local client <close> = http.client()
    options.url = url(("/%d?to=/x"):format(status))
    return web.must(client[method](client, options))
  end

  it("change the method as all clients do", function()
    for _, case in ipairs {
      { "get", 301, "GET" }, { "get", 302, "GET" }, { "get", 303, "GET" }, { "get", 307, "GET" },
      { "get", 308, "GET" }, { "post", 301, "GET" }, { "post", 302, "GET" }, { "post", 303, "GET" },
      { "put", 303, "GET" }, { "delete", 303, "GET" },
    } do
      local res = follow(case[1], case[2], { body = case[1] == "post" and "b" or nil,
        headers = { ["Content-Type"] = "text/x" } })
      assert.equal(case[3], res.body:match "^%S+", case[1] .. case[2])
      assert.equal(url "/x", res.url)
    end
    for _, case in ipairs {
      { "post", 307, "POST /x b" }, { "post", 308, "POST /x b" }, { "put", 301, "PUT /x b" },
      { "put", 302, "PUT /x b" },
    } do
      assert.equal(case[3], follow(case[1], case[2], { body = "b" }).body:match "^%S+ %S+ %S+")
    end
    assert.equal(200, follow("head", 303, {}).status)
    assert.equal("GET /x  - - - 1",
      follow("post", 303, { form = { a = 1 }, headers = { ["X-Mine"] = "1" } }).body)
  end)

  it("are told", function()
    local client <close> = http.client()
    local res = web.must(client:get(url "/count?n=2"))
    assert.same({
      { status = 302, url = url "/count?n=2" }, { status = 302, url = url "/count?n=1" },
    }, res.history)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("have an end", function()
    local client <close> = http.client { redirects = 3 }
    assert.same({ nil, "too many redirects", "redirect" }, { client:get(url "/loop") })
    assert.equal("end", client:get(url "/count?n=3").body)
    assert.is_nil(client:get(url "/count?n=4"))
    assert.equal(302, client:get(url "/loop", { redirects = 0 }).status)
    assert.equal(302, client:get(url "/loop", { redirects = false }).status)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("do not tell secrets to others", function()
    local client <close> = http.client()
    local options = {
      auth = { "u", "p" }, headers = { Cookie = "a=b", ["X-Mine"] = "1" },
    }
    local mine = web.must(client:get(url "/302?to=/x", options)).body
    assert.equal("GET /x  Basic dTpw a=b - 1", mine)
    local to = http.escape(url("/x", other))
    assert.equal("GET /x  - - - 1", web.must(client:get(url("/302?to=" .. to), options)).body)
    options = { headers = { Authorization = "mine", Cookie = "a=b" } }
    assert.equal("GET /x  - - - -", web.must(client:get(url("/302?to=" .. to), options)).body)
    -- nor after they come back
    local back = http.escape(url("/302?to=" .. http.escape(url "/x"), other))
    assert.equal("GET /x  - - - -", web.must(client:get(url("/302?to=" .. back), options)).body)
  end)

  it("do not take credentials from where they lead", function()
    local client <close> = http.client()
    local res = web.must(client:get(url("/302?to=" .. http.escape(
      (url("/x", other):gsub("//", "//evil:x@"))))))
    assert.equal("GET /x  - - - -", res.body)
  end)

  it("lead to HTTP only", function()
    for location, why in pairs {
      ["ftp://a/"] = "scheme", ["file:///etc/passwd"] = "scheme", ["javascript:x"] = "no scheme",
      ["http://"] = "no host", ["http://a:99999/"] = "no port",
    } do
      local one <close> = scripted.server(
        ("HTTP/1.1 302 F\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(location))
      local client <close> = http.client()
      local _, err, phase = client:get(one.url)
      assert.matches(why, err)
      assert.equal("redirect", phase)
    end
    local one <close> = scripted.server "HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n"
    local client <close> = http.client()
    assert.equal(302, client:get(one.url).status)
  end)

  it("cannot have a body twice that is gone", function()
    local client <close> = http.client()
    local once = function()
      local left = "b"
      return function()
        local piece = left
        left = nil
        return piece
      end
    end
    local _, err, phase = client:post(url "/307?to=/x", { body = once() })
    assert.same({ "the redirect wants the body again, which can be sent only once", "redirect" },
      { err, phase })
    assert.matches("^GET", client:post(url "/303?to=/x", { body = once() }).body)
    local file <close> = assert(io.tmpfile())
    file:write "from a file"
    file:seek("set", 5)
    assert.matches("^POST /x a file", client:post(url "/307?to=/x", { body = file }).body)
  end)
end)

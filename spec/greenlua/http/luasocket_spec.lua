-- LuaSocket's own socket.http beside ours: the same calls, the same results.

local http = require "greenlua.http.luasocket"
local ltn12 = require "ltn12"
local scripted = require "spec.support.scripted"
local web = require "spec.support.http"

describe("greenlua.http.luasocket", function()
  local server, theirs

  local function handler(req, res)
    local body = req:read "a"
    if req.path == "/echo" then return { req.method, " ", req.content_type or "-", " ", body } end
    if req.path == "/chunks" then return ("a b c"):gmatch "%S" end
    if req.path == "/empty" then return 204, "" end
    if req.path == "/loop" then return res:redirect "/loop" end
    local status, to = req.path:match "^/to/(%d+)/(.*)$"
    if status then return res:redirect("/" .. to, tonumber(status)) end
    if req.path == "/two" then
      res:add_header("X-Two", "1")
      res:add_header("X-Two", "2")
    end
    if req.path == "/auth" then return req:header "authorization" or "-" end
    return req.path == "/" and "hello" or 404, "none"
  end

  setup(function()
    server = web.server(handler)
    local before = package.loaded.socket
    package.loaded.socket = require "greenlua.socket"
    package.loaded["socket.http"] = nil
    theirs = require "socket.http"
    package.loaded.socket, package.loaded["socket.http"] = before, nil
  end)
  teardown(function() server:stop(0) end)

  local function url(path) return "http://127.0.0.1:" .. server.port .. path end

  -- What differs by nature is left out.
  local function results(...)
    local one, code, headers, status = ...
    if type(headers) == "table" then
      headers.date, headers.connection, headers["keep-alive"] = nil, nil, nil
    end
    return { one, code, headers, status }
  end

  -- The results of both must be the same; these are ours.
  local function both(make)
    local expected, got = results(theirs.request(make())), results(http.request(make()))
    http.close() -- nothing is kept from one test to the next
    assert.same(expected, got)
    return got
  end

  it("gets and posts strings", function()
    assert.equal("hello", both(function() return url "/" end)[1])
    assert.equal(404, both(function() return url "/x" end)[2])
    assert.equal("POST application/x-www-form-urlencoded a=b",
      both(function() return url "/echo", "a=b" end)[1])
    both(function() return url "/empty" end)
    both(function() return url "/chunks" end)
    assert.equal("1, 2", both(function() return url "/two" end)[3]["x-two"])
  end)

  it("takes sources and gives to sinks", function()
    local function with(method, more)
      local got = {}
      local result = both(function()
        got = {}
        local reqt = { url = url "/echo", method = method, sink = ltn12.sink.table(got) }
        for name, value in pairs(more()) do reqt[name] = value end
        return reqt
      end)
      return result, table.concat(got)
    end
    local result, body = with("PUT", function()
      return { source = ltn12.source.string "abc", headers = { ["Content-Length"] = 3 } }
    end)
    assert.same({ 1, "PUT - abc" }, { result[1], body })
    result, body = with("POST", function() -- without a length: in chunks
      return {
        source = ltn12.source.cat(ltn12.source.string "ab", ltn12.source.string "cd"),
        headers = { ["content-type"] = "x" },
      }
    end)
    assert.same({ 200, "POST x abcd" }, { result[2], body })
    result, body = with("HEAD", function() return {} end)
    assert.same({ 200, "" }, { result[2], body })
    with("DELETE", function() return {} end)
  end)

  it("calls the step it is given", function()
    local steps = 0
    local result = both(function()
      return { url = url "/", step = function(...)
        steps = steps + 1
        return ltn12.pump.step(...)
      end }
    end)
    assert.equal(1, result[1])
    assert.is_true(steps >= 4)
  end)

  it("follows redirects as LuaSocket does", function()
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      both(function() return url(("/to/%d/x"):format(status)) end)
      both(function() return url(("/to/%d/x"):format(status)), "body" end)
      both(function() return { url = url(("/to/%d/x"):format(status)), redirect = false } end)
    end
    assert.equal(302, both(function() return url "/loop" end)[2])
    both(function() return { url = url "/loop", maxredirects = 1 } end)
  end)

  it("passes credentials on", function()
    both(function() return (url "/auth":gsub("//", "//u:p@")) end)
    both(function() return { url = url "/auth", user = "a", password = "b" } end)
    both(function()
      return { host = "127.0.0.1", port = server.port, path = "/", scheme = "http" }
    end)
  end)

  it("fails as LuaSocket does", function()
    both(function() return "http://127.0.0.1:1/" end)
    both(function() return "nonsense" end)
    local dead <close> = scripted.server(function(peer) scripted.read(peer) end)
    both(function() return dead.url end)
    local short <close> = scripted.server "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
    both(function() return short.url end)
    both(function() return { url = url "/", sink = function() return nil, "full" end } end)
    both(function()
      return {
        url = url "/echo", method = "POST", headers = { ["content-length"] = 5 },
        source = function() return nil, "no bytes" end,
      }
    end)
    assert.has_error(function() http.request { url = url "/", create = print } end)
  end)

  it("times out", function()
    local silent <close> = scripted.server(function(peer) peer:receive "*a" end)
    local before = http.TIMEOUT
    finally(function() http.TIMEOUT = before end)
    http.TIMEOUT = 0.01
    assert.same({ nil, "timeout" }, { http.request(silent.url) })
  end)
end)

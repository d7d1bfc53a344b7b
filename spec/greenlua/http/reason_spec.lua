-- What a program says in a head, and what it cannot make of it.

local green = require "greenlua"
local http = require "greenlua.http"
local lfs = require "lfs"
local web = require "spec.support.http"

describe("the head of a response", function()
  local server, routes = nil, {}

  setup(function()
    server = web.server(function(req, res) return routes[req.path](req, res) end,
      { gzip = true, gzip_min = 0 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function() server.failures = {} end)

  local function get(handler, headers)
    routes["/"] = handler
    return web.get(server, "/", headers)
  end

  it("has the program's words", function()
    local seen
    local r = get(function(_, res)
      seen = { res.reason }
      res.status = 299
      seen[2] = res.reason
      res.reason = "Quite " .. ("G\xc3\xb6\xc3\xb6d "):rep(100)
      collectgarbage()
      seen[3] = res.reason
      return "ok"
    end)
    assert.same({ "OK", "Unknown", "Quite " .. ("G\xc3\xb6\xc3\xb6d "):rep(100) }, seen)
    assert.equal(seen[3], r.reason)
    assert.equal("", get(function(_, res) res.reason = "" end).reason)
    assert.equal("OK", get(function(_, res)
      res.reason = "x"
      res.reason = nil
    end).reason)
    assert.equal("Not Found", get(function(_, res)
      res.reason = "x"
      res.status = 404
    end).reason)
    assert.equal("Streamed", get(function(_, res)
      res.reason = "Streamed"
      res:write "a"
    end).reason)
  end)

  it("has dates of four-digit years, and no others", function()
    assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", http.date(0))
    assert.equal("Fri, 31 Dec 9999 23:59:59 GMT", http.date(253402300799))
    assert.equal("Sat, 01 Jan 0000 00:00:00 GMT", http.date(-62167219200))
    for _, bad in ipairs { 253402300800, -62167219201, math.maxinteger, math.mininteger } do
      assert.error_matches(function() http.date(bad) end, "a time in the years 0 to 9999 expected")
    end
  end)

  it("takes no words that end its line", function()
    for _, bad in ipairs { "a\r\nSet-Cookie: a=b", "a\nb", "a\rb", "a\0b", "a\127", 5, {}, true } do
      local r = get(function(_, res) res.reason = bad end)
      assert.equal(500, r.status)
      assert.equal("Internal Server Error", r.reason)
      assert.matches("bad reason", server.failures[1])
      server.failures = {}
    end
    get(function(_, res)
      res:write "x"
      res.reason = "late"
    end)
    assert.matches("has been sent", server.failures[1])
  end)

  it("survives changes while it is gone through", function()
    local names
    get(function(_, res)
      names = {}
      for i = 1, 20 do res:set_header("X-" .. i, ("v"):rep(i)) end
      for name in pairs(res.headers) do
        names[#names + 1] = name
        res:set_header(name, nil)
      end
      for at = 0, 300 do res:header_at(at) end
      return "ok"
    end)
    assert.equal("X-1", names[1])
    assert.same({}, server.failures)
  end)

  it("has no framing in what comes before or after it", function()
    for _, name in ipairs { "Content-Length", "transfer-encoding" } do
      get(function(_, res) res:inform(103, { [name] = "5" }) end)
      assert.matches("cannot be", table.remove(server.failures))
      get(function(_, res)
        res:write "x"
        res:finish { [name] = "5" }
      end)
      assert.matches("cannot be", table.remove(server.failures))
    end
  end)

  it("names what a compressed response depends on beside what the program names", function()
    local gzip = { ["Accept-Encoding"] = "gzip" }
    assert.matches("\r\nVary: Cookie\r\nVary: Accept%-Encoding\r\n", get(function(_, res)
      res:set_header("Vary", "Cookie")
      return ("x"):rep(100)
    end, gzip).head)
    local _, count = get(function(_, res)
      res:set_header("Vary", "accept-encoding")
      return ("x"):rep(100)
    end, gzip).head:gsub("Vary", "")
    assert.equal(1, count)
  end)

  it("comes though the failure cannot be told of", function()
    local bad = setmetatable({}, { __tostring = function() error "no words" end })
    local silent, told = green.on_error(), nil
    green.on_error(function(_, err) told = err end)
    finally(function() green.on_error(silent) end)
    assert.equal(500, get(function() error(bad) end).status)
    green.sleep(0)
    assert.matches("no words", tostring(told))
  end)

  describe("without a body", function()
    local path

    setup(function()
      path = os.tmpname()
      local file <close> = assert(io.open(path, "w"))
      file:write "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    end)

    teardown(function() os.remove(path) end)

    it("takes none of a file", function()
      for _, status in ipairs { 204, 205, 304 } do
        local conn <close> = web.connect(server)
        routes["/"] = function(_, res)
          res.status = status
          res:send_file(path)
        end
        routes["/next"] = function() return "next" end
        conn:send(web.request("GET", "/") .. web.request("GET", "/next"))
        assert.equal(status, web.read(conn).status)
        assert.equal("next", web.read(conn).body)
      end
    end)

    it("finds no file behind a NUL", function()
      get(function(_, res) return tostring(res:send_file(path .. "\0.txt")) end)
      assert.equal("nil", get(routes["/"]).body)
      assert.is_number(lfs.attributes(path, "size"))
    end)
  end)

  it("does not take over what has a body, nor keep what was to be a tunnel", function()
    local seen
    routes["/"] = function(_, res)
      seen = { res:upgrade "x" }
      return "no"
    end
    local conn <close> = web.connect(server)
    conn:send(web.request("GET", "/", { Upgrade = "x", Connection = "Upgrade" }, "smuggled"))
    assert.equal("no", web.read(conn).body)
    assert.same({ nil, "the request has a body" }, seen)
    local other = web.server(function() return "here" end)
    finally(function() other:stop(0) end)
    local reply = web.raw(other, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
      .. web.request("GET", "/"))
    assert.matches("Connection: close\r\n", reply)
    assert.is_nil(reply:find("HTTP/1.1", 2, true))
  end)

  it("is told of where the log of a refusal fails", function()
    local failing = web.server(function() return "ok" end,
      { log = function() error "disk full" end })
    finally(function() failing:stop(0) end)
    assert.matches("^HTTP/1.1 400 ", (web.raw(failing, "GET / HTTP/1.1\r\n\r\n")))
    assert.equal(1, #failing.failures)
    assert.matches("disk full", failing.failures[1])
  end)

  it("is told of by a log that waits, and is killed in it", function()
    local entered = 0
    local waiting = web.server(function() return "ok" end, { log = function()
      entered = entered + 1
      green.sleep(60)
    end })
    local conn <close> = web.connect(waiting)
    conn:send "nonsense\r\n\r\n"
    while entered == 0 do green.sleep(0) end
    assert.is_false(waiting:stop(0))
    assert.same({}, waiting.failures)
    assert.equal("Not Found", http.reason(404))
  end)
end)

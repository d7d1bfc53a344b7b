-- The client waits wherever plain Lua could not.

local boundaries = require "spec.support.boundaries"
local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local web = require "spec.support.http"

describe("http.client", function()
  local server

  setup(function()
    server = web.server(function(req)
      local body = req:read "a"
      green.sleep(0)
      return body
    end)
  end)
  teardown(function() server:stop(0) end)

  for _, place in ipairs(boundaries) do
    it("waits under " .. place.name, function()
      local client <close> = http.client()
      local url = "http://127.0.0.1:" .. server.port
      place.call(function()
        assert.equal("x", web.must(client:post(url, { body = "x" })).body)
      end)
      assert.same({ 1, 1 }, { client:counts() })
    end)
  end

  it("sends what an iterator gives under any of them", function()
    local client <close> = http.client()
    for _, place in ipairs(boundaries) do
      local n = 0
      local res = web.must(client:post("http://127.0.0.1:" .. server.port, { body = function()
        n = n + 1
        place.call(green.sleep, 0)
        return n <= 3 and "x" or nil
      end }))
      assert.equal("xxx", res.body)
    end
  end)

  it("does not let two greenlets read one response", function()
    local silent <close> = scripted.server(function(peer)
      scripted.read(peer)
      peer:send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
      green.sleep(60)
    end)
    local client <close> = http.client()
    local res <close> = assert(client:get { url = silent.url, stream = true })
    local g = green.spawn(res.read_some, res)
    green.sleep(0)
    assert.error_matches(function() res:read_some() end, "waits in response there")
    g:kill()
  end)
end)

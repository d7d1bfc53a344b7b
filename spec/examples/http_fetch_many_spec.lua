local green = require "greenlua"
local scripted = require "spec.support.scripted"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

local PROGRAM = "examples/http_fetch_many.lua"

describe(PROGRAM, function()
  it("fetches all pages of its own server", function()
    local code, out, err = support.run { PROGRAM }
    assert.same({ 0, "" }, { code, err })
    for i = 1, 20 do
      assert.matches(("http://127.0.0.1:%%d+/%d\t%d bytes\n"):format(i, i < 10 and 21 or 22), out)
    end
    local pages, bytes = out:match "(%d+) pages, (%d+) bytes in %d+%.%d s\n$"
    assert.same({ "20", "431" }, { pages, bytes })
  end)

  it("fetches them at once", function()
    local asked, all = 0, green.Event()
    local server <close> = scripted.server(function(peer)
      scripted.read(peer)
      asked = asked + 1
      if asked == 20 then all:set() end
      all:wait() -- for all of them
      peer:send "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    end)
    local urls = { PROGRAM }
    for i = 1, 20 do urls[i + 1] = server.url .. "/" .. i end
    local program <close> = support.start(urls)
    assert.matches("\n20 pages, 40 bytes in %d+%.%d s\n$", (sockets.await_end(program)))
  end)

  it("tells what cannot be fetched", function()
    local code, out = support.run { PROGRAM, "http://127.0.0.1:1/" }
    assert.equal(0, code)
    assert.matches("^http://127.0.0.1:1/\tconnection refused\n1 pages, 0 bytes", out)
  end)

  it("says what to install where LuaSocket is missing", function()
    local code, _, err = support.run({ PROGRAM }, nil, { LUA_PATH = "/nowhere/?.lua" })
    assert.equal(1, code)
    assert.matches("apt%-get install lua%-socket", err)
  end)
end)

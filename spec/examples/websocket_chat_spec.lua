-- The chats; in a browser: spec/browser_spec.lua.

local green = require "greenlua"
local json = require "greenlua.http.json"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("examples of chats", function()
  it("websocket_chat.lua tells all what one says", function()
    local program <close> = support.start { "examples/websocket_chat.lua", "0" }
    local port = sockets.port_of(program)
    local url = ("ws://127.0.0.1:%d/chat"):format(port)
    local a <close> = assert(websocket.connect(url))
    assert.equal('{"people":1}', a:receive())
    local b <close> = assert(websocket.connect(url))
    assert.equal('{"people":2}', a:receive())
    assert.equal('{"people":2}', b:receive())
    a:send '{"name": "Anna", "text": "hello"}'
    assert.same({ name = "Anna", text = "hello" }, json.decode(a:receive()))
    assert.same({ name = "Anna", text = "hello" }, json.decode(b:receive()))
    b:send "[]"
    assert.same({ nil, "closed", 1003, "a name and a text, please" }, { b:receive() })
    assert.equal('{"people":1}', a:receive())
    local _, why = websocket.connect(url, { origin = "http://evil.test" })
    assert.equal("the server answers 403 Forbidden", why)
    local page = web.request and socket.connect("127.0.0.1", port)
    page:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.matches("^<!doctype html>", web.read(page).body)
    page:close()
  end)

  it("long_polling_chat.lua answers when there are news", function()
    local program <close> = support.start { "examples/long_polling_chat.lua", "0" }
    local port = sockets.port_of(program)
    local function ask(request, body)
      local conn <close> = assert(socket.connect("127.0.0.1", port))
      conn:send(("%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(request,
        #(body or ""), body or ""))
      return web.read(conn)
    end
    local waiting = green.spawn(ask, "GET /messages?after=0")
    green.sleep(0.02)
    assert.is_false(waiting:ready())
    assert.equal(204, ask("POST /messages", "hello").status)
    assert.same({ last = 1, messages = { "hello" } }, json.decode(waiting:get().body))
    assert.same({ last = 1, messages = { "hello" } }, json.decode(ask("GET /messages").body))
    assert.equal(400, ask("GET /messages?after=x").status)
    assert.matches("^<!doctype html>", ask("GET /").body)
  end)
end)

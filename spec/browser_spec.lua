-- Chromium as a client, and the pages of the examples in it, handled as people do. That takes
-- some seconds, whatever greenlua has been built with: so for one build only, and where there is a
-- Chromium.

local browsers = require "spec.support.browser"

local preset = os.getenv "GREENLUA_PRESET" or "release"
if preset ~= "release" or not browsers.found() then return end

local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local green = require "greenlua"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("in Chromium,", function()
  local browser

  setup(function() browser = browsers.start() end)
  teardown(function() browser:close() end)

  local function url(port, path) return ("http://127.0.0.1:%d/%s"):format(port, path or "") end

  local function says(page, text)
    page:click "#text"
    page:type(text)
    page:enter()
  end

  describe("websocket_chat.lua", function()
    local people = "document.getElementById('state').innerText == '%s'"
    local count = "document.querySelectorAll('li').length == %d"

    it("is a chat of two", function()
      local program <close> = support.start { "examples/websocket_chat.lua", "0" }
      local port = sockets.port_of(program)
      local anna <close> = browser:open(url(port, "?name=Anna"))
      anna:await(people:format "1 person")
      local bob = browser:open(url(port, "?name=Bob"))
      anna:await(people:format "2 people")
      bob:await(people:format "2 people")
      says(anna, "hello, <b>Bob</b> \u{1F44B}")
      bob:await(count:format(1))
      bob:click "#text"
      bob:type "hi"
      bob:click "button"
      for _, page in ipairs { anna, bob } do
        page:await(count:format(2))
        assert.same({ "Anna\nhello, <b>Bob</b> \u{1F44B}", "Bob\nhi" }, page:texts "li")
        assert.equal("", page:evaluate "document.getElementById('text').value")
      end
      assert.same({ "Anna\nhello, <b>Bob</b> \u{1F44B}" }, anna:texts "li.mine")
      assert.same({ "Bob\nhi" }, bob:texts "li.mine")
      bob:close()
      anna:await(people:format "1 person")
      local late <close> = browser:open(url(port, "?name=Late"))
      late:await(count:format(2))
    end)

    it("connects again when the server is back", function()
      local free, _ <close> = daemon.reserve_port()
      local port = tostring(free)
      local program = support.start { "examples/websocket_chat.lua", port }
      sockets.port_of(program)
      local anna <close> = browser:open(url(port, "?name=Anna"))
      local bob <close> = browser:open(url(port, "?name=Bob"))
      anna:await(people:format "2 people")
      program:kill "KILL"
      sockets.await_end(program)
      program:close()
      anna:await(people:format "disconnected (1006)")
      assert.equal("", anna:evaluate "document.body.className")
      says(anna, "is anybody there?")
      local again <close> = support.start { "examples/websocket_chat.lua", port }
      sockets.port_of(again)
      anna:await(people:format "2 people")
      says(anna, "hello again")
      bob:await(count:format(1))
      assert.same({ "Anna\nhello again" }, bob:texts "li")
    end)
  end)

  it("long_polling_chat.lua is a chat of two", function()
    local program <close> = support.start { "examples/long_polling_chat.lua", "0" }
    local port = sockets.port_of(program)
    local anna <close>, bob = browser:open(url(port)), browser:open(url(port))
    says(anna, "hello <i>Bob</i>")
    bob:await "document.querySelectorAll('li').length == 1"
    says(bob, "hi")
    says(bob, "how are you?")
    for _, page in ipairs { anna, bob } do
      page:await "document.querySelectorAll('li').length == 3"
      assert.same({ "hello <i>Bob</i>", "hi", "how are you?" }, page:texts "li")
    end
    bob:close()
  end)

  it("file_upload.lua takes files and gives them back", function()
    local folder = daemon.folder()
    finally(function() os.execute("rm -r " .. folder) end)
    local program <close> = support.start { "examples/file_upload.lua", "0", folder }
    local port = sockets.port_of(program)
    local bytes = ("0123456789"):rep(200000)
    daemon.write(folder .. "/ä b.txt", bytes)
    daemon.write(folder .. "/empty", "")
    local page <close> = browser:open(url(port))
    page:choose("input", { folder .. "/ä b.txt", folder .. "/empty" })
    page:click "button"
    page:await "location.pathname == '/upload' && document.readyState == 'complete'"
    assert.equal("ä b.txt: 2000000 bytes, /files/1\nempty: 0 bytes, /files/2",
      page:evaluate "document.body.innerText.trim()")
    assert.equal(bytes, daemon.read(folder .. "/upload-1"))
    assert.same({ 2000000, true }, page:evaluate(
      "fetch('/files/1').then(r => r.text()).then(t => [t.length, t.endsWith('789')])"))
  end)

  -- A server whose page is empty.
  local function serve(handler, options)
    return web.server(function(req, res)
      if req.path ~= "/" then return handler(req, res) end
      res:set_header("Content-Type", "text/html")
      return "<!doctype html><title>empty</title>"
    end, options)
  end

  it("events arrive, go on after a cut, and end with the page", function()
    local ids, ended = {}, green.Event()
    local server <close> = serve(function(req, res)
      if req.path ~= "/events" then return 404 end
      local _ <close> = setmetatable({}, { __close = function() ended:set() end })
      local events = res:events { retry = 0.01 }
      ids[#ids + 1] = events.last_id or "none"
      events:send "one\nand two"
      events:send { event = "named", data = "three", id = "id " .. #ids }
      if #ids < 3 then return end
      events:wait()
    end)
    local page = browser:open(url(server.port))
    page:evaluate [[
      heard = []
      source = new EventSource("/events")
      source.onmessage = (e) => heard.push(e.data)
      source.addEventListener("named", (e) => heard.push(e.data + "/" + e.lastEventId)); 0]]
    page:await "heard.length == 6"
    assert.same({ "one\nand two", "three/id 1", "one\nand two", "three/id 2", "one\nand two",
      "three/id 3" }, page:evaluate "heard")
    assert.same({ "none", "id 1", "id 2" }, ids)
    ended:clear()
    page:close()
    assert.is_true(ended:wait(60))
  end)

  it("bodies stream both ways", function()
    local gate = green.Event()
    local server <close> = serve(function(req, res)
      if req.path == "/count" then
        local size = 0
        for piece in function() return req:read_some() end do size = size + #piece end
        return tostring(size)
      end
      if req.path == "/go" then return gate:set() or 204 end
      res:write(("x"):rep(100000))
      gate:wait()
      res:write "y"
    end, { gzip = true })
    local page <close> = browser:open(url(server.port))
    assert.equal(100001, page:evaluate [[(async () => {
      let size = 0
      const reader = (await fetch("/stream")).body.getReader()
      for (let r; !(r = await reader.read()).done;) {
        size += r.value.length
        if (size == 100000) await fetch("/go")
      }
      return size
    })()]])
    assert.equal("5000000", page:evaluate [[
      fetch("/count", { method: "POST", body: new Blob(["y".repeat(5000000)]) })
        .then(r => r.text())]])
  end)

  it("WebSockets carry anything, by TLS, compressed, and say why they end", function()
    local ca <close> = certificates.authority()
    local mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    local ended
    local server <close> = serve(websocket.handler(function(ws)
      for message, kind in ws:messages() do
        if message == "bye" then return ws:close(4001, "as you like") end
        ws:send(message, kind)
      end
      ended = { ws.protocol, ws.compressed, ws.code, ws.reason }
    end, { compress = true, protocols = { "b" }, origin = "same", max_message = 8 << 20 }),
      { tls = { certificate = mine.certificate, key = mine.key } })
    local page <close> = browser:open(("https://127.0.0.1:%d/"):format(server.port))
    page:evaluate [[
      talk = (messages) => new Promise((done) => {
        const socket = new WebSocket(location.href.replace("http", "ws") + "ws", ["a", "b"])
        const heard = []
        socket.binaryType = "arraybuffer"
        socket.onopen = () => messages.forEach((m) => socket.send(m))
        socket.onmessage = ({ data }) => {
          const same = typeof data == "string" ? data == messages[heard.length] :
            data.byteLength == messages[heard.length].length
          heard.push(same)
          if (heard.length == messages.length) socket.close(4000, "enough")
        }
        socket.onclose = (e) => done([heard.every(x => x), heard.length, e.code, e.reason])
      }); 0]]
    assert.same({ true, 4, 4000, "" }, page:evaluate
      [=[talk(["hello", "\u00fc\u{1F44B}".repeat(100000), new Uint8Array(3000000), ""])]=])
    while not ended do green.sleep(0.001) end
    assert.same({ "b", true, 4000, "enough" }, ended)
    assert.same({ true, 1, 4001, "as you like" }, page:evaluate 'talk(["hello", "bye"])')
    local other <close> = serve(function() return 404 end)
    local stranger <close> = browser:open(url(other.port))
    assert.equal(1006, stranger:evaluate(([[new Promise((done) => {
      new WebSocket("wss://127.0.0.1:%d/ws").onclose = (e) => done(e.code)
    })]]):format(server.port)))
  end)
end)

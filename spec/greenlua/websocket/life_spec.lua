-- Sending, receiving, waiting, and how a WebSocket ends.

local green = require "greenlua"
local boundaries = require "spec.support.boundaries"
local raw = require "spec.support.websocket"
local waitable = require "spec.support.waitable"
local websocket = require "greenlua.websocket"

local frame, close = raw.frame, raw.close

-- A raw connection, and a server's end of it.
local function couple(settings)
  return raw.accept_one(settings or {})
end

local BIG <const> = ("x"):rep(1 << 19) -- more than the kernel takes

local Pair = {}
Pair.__index = Pair

function Pair:free()
  self.conn:close()
  self.ws:_drop()
end

local function pair(settings)
  local conn, ws = couple(settings)
  return setmetatable({ conn = conn, ws = ws }, Pair)
end

describe("WebSocket", function()
  describe("receive", function()
    waitable {
      new = pair,
      wait = function(p, timeout) return p.ws:receive(timeout) end,
      expired = function(item, why)
        assert.is_nil(item)
        assert.equal("timeout", why)
      end,
      free = Pair.free,
    }

    for _, place in ipairs(boundaries) do
      it("waits " .. place.name, function()
        local conn <close>, ws = couple()
        local g = green.spawn(place.call, ws.receive, ws)
        green.sleep(0)
        conn:send(frame("text", "x"))
        assert.same({ "x", "text" }, { g:get() })
        ws:_cut()
      end)
    end

    it("loses nothing to a timeout in the midst of a message", function()
      local conn <close>, ws = couple()
      local bytes = frame("text", "hello", { fin = false }) .. frame(0, " world")
      conn:send(bytes:sub(1, 14))
      assert.same({ nil, "timeout" }, { ws:receive(0.01) })
      conn:send(bytes:sub(15))
      assert.same({ "hello world", "text" }, { ws:receive() })
      ws:_cut()
    end)

    it("raises if another greenlet receives", function()
      local conn <close>, ws = couple() -- luacheck: ignore conn
      local g = green.spawn(ws.receive, ws)
      green.sleep(0)
      assert.error_matches(function() ws:receive() end, "waits in receive there")
      g:kill()
      ws:_cut()
    end)

    it("tells that the connection has ended", function()
      local conn, ws = couple()
      conn:send(frame("text", "x") .. "\x81")
      conn:close()
      assert.equal("x", ws:receive())
      assert.same({ nil, "closed", 1006, "" }, { ws:receive() })
      assert.same({ nil, "closed", 1006, "" }, { ws:receive() })
      assert.same({ nil, "closed" }, { ws:send "x" })
      assert.equal("WebSocket (server, over, 1006)", tostring(ws):gsub("nil", "server"))
    end)

    it("iterates over messages until the end", function()
      local conn <close>, ws = couple()
      conn:send(frame("text", "a") .. frame("binary", "b") .. frame("text", "") .. close(1000))
      local list = {}
      for message, kind in ws:messages() do list[#list + 1] = kind .. message end
      assert.same({ "texta", "binaryb", "text" }, list)
    end)

    it("gives pieces of any message to whoever asks for some", function()
      local conn <close>, ws = couple { max_message = 10 }
      green.spawn(function()
        conn:send(frame("binary", ("x"):rep(300000), { fin = false }))
        conn:send(frame(0, "end") .. frame("text", ""))
      end)
      local size, pieces, last, piece, kind = 0, 0
      repeat
        piece, kind, last = assert(ws:receive_some())
        assert.equal("binary", kind)
        size, pieces = size + #piece, pieces + 1
      until last
      assert.equal(300003, size)
      assert.is_true(pieces > 3)
      assert.same({ "", "text", true }, { ws:receive_some() })
      ws:_cut()
    end)
  end)

  describe("send", function()
    it("refuses texts that are not UTF-8, and other kinds", function()
      local conn <close>, ws = couple()
      assert.error_matches(function() ws:send "\xff" end, "a text must be valid UTF%-8")
      assert.error_matches(function() ws:send("x", "blob") end, '"text" or "binary" expected')
      assert.error_matches(function() ws:send() end, "string expected")
      assert.is_true(ws:send_binary "\xff")
      assert.same({ "binary", "\xff" }, { raw.read(conn) })
      ws:_cut()
    end)

    it("puts what one turn sends into one segment", function()
      local conn <close>, ws = couple()
      for i = 1, 5 do ws:send(tostring(i)) end
      assert.equal(15, #conn:receive_some())
      ws:_cut()
    end)

    it("sends messages of any size as one frame", function()
      local conn <close>, ws = couple()
      local big = ("x"):rep(1 << 20)
      local g = green.spawn(ws.send, ws, big)
      assert.same({ "text", big }, { raw.read(conn) })
      assert.is_true(g:get())
      ws:_cut()
    end)

    -- A peer that takes nothing, and a full queue.
    local function stuffed(settings)
      settings = settings or {}
      settings.max_queue = 1000
      local p = pair(settings)
      p.ws:send(BIG, "binary")
      return p
    end

    describe("to a peer that takes nothing", function()
      waitable {
        new = stuffed,
        wait = function(p) return p.ws:send "y" end,
        no_timeout = true,
        free = Pair.free,
      }
    end)

    it("gives up a peer that takes nothing for too long", function()
      local p = stuffed { send_timeout = 0.02 }
      assert.same({ nil, "timeout" }, { p.ws:send "y" })
      assert.same({ true, 1006 }, { p.ws.over, p.ws.code })
      p:free()
    end)

    it("gives it up at once if it shall", function()
      local p = stuffed { overflow = "close" }
      assert.same({ nil, "overflow" }, { p.ws:send "y" })
      assert.is_true(p.ws.over)
      p:free()
    end)

    it("lets senders through in their order, and never mixes messages", function()
      local p = stuffed()
      local senders = {}
      for i = 1, 8 do
        senders[i] = green.spawn(p.ws.send, p.ws, tostring(i):rep(100000))
        green.sleep(0)
      end
      senders[3]:kill()
      local order = {}
      while #order < 7 do
        local name, payload = raw.read(p.conn)
        if name == "text" then order[#order + 1] = payload:sub(1, 1) .. #payload end
      end
      assert.equal("1100000 2100000 4100000 5100000 6100000 7100000 8100000", table.concat(order,
        " "))
      assert.is_true(senders[8]:get())
      p.ws:send "after"
      assert.same({ "text", "after" }, { raw.read(p.conn) })
      p:free()
    end)

    it("wakes senders when the connection ends", function()
      local p = stuffed()
      local a, b = green.spawn(p.ws.send, p.ws, "a"), green.spawn(p.ws.send, p.ws, "b")
      green.sleep(0)
      p.ws:_drop()
      assert.same({ nil, "closed" }, { a:get() })
      assert.same({ nil, "closed" }, { b:get() })
      p:free()
    end)
  end)

  describe("send_stream", function()
    it("sends one message in fragments, and others after it", function()
      local conn <close>, ws = couple()
      local q = green.Queue()
      local g = green.spawn(ws.send_stream, ws, function() return (q:get()) or nil end)
      q:put "one "
      green.sleep(0)
      local other = green.spawn(ws.send, ws, "other")
      ws:ping "p"
      q:put "two"
      q:put(false)
      local got = {}
      for i = 1, 5 do got[i] = table.concat({ raw.read(conn) }, " ") end
      assert.same({ "text and more one ", "ping p", "more and more two", "more ", "text other" },
        got)
      assert.is_true(g:get())
      assert.is_true(other:get())
      ws:_cut()
    end)

    it("closes the connection over half a message", function()
      local conn <close>, ws = couple()
      assert.error_matches(function()
        ws:send_stream(function(_, i)
          if i then error "no more" end
          return "x"
        end)
      end, "no more")
      assert.same({ "text and more x", "close 1011" }, raw.read_all(conn))
      ws:_cut()
    end)
  end)

  describe("close", function()
    it("waits for the other side's close frame", function()
      local conn <close>, ws = couple()
      local g = green.spawn(ws.close, ws, 4001, "enough")
      assert.same({ "close", "\x0f\xa1enough" }, { raw.read(conn) })
      assert.is_false(g:ready())
      assert.same({ nil, "closed" }, { ws:send "x" })
      conn:send(frame("text", "still") .. close(4002, "yes"))
      assert.is_true(g:get())
      assert.same({ 4002, "yes" }, { ws.code, ws.reason })
      assert.is_nil(raw.read(conn))
      assert.is_true(ws:close())
    end)

    it("does not wait for ever", function()
      local conn <close>, ws = couple { close_timeout = 0.02 }
      assert.is_true(ws:close())
      assert.equal(1006, ws.code)
      assert.same({ "close 1000" }, raw.read_all(conn))
    end)

    it("lets a greenlet that receives come to its end", function()
      local conn <close>, ws = couple()
      local reader = green.spawn(ws.receive, ws)
      local g = green.spawn(ws.close, ws)
      green.sleep(0)
      conn:send(close(1000, "bye"))
      assert.is_true(g:get())
      assert.same({ nil, "closed", 1000, "bye" }, { reader:get() })
    end)

    it("ends a greenlet that receives if nothing comes", function()
      local conn <close>, ws = couple { close_timeout = 0.02 } -- luacheck: ignore conn
      local reader = green.spawn(ws.receive, ws)
      green.sleep(0)
      assert.is_true(ws:close())
      assert.same({ nil, "closed", 1006, "" }, { reader:get() })
    end)

    it("can be killed", function()
      local conn <close>, ws = couple() -- luacheck: ignore conn
      local g = green.spawn(ws.close, ws)
      green.sleep(0)
      g:kill()
      ws:_cut()
      assert.is_true(ws.over)
    end)

    it("refuses codes that are not the program's to send", function()
      local conn <close>, ws = couple() -- luacheck: ignore conn
      for _, code in ipairs { 999, 1004, 1005, 1006, 1015, 2999, 5000, "x", 1000.5 } do
        assert.error_matches(function() ws:close(code) end, "bad argument #1 to 'close'")
      end
      assert.error_matches(function() ws:close(1000, ("x"):rep(124)) end, "at most 123 bytes")
      assert.error_matches(function() ws:close(1000, "\xff") end, "valid UTF%-8")
      ws:_cut()
    end)

    it("is what leaving a scope does", function()
      local conn <close>, ws = couple()
      conn:send(close(1000))
      do local _ <close> = ws end
      assert.same({ "close 1000" }, raw.read_all(conn))
      local other <close>, away = couple()
      pcall(function()
        local _ <close> = away
        error "x"
      end)
      assert.same({ "close 1001" }, raw.read_all(other))
    end)
  end)

  describe("in silence", function()
    it("asks whether the peer is there, and gives it up", function()
      local conn <close>, ws = couple { ping_interval = 0.02, pong_timeout = 0.02 }
      local g = green.spawn(ws.receive, ws)
      assert.same({ "ping" }, raw.read_all(conn))
      assert.same({ nil, "closed", 1006, "" }, { g:get() })
    end)

    it("is content with any answer", function()
      local conn <close>, ws = couple { ping_interval = 0.02, pong_timeout = 60 }
      local g = green.spawn(ws.receive, ws)
      for _ = 1, 3 do
        assert.same({ "ping", "" }, { raw.read(conn) })
        conn:send(frame("pong", ""))
      end
      assert.is_false(g:ready())
      conn:send(frame("text", "x"))
      assert.equal("x", g:get())
      ws:_cut()
    end)
  end)

  it("answers only the last ping of a peer that does not read", function()
    local conn <close>, ws = couple { max_queue = 1000 }
    ws:send(BIG, "binary")
    local g = green.spawn(ws.receive, ws)
    for i = 1, 100 do conn:send(frame("ping", tostring(i))) end
    green.sleep(0.01)
    local queued = ws.queued
    assert.is_true(queued > 1000 and queued < #BIG)
    local name, payload
    local reader = green.spawn(function()
      repeat name, payload = raw.read(conn) until name == "pong"
    end)
    while ws.queued > 0 do green.sleep(0) end
    conn:send(frame("text", "now"))
    assert.equal("now", g:get())
    reader:get()
    assert.equal("100", payload)
    ws:_cut()
  end)

  it("has fields of the program's own", function()
    local conn <close>, ws = couple() -- luacheck: ignore conn
    ws.user = "me"
    assert.equal("me", ws.user)
    assert.is_nil(ws.other)
    assert.error_matches(function() ws.send = 1 end, "is a method")
    assert.error_matches(function() ws.receive({}) end, "WebSocket expected")
    ws:_cut()
  end)

  it("goes away with the collector", function()
    local conn <close> = (function() return (couple()) end)()
    collectgarbage()
    collectgarbage()
    assert.is_nil(conn:receive(1))
  end)
end)

describe("a WebSocket in a handler", function()
  local function ends(handle, options)
    local server = raw.server(handle, options)
    local conn <close> = raw.open(server)
    local list = raw.read_all(conn)
    local failures = server.failures
    server:stop(0)
    return list, failures
  end

  it("is closed when the handler returns", function()
    assert.same({ "text x", "close 1000" }, (ends(function(ws) ws:send "x" end,
      { close_timeout = 0.01 })))
  end)

  it("is closed with 1011 when it fails, which the server tells", function()
    local list, failures = ends(function() error("oops", 0) end, { close_timeout = 0.01 })
    assert.same({ "close 1011" }, list)
    assert.same({ "oops" }, failures)
  end)

  it("is closed with 1001 when it is killed", function()
    local main
    local server = raw.server(function(ws)
      main = green.current()
      ws:receive()
    end)
    local conn <close> = raw.open(server)
    green.sleep(0)
    main:kill()
    assert.same({ "close 1001" }, raw.read_all(conn))
    server:stop(0)
  end)

  it("is told when the server stops", function()
    local why
    local server = raw.server(function(ws) why = { ws:receive() } end)
    local conn <close> = raw.open(server)
    local g = green.spawn(server.stop, server)
    assert.same({ "close", "\x03\xe9the server stops" }, { raw.read(conn) })
    conn:send(close(1001))
    assert.is_true(g:get())
    assert.same({ nil, "closed", 1001, "" }, why)
  end)

  it("keeps no request's connection longer", function()
    local server = raw.echo()
    local ws = assert(websocket.connect(raw.url(server)))
    assert.equal(1, (server:counts()))
    ws:close()
    while server:counts() > 0 do green.sleep(0) end
    server:stop(0)
  end)
end)

-- permessage-deflate on the wire: Autobahn's 12 and 13, and bombs.

local green = require "greenlua"
local raw = require "spec.support.websocket"
local websocket = require "greenlua.websocket"

local frame, close = raw.frame, raw.close
local RSV1 <const> = { rsv = 4 }
local hello <const> = "\xf2\x48\xcd\xc9\xc9\x07\x00" -- RFC 7692, 7.2.3.1

describe("WebSocket compression", function()
  -- Every way to agree, with messages of all kinds.
  local ways = {
    { true, true }, { { server_no_context_takeover = true }, true },
    { { client_no_context_takeover = true, server_no_context_takeover = true }, true },
    { { server_max_window_bits = 9, client_max_window_bits = 9 }, true },
    { true, { client_max_window_bits = 10, server_max_window_bits = 12, level = 9 } },
    { { level = 1, min = 0 }, { min = 0, server_no_context_takeover = true } },
  }

  local function messages()
    local list, n = {}, 12345
    for _, size in ipairs { 0, 1, 127, 128, 1000, 1000, 16384, 65536, 131072 } do
      list[#list + 1] = ("compressible "):rep(size // 13 + 1):sub(1, size)
      local bytes = {}
      for i = 1, math.min(size, 4000) do
        n = (n * 1103515245 + 12345) & 0x7fffffff
        bytes[i] = string.char(n >> 16 & 0xff)
      end
      list[#list + 1] = table.concat(bytes)
    end
    return list
  end

  for i, way in ipairs(ways) do
    it("keeps messages as they are, way " .. i, function()
      local server = raw.echo { compress = way[1] }
      local ws <close> = assert(websocket.connect(raw.url(server), { compress = way[2] }))
      assert.is_true(ws.compressed)
      for _ = 1, 2 do
        for _, message in ipairs(messages()) do
          ws:send(message, "binary")
          assert.same({ message, "binary" }, { ws:receive() })
        end
      end
      ws:close()
      server:stop(0)
    end)
  end

  it("makes them smaller, and more so with a context", function()
    local conn <close>, ws = raw.accept_one { send_bits = 15, min = 10, level = 6 }
    local text = ("abcdefghij"):rep(3)
    ws:send(text)
    local name, payload = raw.read(conn)
    assert.equal("text rsv4", name)
    assert.is_true(#payload < #text)
    ws:send(text)
    local _, again = raw.read(conn)
    assert.is_true(#again < #payload)
    ws:send "short"
    assert.same({ "text", "short" }, { raw.read(conn) })
    ws:_cut()
  end)

  local settings = { receive_bits = 15, max_message = 100000 }

  local function receive(pieces)
    local conn, ws = raw.accept_one(settings)
    local guard <close> = conn -- luacheck: ignore
    conn:send(table.concat(pieces))
    local got = table.pack(ws:receive())
    ws:_cut()
    return table.unpack(got)
  end

  it("reads the examples of the RFC", function()
    assert.same({ "Hello", "text" }, { receive { frame("text", hello, RSV1) } })
    assert.same({ "Hello", "text" }, { receive { frame("text", hello:sub(1, 3), { rsv = 4,
      fin = false }),
      frame("ping", ""), frame(0, hello:sub(4)) } })
    -- a block that is not compressed, a final one, two blocks
    assert.same({ "Hello", "text" }, { receive { frame("text", "\0\5\0\xfa\xffHello\0", RSV1) } })
    assert.same({ "Hello", "text" }, { receive { frame("text", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
      RSV1) } })
    assert.same({ "Hello", "text" }, { receive {
      frame("text", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", RSV1) } })
    assert.same({ "", "text" }, { receive { frame("text", "\0", RSV1) } })
    assert.same({ "plain", "text" }, { receive { frame("text", "plain") } })
  end)

  it("keeps the context from message to message", function()
    local conn <close>, ws = raw.accept_one(settings)
    conn:send(frame("text", hello, RSV1) .. frame("text", "\xf2\x00\x11\x00\x00", RSV1))
    assert.equal("Hello", ws:receive())
    assert.equal("Hello", ws:receive())
    ws:_cut()
  end)

  it("refuses what is wrong", function()
    local cases = {
      { 1007, { frame("binary", "\xff\xff\xff", RSV1) } },
      { 1007, { frame("text", "\xf2\x00\x11\x00\x00", RSV1) } }, -- of a context that is not
      { 1002, { frame("text", hello:sub(1, 3), { rsv = 4, fin = false }), frame(0, hello:sub(4),
        RSV1) } },
      { 1002, { frame("text", hello, { rsv = 6 }) } }, { 1002, { frame("ping", "", RSV1) } },
      { 1007, { frame("text", "\0\1\0\xfe\xff\xff\0", RSV1) } }, -- not UTF-8
    }
    for _, case in ipairs(cases) do
      local message, why, code = receive(case[2])
      assert.same({ nil, "closed", case[1] }, { message, why, code })
    end
  end)

  it("stops bombs before they go off", function()
    local bomb = "\xec\xc1\x01\x01\0\0\0\x80\x90\xfe\xaf\xee\x08\x0a" .. ("\0"):rep(65536)
    local before = collectgarbage "count"
    local _, why, code = receive { frame("binary", bomb, RSV1) }
    assert.same({ "closed", 1009 }, { why, code })
    assert.is_true(collectgarbage "count" - before < 2000)
  end)

  it("gives pieces of what is large", function()
    local server = raw.server(function(ws)
      local size, last, piece, _ = 0
      repeat
        piece, _, last = assert(ws:receive_some())
        size = size + #piece
      until last
      ws:send(tostring(size))
      ws:receive()
    end, { compress = true, max_message = 1000 })
    local ws <close> = assert(websocket.connect(raw.url(server), { compress = true }))
    ws:send(("x"):rep(5 << 20))
    assert.equal(tostring(5 << 20), ws:receive())
    ws:close()
    server:stop(0)
  end)

  it("shares what it can between connections", function()
    local server = raw.echo { compress = { server_no_context_takeover = true } }
    local list = {}
    for i = 1, 20 do
      list[i] = green.spawn(function()
        local ws <close> = assert(websocket.connect(raw.url(server), { compress = true }))
        for k = 1, 10 do
          ws:send((i .. ":" .. k .. " "):rep(100))
          assert(ws:receive() == (i .. ":" .. k .. " "):rep(100))
        end
      end)
    end
    for _, g in ipairs(list) do g:get() end
    server:stop(0)
  end)

  it("says good-bye in the end", function()
    local conn <close>, ws = raw.accept_one(settings)
    conn:send(frame("text", hello, RSV1) .. close(1000))
    ws:receive()
    assert.same({ nil, "closed", 1000, "" }, { ws:receive() })
  end)
end)

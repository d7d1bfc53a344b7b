-- What a server makes of frames, good and bad: the cases of the Autobahn test suite that
-- matter, by its numbers. Each is sent whole, and byte by byte.

local green = require "greenlua"
local raw = require "spec.support.websocket"

local frame, close = raw.frame, raw.close
local first, middle = { fin = false }, { fin = false }
local text, binary, ping, pong = "text", "binary", "ping", "pong"
local BYE <const> = close(1000)
local euro <const> = "κόσμε" -- five characters of two and three bytes

-- name, bytes, what comes back
local cases = {
  { "1.1.1 an empty text", { frame(text, ""), BYE }, { "text", "close 1000" } },
  { "1.1.2 a text of 125 bytes", { frame(text, ("*"):rep(125)), BYE }, { "text of 125",
    "close 1000" } },
  { "1.1.3 of 126", { frame(text, ("*"):rep(126)), BYE }, { "text of 126", "close 1000" } },
  { "1.1.5 of 128", { frame(text, ("*"):rep(128)), BYE }, { "text of 128", "close 1000" } },
  { "1.2.1 an empty binary message", { frame(binary, ""), BYE }, { "binary", "close 1000" } },
  { "1.2.4 a binary message of 127 bytes", { frame(binary, ("\xfe"):rep(127)), BYE },
    { "binary of 127", "close 1000" } },
  { "2.1 a ping without payload", { frame(ping, ""), BYE }, { "pong", "close 1000" } },
  { "2.2 a ping with a text", { frame(ping, "Hello"), BYE }, { "pong Hello", "close 1000" } },
  { "2.3 a ping with bytes", { frame(ping, "\0\xff\xfe\xfd"), BYE },
    { "pong \0\xff\xfe\xfd", "close 1000" } },
  { "2.4 a ping of 125 bytes", { frame(ping, ("\xfe"):rep(125)), BYE },
    { "pong of 125", "close 1000" } },
  { "2.5 a ping of 126 bytes", { frame(ping, ("\xfe"):rep(126)) }, { "close 1002" } },
  { "2.7 a pong that nobody asked for", { frame(pong, ""), BYE }, { "close 1000" } },
  { "2.8 one with payload", { frame(pong, "x"), frame(ping, "y"), BYE }, { "pong y",
    "close 1000" } },
  { "2.10 ten pings", { frame(ping, "p"):rep(10), BYE },
    { "pong p", "pong p", "pong p", "pong p", "pong p", "pong p", "pong p", "pong p", "pong p",
      "pong p", "close 1000" } },
  { "3.1 a reserved bit", { frame(text, "x", { rsv = 1 }) }, { "close 1002" } },
  { "3.2 another, after a message", { frame(text, "x"), frame(text, "y", { rsv = 2 }) },
    { "text x", "close 1002" } },
  { "3.4 a reserved bit of compression that was not agreed on", { frame(text, "x", { rsv = 4 }) },
    { "close 1002" } },
  { "3.5 all of them in a binary message", { frame(binary, "x", { rsv = 7 }) }, { "close 1002" } },
  { "3.6 in a ping", { frame(ping, "x", { rsv = 4 }) }, { "close 1002" } },
  { "3.7 in a close frame", { frame("close", "", { rsv = 1 }) }, { "close 1002" } },
  { "5.1 a ping in fragments", { frame(ping, "x", first), frame(0, "y") }, { "close 1002" } },
  { "5.2 a pong in fragments", { frame(pong, "x", first) }, { "close 1002" } },
  { "5.3 a text in two fragments", { frame(text, "one ", first), frame(0, "two"), BYE },
    { "text one two", "close 1000" } },
  { "5.6 a ping between fragments", { frame(text, "one ", first), frame(ping, "p"), frame(0, "two"),
    BYE },
    { "pong p", "text one two", "close 1000" } },
  { "5.9 a fragment of nothing", { frame(0, "x") }, { "close 1002" } },
  { "5.10 one that is not the last", { frame(0, "x", first) }, { "close 1002" } },
  { "5.15 one after a message", { frame(text, "a", first), frame(0, "b"), frame(0, "c") },
    { "text ab", "close 1002" } },
  { "5.18 a message in the midst of another", { frame(text, "a", first), frame(text, "b") },
    { "close 1002" } },
  { "5.19 pings between five fragments",
    { frame(text, "a", first), frame(0, "b", middle), frame(ping, "1"), frame(0, "c", middle),
      frame(0, "d", middle), frame(ping, "2"), frame(0, "e"), BYE },
    { "pong 1", "pong 2", "text abcde", "close 1000" } },
  { "6.1.1 a text of no bytes in three fragments",
    { frame(text, "", first), frame(0, "", middle), frame(0, ""), BYE }, { "text", "close 1000" } },
  { "6.1.3 a text within empty fragments",
    { frame(text, "", first), frame(0, "x", middle), frame(0, ""), BYE }, { "text x",
      "close 1000" } },
  { "6.2.1 UTF-8", { frame(text, euro), BYE }, { "text " .. euro, "close 1000" } },
  { "6.2.2 UTF-8, cut between characters", { frame(text, "κό", first), frame(0, "σμε"), BYE },
    { "text " .. euro, "close 1000" } },
  { "6.2.3 UTF-8, cut within each character",
    { frame(text, euro:sub(1, 1), first), frame(0, euro:sub(2, 3), middle), frame(0, euro:sub(4)),
      BYE },
    { "text " .. euro, "close 1000" } },
  { "6.3.1 invalid UTF-8", { frame(text, euro .. "\xed\xa0\x80edited") }, { "close 1007" } },
  { "6.3.2 invalid UTF-8, cut", { frame(text, euro, first), frame(0, "\xed", middle), frame(0,
    "\xa0\x80") },
    { "close 1007" } },
  { "6.4.1 that is told before the message ends", { frame(text, euro .. "\xf4\x90", first) },
    { "close 1007" } },
  { "6.4.3 and before the frame does", { frame(text, euro .. "\xf4\x90", { size = 1000 }) },
    { "close 1007" } },
  { "6.6.1 an incomplete character at the end", { frame(text, "\xce") }, { "close 1007" } },
  { "6.6.7 the same after others", { frame(text, "\xce\xba\xe1\xbd") }, { "close 1007" } },
  { "7.1.1 a message, then a close", { frame(text, "x"), BYE }, { "text x", "close 1000" } },
  { "7.1.2 two close frames", { BYE, BYE }, { "close 1000" } },
  { "7.1.3 a ping after the close", { BYE, frame(ping, "") }, { "close 1000" } },
  { "7.1.4 a message after it", { BYE, frame(text, "x") }, { "close 1000" } },
  { "7.1.5 a fragment after it", { frame(text, "a", first), BYE, frame(0, "b") },
    { "close 1000" } },
  { "7.3.1 a close without a code", { close() }, { "close" } },
  { "7.3.2 one of one byte", { frame("close", "\3") }, { "close 1002" } },
  { "7.3.4 with a reason", { close(1000, "bye") }, { "close 1000" } },
  { "7.3.5 with one of 123 bytes", { close(1000, ("*"):rep(123)) }, { "close 1000" } },
  { "7.3.6 with one of 124", { close(1000, ("*"):rep(124)) }, { "close 1002" } },
  { "7.5.1 with invalid UTF-8", { close(1000, "\xed\xa0\x80") }, { "close 1007" } },
  { "10.1.1 a text of 65536 bytes in frames of 1300",
    (function()
      local list = { frame(text, ("*"):rep(1300), first) }
      for _ = 2, 50 do list[#list + 1] = frame(0, ("*"):rep(1300), middle) end
      list[#list + 1] = frame(0, ("*"):rep(536))
      list[#list + 1] = BYE
      return list
    end)(), { "text of 65536", "close 1000" }, whole = true },
  { "a frame without a mask", { frame(text, "x", { mask = false }) }, { "close 1002" } },
  { "a close frame without one", { frame("close", "", { mask = false }) }, { "close 1002" } },
  { "a short length in two bytes", { frame(text, "x", { long = 2 }) }, { "close 1002" } },
  { "a short length in eight", { frame(text, "x", { long = 8 }) }, { "close 1002" } },
  { "a length of 2^63", { "\x82\xff\x80" .. ("\0"):rep(7) .. raw.MASK .. "x" }, { "close 1002" } },
  { "a message that is too long", { frame(text, "", { size = 1 << 40 }) .. "x" },
    { "close 1009" } },
  { "one that becomes so", { frame(text, ("x"):rep(200000), first), frame(0, ("x"):rep(200000)) },
    { "close 1009" }, whole = true },
}

for opcode = 3, 15 do
  if opcode < 8 or opcode > 10 then
    cases[#cases + 1] = { ("4.%d the unknown opcode %d"):format(opcode < 8 and 1 or 2, opcode),
      { frame(text, "x"), frame(opcode, "?") }, { "text x", "close 1002" } }
  end
end

for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
  3000,
  3999, 4000, 4999 } do
  cases[#cases + 1] = { "7.7 the code " .. code, { close(code) }, { "close " .. code } }
end
for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 } do
  cases[#cases + 1] = { "7.9 the code " .. code, { close(code) }, { "close 1002" } }
end

-- 6.5 … 6.22: which byte sequences are UTF-8.
local valid = { "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
  "\xef\xbf\xbd", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\0" }
local invalid = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xdf\xc0",
  "\xe0\x9f\xbf",
  "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82", "\xf0\x8f\xbf\xbf",
    "\xf0\x80\x80\x80",
  "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80",
    "\xfe",
  "\xff" }

describe("a WebSocket server", function()
  local server

  setup(function() server = raw.echo { max_message = 300000 } end)

  teardown(function() server:stop(0) end)

  local function run(pieces, by_bytes)
    local conn <close> = raw.open(server)
    local bytes = table.concat(pieces)
    if by_bytes then
      for i = 1, #bytes do
        if not conn:send(bytes:sub(i, i)) then break end
        if i % 8 == 0 then green.sleep(0) end
      end
    else
      conn:send(bytes)
    end
    return raw.read_all(conn)
  end

  for _, case in ipairs(cases) do
    it("answers " .. case[1], function()
      assert.same(case[3], run(case[2]))
      if not case.whole then assert.same(case[3], run(case[2], true)) end
    end)
  end

  it("takes what is UTF-8, and nothing else", function()
    for _, s in ipairs(valid) do
      assert.same({ "text " .. s, "close 1000" }, run { frame(text, s), BYE })
      assert.same({ "text ......." .. s, "close 1000" }, run { frame(text, "......." .. s), BYE })
    end
    for _, s in ipairs(invalid) do
      assert.same({ "close 1007" }, run { frame(text, s) })
      assert.same({ "close 1007" }, run { frame(text, "........." .. s .. "x") })
    end
  end)

  it("answers 9.1 to 9.4, messages of 64 KiB to 250,000 bytes", function()
    for _, size in ipairs { 65535, 65536, 250000 } do
      assert.same({ "binary of " .. size, "close 1000" },
        run { frame(binary, ("\0\xff"):rep(size // 2) .. ("\1"):rep(size % 2)), BYE })
    end
  end)

  it("answers 9.7, a thousand small messages", function()
    local conn <close> = raw.open(server)
    conn:send(frame(text, "hello"):rep(1000))
    for _ = 1, 1000 do assert.same({ "text", "hello" }, { raw.read(conn) }) end
  end)
end)

describe("a WebSocket client", function()
  local unmasked = { mask = false }

  local function client(bytes)
    local conn, ws = raw.accept_one { client = true }
    conn:send(bytes)
    return conn, ws
  end

  it("masks all it sends, by random", function()
    local conn <close>, ws = client ""
    ws:send "hello"
    ws:send "hello"
    local one, two = conn:receive(11), conn:receive(11)
    assert.equal("\x81\x85", one:sub(1, 2))
    assert.not_equal(one:sub(3, 6), two:sub(3, 6))
    ws:ping "x"
    assert.same({ "ping masked", "x" }, { raw.read(conn) })
    ws:_cut()
  end)

  it("refuses frames that are masked", function()
    local conn <close>, ws = client(frame(text, "hello"))
    conn:shutdown "send"
    assert.same({ nil, "closed", 1002, "masked frame" }, { ws:receive() })
    assert.same({ "close masked", "\3\xeamasked frame" }, { raw.read(conn) })
  end)

  it("answers pings and the close, then waits for the server to close", function()
    local conn <close>, ws = client(frame(ping, "p", unmasked) .. frame("close", "\x0f\xa0why",
      unmasked))
    local g = green.spawn(function() return ws:receive() end)
    assert.same({ "pong masked", "p" }, { raw.read(conn) })
    assert.same({ "close masked", "\x0f\xa0" }, { raw.read(conn) })
    assert.is_false(g:ready())
    conn:close()
    assert.same({ nil, "closed", 4000, "why" }, { g:get() })
    assert.same({ 4000, "why", true }, { ws.code, ws.reason, ws.over })
  end)
end)

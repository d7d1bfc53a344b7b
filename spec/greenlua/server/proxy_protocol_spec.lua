local green = require "greenlua"
local proxy = require "greenlua.server.proxy_protocol"
local socket = require "greenlua.socket"

local parse = proxy.parse
local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

local function header(command, kind, rest)
  return SIGNATURE .. string.pack(">BBs2", 0x20 | command, kind, rest)
end

local function tlv(kind, value) return string.pack(">Bs2", kind, value) end

local V4 = "\192\0\2\1\192\0\2\2" .. string.pack(">I2I2", 5000, 80)

describe("greenlua.server.proxy_protocol", function()
  it("reads a line of version 1", function()
    local line = "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n"
    local h, at = parse(line .. "GET /")
    assert.equal(#line + 1, at)
    assert.same({ 1, "PROXY", "stream", "192.0.2.1:5000", "192.0.2.2:80" },
      { h.version, h.command, h.transport, tostring(h.source), tostring(h.destination) })
    h = parse "PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n"
    assert.same({ "[2001:db8::1]:0", "[::1]:65535" }, { tostring(h.source),
      tostring(h.destination) })
    for _, unknown in ipairs { "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:: whatever 1\r\n" } do
      h, at = parse(unknown)
      assert.same({ "PROXY", nil, #unknown + 1 }, { h.command, h.source, at })
    end
    local longest = "PROXY UNKNOWN " .. ("x"):rep(107 - 16) .. "\r\n"
    assert.equal(107, #longest)
    assert.equal(108, select(2, parse(longest)))
  end)

  it("refuses a line that is not exactly right", function()
    for _, line in ipairs { "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2", "PROXY TCP4 1.2.3.4 1.2.3.4 1",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2",
          "PROXY TCP5 1.2.3.4 1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2",
          "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2", "PROXY TCP4 1.2.3 1.2.3.4 1 2",
          "PROXY TCP4 1.2.3.256 1.2.3.4 1 2",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2", "PROXY UNKNOWNX", "PROXY unknown", "PROXY TCP4",
          "PROXY UDP4 1.2.3.4 1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "PROXY TCP4 1.2.3.4\t1.2.3.4 1 2",
          "PROXY TCP4 1.2.3.4 1.2.3.4 1 \0002" } do
      local h, err = parse(line .. "\r\n")
      assert.is_nil(h, line)
      assert.matches("^malformed", err, line)
    end
    assert.same({ nil, "header too long" }, { parse("PROXY UNKNOWN " .. ("x"):rep(92) .. "\r\n") })
    assert.same({ nil, "header too long" }, { parse("PROXY UNKNOWN " .. ("x"):rep(200)) })
    for _, other in ipairs { "GET / HTTP/1.0\r\n", "proxy TCP4", "\r\n\r\nQUIT", "PROXYv", "\0" } do
      assert.same({ nil, "no header" }, { parse(other) })
    end
  end)

  it("reads headers of version 2", function()
    local text = header(1, 0x11, V4)
    local h, at = parse(text .. "rest")
    assert.same({ 2, "PROXY", "stream", "192.0.2.1:5000", "192.0.2.2:80", #text + 1 },
      { h.version, h.command, h.transport, tostring(h.source), tostring(h.destination), at })
    h = parse(header(1, 0x22, ("\0"):rep(15) .. "\1" .. ("\0"):rep(15) .. "\2"
      .. string.pack(">I2I2", 1, 2)))
    assert.same({ "datagram", "[::1]:1", "[::2]:2" }, { h.transport, tostring(h.source),
      tostring(h.destination) })
    local function path(p) return p .. ("\0"):rep(108 - #p) end
    h = parse(header(1, 0x31, path "/a" .. path "\0b"))
    assert.same({ "/a", "\0b" }, { h.source.path, h.destination.path })
  end)

  it("leaves the addresses of a proxy's own connections out", function()
    for _, text in ipairs { header(0, 0x00, ""), header(0, 0x11, V4), header(1, 0x00, ""),
        header(1, 0x10, V4), header(0, 0, "no TLVs at all"), header(1, 0, "\xff") } do
      local h, at = parse(text)
      assert.is_nil(h.source)
      assert.equal(#text + 1, at)
    end
    assert.equal("LOCAL", parse(header(0, 0, "")).command)
  end)

  it("keeps TLVs, and knows some", function()
    local tls = "\5\0\0\0\0" .. tlv(0x21, "TLSv1.3") .. tlv(0x22, "client")
    local h = parse(header(1, 0x11, V4 .. tlv(1, "h2") .. tlv(2, "example.org") .. tlv(5, "id")
      .. tlv(0x20, tls) .. tlv(4, "") .. tlv(0xea, "x\0y")))
    assert.same({ "h2", "example.org", "id" }, { h.alpn, h.authority, h.unique_id })
    assert.same({ tls = true, certificate = true, verified = true, version = "TLSv1.3",
      common_name = "client" }, h.tls)
    assert.equal(6, #h.tlvs)
    assert.same({ type = 0xea, value = "x\0y" }, h.tlvs[6])
  end)

  it("verifies a checksum", function()
    assert.equal(0xe3069283, proxy.crc32c "123456789") -- RFC 3720's check value
    local function with(sum) return header(1, 0x11, V4 .. tlv(3, string.pack(">I4", sum)) .. tlv(4,
      "pad")) end
    local good = with(proxy.crc32c(with(0)))
    assert.equal(2, #parse(good).tlvs)
    for i = 17, 28 do -- any other address
      local bad = good:sub(1, i - 1) .. string.char(good:byte(i) ~ 1) .. good:sub(i + 1)
      assert.same({ nil, "wrong checksum" }, { parse(bad) })
    end
    assert.same({ nil, "wrong checksum" }, { parse(header(1, 0x11, V4 .. tlv(3, "abc"))) })
  end)

  it("refuses headers that are not right", function()
    local cases = {
      ["unknown version"] = SIGNATURE .. "\x11\x11\0\0",
      ["unknown command"] = header(2, 0x11, V4),
      ["unknown family"] = header(1, 0x41, V4),
      ["header too short for its addresses"] = header(1, 0x21, V4),
      ["malformed TLVs"] = header(1, 0x11, V4 .. "\1"),
      ["malformed TLS information"] = header(1, 0x11, V4 .. tlv(0x20, "abcd")),
      ["unique id too long"] = header(1, 0x11, V4 .. tlv(5, ("x"):rep(129))),
      ["header too long"] = SIGNATURE .. "\x21\x11\xff\xff",
    }
    for expected, text in pairs(cases) do assert.same({ nil, expected }, { parse(text) }) end
    assert.same({ nil, "unknown family" }, { parse(header(1, 0x13, V4)) })
    assert.same({ nil, "malformed TLVs" }, { parse(header(1, 0x11, V4 .. "\1\0\5abcd")) })
  end)

  it("asks for what is missing, never for what is the application's", function()
    for _, text in ipairs { "PROXY UNKNOWN\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", header(0, 0,
      ""),
        header(1, 0x11, V4 .. tlv(1, "h2")) } do
      for n = 0, #text - 1 do
        local h, err, missing = parse(text:sub(1, n))
        assert.same({ nil, nil }, { h, err })
        assert.is_true(missing > 0 and n + missing <= #text, n)
      end
    end
  end)

  it("takes a header off a connection, and nothing else", function()
    for _, text in ipairs { "PROXY UNKNOWN\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", header(1,
      0x11, V4) } do
      for _, piece in ipairs { 1, 7, 1000 } do
        local a, b <close> = socket.pair()
        local _ <close> = a
        local g = green.spawn(function()
          local h = assert(proxy.read(b))
          return h.version, (b:receive "*l")
        end)
        local whole = text .. "hello\n"
        for i = 1, #whole, piece do
          a:send(whole:sub(i, i + piece - 1))
          green.sleep(0)
          green.sleep(0)
        end
        assert.same({ text:byte() == 80 and 1 or 2, "hello" }, { g:get() })
      end
    end
  end)

  it("tells what is wrong on a connection", function()
    local cases = { ["no header"] = "GET / HTTP/1.1\r\n", ["closed"] = "PROXY TCP4 1.2",
      ["header too long"] = "PROXY TCP4 " .. ("x"):rep(100),
        ["malformed header"] = "PROXY TCP4 \r\n" }
    for expected, text in pairs(cases) do
      local a, b <close> = socket.pair()
      a:send(text)
      a:close()
      assert.same({ nil, expected }, { proxy.read(b) })
    end
    local a, b <close> = socket.pair()
    local _ <close> = a
    b:settimeout(0.001)
    assert.same({ nil, "timeout" }, { proxy.read(b) })
    a:send "PROXY TCP4 1"
    assert.same({ nil, "timeout" }, { proxy.read(b) })
  end)

  it("answers any bytes, and the same however they come", function()
    local random = require "spec.support.random"(7041776)
    local seeds = { "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n",
      "PROXY UNKNOWN\r\n",
      header(1, 0x11, V4), header(0, 0, ""), header(1, 0x11, V4 .. tlv(1, "h2") .. tlv(0x20,
        "\1\0\0\0\0" .. tlv(0x21, "x"))),
      header(1, 0x31, ("x"):rep(216)), header(1, 0x22, ("\1"):rep(36) .. tlv(3, "abcd")) }
    local outcomes = { ok = 0, bad = 0, more = 0 }
    for _ = 1, 5000 do
      local bytes = { seeds[random(#seeds)]:byte(1, -1) }
      for _ = 1, random(4) - 1 do
        local i, what = random(#bytes), random(3)
        if what == 1 then bytes[i] = random(256) - 1
        elseif what == 2 then table.remove(bytes, i)
        else table.insert(bytes, i, random(256) - 1) end
      end
      local text = string.char(table.unpack(bytes))
      local h, at, missing = parse(text)
      local kind = h and "ok" or at and "bad" or "more"
      outcomes[kind] = outcomes[kind] + 1
      if h then assert.is_true(at > 1 and at <= #text + 1) end
      if kind == "bad" then assert.equal("string", type(at)) end
      if kind == "more" then assert.is_true(missing > 0) end
      local shorter = parse(text:sub(1, random(#text)))
      if shorter then assert.same(shorter.version, h.version) end
    end
    for kind, n in pairs(outcomes) do assert.is_true(n > 100, kind) end
  end)
end)

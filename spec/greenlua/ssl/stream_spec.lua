-- A TLS connection reads, writes and ends as any socket does.

local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local tls = require "spec.support.tls"

describe("a TLS connection", function()
  local ca, server, client

  setup(function() ca, server, client = tls.parties() end)
  teardown(function() ca:close() end)

  local function couple() return tls.couple(client, server, "localhost") end

  it("is read by all patterns", function()
    local a, b = couple()
    a:send "line\r\nanother\n12345key: value\r\n\r\nrest\0of it"
    assert.equal("line", b:receive())
    assert.equal("> another", b:receive("*l", "> "))
    assert.equal("12345", b:receive(5))
    assert.equal("key: value", b:read_until "\r\n\r\n")
    assert.equal("rest", b:receive_some(4))
    a:shutdown "send"
    assert.equal("\0of it", b:receive "*a")
    assert.same({ nil, "closed", "" }, { b:receive() })
    b:send "bye\n"
    assert.equal("bye", a:receive())
  end)

  it("carries much, both ways at once", function()
    local a, b = couple()
    local text = ("0123456789abcdef"):rep(1 << 16) -- 1 MiB
    local function all(from)
      return green.spawn(function() return from:receive(#text) end)
    end
    local there, back = all(b), all(a)
    local g = green.spawn(a.send, a, text)
    assert.equal(#text, b:send(text))
    assert.equal(#text, g:get())
    assert.is_true(text == there:get())
    assert.is_true(text == back:get())
    local received, sent = a:getstats()
    assert.same({ #text, #text }, { received, sent })
  end)

  it("sends lists as one, of any sizes", function()
    local a, b = couple()
    local list, sum = {}, 0
    for i = 1, 200 do
      list[i] = (string.char(97 + i % 26)):rep(i * i % 40000)
      sum = sum + #list[i]
    end
    local g = green.spawn(function() return b:receive(sum) end)
    assert.equal(sum, a:send(list))
    assert.is_true(table.concat(list) == g:get())
    assert.equal(0, a:send {})
    assert.equal(0, a:send "")
  end)

  it("puts small sends together while more input is buffered", function()
    local listener <close>, port = sockets.listen() -- luacheck: ignore
    local relay <close>, through = sockets.listen() -- luacheck: ignore
    -- How many records pass from the server to the client.
    local sizes = {}
    green.spawn(function()
      local from, to = relay:accept(), tls.connect(port)
      local g = green.spawn(function()
        while to:send(from:receive_some() or "") do
          if from:getfd() < 0 then break end
          if not socket.wait_read(from) then break end
        end
      end)
      while true do
        local head = to:receive(5)
        if not head then break end
        local body = to:receive((string.unpack(">I2", head, 4)))
        sizes[#sizes + 1] = #body
        if not from:send { head, body } then break end
      end
      g:kill()
      from:close()
      to:close()
    end)
    local g = green.spawn(function()
      local conn <close> = assert(server:accept(listener:accept(), 5))
      for line in conn:lines() do conn:send(line .. "\n") end
    end)
    local conn <close> = assert(client:connect(tls.connect(through), "localhost", 60))
    conn:send "x\n"
    conn:receive()
    local before = #sizes
    conn:send(("x\n"):rep(1000))
    for _ = 1, 1000 do assert.equal("x", conn:receive()) end
    assert.is_true(#sizes - before <= 4, #sizes - before)
    conn:close()
    g:join()
  end)

  it("times out, with what there is, and goes on", function()
    local a, b = couple()
    a:send "par"
    b:settimeout(0.01)
    assert.same({ nil, "timeout", "par" }, { b:receive() })
    b:settimeout(0)
    assert.same({ nil, "timeout", "" }, { b:receive() })
    b:settimeout(60)
    a:send "tial\n"
    assert.equal("tial", b:receive())
    local sent = sockets.stuff(a, 100000)
    assert.is_true(sent > 100000)
    a:settimeout(0.01)
    local ok, why, index = a:send(("x"):rep(1 << 20))
    assert.same({ nil, "timeout" }, { ok, why })
    a:settimeout()
    local g = green.spawn(function() return b:receive(sent + index) end)
    assert.equal(sent + index, #g:get())
    a:send "done\n"
    assert.equal("done", b:receive())
  end)

  it("keeps what was read when a kill strikes", function()
    local a, b = couple()
    local g = green.spawn(b.receive, b, 10)
    a:send "12345"
    green.sleep(0.01)
    g:kill()
    a:send "67890"
    assert.equal("1234567890", b:receive(10))
  end)

  it("is closed under whoever waits", function()
    local a, b = couple()
    local reader = green.spawn(b.receive, b)
    local writer = green.spawn(function()
      while true do
        local ok, why = b:send(("x"):rep(100000))
        if not ok then return why end
      end
    end)
    green.sleep(0.01)
    b:close()
    assert.same({ nil, "closed", "" }, { reader:get() })
    assert.equal("closed", writer:get())
    assert.same({ nil, "closed", 0 }, { b:send "x" })
    a:close()
    green.sleep(0.01) -- what b had still to send goes nowhere
  end)

  it("has one reader and one writer", function()
    local _, b = couple()
    local g = green.spawn(b.receive, b)
    green.sleep(0)
    assert.error_matches(function() b:receive() end, "cannot receive on .* waits in receive there")
    g:kill()
  end)

  it("says farewell, after all that was sent", function()
    local a, b = couple()
    local sent = sockets.stuff(a, 100000)
    a:close()
    assert.equal(sent, #b:receive "*a")
    assert.same({ nil, "closed", "" }, { b:receive "*a" })
  end)

  it("that is cut does not look like one that has ended", function()
    local a, b = couple()
    a:send "so far"
    local fd = a:detach()
    socket.fromfd(fd):close()
    assert.same({ nil, "closed", "so far" }, { b:receive "*a" })
    assert.same({ nil, "closed", 0 }, { b:send "x" })
  end)

  it("tells what is wrong with what came, once and for all", function()
    local a, b = couple()
    a:send "good\n"
    assert.equal("good", b:receive())
    local raw <close> = socket.fromfd((a:detach()))
    raw:send("\23\3\3\0\32" .. ("x"):rep(32))
    for _ = 1, 2 do
      assert.same({ nil, "decryption failed or bad record mac", "" }, { b:receive() })
    end
    assert.same({ nil, "decryption failed or bad record mac", 0 }, { b:send "x" })
    assert.error_matches(function() for _ in b:lines() do error "a line" end end, "bad record mac")
  end)

  it("waits for readiness as sockets do", function()
    local a, b = couple()
    assert.same({ nil, "timeout" }, { socket.wait_read(b, 0.005) })
    a:send(("x"):rep(100000))
    assert.is_true(socket.wait_read(b, 60))
    local got = #b:receive(1)
    while got < 100000 do
      local readable = socket.select({ b }, nil, 60)
      assert.equal(b, readable[1])
      got = got + #b:receive_some(1000)
    end
    assert.is_false(b:dirty())
    assert.same({ {}, {}, "timeout" }, { socket.select({ b }, nil, 0) })
  end)

  it("changes its keys in the midst of things", function()
    local a, b = couple()
    local text = ("x"):rep(100000)
    for _ = 1, 3 do
      assert.is_true(a:update_keys())
      assert.is_true(b:update_keys())
      local g = green.spawn(function() return b:receive(#text) end)
      local h = green.spawn(function() return a:receive(#text) end)
      a:send(text)
      b:send(text)
      assert.is_true(text == g:get() and text == h:get())
    end
    a:close()
    assert.same({ nil, "closed" }, { a:update_keys() })
  end)

  it("answers a change of keys while the peer reads nothing", function()
    local a, b = couple()
    -- b's output is full; a asks for new keys again and again.
    sockets.stuff(b, 100000)
    for _ = 1, 50 do
      assert.is_true(a:update_keys())
      a:send "x"
    end
    b:settimeout(60)
    assert.equal(("x"):rep(50), b:receive(50))
    a:close()
    b:close()
    green.sleep(0.01)
  end)

  it("has sent what was sent when the program ends in the midst of things", function()
    local listener <close>, port = sockets.listen() -- luacheck: ignore
    local program <close> = support.start { "-e", ([[ -- luacheck: ignore
      local green = require "greenlua"
      local c = assert(green.ssl.client { ca = %q })
      local conn = assert(c:connect(assert(green.socket.connect("127.0.0.1", %d)), "localhost", 60))
      assert(conn:receive() == "one")
      conn:send "gathered\n" -- there is more to read
      os.exit(0)
    ]]):format(ca.certificate, port) }
    local conn <close> = assert(server:accept(listener:accept(), 5))
    conn:send "one\ntwo\n"
    conn:settimeout(60)
    assert.equal("gathered", conn:receive())
    assert.same({ "", "" }, { sockets.await_end(program) })
  end)

  it("is no greater than it must be while it idles", function()
    local a, b = couple()
    a:send(("x"):rep(100000))
    b:receive(100000)
    collectgarbage()
    local function resident()
      local file <close> = assert(io.open "/proc/self/statm")
      return select(2, file:read("n", "n")) * 4096
    end
    local all, before = {}, nil -- luacheck: ignore
    for i = 1, 60 do
      if i == 11 then
        collectgarbage()
        before = resident()
      end
      all[i] = table.pack(couple())
    end
    collectgarbage()
    -- Two ends: 2 x 34 KiB of OpenSSL's buffers would be there otherwise.
    if support.preset == "release" then
      assert.is_true((resident() - before) / 50 < 68 << 10, (resident() - before) / 50)
    end
  end)
end)

local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local waitable = require "spec.support.waitable"

local silent, free = sockets.ends, sockets.free

describe("greenlua.core.socket receive", function()
  for _, name in ipairs { "receive", "receive_some" } do
    describe(name, function()
      waitable {
        new = silent,
        wait = function(ends) return ends.sock[name](ends.sock) end,
        no_timeout = true,
        free = free,
      }
    end)
  end

  it("gives what is there with receive_some", function()
    local a, b <close> = socket.pair()
    b:send "hello"
    assert.equal("hel", a:receive_some(3))
    assert.is_true(a:dirty())
    assert.equal("lo", a:receive_some())
    assert.is_false(a:dirty())
    b:close()
    assert.same({ n = 3, nil, "closed", "" }, table.pack(a:receive_some()))
  end)

  it("reads until a delimiter, and takes it off", function()
    local a, b <close> = socket.pair()
    b:send "key: value\r\n\r\nbo"
    assert.equal("key: value", a:read_until "\r\n\r\n")
    assert.equal("b", a:read_until "o")
    local g = green.spawn(a.read_until, a, "--")
    green.sleep(0)
    for _, part in ipairs { "x-", "y", "-", "-z" } do
      b:send(part)
      green.sleep(0.001)
    end
    assert.equal("x-y", g:get())
    assert.equal("z", a:receive(1))
  end)

  it("stops at the most that read_until may give, and keeps it", function()
    local a, b <close> = socket.pair()
    b:send "12345;"
    assert.same({ nil, "too long" }, { a:read_until(";", 4) })
    assert.equal("12345", a:read_until(";", 5))
    b:send "123456"
    assert.same({ nil, "too long" }, { a:read_until(";", 5) })
    assert.equal("123456", a:receive(6))
  end)

  it("iterates over lines, the last one without its end included", function()
    local a <close>, b = socket.pair()
    b:send "one\ntwo\r\n\nlast"
    b:close()
    local lines = {}
    for line in a:lines() do lines[#lines + 1] = line end
    assert.same({ "one", "two", "", "last" }, lines)
  end)

  it("raises a timeout out of lines", function()
    local a, b <close> = socket.pair()
    a:settimeout(0.01)
    assert.error_matches(function() for _ in a:lines() do b:send "part" end end, "timeout")
    b:send "ial\n"
    assert.equal("ial", a:receive())
  end)

  it("puts lines together from any pieces", function()
    local a, b <close> = socket.pair()
    local text = {}
    for i = 1, 300 do text[i] = ("x"):rep(i * 7 % 311) .. "\n" end
    local all = table.concat(text)
    local g = green.spawn(function()
      local at = 1
      while at <= #all do
        local n = at * 31 % 97 + 1
        b:send(all, at, math.min(at + n - 1, #all))
        at = at + n
        green.sleep(0)
      end
    end)
    for i = 1, 300 do assert.equal(text[i], a:receive() .. "\n") end
    g:get()
  end)

  it("reads what is larger than any buffer", function()
    local a, b <close> = sockets.couple()
    local line = ("0123456789abcde\n"):rep(200000)
    local long = line:gsub("\n", "-")
    local g = green.spawn(function()
      b:send(line)
      b:send(long .. "\n")
      b:send(line)
      b:shutdown "send"
    end)
    assert.equal(line, a:receive(#line))
    assert.equal(long, a:receive "*l")
    assert.equal(line, a:receive "*a")
    g:get()
  end)

  it("does not believe in a number that the peer made up", function()
    local a <close>, b = socket.pair()
    b:send "short"
    b:close()
    assert.same({ nil, "closed", "short" }, { a:receive(1 << 60) })
  end)

  it("keeps what it has read when a Timeout or a kill strikes", function()
    local a, b <close> = socket.pair()
    b:send "half "
    assert.is_false((green.within(0.01, a.receive, a, 9)))
    local g = green.spawn(a.receive, a, "*l")
    green.sleep(0.01)
    g:kill()
    b:send "line\n"
    assert.equal("half line", a:receive())
  end)

  it("keeps a Timeout's bytes for any other pattern", function()
    local a, b <close> = socket.pair()
    b:send "one\ntwo"
    assert.is_false((green.within(0.01, a.read_until, a, "--")))
    assert.equal("one", a:receive())
    assert.is_false((green.within(0.01, a.receive, a)))
    assert.equal("tw", a:receive(2))
    b:send "!--"
    assert.equal("o!", a:read_until "--")
  end)

  it("consumes what a timeout of its own gives", function()
    local a, b <close> = socket.pair()
    a:settimeout(0.01)
    b:send "half"
    assert.same({ nil, "timeout", "half" }, { a:receive(9) })
    assert.same({ nil, "timeout", "" }, { a:receive(9) })
  end)

  it("measures a timeout from the start of the operation", function()
    local a, b <close> = socket.pair()
    a:settimeout(0.05)
    local g = green.spawn(function()
      for _ = 1, 10 do b:send "x" green.sleep(0.02) end
    end)
    local began = socket.gettime()
    local _, err, partial = a:receive(10)
    assert.equal("timeout", err)
    assert.is_true(#partial < 10)
    assert.is_true(socket.gettime() - began >= 0.05 - 1e-3)
    g:join()
  end)

  it("prefers what has come to a timeout that has passed", function()
    local a, b <close> = socket.pair()
    a:settimeout(0.005)
    local g = green.spawn(a.receive, a)
    green.sleep(0)
    b:send "in time\n"
    local till = socket.gettime() + 0.01
    repeat until socket.gettime() > till
    assert.equal("in time", g:get())
  end)

  it("lets the peer in the same process answer a program that polls", function()
    local a, b <close> = socket.pair()
    green.spawn(function() b:send((b:receive())) end)
    a:send "question\n"
    a:settimeout(0)
    local answer, err, partial
    repeat answer, err, partial = a:receive(8, partial) until err ~= "timeout"
    assert.equal("question", answer)
  end)

  it("lets others run while there is always more to read", function()
    local a, b <close> = sockets.couple()
    local turns, chunk = 0, ("x"):rep(65536)
    local writer = green.spawn(function() while b:send(chunk) do end end)
    local other = green.spawn(function() while true do turns = turns + 1 green.sleep(0) end end)
    for _ = 1, 1000 do a:receive_some() end
    assert.is_true(turns > 5)
    green.killall { writer, other }
  end)

  it("allows one reader, and names both when there are two", function()
    local a, b <close> = socket.pair()
    local first = green.spawn(a.receive, a)
    first.name = "Ada"
    green.sleep(0)
    local second = green.spawn(a.receive_some, a)
    second.name = "Alan"
    local ok, err = pcall(second.get, second)
    assert.is_false(ok)
    assert.matches("Alan cannot receive on unixstream{client}: Ada waits in receive there", err)
    b:send "for Ada\n"
    assert.equal("for Ada", first:get())
  end)

  it("reads in one greenlet while another writes", function()
    local a, b <close> = socket.pair()
    local reader = green.spawn(a.receive, a)
    green.sleep(0)
    a:send "out\n"
    assert.equal("out", b:receive())
    b:send "in\n"
    assert.equal("in", reader:get())
  end)

  it("refuses misuse with the argument's name", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    assert.error_matches(function() a:receive_some(0) end, "#1 to 'receive_some' %(max")
    assert.error_matches(function() a:receive_some "x" end, "#1 to 'receive_some' %(number")
    assert.error_matches(function() a:read_until "" end, "#1 to 'read_until' %(delimiter")
    assert.error_matches(function() a:read_until("x", -1) end, "#2 to 'read_until' %(max")
    assert.error_matches(function() a.receive(io.stdout) end, "unixstream{client} expected")
  end)

  it("serves thousands of connections out of one buffer", function()
    local ends = {}
    for i = 1, 200 do
      local a, b = socket.pair()
      ends[i] = { a, b }
      b:send(("line %d\nrest"):format(i))
    end
    for i = 1, 200 do assert.equal("line " .. i, ends[i][1]:receive()) end
    for i = 1, 200 do
      assert.equal("rest", ends[i][1]:receive(4))
      ends[i][1]:close()
      ends[i][2]:close()
    end
  end)
end)

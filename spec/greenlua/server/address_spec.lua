local address = require "greenlua.server.address"
local green = require "greenlua"
local socket = require "greenlua.socket"

local parse = address.parse

describe("greenlua.server.address", function()
  it("reads a port alone as every address", function()
    for _, form in ipairs { 80, 80.0, "80", ":80", { "", 80 }, { "", "80" }, { port = 80 },
        { host = "", port = 80 }, { nil, 80 } } do
      assert.same({ host = "", port = 80 }, parse(form))
    end
    assert.same({ host = "", port = 0 }, parse(0))
    assert.same({ host = "", port = 65535 }, parse "65535")
  end)

  it("reads a host and a port", function()
    assert.same({ host = "*", port = 80 }, parse "*:80")
    assert.same({ host = "::1", port = 80 }, parse "[::1]:80")
    assert.same({ host = "fe80::1%lo", port = 80 }, parse "[fe80::1%lo]:80")
    assert.same({ host = "localhost", port = 8080 }, parse "localhost:8080")
    for _, form in ipairs { "127.0.0.1:80", { "127.0.0.1", 80 }, { "127.0.0.1", "80" },
        { host = "127.0.0.1", port = 80 } } do
      assert.same({ host = "127.0.0.1", port = 80 }, parse(form))
    end
  end)

  it("reads paths, descriptors, sockets, and what the service manager has", function()
    assert.same({ path = "/a b" }, parse "unix:/a b")
    assert.same({ path = "x" }, parse { path = "x" })
    assert.same({ path = "\0name" }, parse "unix:@name")
    assert.same({ path = "\0name" }, parse { path = "\0name" })
    assert.same({ path = ("x"):rep(107) }, parse { path = ("x"):rep(107) })
    assert.same({ fd = 3 }, parse { fd = 3 })
    assert.same({ inherited = true }, parse "systemd")
    assert.same({ inherited = true, name = "web" }, parse "systemd:web")
    local sock <close> = assert(socket.tcp4())
    assert.equal(sock, parse(sock).socket)
  end)

  it("refuses everything else", function()
    for _, form in ipairs { "", "x", "-1", "65536", "123456", "80x", " 80", "80 ", "1:2:3",
        "::1:80", "[::1]", "[::1]:", "[::1]80", "[127.0.0.1]:80", "[::1]x:80", "host:", "host:x",
        "a b:80", "a\0b:80", "unix:", "unix:@", "systemd:", "host:-1", "[]:80", ":80:", "0x50" } do
      assert.is_nil(parse(form), form)
    end
    for _, form in ipairs { -1, 65536, 80.5, 0 / 0, 1 / 0, -1 / 0, true, false, print,
        io.stdout, coroutine.create(print) } do
      assert.is_nil(parse(form), tostring(form))
    end
    for i, form in ipairs { {}, { "a" }, { 80 }, { "a", "b" }, { "a", -1 }, { true, 80 },
        { path = "" }, { path = 1 }, { path = ("x"):rep(108) }, { path = "a\0b" }, { path = "\0" },
        { fd = -1 }, { fd = "3" }, { fd = 1.5 }, { host = {}, port = 1 },
        { "a]", 80 }, { "a\0", 80 } } do
      assert.is_nil(parse(form), i)
    end
    assert.is_nil(parse(nil))
  end)

  it("says in an error what it got, and what can be written, where the mistake is", function()
    local StreamServer = green.server.StreamServer
    local function message(listener)
      return select(2, pcall(function() StreamServer(listener, print) end))
    end
    assert.matches("address_spec.lua:%d+: bad argument #1 to 'StreamServer' %(an address expected: "
      .. 'a port, "host:port", .*{host, port}.*; got "a:b:c"%)$', message "a:b:c")
    assert.matches('got {"::1"}%)$', message { "::1" })
    assert.matches('got {path = ""}%)$', message { path = "" })
    assert.matches("got nil%)$", message(nil))
    assert.matches("got 70000%)$", message(70000))
  end)

  it("writes addresses as they are read", function()
    local cases = { ["127.0.0.1:80"] = { "127.0.0.1", 80 }, ["[::1]:80"] = { "::1", 80 },
      ["unix:/x"] = { "/x" }, ["unix:@x"] = { "\0x" }, [":80"] = { "", 80 }, ["unix:"] = { "" } }
    for text, args in pairs(cases) do
      local a = address.new(table.unpack(args))
      assert.equal(text, tostring(a))
      local parsed = parse(text)
      if parsed then assert.same({ a.host, a.port, a.path }, { parsed.host, parsed.port,
        parsed.path }) end
    end
    assert.equal(address.new("::1", 1), address.new("::1", 1))
    assert.not_equal(address.new("::1", 1), address.new("::1", 2))
  end)

  it("knows which networks an address is in", function()
    local function is_in(list, host, port)
      return assert(address.networks(list))(address.new(host, port))
    end
    assert.is_true(is_in({ "10.0.0.0/8" }, "10.255.0.1", 1))
    assert.is_false(is_in({ "10.0.0.0/8" }, "11.0.0.1", 1))
    assert.is_true(is_in({ "192.0.2.128/25" }, "192.0.2.200", 1))
    assert.is_false(is_in({ "192.0.2.128/25" }, "192.0.2.127", 1))
    assert.is_true(is_in({ "1.2.3.4" }, "1.2.3.4", 1))
    assert.is_false(is_in({ "1.2.3.4" }, "1.2.3.5", 1))
    assert.is_true(is_in({ "0.0.0.0/0" }, "1.2.3.4", 1))
    assert.is_false(is_in({ "0.0.0.0/0" }, "::1", 1))
    assert.is_true(is_in({ "::/0" }, "::1", 1))
    assert.is_true(is_in({ "2001:db8::/33" }, "2001:db8:7fff::1", 1))
    assert.is_false(is_in({ "2001:db8::/33" }, "2001:db8:8000::1", 1))
    assert.is_true(is_in({ "fe80::/10" }, "fe80::1%lo", 1))
    assert.is_true(is_in({ "::ffff:1.2.3.4" }, "1.2.3.4", 1))
    assert.is_true(is_in({ "unix" }, ""))
    assert.is_false(is_in({ "unix" }, "::1", 1))
    assert.is_false(is_in({ "::1" }, ""))
    assert.is_false(is_in({}, "::1", 1))
    for _, bad in ipairs { "x", "1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4/", "1.2.3.4/-1", "",
      5 } do
      assert.same({ nil, bad }, { address.networks { "::1", bad } })
    end
  end)

  it("reads any string without failing, and only what it writes again alike", function()
    local random = require("spec.support.random")(20240229)
    local pieces = { "127.0.0.1", "::1", "[", "]", ":", "80", "*", "unix:", "/x", "@", "systemd",
      "\0", "65535", "65536", " ", "-", "fe80::1%lo", "localhost", "", "\n", "\255" }
    local read = 0
    for _ = 1, 20000 do
      local words = {}
      for i = 1, random(6) do words[i] = pieces[random(#pieces)] end
      local parsed = parse(table.concat(words))
      if parsed and (parsed.path or parsed.port) then
        read = read + 1
        local a = address.new(parsed.path or parsed.host, parsed.port)
        local again = parse(tostring(a))
        if not (parsed.path and parsed.path:find "[%c@]") then assert.same(parsed, again) end
      end
    end
    assert.is_true(read > 500)
  end)
end)

local core = require "greenlua.core.server"
local green = require "greenlua"
local lfs = require "lfs"
local sockets = require "greenlua.core.socket"
local socket = require "greenlua.socket"

-- Connections of a server's, made before anybody else runs.
local function rush(port, n)
  local conns = {}
  for i = 1, n do
    conns[i] = assert(socket.tcp4())
    conns[i]:settimeout(0)
    conns[i]:connect("127.0.0.1", port)
    conns[i]:settimeout(60)
  end
  return conns
end

describe("greenlua.core.socket.accept", function()
  it("tells the address of who has come", function()
    local cases = { ["127.0.0.1"] = socket.connect4, ["::1"] = socket.connect6 }
    for host, connect in pairs(cases) do
      local server <close> = assert(socket.bind(host, 0))
      local client <close> = assert(connect(host, (select(2, server:getsockname()))))
      local conn, raw = sockets.accept(server)
      assert.same({ client:getsockname() }, { (function() local h, p = core.decode(raw) return h, p,
        host == "::1" and "inet6" or "inet" end)() })
      conn:close()
    end
  end)

  it("has connections without Nagle's delay, as their listener has it", function()
    for _, at in ipairs { "127.0.0.1", "::1" } do
      local server <close> = assert(socket.bind(at, 0))
      local port = select(2, server:getsockname())
      local function accepted()
        local client <close> = assert(socket.connect(at, port)) -- luacheck: ignore
        local conn <close> = assert(server:accept())
        return conn:getoption "tcp-nodelay"
      end
      assert.is_true(accepted())
      server:setoption("tcp-nodelay", false)
      assert.is_false(accepted())
      server:setoption("tcp-nodelay", true)
      assert.is_true(accepted())
    end
    -- one that somebody else has opened, without the option
    local other = assert(socket.tcp4())
    assert(other:bind("127.0.0.1", 0))
    other:setoption("tcp-nodelay", false)
    local fd = other:detach()
    local master = assert(socket.fromfd(fd))
    assert(master:listen())
    local _, port = master:getsockname()
    local client <close> = assert(socket.connect("127.0.0.1", port)) -- luacheck: ignore 211
    local conn <close> = assert(master:accept())
    assert.is_true(conn:getoption "tcp-nodelay")
    master:close()
  end)

  it("loses no connection to a kill", function()
    for _, accept in ipairs { sockets.accept, function(s) return s:accept() end } do
      local server <close> = assert(socket.bind("127.0.0.1", 0, 200))
      local conns, accepted = rush(select(2, server:getsockname()), 150), {}
      local g = green.spawn(function()
        while true do accepted[#accepted + 1] = accept(server) end
      end)
      green.sleep(0) -- it gives way before it has got all
      assert.is_true(#accepted > 0 and #accepted < 150)
      g:kill()
      server:settimeout(0)
      while true do
        local conn = server:accept()
        if not conn then break end
        accepted[#accepted + 1] = conn
      end
      assert.equal(150, #accepted)
      for _, conn in ipairs(conns) do conn:close() end
      for _, conn in ipairs(accepted) do conn:close() end
    end
  end)

  it("takes listening sockets only", function()
    local sock <close> = assert(socket.tcp4())
    assert.error_matches(function() sockets.accept(sock) end, "tcp{server} expected")
    assert.error_matches(function() sockets.accept() end, "tcp{server} expected")
  end)
end)

describe("greenlua.core.server", function()
  it("reads addresses in bytes", function()
    assert.same({ "", n = 1 }, table.pack(core.decode ""))
    assert.same({ "", n = 1 }, table.pack(core.decode "\1\0"))
    assert.same({ "/a", n = 1 }, table.pack(core.decode "\1\0/a\0\0"))
    assert.same({ "\0a\0", n = 1 }, table.pack(core.decode "\1\0\0a\0"))
    local mapped = string.pack("=I2>I2I4", 10, 80, 0) .. ("\0"):rep(10) .. "\255\255\1\2\3\4"
    assert.same({ "1.2.3.4", 80, n = 2 }, table.pack(core.decode(mapped)))
    local scoped = string.pack("=I2>I2I4", 10, 80, 0) .. "\xfe\x80" .. ("\0"):rep(13) .. "\1"
      .. string.pack("=I4", 1)
    assert.same({ "fe80::1%lo", 80, n = 2 }, table.pack(core.decode(scoped)))
    assert.equal(1, select("#", core.decode(("x"):rep(1000))))
  end)

  it("turns numbers into bytes and back", function()
    for _, text in ipairs { "127.0.0.1", "::1", "2001:db8::1", "::ffff:1.2.3.4" } do
      assert.equal(text, core.ntop(core.pton(text)))
    end
    for _, bad in ipairs { "", "1", "1.2.3.4.5", "::g", "1.2.3.4\0", "01.2.3.4" } do
      assert.is_nil(core.pton(bad))
    end
    assert.error_matches(function() core.ntop "abc" end, "4 or 16 bytes expected")
  end)

  it("knows a socket's file from others", function()
    local path = os.tmpname()
    assert.is_nil((core.socket_file(path)))
    assert.is_true(core.set_mode(path, 384))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    os.remove(path)
    assert.same({ nil, "No such file or directory" }, { core.socket_file(path) })
    assert.same({ nil, "No such file or directory" }, { core.set_mode(path, 384) })
    local sock <close> = assert(socket.unix())
    assert(sock:bind(path))
    assert.matches("^%d+:%d+$", core.socket_file(path))
    os.remove(path)
  end)

  it("knows kinds of descriptors", function()
    local sock <close> = assert(socket.bind("127.0.0.1", 0))
    local file <close> = assert(io.open "/dev/null")
    assert.same({ "stream", true }, { core.kind(sock:getfd()) })
    assert.is_nil((core.kind(1000000)))
    assert.is_nil((core.set_inheritable(1000000, true)))
    assert.error_matches(function() core.kind(-1) end, "descriptor expected")
    assert.is_true(io.type(file) == "file")
  end)

  it("sends datagrams to the service manager's socket", function()
    for _, at in ipairs { os.tmpname() .. ".s", "\0greenlua " .. os.tmpname() } do
      local sock <close> = assert(socket.unix.dgram())
      assert(sock:bind(at))
      assert.is_true(core.notify((at:gsub("^\0", "@")), "READY=1"))
      assert.equal("READY=1", (sock:receive()))
      if at:byte() ~= 0 then os.remove(at) end
    end
    for _, bad in ipairs { "", ("x"):rep(108) } do
      assert.same({ nil, "File name too long" }, { core.notify(bad, "x") })
    end
  end)
end)

local green = require "greenlua"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local support = require "spec.support"


local function output(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

describe("greenlua.socket", function()
  local probes = { probe = 250, probe_datagram = 250, probe_module = 130 }
  probes.probe_dns = 30
  for name, least in pairs(probes) do
    it("answers what LuaSocket answers: " .. name, function()
      local path = ("spec/greenlua/socket/%s.lua"):format(name)
      local expected = output(("env -u LD_PRELOAD lua5.4 %s socket socket.unix"):format(path))
      local code, out, err = support.run { path, "greenlua.socket" }
      assert.same({ 0, "" }, { code, err })
      local i, section = 0, ""
      for line in out:gmatch "[^\n]+" do
        i = i + 1
        if line:find "^==" then section = line end
        assert.equal(section .. "\n" .. tostring(expected[i]), section .. "\n" .. line)
      end
      assert.equal(#expected, i)
      assert.is_true(i > least)
    end)
  end

  it("listens on the first address of a host that is to be had", function()
    local server <close> = assert(socket.bind("localhost", 0))
    local address, port, family = server:getsockname()
    assert.equal("127.0.0.1", address)
    assert.equal("integer", math.type(port))
    assert.equal("inet", family)
    assert.same({ nil, "address already in use" }, { socket.bind("127.0.0.1", port) })
    assert.same({ nil, "host or service not provided, or not known" },
      { socket.bind("no..such.host", 0) })
  end)

  it("connects with a table of what to connect to", function()
    local server <close> = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local conn <close> = assert(socket.connect { host = "localhost", port = port, timeout = 5 })
    assert.same({ -1, -1 }, { conn:gettimeout() })
    assert.same({ "127.0.0.1", port, "inet" }, { conn:getpeername() })
    assert.error_matches(function() socket.connect { port = port } end, "string expected, got nil")
  end)

  it("connects within its family only", function()
    local server <close> = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local conn <close> = assert(socket.connect4("localhost", port)) -- luacheck: ignore
    assert.same({ nil, "Address family for hostname not supported" },
      { socket.connect6("127.0.0.1", port) })
    assert.error_matches(function()
      socket.connect("127.0.0.1", port, nil, nil, "ipx")
    end, "invalid option 'ipx'")
  end)

  it("leaves nothing open when it cannot connect", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:close()
    local function count()
      local n = 0
      for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
      return n
    end
    local before = count()
    for _ = 1, 5 do
      assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", port) })
    end
    assert.equal(before, count())
  end)

  it("makes UNIX sockets by a call or by name", function()
    for _, new in ipairs { socket.unix, socket.unix.stream, socket.unix.tcp } do
      local sock <close> = assert(new())
      assert.matches("^unixstream{master}: 0x", tostring(sock))
    end
  end)

  it("sleeps as LuaSocket does", function()
    local ran = false
    local g = green.spawn(function() ran = true end)
    assert.same({ n = 0 }, table.pack(socket.sleep(-1)))
    g:join()
    assert.is_true(ran)
    assert.error_matches(function() socket.sleep() end,
      "#1 to 'sleep' %(number expected, got no value")
  end)

  it("keeps working under stock Lua's C boundaries", function()
    local a, b <close> = socket.pair()
    local g = green.spawn(function()
      return (("abc"):gsub(".", function(c)
        b:send(c .. "\n")
        return (b:receive())
      end))
    end)
    for _ = 1, 3 do a:send((a:receive()):upper() .. "\n") end
    assert.equal("ABC", g:get())
  end)
end)

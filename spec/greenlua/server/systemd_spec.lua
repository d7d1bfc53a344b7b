local await = require "spec.support.await"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local support = require "spec.support"

-- A program that serves what it is passed, and says what it sees.
local SERVICE = "spec/greenlua/server/service.lua"

-- Runs a command of the shell in the background: what it says, once it has ended.
local function background(command)
  local out = os.tmpname()
  os.execute(("{ timeout 180 %s; echo end; } >%s 2>&1 </dev/null &"):format(command, out))
  return function()
    local text
    await(function()
      local file <close> = assert(io.open(out))
      text = file:read "a"
      return text:find "end\n$"
    end)
    os.remove(out)
    return text
  end
end

local function connect(path)
  return await(function()
    local conn = socket.unix()
    if conn:connect(path) then return conn end
    conn:close()
  end)
end

local function ask(path, text)
  local conn <close> = connect(path)
  conn:settimeout(60)
  conn:send(text .. "\n")
  return (conn:receive "*a")
end

describe("socket activation", function()
  it("serves what systemd-socket-activate passes", function()
    local stem = os.tmpname()
    local a, b = stem .. ".a", stem .. ".b"
    local output = background(("env -u LD_PRELOAD systemd-socket-activate -l %s -l %s "
      .. "--fdname=first:second -E PATH %s %s second"):format(a, b, support.greenlua, SERVICE))
    assert.equal("second: hello", ask(b, "hello"))
    assert.equal("any: hello", ask(a, "hello"))
    assert.equal("any: nil nil nil", ask(a, "environment"))
    assert.equal("second: stopping", ask(b, "stop"))
    local text = output()
    assert.matches("no more: the service manager has passed no socket\n", text)
    assert.matches("\nbye\nend\n$", text)
    for _, path in ipairs { stem, a, b } do os.remove(path) end
  end)

  it("serves TCP and UDP sockets, tells READY and STOPPING, and gives children nothing", function()
    local tcp, udp = assert(socket.bind("127.0.0.1", 0)), assert(socket.udp4())
    assert(udp:setsockname("127.0.0.1", 0))
    local _, tcp_port = tcp:getsockname()
    local _, udp_port = udp:getsockname()
    local notify = os.tmpname() .. ".notify"
    local manager = socket.unix.dgram()
    assert(manager:bind(notify))
    manager:settimeout(60)
    local core = require "greenlua.core.server"
    for _, sock in ipairs { tcp, udp } do assert(core.set_inheritable(sock:getfd(), true)) end
    local output = background(("env -u LD_PRELOAD NOTIFY_SOCKET=%s LISTEN_FDS=2 "
      .. "sh -c 'export LISTEN_PID=$$; exec \"$@\" 3<&%d 4<&%d' sh %s %s -")
      :format(notify, tcp:getfd(), udp:getfd(), support.greenlua, SERVICE))
    tcp:close()
    udp:close()
    assert.equal("READY=1", (manager:receive()))
    local client <close> = assert(socket.udp4())
    client:settimeout(60)
    client:sendto("hello", "127.0.0.1", udp_port)
    assert.equal("datagram: hello", (client:receive()))
    local conn <close> = assert(socket.connect("127.0.0.1", tcp_port))
    conn:settimeout(60)
    conn:send "descriptors\n"
    local seen = conn:receive "*a"
    assert.matches("^any: 0 1 ", seen)
    assert.is_nil(seen:find "%f[%d][34] socket", seen)
    local last <close> = assert(socket.connect("127.0.0.1", tcp_port))
    last:send "stop\n"
    assert.equal("any: stopping", (last:receive "*a"))
    assert.equal("STOPPING=1", (manager:receive()))
    assert.matches("\nbye\nend\n$", output())
    manager:close()
    os.remove(notify)
    assert.is_nil(lfs.attributes(notify, "mode"))
  end)

  it("is not meant for us if the process is another, or there is none", function()
    for _, env in ipairs { { LISTEN_PID = "1", LISTEN_FDS = "1" }, { LISTEN_FDS = "1" }, {},
        { LISTEN_PID = "x", LISTEN_FDS = "-1" } } do
      local code, out, err = support.run({ "-e", [[
        local green = require "greenlua"
        print(green.server.inherited())
        print(green.server.inherited "web")
        print(green.server.StreamServer("systemd:web", print):start())
        print(green.server.DatagramServer("systemd", print):start())
        print(green.server.notify "READY=1", os.getenv "LISTEN_FDS")
        print(pcall(green.server.inherited, 5))
        print(pcall(green.server.notify, nil))
      ]] }, nil, env)
      assert.equal([[
nil	the service manager has passed no socket
nil	the service manager has passed no socket named "web"
nil	cannot listen on systemd:web: the service manager has passed no stream socket named "web"
nil	cannot listen on systemd: the service manager has passed no datagram socket
false	nil
false	bad argument #1 to 'inherited' (name or nil expected, got number)
false	bad argument #1 to 'notify' (string expected, got nil)
]], out)
      assert.same({ 0, "" }, { code, err })
    end
  end)

  it("says why a message could not be sent", function()
    local code, out = support.run({ "-e", [[
      print(require "greenlua".server.notify "READY=1")
    ]] }, nil, { NOTIFY_SOCKET = "/nowhere/at/all" })
    assert.same({ 0, "nil\tNo such file or directory\n" }, { code, out })
  end)
end)

-- WebSockets among many: without descriptors, and with readers who hardly read.

local green = require "greenlua"
local raw = require "spec.support.websocket"
local socket = require "greenlua.socket"
local support = require "spec.support"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

describe("a server of WebSockets", function()
  it("waits for descriptors when none is left, and says so once", function()
    local pipe = assert(io.popen(("ulimit -n 64; env -u LD_PRELOAD timeout 120 %s %s 2>&1"):format(
      support.greenlua, "spec/greenlua/websocket/starve.lua")))
    local said, warned = {}, {}
    for line in pipe:lines() do table.insert(line:find "^served" and said or warned, line) end
    pipe:close()
    assert.same({ "served the first", "served all" }, said, table.concat(warned, "\n"))
    assert.equal(1, #warned, table.concat(warned, "\n"))
    assert.matches("cannot accept: Too many open files; connections wait$", warned[1])
  end)

  -- A client that buffers little and reads that much now and then.
  local function sipper(server, size)
    local conn = socket.tcp()
    conn:setoption("recv-buffer-size", 4096)
    assert(conn:connect("127.0.0.1", server.port))
    conn:settimeout(10)
    conn:send(raw.head())
    assert(conn:read_until "\r\n\r\n")
    return conn, green.spawn(function()
      while conn:receive_some(size) do green.sleep(0.002) end
    end)
  end

  local function publisher(options)
    local members, failures = {}, {}
    local server = web.server(websocket.handler(function(ws)
      ws.socket:setoption("send-buffer-size", 16384)
      members[ws] = true
      ws:receive()
      members[ws] = nil
    end, options))
    return server, function(message)
      for ws in pairs(members) do
        local ok, err = ws:send(message)
        if not ok then
          members[ws] = nil
          failures[#failures + 1] = err
        end
      end
    end, failures
  end

  it("gives up who reads too slowly, byte after byte", function()
    local server <close>, tell, failures = publisher { max_queue = 65536, send_timeout = 0.2 }
    local conn, sipping <close> = sipper(server, 64)
    local start = socket.gettime()
    local large = ("x"):rep(1 << 20)
    while #failures == 0 do
      tell(large)
      green.sleep(0)
    end
    assert.same({ "timeout" }, failures)
    assert.is_true(socket.gettime() - start >= 0.199)
    sipping:kill()
    conn:close()
  end)

  it("drops who reads too slowly, and lets nobody wait for it", function()
    local server <close>, tell, failures = publisher { max_queue = 65536, overflow = "close" }
    local slow, sipping <close> = sipper(server, 64)
    local ws <close> = assert(websocket.connect(raw.url(server)))
    local piece = ("x"):rep(10000)
    for i = 1, 2000 do
      tell(i .. piece)
      assert.equal(i .. piece, (ws:receive(10)))
    end
    assert.same({ "overflow" }, failures)
    sipping:kill()
    slow:close()
  end)
end)

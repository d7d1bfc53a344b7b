-- Other people's WebSockets: Python's two libraries as clients, one as a server.

local daemon = require "spec.support.daemon"
local raw = require "spec.support.websocket"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

-- What a program prints, given that input.
local function output(command, input)
  local name = os.tmpname()
  daemon.write(name, input or "")
  local out = web.shell(("timeout 60 %s < %s"):format(command, name))
  os.remove(name)
  return out
end

describe("a WebSocket server, asked by others,", function()
  local server

  setup(function() server = raw.echo { compress = true, max_message = 5 << 20,
    protocols = { "chat" } } end)

  teardown(function() server:stop(0) end)

  it("understands Python's websockets", function()
    local out = output("/usr/bin/python3 -", ([[
import asyncio, websockets
async def main():
    for compression in (None, "deflate"):
        async with websockets.connect("%s", compression=compression, subprotocols=["chat"],
                                      max_size=None) as ws:
            for message in ("hello", "κόσμε", b"\0\xff", "", "x" * 100000, b"y" * 3000000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "three ", "pieces"])
            print(await ws.recv(), ws.subprotocol, [e.name for e in ws.extensions])
            await (await ws.ping())
            await ws.close(4000, "bye")
            print(ws.close_code, ws.close_reason)
asyncio.run(main())
]]):format(raw.url(server)))
    assert.equal("in three pieces chat []\n4000 \n" ..
      "in three pieces chat ['permessage-deflate']\n4000 \n", out)
  end)

  it("understands Python's websocket-client", function()
    local out = output("/usr/bin/python3 -", ([[
import websocket
ws = websocket.create_connection("%s", timeout=60)
ws.send("hello")
print(ws.recv())
ws.send_binary(b"x" * 70000)
print(len(ws.recv()))
ws.ping("p")
print(ws.recv_data(True))
ws.close()
]]):format(raw.url(server)))
    assert.equal("hello\n70000\n(10, b'p')\n", out)
  end)
end)

describe("a WebSocket client, answered by others,", function()
  it("understands Python's websockets", function()
    local folder, port, guard = daemon.folder(), daemon.reserve_port()
    daemon.write(folder .. "/echo.py", ([[
import asyncio, websockets
async def echo(ws, path):
    async for message in ws:
        if message == "stop":
            return await ws.close(3001, "stopped")
        await ws.send(message)
async def main():
    async with websockets.serve(echo, "127.0.0.1", %d, subprotocols=["b"], max_size=None):
        await asyncio.Future()
asyncio.run(main())
]]):format(port))
    local server <close> = daemon.start(folder, port, guard, "/usr/bin/python3 " .. folder .. "/echo.py") -- luacheck: ignore
    for _, compress in ipairs { false, true } do
      local ws <close> = assert(websocket.connect("ws://127.0.0.1:" .. port,
        { compress = compress, protocols = { "a", "b" }, max_message = 3 << 20 }))
      assert.same({ "b", compress }, { ws.protocol, ws.compressed })
      for _, message in ipairs { "hello", "κόσμε", "", ("x"):rep(100000) } do
        ws:send(message)
        assert.same({ message, "text" }, { ws:receive() })
      end
      ws:send_binary(("\0\xff"):rep(1 << 20))
      assert.equal(2 << 20, #ws:receive())
      ws:send_stream(("in three pieces"):gmatch "%S+")
      assert.equal("inthreepieces", ws:receive())
      ws:send "stop"
      assert.same({ nil, "closed", 3001, "stopped" }, { ws:receive() })
    end
  end)
end)

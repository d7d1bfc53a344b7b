import asyncio, os
import websockets

async def echo(ws, *_):
    async for message in ws:
        await ws.send(message)

async def main():
    async with websockets.serve(echo, "127.0.0.1", int(os.environ["PORT"]), compression=None):
        await asyncio.Future()

asyncio.run(main())

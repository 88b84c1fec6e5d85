"""In the guest: runs commands for the host's tests, one connection each.

The host sends one JSON line, {"argv": […], "input": "…"}; back come {"out": line}, {"err": line} and, last,
{"exit": status}. A connection that the host closes first ends its command.
"""

import asyncio
import json
import os
import signal

PORT = 7


async def forward(pipe, name, writer):
    while line := await pipe.readline():
        writer.write(json.dumps({name: line.decode(errors="replace").rstrip("\n")}).encode() + b"\n")
        await writer.drain()


async def serve(reader, writer):
    order = json.loads(await reader.readline())
    child = await asyncio.create_subprocess_exec(
        *order["argv"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=1 << 20,
    )

    async def ended_by_the_host():
        await reader.read()
        try:
            os.killpg(child.pid, signal.SIGTERM)
            await asyncio.wait_for(asyncio.shield(child.wait()), 10)
            os.killpg(child.pid, signal.SIGKILL)
        except (asyncio.TimeoutError, ProcessLookupError):
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)

    child.stdin.write(order.get("input", "").encode())
    child.stdin.close()
    watch = asyncio.create_task(ended_by_the_host())
    try:
        await asyncio.gather(forward(child.stdout, "out", writer), forward(child.stderr, "err", writer))
        writer.write(json.dumps({"exit": await child.wait()}).encode() + b"\n")
        await writer.drain()
        watch.cancel()
    except ConnectionError:
        await watch
    writer.close()


async def main():
    off = asyncio.Event()

    async def connection(reader, writer):
        if await reader.readexactly(1) == b"!":
            off.set()
        else:
            await serve(reader, writer)

    async with await asyncio.start_server(connection, "0.0.0.0", PORT):
        print("guest ready", flush=True)
        await off.wait()


asyncio.run(main())

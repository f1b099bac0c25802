"""A proxy that delays every request, to imitate a distant server.

Run it as `latency.py PORT TARGET_PORT SECONDS CORE`.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK_BYTES = 1 << 18


@contextmanager
def delayed(target_port: int, port: int, seconds: float, core: int) -> Iterator[int]:
    """Yield a port that answers like the target, later. The proxy is a process on one core."""
    command = [
        sys.executable,
        str(Path(__file__)),
        str(port),
        str(target_port),
        str(seconds),
        str(core),
    ]

    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as proxy:
        try:
            _wait_for(port)
            yield port
        finally:
            proxy.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def serve(port: int, target_port: int, seconds: float) -> None:
    """Pass bytes on in both directions; the first bytes after an answer, a new request, wait."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(
            "127.0.0.1", target_port, limit=CHUNK_BYTES
        )
        state = {"answered": True}

        async def requests() -> None:
            while data := await reader.read(CHUNK_BYTES):
                if state["answered"]:
                    state["answered"] = False
                    await asyncio.sleep(seconds)
                server_writer.write(data)
                await server_writer.drain()
            server_writer.close()

        async def answers() -> None:
            while data := await server_reader.read(CHUNK_BYTES):
                state["answered"] = True
                writer.write(data)
                await writer.drain()
            writer.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(requests(), answers())
        writer.close()
        server_writer.close()

    server = await asyncio.start_server(
        connected, "127.0.0.1", port, limit=CHUNK_BYTES, backlog=256
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[4])})
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

"""Websocket clients in a process of its own: reads one JSON line, says when all are connected, then what they got.

Each client counts frames; frames with "sentAt" also say how long they were on their way.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from subprocess import PIPE, Popen

from websockets.asyncio.client import connect

_SENT_AT = re.compile(r'"sentAt":([0-9.]+)')
_CURSOR = re.compile(r'"cursor":"([^"]+)"}')
ACK_EVERY = 16  # with large events more would not fit into the window
AT_ONCE = 50  # handshakes


class Listeners:
    def __init__(self, process: Popen) -> None:
        self._process = process

    def report(self) -> dict:
        """Return {"seconds", "latencies_ms"} once every client has all its frames."""
        return json.loads(self._process.stdout.readline())


@contextmanager
def listeners(*, url: str, key: str, sockets: int, frames: int, acknowledges: bool = False) -> Iterator[Listeners]:
    """Connect so many clients, each of which waits for so many events; 0 frames: they stay until the end."""
    what = {"url": url, "key": key, "sockets": sockets, "frames": frames, "acknowledges": acknowledges}
    process = Popen([sys.executable, __file__], stdin=PIPE, stdout=PIPE, text=True)
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()
    try:
        if process.stdout.readline() != "connected\n":
            raise RuntimeError("Not all clients could connect")
        yield Listeners(process)
    finally:
        process.terminate()
        process.communicate()


async def _main(url: str, key: str, sockets: int, frames: int, acknowledges: bool) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    protocols = ["event-service.v1"] if acknowledges else None
    gate, latencies_ms = asyncio.Semaphore(AT_ONCE), []
    async with AsyncExitStack() as opened:

        async def dial():
            async with gate:
                return await opened.enter_async_context(
                    connect(
                        url, additional_headers=headers, subprotocols=protocols, compression=None, ping_interval=None
                    )
                )

        started = time.monotonic()  # frames may come before the last one is connected
        clients = await asyncio.gather(*(dial() for _ in range(sockets)))
        print("connected", flush=True)
        if frames:
            await asyncio.gather(*(_listen(client, frames, acknowledges, latencies_ms) for client in clients))
            print(json.dumps({"seconds": time.monotonic() - started, "latencies_ms": latencies_ms}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def _listen(client, frames: int, acknowledges: bool, latencies_ms: list[float]) -> None:
    got = 0
    while got < frames:
        frame = await client.recv()
        if acknowledges and frame.startswith('{"kind":"ready"'):
            continue
        got += 1
        if sent_at := _SENT_AT.search(frame):
            latencies_ms.append((time.time() - float(sent_at[1])) * 1000)
        if acknowledges and (got % ACK_EVERY == 0 or got == frames):
            await client.send(json.dumps({"kind": "ack", "cursor": _CURSOR.search(frame)[1]}))


if __name__ == "__main__":
    asyncio.run(_main(**json.loads(sys.stdin.readline())))

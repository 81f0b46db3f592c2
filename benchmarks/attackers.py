"""Connections that are slow on purpose. For each line on standard input it says how many are open."""

import asyncio
import json
import sys
from contextlib import suppress

RATE = 200  # connections opened in a second: more is no slow attack


async def _attack(port: int, count: int, begin: str, go_on: str) -> None:
    opened: set[asyncio.StreamWriter] = set()

    async def keep() -> None:
        """Open one, and another one when the server has closed it."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                opened.add(writer)
                try:
                    await _drag(reader, writer, begin, go_on)
                finally:
                    opened.discard(writer)
            await asyncio.sleep(1)

    attackers = []
    for _ in range(count):
        attackers.append(asyncio.create_task(keep()))
        await asyncio.sleep(1 / RATE)
    while len(opened) < count:
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(len(opened), flush=True)
    del attackers


async def _drag(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: str, go_on: str) -> None:
    writer.write(begin.encode())
    while not reader.at_eof():
        if go_on:
            writer.write(go_on.encode())
        else:
            await reader.read(1)
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(_attack(**json.loads(sys.argv[1])))

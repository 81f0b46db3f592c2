"""What honest producers notice of a thousand clients that are slow on purpose, by turns with none."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from subprocess import PIPE, Popen

from benchmarks import attackers
from benchmarks.figures import Figure, at_most
from benchmarks.load import event_door, request
from benchmarks.service import EVENT, MANAGE, clear, new_workspace, web_process

ROUNDS = 3
SECONDS = 10
RATE = 50  # events a second
ATTACKERS = 1_000
TARGET = 1.5
HEAD = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
FILE = "/event-service/static/graphene_django_graphiql_static/graphiql.min.js"  # the largest that we serve
# What each begins with, and what it goes on with, a byte a second. Who reads slowly takes a byte a second.
ATTACKS = {
    "slow headers": ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", "a"),
    "slow bodies": (f"POST /event-service/events HTTP/1.1\r\n{HEAD}\r\n", " "),
    "slow reading": (f"GET {FILE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", ""),
}


def run() -> Iterator[Figure]:
    print(f"\nslow: {RATE} events a second for {SECONDS} s, beside {ATTACKERS:,} slow connections; one web process")
    clear()
    _, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    with web_process(MANAGE, "web") as web:
        _p99_ms(web.port, key)  # warm-up
        for name, (begin, go_on) in ATTACKS.items():
            rounds, grew = [], web.process.memory_info().rss
            for _ in range(ROUNDS):
                alone = _p99_ms(web.port, key)
                with attack(port=web.port, count=ATTACKERS, begin=begin, go_on=go_on) as still_open:
                    rounds.append((alone, _p99_ms(web.port, key)))
                    left = still_open()
            grew = (web.process.memory_info().rss - grew) >> 20
            print(f"    {left} of those with {name} were open at the end")
            yield Figure.of_rounds(f"p99 beside {name}", "ms", rounds, [at_most(TARGET)])
            yield Figure(name=f"growth beside {name}", unit="MiB", measured=grew)


@contextmanager
def attack(**what):
    """Attack from a process of its own; yields a function that says how many connections are left."""
    process = Popen([sys.executable, attackers.__file__, json.dumps(what)], stdin=PIPE, stdout=PIPE, text=True)
    try:
        process.stdout.readline()

        def still_open() -> int:
            process.stdin.write("\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield still_open
    finally:
        process.kill()
        process.wait()


def _p99_ms(port: int, key: str) -> float:
    return quantiles(asyncio.run(_latencies_ms(port, request(event_door(port, key), EVENT))), n=100)[98]


async def _latencies_ms(port: int, request: bytes) -> list[float]:
    """Ask at an even rate, each time on a connection of its own: a new one must get in, too."""
    tasks = []
    start = time.monotonic()
    for number in range(RATE * SECONDS):
        due = start + number / RATE
        await asyncio.sleep(due - time.monotonic())
        tasks.append(asyncio.create_task(_latency_ms(port, request, due)))
    return await asyncio.gather(*tasks)


async def _latency_ms(port: int, request: bytes, due: float) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    status = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    if b" 202 " not in status:
        raise RuntimeError(f"An honest client was answered {status!r}")
    return (time.monotonic() - due) * 1000

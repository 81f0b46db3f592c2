"""The load: keep-alive connections in a process of its own, which reads one JSON line and answers with one.

Without `rate`, each connection sends its next request when the answer to the one before has come. With it, events
are sent at that rate whether or not answers come, `bodies` in turn, and each says when it was due: a stall counts for
all it holds up.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from subprocess import run

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
LOST = 0  # the status of a connection that ended


def load(**what) -> dict:
    """Return {"answers", "seconds"}. Raises RuntimeError where an answer was not 202."""
    done = run([sys.executable, __file__], input=json.dumps(what), capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    if set(result["statuses"]) != {"202"}:
        raise RuntimeError(f"Not all answers were 202: {result['statuses']}")
    return {"answers": result["statuses"]["202"], "seconds": result["seconds"]}


class Connection(asyncio.Protocol):
    def __init__(self, on_answer: Callable[["Connection", int], None]) -> None:
        self._on_answer = on_answer
        self._unread = b""

    def connection_made(self, transport) -> None:
        self.send = transport.write

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, _, body = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length and len(body) >= int(length[1]):
            self._unread = b""
            self._on_answer(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self._on_answer(self, LOST)


async def _closed_loop(port: int, key: str, connections: int, seconds: float, body: str) -> dict:
    loop, statuses, request = asyncio.get_running_loop(), Counter(), _request(key, body)

    def answered(connection: Connection, status: int) -> None:
        if loop.time() < end:
            statuses[status] += 1
            connection.send(request)

    opened = await _open(connections, port, answered)
    end = loop.time() + seconds
    for connection in opened:
        connection.send(request)
    await asyncio.sleep(seconds)
    return {"statuses": statuses, "seconds": seconds}


async def _open_loop(port: int, key: str, connections: int, seconds: float, bodies: list[str], rate: float) -> dict:
    loop, statuses, waiting = asyncio.get_running_loop(), Counter(), deque()

    def answered(connection: Connection, status: int) -> None:
        statuses[status] += 1
        if waiting:
            connection.send(waiting.popleft())
        else:
            free.append(connection)

    free = deque(await _open(connections, port, answered))
    start, started_at = loop.time(), time.time()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(start + number / rate - loop.time())
        body = bodies[number % len(bodies)].replace("SENT_AT", f"{started_at + number / rate:.6f}")
        request = _request(key, body)
        if free:
            free.popleft().send(request)
        else:
            waiting.append(request)
    while len(free) < connections:
        await asyncio.sleep(0.01)
    return {"statuses": statuses, "seconds": seconds}


async def _open(count: int, port: int, on_answer: Callable[[Connection, int], None]) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(on_answer), "127.0.0.1", port) for _ in range(count)]
    return [protocol for _, protocol in made]


def _request(key: str, body: str) -> bytes:
    return (
        "POST /event-service/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


if __name__ == "__main__":
    what = json.loads(sys.stdin.readline())
    print(json.dumps(asyncio.run(_open_loop(**what) if "rate" in what else _closed_loop(**what))))

"""The load: keep-alive connections in a process of its own, which reads one JSON line and answers with one.

Without `rate`, each connection sends its next request when the answer to the one before has come, for some seconds or
until a count is reached. With it, events are sent at that rate whether or not answers come, `bodies` in turn, and each
says when it was due: a stall counts for all it holds up. `port` and `key` are of our own event door, `to` any other's.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from subprocess import run

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding: *chunked", re.IGNORECASE)
_PATIENCE_S = 120  # for a count to be reached
LOST = 0  # the status of a connection that ended


def load(*, port: int = 0, key: str = "", to: dict | None = None, **what) -> dict:
    """Return {"answers", "seconds", "started_at"}. Raises RuntimeError where an answer was none of success.

    `to` is {"host", "port", "path", "headers"}; what is sent is in `body` or `bodies`.
    """
    asked = {"to": to or event_door(port, key), **what}
    done = run([sys.executable, __file__], input=json.dumps(asked), capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    if not result["statuses"] or any(not status.startswith("2") for status in result["statuses"]):
        raise RuntimeError(f"Not all answers were of success: {result['statuses']}")
    return {**result, "answers": sum(result.pop("statuses").values())}


def event_door(port: int, key: str) -> dict:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return {"host": "127.0.0.1", "port": port, "path": "/event-service/events", "headers": headers}


class Connection(asyncio.Protocol):
    def __init__(self, on_answer: Callable[["Connection", int], None]) -> None:
        self._on_answer = on_answer
        self._unread = b""

    def connection_made(self, transport) -> None:
        self.send = transport.write

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, ended, body = self._unread.partition(b"\r\n\r\n")
        if ended and _is_whole(head, body):
            self._unread = b""
            self._on_answer(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self._on_answer(self, LOST)


def _is_whole(head: bytes, body: bytes) -> bool:
    if length := _LENGTH.search(head):
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n") if _CHUNKED.search(head) else True


async def _closed_loop(to: dict, connections: int, body: str, seconds: float = 0, count: int = 0) -> dict:
    loop, statuses, sent, ended = asyncio.get_running_loop(), Counter(), request(to, body), asyncio.Event()
    left = count - connections  # to be sent after the first of each connection

    def answered(connection: Connection, status: int) -> None:
        nonlocal left
        if loop.time() < end:
            statuses[status] += 1
            if not count or left > 0:
                left -= 1
                connection.send(sent)
            elif statuses.total() >= count:
                ended.set()

    opened = await _open(min(connections, count or connections), to, answered)
    started, started_at = loop.time(), time.time()
    end = started + (seconds or _PATIENCE_S)
    for connection in opened:
        connection.send(sent)
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds or _PATIENCE_S)
    return {"statuses": statuses, "seconds": seconds or loop.time() - started, "started_at": started_at}


async def _open_loop(to: dict, connections: int, seconds: float, bodies: list[str], rate: float) -> dict:
    loop, statuses, waiting = asyncio.get_running_loop(), Counter(), deque()

    def answered(connection: Connection, status: int) -> None:
        statuses[status] += 1
        if waiting:
            connection.send(waiting.popleft())
        else:
            free.append(connection)

    free = deque(await _open(connections, to, answered))
    start, started_at = loop.time(), time.time()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(start + number / rate - loop.time())
        body = bodies[number % len(bodies)].replace("SENT_AT", f"{started_at + number / rate:.6f}")
        due = request(to, body)
        if free:
            free.popleft().send(due)
        else:
            waiting.append(due)
    while len(free) < connections:
        await asyncio.sleep(0.01)
    return {"statuses": statuses, "seconds": seconds, "started_at": started_at}


async def _open(count: int, to: dict, on_answer: Callable[[Connection, int], None]) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(on_answer), to["host"], to["port"]) for _ in range(count)]
    return [protocol for _, protocol in made]


def request(to: dict, body: str) -> bytes:
    headers = {"Host": f"{to['host']}:{to['port']}", **to["headers"], "Content-Length": str(len(body.encode()))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {to['path']} HTTP/1.1\r\n{lines}\r\n{body}".encode()


if __name__ == "__main__":
    what = json.loads(sys.stdin.readline())
    print(json.dumps(asyncio.run(_open_loop(**what) if "rate" in what else _closed_loop(**what))))

"""The far end of webhooks, in a process of its own: answers 200, and counts; below /hang it does neither."""

import asyncio
import json
import re
import sys
import time
from subprocess import PIPE, Popen

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SENT_AT = re.compile(rb'"sentAt": ?([0-9.]+)')
_HANG = b" /hang"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """The process as its owner sees it; `url` is where it listens."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._address = host, str(port)

    def __enter__(self) -> "Sink":
        self._process = Popen([sys.executable, __file__, *self._address], stdin=PIPE, stdout=PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def report(self) -> dict:
        """Return the requests received since `clear`: {"count", "first_at", "last_at", "latencies_ms"}."""
        return self._ask("report")

    def clear(self) -> None:
        self._ask("clear")

    def wait_for(self, count: int, *, within_s: float) -> dict:
        deadline = time.monotonic() + within_s
        while (report := self.report())["count"] < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{report['count']} of {count} requests came within {within_s} s")
            time.sleep(0.1)
        return report

    def _ask(self, word: str) -> dict:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class _Seen:
    def clear(self) -> None:
        self.count, self.first_at, self.last_at, self.latencies_ms = 0, 0.0, 0.0, []

    def add(self, body: bytes) -> None:
        self.last_at = time.time()
        self.first_at = self.first_at or self.last_at
        self.count += 1
        if sent_at := _SENT_AT.search(body):
            self.latencies_ms.append((self.last_at - float(sent_at[1])) * 1000)


class _Receiver(asyncio.Protocol):
    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._unread = b""

    def connection_made(self, transport) -> None:
        self._answer = transport.write

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, _, body = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length and len(body) >= int(length[1]):
            self._unread = b""
            if _HANG not in head[: head.index(b"\r\n")]:
                self._seen.add(body)
                self._answer(_ANSWER)


async def _main(host: str, port: str) -> None:
    loop, ended, seen = asyncio.get_running_loop(), asyncio.Event(), _Seen()
    seen.clear()

    def obey() -> None:
        word = sys.stdin.readline().strip()
        if word == "clear":
            seen.clear()
        if word:
            print(json.dumps(vars(seen)), flush=True)
        else:
            ended.set()

    loop.add_reader(sys.stdin, obey)
    server = await loop.create_server(lambda: _Receiver(seen), host, int(port))
    print(f"http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))

"""A receiver of webhooks on loopback: it writes down what arrives, and answers as it is told, well or badly."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any, Self

DEADLINE_S = 60  # for what is waited for; a test that comes here fails

# Raw bytes, after which the connection stays; or a function that has the connection to itself, and ends it.
Answer = bytes | Callable[[socket], Any]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Message
    body: bytes
    connection: int  # the same for requests that came over one connection
    at: float  # by time.monotonic()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return a well-formed answer."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Receiver(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.connections = 0
        self.answer: Answer = answer(200)
        self.changed = threading.Condition()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def wait_for(self, wanted: Callable[[Request], bool]) -> Request:
        """Return the first request that is `wanted`, once it came."""
        self._wait(lambda: any(map(wanted, self.requests)))
        return next(filter(wanted, self.requests))

    def wait_for_count(self, count: int) -> None:
        self._wait(lambda: len(self.requests) >= count)

    def wait_until_all_of(self, event_ids: Iterable[str]) -> None:
        self._wait(lambda: {request.headers["webhook-id"] for request in self.requests} >= set(event_ids))

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S), f"{len(self.requests)} requests came"

    def verify_request(self, *_: Any) -> bool:
        self.connections += 1
        return True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no fault of the receiver's."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def receive(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.changed:
            self.server.requests.append(
                Request(self.command, self.path, self.headers, body, self.client_address[1], time.monotonic())
            )
            self.server.changed.notify_all()
        if isinstance(self.server.answer, bytes):
            self.wfile.write(self.server.answer)
        else:
            self.close_connection = True
            self.server.answer(self.connection)

    do_POST = do_PUT = do_PATCH = do_GET = do_DELETE = receive

    def log_message(self, *_: Any) -> None:
        """Say nothing: `requests` has it all."""

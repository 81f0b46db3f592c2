"""The connections that are kept, and how HTTP is spoken over them."""

import os
import re
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection

from routing.egress.answers import Answer, read
from routing.egress.dialling import Proxy, dial
from routing.egress.errors import EgressError
from routing.egress.targets import Target
from routing.egress.watchdog import Attempt

KEPT = 256  # connections that wait for another request
KEPT_FOR_S = 30
_LONGEST = struct.pack("@ll", 120, 0)  # seconds and microseconds for one call, should the watchdog fail
_BODILESS = ("GET", "DELETE")  # what says nothing of a body that it has not
_BREAK = re.compile("[\r\n\0]")


class _Judged:
    """A connection that dials only an address that was judged, for the attempt that has it."""

    attempt: Attempt
    through: Proxy | None
    port: int
    timeout: Any
    sock: Any
    guard: socket.socket | None = None
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        dialled = dial(self._dns_host, self.port, self.attempt, self.through)
        dialled.settimeout(None)  # the watchdog ends the attempt, and a time-out would cost each call a second wait
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            dialled.setsockopt(socket.SOL_SOCKET, option, _LONGEST)
        # Of its own: TLS takes the socket over, and to shut an SSLSocket from another thread breaks it for the thread
        # that reads.
        self.guard = socket.socket(dialled.family, dialled.type, dialled.proto, fileno=os.dup(dialled.fileno()))
        self.attempt.watch(self.guard)
        return dialled

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.guard:
            self.guard.close()


class PlainConnection(_Judged, HTTPConnection):
    pass


class TLSConnection(_Judged, HTTPSConnection):
    pass


Connection = PlainConnection | TLSConnection


class Request(NamedTuple):
    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes


def ask(connection: Connection, attempt: Attempt, request: Request) -> Answer:
    """Send `request` over `connection` and return the answer. Raises EgressError, or one of FAILURES."""
    sent = _head(request) + request.body  # in one piece: one wait for the socket, and one packet where they fit
    connection.attempt = attempt
    connection.timeout = None
    if connection.sock is None:
        connection.connect()
    elif connection.guard:
        attempt.watch(connection.guard)
    with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
        connection.sock.sendall(sent)
    return read(connection.sock, request.method)


def _head(request: Request) -> bytes:
    """Return the request line and the fields: RFC 9112, section 3. Raises EgressError for one that would be two."""
    lines = [f"{request.method} {request.target.path} HTTP/1.1", f"Host: {request.target.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body or request.method not in _BODILESS:
        lines.append(f"Content-Length: {len(request.body)}")
    head = "\r\n".join(lines)
    if len(_BREAK.findall(head)) != 2 * len(lines) - 2:
        raise EgressError("BAD_HEADER", "A header holds a line break or a NUL.")
    return f"{head}\r\n\r\n".encode("latin-1")


class Pool:
    """Connections that wait for another request to their origin. Safe to share between threads."""

    def __init__(self) -> None:
        self._idle: OrderedDict[Connection, tuple[Hashable, float]] = OrderedDict()  # the longest idle first
        self._by_origin: dict[Hashable, list[Connection]] = {}
        self._lock = threading.Lock()

    def take(self, origin: Hashable) -> Connection | None:
        """Return a connection that the far end has neither closed nor written to since, if there is one."""
        while connection := self._pop(origin):
            if connection.is_connected:
                return connection
            connection.close()
        return None

    def give(self, origin: Hashable, connection: Connection) -> None:
        now = time.monotonic()
        with self._lock:
            self._idle[connection] = (origin, now)
            self._by_origin.setdefault(origin, []).append(connection)
            old = self._expired(now)
        for connection in old:
            connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._by_origin = self._idle, OrderedDict(), {}
        for connection in idle:
            connection.close()

    def _pop(self, origin: Hashable) -> Connection | None:
        with self._lock:
            connections = self._by_origin.get(origin)
            if not connections:
                return None
            return self._forget(connections[-1])

    def _expired(self, now: float) -> list[Connection]:
        expired = []
        while self._idle:
            connection, (_, since) = next(iter(self._idle.items()))
            if len(self._idle) <= KEPT and now - since < KEPT_FOR_S:
                break
            expired.append(self._forget(connection))
        return expired

    def _forget(self, connection: Connection) -> Connection:
        origin, _ = self._idle.pop(connection)
        connections = self._by_origin[origin]
        connections.remove(connection)
        if not connections:
            del self._by_origin[origin]
        return connection

"""The connections that are kept, and how HTTP is spoken over them."""

import http.client
import re
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from email.parser import Parser
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, UnknownProtocol
from io import BufferedReader
from typing import Any, cast

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection

from routing.egress.dialling import Proxy, dial
from routing.egress.errors import EgressError
from routing.egress.watchdog import Attempt

HEAD_LIMIT = 64 * 1024  # bytes of status line and headers, with every 100 Continue before them
KEPT = 256  # connections that wait for another request
KEPT_FOR_S = 30
_LONGEST = struct.pack("@ll", 120, 0)  # seconds and microseconds for one call, should the watchdog fail
_LENGTH = re.compile("[0-9]{1,18}")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r?\n")  # RFC 9110, section 5


class _Head:
    """The reader of an answer while its head is read: bounded in all, and never taken for whole where it broke off.

    http.client bounds lines and their number, and takes the end of the connection for the end of the head.
    """

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader
        self._read = 0

    def readline(self, limit: int) -> bytes:
        line = self._reader.readline(limit)
        if len(line) < limit and line[-1:] != b"\n" and (self._read or line[:5] == b"HTTP/"):
            raise EgressError("CONNECTION_LOST", "The receiver hung up before the end of the headers.")
        self._read += len(line)
        if self._read > HEAD_LIMIT:
            raise HTTPException(f"The head of the answer has more than {HEAD_LIMIT} bytes.")
        return line

    def close(self) -> None:
        """The reader is closed with the reply."""


class Reply(http.client.HTTPResponse):
    """An answer that tells whether bytes followed it: they would be taken for the next one."""

    followed = False

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._reader: BufferedReader = self.fp

    def begin(self) -> None:
        """Read the head as http.client does, without its parser: that is for mail, and the dearest of an exchange."""
        self.fp = _Head(self._reader)  # type: ignore[assignment]
        try:
            version, self.status, reason = self._read_final_status()
            self.headers = self.msg = _message(http.client._read_headers(self.fp))  # type: ignore[attr-defined]
        finally:
            self.fp = self._reader
        self.code, self.reason = self.status, reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self._frame()

    def _read_final_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            if status != HTTPStatus.CONTINUE:
                break
            http.client._read_headers(self.fp)  # type: ignore[attr-defined]
        if not version.startswith("HTTP/1.") and version != "HTTP/0.9":
            raise UnknownProtocol(version)
        return version, status, reason

    def _frame(self) -> None:
        """Work out where the body ends: RFC 9112, section 6.3."""
        self.chunked = (self.headers.get("transfer-encoding") or "").lower() == "chunked"
        self.chunk_left = None
        length = "" if self.chunked else self.headers.get("content-length") or ""
        self.length = int(length) if _LENGTH.fullmatch(length) else None
        if self.status < HTTPStatus.OK or self.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.length = 0
        self.will_close = self._check_close() or (not self.chunked and self.length is None)  # type: ignore[attr-defined]

    def _close_conn(self) -> None:
        if self.fp is self._reader:
            self._sock.settimeout(0)
            with suppress(OSError):
                self.followed = bool(self._reader.peek(1))
        super()._close_conn()  # type: ignore[misc]


def _message(lines: Sequence[bytes]) -> HTTPMessage:
    """Return the fields that `lines` are. What is odd among them is left to the parser of the standard library."""
    *fields, _ = lines
    if not all(map(_FIELD.fullmatch, fields)):
        return Parser(HTTPMessage).parsestr(b"".join(lines).decode("iso-8859-1"))
    message = HTTPMessage()
    for field in fields:
        name, _, value = field.decode("iso-8859-1").partition(":")
        message.set_raw(name, value.strip(" \t\r\n"))
    return message


class _Judged:
    """A connection that dials only an address that was judged, for the attempt that has it."""

    attempt: Attempt
    through: Proxy | None
    port: int
    timeout: Any
    response_class: type[http.client.HTTPResponse] = Reply
    sock: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        dialled = dial(self._dns_host, self.port, self.attempt, self.through)
        dialled.settimeout(None)  # the watchdog ends the attempt, and a time-out would cost each call a second wait
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            dialled.setsockopt(socket.SOL_SOCKET, option, _LONGEST)
        return dialled

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send head and body in one piece: one wait for the socket, and one packet where they fit."""
        self._pieces: list[bytes] = []
        super().request(*args, **kwargs)  # type: ignore[misc]
        self.sock.sendall(b"".join(self._pieces))

    def send(self, data: Any) -> None:
        self._pieces.append(data)


class PlainConnection(_Judged, HTTPConnection):
    pass


class TLSConnection(_Judged, HTTPSConnection):
    pass


Connection = PlainConnection | TLSConnection


def ask(connection: Connection, attempt: Attempt, request: requests.PreparedRequest, path: str) -> Reply:
    """Send `request` over `connection` and return the answer, of which the body is yet to be read."""
    connection.attempt = attempt
    connection.timeout = None
    if connection.sock is None:
        connection.connect()
    else:
        attempt.watch(connection.sock)
    with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
        connection.request(str(request.method), path, request.body, request.headers)
    return cast(Reply, http.client.HTTPConnection.getresponse(connection))


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

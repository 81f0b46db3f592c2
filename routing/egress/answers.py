"""How an answer is read: its head bounded, the first of its body, and whether it is beyond doubt where it ended."""

import http.client
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.parser import Parser
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, UnknownProtocol
from io import BufferedReader
from typing import Any, NamedTuple

from routing.egress.errors import EgressError

BODY_LIMIT = 16 * 1024  # bytes of an answer that are read
HEAD_LIMIT = 64 * 1024  # bytes of status line and headers, with every 100 Continue before them
FAILURES = (OSError, HTTPException, ValueError)  # of the far end; ValueError is http.client's for a bad chunk
_LENGTH = re.compile("[0-9]{1,18}")
_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*"  # RFC 9110, section 5
_LINE = re.compile(_FIELD + rb"\r?\n")
_WHOLE = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n((?:" + _FIELD + rb"\r\n){0,64}+)\r\n(.*)", re.DOTALL
)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer(NamedTuple):
    status_code: int
    reason: str
    headers: Mapping[str, str]  # by their names in lower case, the last of each
    body: bytes  # its first 16 KiB, not decoded
    ended: bool  # beyond doubt, with nothing behind it: the connection can be used again


def read(sock: socket.socket, method: str) -> Answer:
    """Return the answer to a request that was sent over `sock`. Raises EgressError, or one of FAILURES.

    Status line and headers decide: of a body that is cut short or endless, what came is returned.
    """
    if not isinstance(sock, ssl.SSLSocket) and (whole := _whole(sock)):
        return whole
    reply = _Reply(sock, method=method)
    try:
        reply.begin()
        _check(reply)
        body, complete = _body(reply)
    finally:
        reply.close()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    return Answer(reply.status, reply.reason, headers, body, complete and _is_unambiguous(reply))


def _whole(sock: socket.socket) -> Answer | None:
    """Return the answer if it has come in one piece and there is nothing odd about it, as nearly all do.

    What is anything else is left where it is, for the reader that knows all of HTTP.
    """
    came = sock.recv(BODY_LIMIT, socket.MSG_PEEK)
    found = _WHOLE.fullmatch(came)
    if found is None:
        return None
    status, reason, fields, body = found.groups()
    headers: dict[str, str] = {}
    for field in fields.decode("iso-8859-1").split("\r\n")[:-1]:
        name, _, value = field.partition(":")
        if (name := name.lower()) in headers:
            return None
        headers[name] = value.strip(" \t")
    length = "0" if int(status) in _BODILESS else headers.get("content-length")
    if length != str(len(body)) or "transfer-encoding" in headers:
        return None
    kept = headers.get("connection", "keep-alive").lower() == "keep-alive"
    sock.recv(len(came))
    return Answer(int(status), (reason or b"").decode("iso-8859-1").strip(), headers, body, kept)


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


class _Reply(http.client.HTTPResponse):
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
            self._sock.settimeout(None)
        super()._close_conn()  # type: ignore[misc]


def _message(lines: Sequence[bytes]) -> HTTPMessage:
    """Return the fields that `lines` are. What is odd among them is left to the parser of the standard library."""
    *fields, _ = lines
    if not all(map(_LINE.fullmatch, fields)):
        return Parser(HTTPMessage).parsestr(b"".join(lines).decode("iso-8859-1"))
    message = HTTPMessage()
    for field in fields:
        name, _, value = field.decode("iso-8859-1").partition(":")
        message.set_raw(name, value.strip(" \t\r\n"))
    return message


def _check(reply: _Reply) -> None:
    if reply.status < 200:  # another answer would follow, and be taken for the next request's
        raise EgressError("INFORMATIONAL_STATUS", f"The answer is an informational {reply.status}.")
    if reply.status > 599:
        raise EgressError("BAD_STATUS", f"The answer has the status {reply.status}, which HTTP does not know.")
    lengths = reply.msg.get_all("content-length", [])
    if len(lengths) > 1:
        raise EgressError("AMBIGUOUS_LENGTH", f"The answer has {len(lengths)} Content-Length headers.")


def _body(reply: _Reply) -> tuple[bytes, bool]:
    """Return the beginning of the body, and whether it is all of it."""
    length = reply.length
    wanted = BODY_LIMIT if length is None else min(length, BODY_LIMIT)
    body = b""
    try:
        while len(body) < wanted and (more := reply.read1(wanted - len(body))):
            body += more
    except FAILURES:
        return body, False
    return body, len(body) == length if length is not None else len(body) < wanted


def _is_unambiguous(reply: _Reply) -> bool:
    """Return whether it is beyond doubt where the answer ended, and nothing came after it."""
    framings = sum(name in reply.msg for name in ("content-length", "transfer-encoding"))
    return framings < 2 and not (reply.will_close or reply.followed or reply.msg.defects)

"""Bytes to the service and back: HTTP/1.1 and RFC 6455 by hand, so that they can be spoken wrongly."""

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

DEADLINE_S = 20.0  # for an answer that is owed; a case that comes here is a fault
PATIENCE_S = 0.3  # for one that may not be
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
Headers = Iterable[tuple[str, str | bytes]]
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.M)
_MASK = b"\x12\x34\x56\x78"


@dataclass(frozen=True)
class Answer:
    status: str  # of HTTP, or the code that closed a websocket; "closed", "silent" or "overdue"
    text: bytes = b""
    waited: bool = False  # until we had enough: the service may leave a connection open


def request(method: str, path: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """Return a request that is HTTP, whatever it says."""
    lines = [f"{method} {quote(path, safe='/?&=%:,')} HTTP/1.1".encode(), b"Host: localhost"]
    lines += [f"{name}: ".encode() + _field(value) for name, value in headers]
    lines += [b"Connection: close", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _field(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode(errors="replace")
    return data.translate(None, b"\r\n\0")


def exchange(port: int, data: bytes) -> Answer:
    """Send a whole request and return the whole answer: an answer is owed."""
    found = _exchange(port, data, DEADLINE_S)
    return Answer("overdue", found.text) if found.status == "silent" else found


def throw(port: int, data: bytes) -> Answer:
    """Send anything, and return what comes."""
    return _exchange(port, data, PATIENCE_S)


def _exchange(port: int, data: bytes, patience_s: float) -> Answer:
    received, end = b"", "closed"
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        try:
            client.sendall(data)
            client.settimeout(patience_s)
            while piece := client.recv(1 << 16):
                received += piece
        except TimeoutError:
            end = "silent"
        except (ConnectionResetError, BrokenPipeError):
            pass
    statuses = [status.decode() for status in _STATUS.findall(received)]
    return Answer(max(statuses, default=end), received, end == "silent")


def frame(payload: bytes, opcode: int = TEXT, *, first: int = 0x80, masked: bool = True) -> bytes:
    """Return a frame of a client; `first` are the bits before the opcode."""
    size, bit = len(payload), 0x80 if masked else 0
    head = bytes((first | opcode, bit | (size if size < 126 else 126 if size < 1 << 16 else 127)))
    head += b"" if size < 126 else size.to_bytes(2 if size < 1 << 16 else 8)
    return head + _MASK + _masked(payload) if masked else head + payload


def _masked(payload: bytes) -> bytes:
    pad = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(len(payload))


def upgrade(path: str, headers: Headers = ()) -> bytes:
    own = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]
    whole = request("GET", path, [*own, *headers])
    return whole.replace(b"Connection: close\r\nContent-Length: 0", b"Connection: Upgrade")


class WebSocket:
    """`with WebSocket(port, handshake) as found:`; `status` is the handshake's."""

    def __init__(self, port: int, handshake: bytes) -> None:
        self._client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._reader = self._client.makefile("rb")
        self._client.sendall(handshake)
        self.heard = b""
        self.status = self._read_head()

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._client.close()

    def _read_head(self) -> str:
        try:
            while not self.heard.endswith(b"\r\n\r\n") and (line := self._reader.readline()):
                self.heard += line
        except TimeoutError:
            return "overdue"
        except ConnectionResetError:
            pass
        return max((status.decode() for status in _STATUS.findall(self.heard)), default="closed")

    def send(self, data: bytes) -> None:
        with suppress(ConnectionResetError, BrokenPipeError):  # what was said before is still to be read
            self._client.sendall(data)

    def answer(self, until: bytes = b"\x8a\x00", *, patience_s: float = DEADLINE_S, silence: str = "overdue") -> Answer:
        """Read up to a frame that has `until` in it, or the close; a pong without a payload when left out."""
        self._client.settimeout(patience_s)
        try:
            while found := self._read_frame():
                self.heard += found
                if found[0] & 0xF == CLOSE:
                    return Answer(str(int.from_bytes(found[2:4])) if len(found) > 3 else "1005", self.heard)
                if until and until in found:
                    return Answer("open", self.heard)
        except TimeoutError:
            return Answer(silence, self.heard, True)
        except ConnectionResetError:
            pass
        return Answer("closed", self.heard)

    def _read_frame(self) -> bytes:
        head = self._reader.read(2)
        if len(head) < 2:
            return b""
        extended = {126: 2, 127: 8}.get(head[1], 0)
        length = self._reader.read(extended)
        return head + self._reader.read(int.from_bytes(length) if extended else head[1])

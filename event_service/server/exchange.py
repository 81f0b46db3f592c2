"""A POST as nearly every client sends it, and its answer, read and written without Twisted's request between.

What has any other shape is Twisted's to read or to refuse: other methods, a body in chunks or a long one, a head in
pieces, a name or a value that is out of the ordinary.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.web.http import RESPONSES

from event_service.server.edge import Headers
from event_service.server.refusals import refusal
from event_service.server.websocket import ClientGone

if TYPE_CHECKING:
    from event_service.server.channel import Channel

logger = logging.getLogger(__name__)

LONGEST_HEAD, LONGEST_BODY = 8 << 10, 64 << 10  # bytes
MOST_HEADERS = 100
_HEAD = re.compile(  # RFC 9112, but that "_" in a name is no usual one: some take it for "-"
    rb"POST (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,5}")
_UNUSUAL = {b"transfer-encoding", b"upgrade", b"expect", b"daphne-root-path"}
_WITHOUT_BODY = (204, 304)


class Exchange:
    """Stands among its channel's requests, and among the server's connections, from its head until its answer."""

    def __init__(self, channel: "Channel", target: bytes, headers: Headers, length: int) -> None:
        self._channel: Channel | None = channel
        self._server = channel.factory.server
        self._target, self._headers, self._missing = target, headers, length
        self._body: list[bytes] = []
        self._asked = False
        self._gone = asyncio.Event()
        self._start: dict[str, Any] = {}
        self._begun = self._chunked = False
        self._server.protocol_connected(self)

    def take(self, data: bytes) -> bytes:
        """Take what is missing of the body, and return the rest."""
        mine, rest = data[: self._missing], data[self._missing :]
        self._body.append(mine)
        self._missing -= len(mine)
        return rest

    @property
    def whole(self) -> bool:
        return not self._missing

    def start(self) -> None:
        """Have the application answer."""
        if self._server.draining:
            self.retire()
        assert self._channel is not None
        path, _, query = self._target.partition(b"?")
        peer, host = self._channel.transport.getPeer(), self._channel.transport.getHost()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "root_path": self._server.root_path,
            "scheme": "http",
            "query_string": query,
            "headers": self._headers,
            "client": _address(peer),
            "server": _address(host),
        }
        running = asyncio.ensure_future(self._run(self._server.edge.seen(scope)))
        self._server.connections[self]["application_instance"] = running

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._server.application(scope=scope, receive=self._receive, send=self._send)
            if self._channel is not None:
                raise RuntimeError("The application has not answered.")
        except Exception as error:
            logger.exception("Exception inside application: %s", error)
            self.handle_exception(error)
        finally:
            self._server.connections.pop(self, None)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"".join(self._body), "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.handle_reply(message)
        if message.get("more_body"):
            await self.drain()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if self._channel is None:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._begun:
            self._begin(len(body), more)
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._channel.write(body)
        if not more:
            self._end()

    def _begin(self, length: int, more: bool) -> None:
        """Have the head go out with what comes next."""
        assert self._channel is not None
        self._begun = True
        status, headers = self._start["status"], [*self._start.get("headers", ())]
        names = {name.lower() for name, _ in headers}
        if b"server" not in names:
            headers.append((b"server", self._server.server_name.encode()))
        if b"content-length" not in names and status not in _WITHOUT_BODY:
            self._chunked = more
            headers.append((b"transfer-encoding", b"chunked") if more else (b"content-length", b"%d" % length))
        if not self._channel.persistent:
            headers.append((b"connection", b"close"))
        self._channel.hold(b"HTTP/1.1 %d %b" % (status, RESPONSES.get(status, b"Unknown Status")), headers)

    def _end(self) -> None:
        assert self._channel is not None
        channel, self._channel = self._channel, None
        self._gone.set()
        self._server.protocol_disconnected(self)
        channel.requestDone(self)

    async def drain(self) -> None:
        """Wait until the client has taken what was sent. Raises ClientGone when it has gone, or takes too long."""
        if self._channel is not None:
            await self._channel.drain()
        if self._channel is None:
            raise ClientGone("The connection is closed.")

    # --- what the server and the channel call

    def handle_exception(self, _: BaseException) -> None:
        if self._channel is None:
            return
        if self._begun:
            self._channel.transport.abortConnection()  # an answer that is cut short must not look like a whole one
        else:
            body = refusal(500, "Exception inside application.")
            headers = [(b"content-type", b"application/json")]
            self.handle_reply({"type": "http.response.start", "status": 500, "headers": headers})
            self.handle_reply({"type": "http.response.body", "body": body})

    def check_timeouts(self) -> None:
        """The channel looks after its own."""

    def retire(self) -> None:
        """Let the answer be the connection's last."""
        if self._channel is not None:
            self._channel.persistent = False

    def connectionLost(self, reason: Any) -> None:
        self._channel = None
        self._gone.set()
        self._server.protocol_disconnected(self)


def begun(channel: "Channel", data: bytes) -> tuple[Exchange, bytes] | None:
    """Return the exchange that `data` begins, and what follows its head; None where Twisted is to read it."""
    found = _HEAD.match(data, 0, LONGEST_HEAD)
    if found is None:
        return None
    headers = [_header(line) for line in found[2].split(b"\r\n")[:-1]]
    length = _usual_length(headers)
    hosts = [value for name, value in headers if name == b"host"]
    if length is None or channel.factory.server.edge.problem(hosts):
        return None
    return Exchange(channel, found[1], headers, length), data[found.end() :]


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _usual_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return the body's length; None where anything about the headers needs more care than we take here."""
    lengths = []
    for name, value in headers:
        if name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            lengths.append(value)
    if len(headers) > MOST_HEADERS or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        return None
    length = int(lengths[0])
    return length if length <= LONGEST_BODY else None


def _address(of: Any) -> list[Any] | None:
    return [str(of.host), of.port] if hasattr(of, "host") and hasattr(of, "port") else None

"""HTTP as daphne speaks it, with a bound on bodies and an end to keep-alive."""

import asyncio
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel

from event_service.server.channel import Channel, Crowd
from event_service.server.refusals import answer, refusal
from event_service.server.websocket import ClientGone

MAX_BODY = 8 << 20  # bytes
LINGER_S = 5  # for how long what follows a refused body's start is read, and thrown away


class Request(WebRequest):
    """One HTTP request, or the handshake of a websocket."""

    received = 0  # bytes of the body
    refused = False

    def __init__(self, channel: HTTPChannel, queued: int) -> None:
        # Forms are the application's to read. Twisted would parse each body a second time.
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > MAX_BODY:
            self.refuse(length)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        if self.refused:
            return
        self.received += len(data)
        if self.received > MAX_BODY:
            self.refuse(self.received)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self.refused:
            super().requestReceived(command, path, version)

    def refuse(self, size: int) -> None:
        """Answer 413, then read on unseen: a reset would take the answer from a client that still sends."""
        self.refused = True
        self.requestHeaders.removeHeader(b"expect")  # or Twisted invites the body with a 100
        message = f"The body has {size} bytes or more; a request may have {MAX_BODY}."
        self.channel.write(answer(413, "Content Too Large", message, self.server.edge))
        self.channel.transport.loseWriteConnection()
        self.channel.dataReceived = _discard
        asyncio.get_running_loop().call_later(LINGER_S, self.channel.transport.abortConnection)
        self.server.protocol_disconnected(self)

    def process(self) -> object:
        self.requestHeaders.removeHeader(b"daphne-root-path")  # daphne takes SCRIPT_NAME from it, from anybody
        if self.server.draining:
            self.retire()
        if problem := self._problem():
            self.basic_error(*problem)
            return None
        processing = super().process()
        if self.transport is None:  # it is a websocket's now
            self.channel.leave()
        return processing

    def _problem(self) -> tuple[int, bytes, str] | None:
        if problem := self.server.edge.problem(self._headers(b"host")):
            return 400, b"Bad Request", problem
        if not all(offer.isascii() for offer in self._headers(b"sec-websocket-protocol")):
            return 400, b"Bad Request", "Sec-WebSocket-Protocol may hold ASCII only"
        if self.server.draining and self._headers(b"upgrade"):
            return 503, b"Service Unavailable", "Restarting; connect again"
        return None

    async def drain(self) -> None:
        """Wait until the client has taken what was sent. Raises ClientGone when it has gone, or takes too long."""
        if self.channel is not None:
            await self.channel.drain()
        if self.channel is None:
            raise ClientGone("The connection is closed.")

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        content = refusal(status, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})

    def _headers(self, name: bytes) -> list[bytes]:
        return self.requestHeaders.getRawHeaders(name, [])  # type: ignore[no-any-return]

    def retire(self) -> None:
        """Let the answer to this request be the connection's last."""
        self.channel.persistent = False
        if not self.startedWriting:
            self.responseHeaders.setRawHeaders(b"connection", [b"close"])


class RequestFactory(HTTPFactory):
    protocol = Channel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.crowd = Crowd(server.edge)

    def startFactory(self) -> None:
        """Twisted would write a line for each request, to nowhere."""

    def buildProtocol(self, address: Any) -> object:
        """Return None, and so have the connection closed, where there are too many."""
        if not self.crowd.has_room(address):
            return None
        channel = super().buildProtocol(address)
        channel.requestFactory = Request
        return channel


def _discard(data: bytes) -> None:
    pass

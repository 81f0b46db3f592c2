"""HTTP as daphne speaks it, with a bound on bodies and an end to keep-alive."""

import asyncio
import json

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel

NAME = "event-service"
MAX_BODY = 8 << 20  # bytes
HEADERS_S = 10  # for a connection to send its first request's headers
LINGER_S = 5  # for how long what follows a refused body's start is read, and thrown away


class Request(WebRequest):
    """One HTTP request, or the handshake of a websocket."""

    error_template = "<!doctype html><title>%(title)s</title><h1>%(title)s</h1><p>%(body)s</p>"
    received = 0  # bytes of the body
    refused = False

    def __init__(self, channel: HTTPChannel, queued: int) -> None:
        # Forms are the application's to read. Twisted would parse each body a second time.
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        self.channel.asked = True
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
        self.channel.write(_too_large(size))
        self.channel.transport.loseWriteConnection()
        self.channel.dataReceived = _discard
        asyncio.get_running_loop().call_later(LINGER_S, self.channel.transport.abortConnection)
        self.server.protocol_disconnected(self)

    def process(self) -> object:
        self.requestHeaders.removeHeader(b"daphne-root-path")  # daphne takes SCRIPT_NAME from it, from anybody
        if not all(offer.isascii() for offer in self._headers(b"sec-websocket-protocol")):
            return self.basic_error(400, b"Bad Request", "Sec-WebSocket-Protocol may hold ASCII only")
        if self.server.draining:
            self.retire()
            if self._headers(b"upgrade"):
                return self.basic_error(503, b"Service Unavailable", "Restarting; connect again")
        return super().process()

    def _headers(self, name: bytes) -> list[bytes]:
        return self.requestHeaders.getRawHeaders(name, [])  # type: ignore[no-any-return]

    def retire(self) -> None:
        """Let the answer to this request be the connection's last."""
        self.channel.persistent = False
        if not self.startedWriting:
            self.responseHeaders.setRawHeaders(b"connection", [b"close"])


class RequestFactory(HTTPFactory):
    def buildProtocol(self, address: object) -> object:
        channel = super().buildProtocol(address)
        channel.requestFactory = Request
        asyncio.get_running_loop().call_later(HEADERS_S, _end_unless_asked, channel._channel)
        return channel


def _end_unless_asked(channel: HTTPChannel) -> None:
    """End a connection that was opened for nothing, or whose first request does not come to the end of its headers."""
    if not getattr(channel, "asked", False) and channel.transport is not None:
        channel.transport.abortConnection()


def _discard(data: bytes) -> None:
    pass


def _too_large(size: int) -> bytes:
    message = f"The body has {size} bytes or more; a request may have {MAX_BODY}."
    body = json.dumps({"error": {"code": "BAD_USER_INPUT", "message": message}}).encode()
    head = (
        "HTTP/1.1 413 Content Too Large",
        f"server: {NAME}",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body

"""A connection, every stage of which has an end: opened, headers, body, answer, rest."""

import asyncio
import json
import socket
from collections import Counter
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel

from event_service.server.edge import Edge

NAME = "event-service"
HEADERS_S = 10  # from the first byte of a request, or from the connection's start, to the end of its headers
BODY_S = 30  # from there to the end of its body
STALL_S = 10  # for the client to take some 64 KiB of an answer, of which no more is made meanwhile
IDLE_S = 60  # from an answer to the next request, or to the client's having taken the rest of it
SEND_BUFFER = 1 << 17  # bytes that the kernel keeps for a client: left alone, it grows to megabytes for who takes none
_CODES = {503: "UNAVAILABLE", 500: "INTERNAL"}


class Channel(HTTPChannel):
    """HTTP/1.1 by Twisted, whose own time-out begins anew with every byte."""

    transport: Any
    resting = False

    def connectionMade(self) -> None:
        self.timeOut = HEADERS_S
        self.drained = asyncio.Event()
        self.drained.set()
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().connectionMade()
        self.crowd: Crowd = self.factory.crowd
        self.address = str(getattr(self.transport.getPeer(), "host", ""))
        self.crowd.enter(self.address)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.drained.set()
        self.leave()

    def leave(self) -> None:
        """Count no longer: the connection is closed, or is a websocket."""
        if self.address:
            self.crowd.leave(self.address)
            self.address = ""

    def resetTimeout(self) -> None:
        """Leave the stage its end."""

    def dataReceived(self, data: bytes) -> None:
        if self.resting:
            self.resting = False
            self.setTimeout(HEADERS_S)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self.resting = False
        self.setTimeout(BODY_S)
        super().allHeadersReceived()

    def requestDone(self, request: Any) -> None:
        self.resting = True
        self._savedTimeOut = None  # Twisted's, which it would set now
        self.setTimeout(IDLE_S)
        super().requestDone(request)

    # Twisted calls these as its send buffer fills and empties.

    def pauseProducing(self) -> None:
        self.drained.clear()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.drained.set()
        super().resumeProducing()

    async def drain(self) -> None:
        """Wait until the client has taken what was sent; hang up when it takes too long."""
        if self.drained.is_set():
            return
        try:
            async with asyncio.timeout(STALL_S):
                await self.drained.wait()
        except TimeoutError:
            self.transport.abortConnection()

    def timeoutConnection(self) -> None:
        """End it, with nothing more said: whoever it is has had its time."""
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.transport.write(answer(400, "Bad Request", "This is no HTTP/1.1 request.", self.factory.server.edge))
        self.loseConnection()


class Crowd:
    """The connections that are open."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._by_address: Counter[str] = Counter()
        self._all = 0

    def has_room(self, address: IAddress) -> bool:
        host = str(getattr(address, "host", ""))
        most = self._edge.connections_per_address
        return self._all < self._edge.connections and (
            not most or self._by_address[host] < most or self._edge.trusts(host)
        )

    def enter(self, address: str) -> None:
        self._all += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        self._all -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def refusal(status: int, message: str) -> bytes:
    """Return the body of an answer that the server itself gives."""
    return json.dumps({"error": {"code": _CODES.get(status, "BAD_USER_INPUT"), "message": message}}).encode()


def answer(status: int, reason: str, message: str, edge: Edge) -> bytes:
    """Return a whole answer, the last of its connection."""
    body = refusal(status, message)
    headers = {
        "server": NAME,
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **edge.as_text(),
    }
    lines = (f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", "")
    return "\r\n".join(lines).encode() + body

"""A connection, every stage of which has an end: opened, headers, body, answer, rest."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from event_service.server.edge import Edge, unmapped
from event_service.server.exchange import Exchange, begun
from event_service.server.refusals import answer

HEADERS_S = 10  # from the first byte of a request, or from the connection's start, to the end of its headers
BODY_S = 30  # from there to the end of its body
STALL_S = 10  # for the client to take some 64 KiB of an answer, of which no more is made meanwhile
IDLE_S = 60  # from an answer to the next request, or to the client's having taken the rest of it
SWEEP_S = 0.1  # between two looks at whose time is over
SEND_BUFFER = 1 << 17  # bytes that the kernel keeps for a client: left alone, it grows to megabytes for who takes none


class Channel(HTTPChannel):
    """HTTP/1.1 by Twisted, whose own time-out begins anew with every byte, and whose writes wait for the reactor."""

    transport: Any
    resting = False
    due_at: float | None = None  # the end of this stage, by the event loop's clock
    between = True  # requests: what comes next begins one
    exchange: Exchange | None = None  # whose body is not whole yet
    held = b""  # the head of an answer, until there is a piece of its body to go with it

    def connectionMade(self) -> None:
        self.timeOut = HEADERS_S
        self.drained = asyncio.Event()
        self.drained.set()
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().connectionMade()
        self.crowd: Crowd = self.factory.crowd
        self.address = unmapped(str(getattr(self.transport.getPeer(), "host", "")))
        self.crowd.enter(self)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.drained.set()
        self.leave()

    def leave(self) -> None:
        """Count no longer: the connection is closed, or is a websocket."""
        self.due_at = None
        if self.address:
            self.crowd.leave(self)
            self.address = ""

    def setTimeout(self, seconds: float | None) -> None:
        """Give the stage its end. The crowd watches it: Twisted searches all of its timers to set one."""
        self.due_at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    def resetTimeout(self) -> None:
        """Leave the stage its end."""

    def dataReceived(self, data: bytes) -> None:
        if self.resting:
            self.resting = False
            self.setTimeout(HEADERS_S)
        if self.between:
            self.between = False
            if not (self._buffer or self._busyReceiving or self.requests) and (found := begun(self, data)):
                self.exchange, data = found
                self.requests.append(self.exchange)
                self._handlingRequest = True
                self.setRawMode()  # with the line above: what follows it waits for its answer
                self.setTimeout(BODY_S)
        if self.exchange is not None:
            data = self._taken(self.exchange, data)
        if data:
            super().dataReceived(data)

    def _taken(self, exchange: Exchange, data: bytes) -> bytes:
        """Give the exchange what it waits for, and return the rest."""
        rest = exchange.take(data)
        if exchange.whole:
            self.exchange = None
            self.setTimeout(None)
            exchange.start()
        return rest

    def allHeadersReceived(self) -> None:
        self.resting = False
        self.setTimeout(BODY_S)
        super().allHeadersReceived()

    def requestDone(self, request: Any) -> None:
        self.resting = self.between = True
        self._savedTimeOut = None  # Twisted's, which it would set now
        self.setTimeout(IDLE_S)
        self._send(b"")
        super().requestDone(request)

    # What is written goes out at once, head and body together, as far as the kernel takes it.

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        said = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.hold(b"%b %b %b" % (version, code, reason), said)

    def hold(self, status_line: bytes, said: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep the head of an answer until there is something to go with it."""
        lines = [b"%b: %b" % header for header in (*said, *self.factory.server.edge.missing(said))]
        self.held = b"%b\r\n%b\r\n\r\n" % (status_line, b"\r\n".join(lines))

    def write(self, data: bytes) -> None:
        self._send(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self._send(b"".join(pieces))

    def _send(self, data: bytes) -> None:
        data, self.held = self.held + data, b""
        if data and not self.transport.dataBuffer and not self.transport._tempDataBuffer:
            sent = self.transport.writeSomeData(data)
            data = data[sent:] if isinstance(sent, int) else data  # an error: it comes again, and ends the connection
        if data:
            self.transport.write(data)

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
        self._channels: set[Channel] = set()
        self._looks = False  # soon

    def has_room(self, address: IAddress) -> bool:
        host = unmapped(str(getattr(address, "host", "")))
        most = self._edge.connections_per_address
        return len(self._channels) < self._edge.connections and (
            not most or self._by_address[host] < most or self._edge.trusts(host)
        )

    def enter(self, channel: Channel) -> None:
        if not self._looks:
            self._look_soon()
        self._channels.add(channel)
        self._by_address[channel.address] += 1

    def leave(self, channel: Channel) -> None:
        self._channels.discard(channel)
        self._by_address[channel.address] -= 1
        if not self._by_address[channel.address]:
            del self._by_address[channel.address]

    def _look_soon(self) -> None:
        self._looks = True
        asyncio.get_running_loop().call_later(SWEEP_S, self._look)

    def _look(self) -> None:
        """Hang up on whoever has had its time."""
        self._looks = False
        now = asyncio.get_running_loop().time()
        for channel in [each for each in self._channels if each.due_at is not None and each.due_at <= now]:
            channel.due_at = None
            channel.timeoutConnection()
        if self._channels:
            self._look_soon()

"""The web server of one process."""

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from daphne.server import Server as DaphneServer
from daphne.server import reactor
from twisted.internet import defer
from twisted.logger import LogEvent, globalLogBeginner

from event_service.server.edge import Edge
from event_service.server.refusals import NAME
from event_service.server.request import Request, RequestFactory
from event_service.server.websocket import ClientGone, SocketFactory, WebSocket

logger = logging.getLogger(__name__)

DRAIN_S = 12  # from the signal to stop until what still runs is cut off
SPREAD_S, SPREAD_EACH_S = 5.0, 0.05  # over which websockets are closed: all of them, and each
_POLL_S = 0.02
_STANDS_STILL_S = 5  # without a turn of the loop, after which it is taken for dead
_MAX_MESSAGE = 1 << 20  # bytes of a websocket message from a client
_PING_S, _PONG_S = 25, 24  # a client that is gone without a word is noticed in their sum
_HANDSHAKE_S = 10  # includes the application's decision
_CLOSE_S = 5  # for the client to answer a close; its code is in front of it only once it has read the rest
_BODY_PIECE = 1 << 16  # bytes of a request that the application gets at once


class Server(DaphneServer):
    """Serves `application` on a listening socket; SIGTERM and SIGINT drain it, and then `run` returns.

    The socket may be shared with other processes. `on_ready` is called when requests are being served.
    """

    draining = False

    def __init__(
        self, application: Any, listener: socket.socket, *, on_ready: Callable[[], object], edge: Edge | None = None
    ) -> None:
        super().__init__(
            partial(_until_gone, application),
            endpoints=[f"fd:{listener.fileno()}"],
            request_buffer_size=_BODY_PIECE,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            websocket_timeout=-1,  # a websocket may live for as long as its client does
            server_name=NAME,
        )
        self.edge = edge or Edge()
        self._listener = listener
        self._on_ready = on_ready

    def lives(self) -> bool:
        """Tell whether the loop turns. For other threads."""
        turned = threading.Event()
        reactor.callFromThread(turned.set)
        return turned.wait(_STANDS_STILL_S)

    def run(self) -> None:
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = RequestFactory(self)
        self.ws_factory = SocketFactory(self, server=NAME, headers=self.edge.as_text())
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=_PONG_S,
            openHandshakeTimeout=_HANDSHAKE_S,
            closeHandshakeTimeout=_CLOSE_S,
            maxMessagePayloadSize=_MAX_MESSAGE,
            maxFramePayloadSize=_MAX_MESSAGE,
            allowNullOrigin=True,
            failByDrop=False,  # say what was wrong: 1002, 1007, 1009
        )
        globalLogBeginner.beginLoggingTo(
            [_log_failure],  # type: ignore[list-item]  # zope's interfaces are no types
            redirectStandardIO=False,
            discardBuffer=True,
        )
        asyncio.set_event_loop(reactor._asyncioEventloop)
        self._port = self._adopt()
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.callWhenRunning(self._started)
        reactor.addSystemEventTrigger("before", "shutdown", self._drained)
        reactor.run()

    def _adopt(self) -> Any:
        self._listener.setblocking(False)
        with self._listener:  # Twisted has its own descriptor then; with ours open, the port would stay so
            return reactor.adoptStreamPort(self._listener.fileno(), self._listener.family, self.http_factory)

    def _started(self) -> None:
        # What is loaded by now stays. Collecting it again and again costs pauses of 10 to 100 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(5000, 50, 20)
        self._on_ready()

    # --- the drain

    def _drained(self) -> defer.Deferred[None]:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        self.draining = True
        self._port.stopListening()
        self._retire_all()
        try:
            async with asyncio.timeout(DRAIN_S):
                while self._busy() or reactor.getWriters():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            logger.warning("Cut off %d connections, %g s after the signal to stop", len(self._open()), DRAIN_S)
        await _cancel_the_rest()

    def _retire_all(self) -> None:
        """Let requests be their connections' last. Websockets go one by one: their clients come back all at once."""
        sockets = [protocol for protocol in self._open() if isinstance(protocol, WebSocket)]
        spread_s = min(SPREAD_S, len(sockets) * SPREAD_EACH_S)
        loop = asyncio.get_running_loop()
        for place, protocol in enumerate(sockets):
            loop.call_later(spread_s * place / len(sockets), protocol.retire)
        for protocol in self._open():
            if not isinstance(protocol, WebSocket):
                protocol.retire()

    def _open(self) -> list[Any]:
        return [protocol for protocol, details in self.connections.items() if "disconnected" not in details]

    def _busy(self) -> bool:
        tasks = (details.get("application_instance") for details in self.connections.values())
        return bool(self._open()) or any(task is not None and not task.done() for task in tasks)

    # --- what daphne calls for each connection

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Beyond ASGI, a websocket's scope has an event that is set when the client has gone, "client_gone", and
        "hear_by": called with a function, it has that take texts without a queue, as long as it returns True.
        """
        if isinstance(protocol, WebSocket):
            scope["client_gone"] = protocol.gone
            scope["hear_by"] = partial(setattr, protocol, "hear")
        return super().create_application(protocol, self.edge.seen(scope))

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] == "websocket.send" or message.get("more_body"):
            await protocol.drain()

    def protocol_disconnected(self, protocol: Any) -> None:
        """Forget an HTTP request as soon as it is over; daphne's sweep of all of them, once a second, stalls."""
        if protocol not in self.connections:
            return
        super().protocol_disconnected(protocol)
        task = self.connections[protocol].get("application_instance")
        if task is None:
            del self.connections[protocol]
        elif isinstance(protocol, Request):
            task.add_done_callback(lambda task: self._forget(protocol, task))

    def _forget(self, protocol: Request, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:  # the sweep logs the others
            self.connections.pop(protocol, None)


async def _until_gone(application: Any, **connection: Any) -> None:
    with suppress(ClientGone):
        await application(**connection)


async def _cancel_the_rest() -> None:
    """Let what is cut off clean up. A task left pending can crash an interpreter that ends (CPython 3.11.7)."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=1)  # not for ever: a thread runs on, and so does what waits for it


def _log_failure(event: LogEvent) -> None:
    """Twisted drops the connection for an error in its callbacks; one line says so."""
    if failure := event.get("log_failure") or event.get("failure"):  # the latter from Twisted's older half
        logger.error("%s: %s", failure.type.__name__, failure.getErrorMessage())

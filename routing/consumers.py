"""Websockets: an endpoint's events, one text frame each, in order. Sending is delivering.

    /event-service/ws?endpoint_id=ID[&after=CURSOR]

Without `after` a socket starts where the endpoint's delivery stands, and gets all that waited while nobody listened.
With it, it gets everything that follows CURSOR, whatever became of it. Every socket gets every event. Browsers can't
send headers and ask for the protocols ["event-service", "event-service.key.KEY"], of which the first is chosen.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from routing.admission import FAILURE, TRY_AGAIN, Admission, Refusal, admit
from routing.hub import hub
from routing.reading import in_thread

PATH = "/event-service/ws"
PROTOCOL = "event-service"


class EventsConsumer(AsyncWebsocketConsumer):
    def __init__(self) -> None:
        super().__init__()
        self._serving: asyncio.Task[None] | None = None
        self._refusal = FAILURE  # how it ends unless something is known

    async def connect(self) -> None:
        # A refusal is told after accepting: a browser does not show why a handshake failed.
        protocol = PROTOCOL if PROTOCOL in self.scope["subprotocols"] else None
        try:
            admission = await in_thread(admit, self.scope)
        except Refusal as refusal:
            await self.accept(protocol)
            await self.close(refusal.code, refusal.reason)
        except (OperationalError, InterfaceError):
            await self.accept(protocol)
            await self.close(TRY_AGAIN, "The database does not answer; connect again.")
        else:
            await self.accept(protocol)
            self._serving = asyncio.create_task(self._serve(admission))

    async def disconnect(self, code: int) -> None:
        if self._serving:
            self._serving.cancel()
            with suppress(asyncio.CancelledError):
                await self._serving  # it settles what was sent; what went wrong in it is the server's to log

    async def _serve(self, admission: Admission) -> None:
        try:
            await self._send_events(admission)
        except ConnectionError:
            pass  # the client is gone, and what it was not sent is still owed
        finally:
            await self.close(self._refusal.code, self._refusal.reason)

    async def _send_events(self, admission: Admission) -> None:
        async with hub.reader(admission, end=self._end) as reader:
            while True:
                row = await reader.next()
                started_at, start = timezone.now(), perf_counter()
                await self.send(row.frame)
                reader.sent(row, started_at=started_at, duration_ms=(perf_counter() - start) * 1000)

    def _end(self, refusal: Refusal) -> None:
        self._refusal = refusal
        if self._serving:
            self._serving.cancel()


async def web_sockets(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["path"] == PATH:
        await EventsConsumer()(scope, receive, send)
    else:
        await send({"type": "websocket.close"})  # before it is accepted: 403

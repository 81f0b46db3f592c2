"""Websockets: an endpoint's events, one text frame each, in order.

    /event-service/ws?endpoint_id=ID[&after=CURSOR | &from=TIME]                        sending is delivering
    ... &watch=1                                                                        looking on: nothing is delivered
    with the subprotocol event-service.v1: [&share=GROUP][&window_events=N][&window_bytes=N]     acknowledged

Without `after` and `from` a socket starts where the endpoint's delivery stands, and gets all that waited while nobody
listened. With them it gets everything that follows, whatever became of it. Every socket gets every event, but those of
a group share them. Browsers can't send headers and ask for the protocols ["event-service", "event-service.key.KEY"],
of which the first is chosen, or come with a ticket: &access=TICKET.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from endpoints.outage import OUTAGE
from routing.sockets import cursors, frames, outcomes
from routing.sockets.admission import Admission, Reset, address_of, admit
from routing.sockets.asked import chosen_protocol
from routing.sockets.budget import budgets
from routing.sockets.hub import hub
from routing.sockets.operators import may_see_deliveries
from routing.sockets.reader import Reader, now
from routing.sockets.refusals import FAILURE, NO_DATABASE, NOT_ALLOWED, Refusal
from routing.sockets.threads import in_thread
from routing.sockets.watching import Watcher

PATH = "/event-service/ws"
MOST_BAD_FRAMES = 100  # of one socket, which is then closed


class EventsConsumer(AsyncWebsocketConsumer):
    def __init__(self) -> None:
        super().__init__()
        self._serving: asyncio.Task[None] | None = None
        self._reader: Reader | None = None
        self._admission: Admission | None = None
        self._greeted = asyncio.Event()  # what comes first was sent
        self._bad_frames = 0
        self._hears = False  # a message that has not been dealt with yet
        self._refusal = FAILURE  # how it ends unless something is known

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Do without what Channels does for each message: there are no layers to hear of others from, and no thread of
        ours keeps a connection to look after.
        """
        self.scope, self.base_send = scope, send
        if hear_by := scope.get("hear_by"):
            hear_by(self._hear)
        with suppress(StopConsumer):
            while True:
                message = await receive()
                self._hears = True
                await getattr(self, get_handler_name(message))(message)
                self._hears = False

    async def connect(self) -> None:
        # A refusal is told after accepting: a browser does not show why a handshake failed.
        protocol = chosen_protocol(self.scope)
        try:
            self._admission = await in_thread(admit, self.scope)
        except Refusal as refusal:
            await self.accept(protocol)
            await self.close(refusal.code, refusal.reason)
        except OUTAGE:
            await self.accept(protocol)
            await self.close(NO_DATABASE.code, NO_DATABASE.reason)
        else:
            await self.accept(protocol)
            self._serving = asyncio.create_task(self._serve(self._admission))

    async def disconnect(self, code: int) -> None:
        if self._serving:
            self._cancel()
            await asyncio.wait([self._serving])  # it settles what was sent, whether we are cancelled meanwhile or not
            with suppress(asyncio.CancelledError):
                self._serving.result()  # what went wrong in it is the server's to log

    async def _serve(self, admission: Admission) -> None:
        try:
            await (self._send_all_of(admission) if await _sees_outcomes(admission) else self._send_events(admission))
        except ConnectionError:
            pass  # the client is gone, and what it was not sent is still owed
        except Refusal as refusal:
            self._refusal = refusal
        except OUTAGE:
            self._refusal = NO_DATABASE
        finally:
            await self.close(self._refusal.code, self._refusal.reason)

    async def _send_all_of(self, admission: Admission) -> None:
        """Send an operator who may see deliveries the events, and what becomes of these."""
        endpoint, address = admission.standing.endpoint, address_of(self.scope)
        async with hub.watcher(endpoint, None, end=self._end, address=address) as watcher:
            telling = asyncio.create_task(self._tell(admission, watcher))
            telling.add_done_callback(lambda _: self._cancel())
            try:
                await self._send_events(admission, watcher)
            finally:
                telling.cancel()
                with suppress(asyncio.CancelledError):
                    await telling  # what went wrong in it is why this ends

    async def _tell(self, admission: Admission, watcher: Watcher) -> None:
        await self._greeted.wait()
        await outcomes.tell(admission, watcher, self._send_all)

    async def _send_events(self, admission: Admission, watcher: Watcher | None = None) -> None:
        async with hub.reader(admission, end=self._end, address=address_of(self.scope)) as reader:
            if admission.asked.acknowledges:
                await self.send(_ready(admission, reader))
                self._reader = reader
            elif admission.asked.watches:
                endpoint_id = admission.standing.endpoint.pk
                await self.send(frames.ready_to_watch(endpoint_id=endpoint_id, cursor=reader.cursor))
            self._greeted.set()
            while True:
                found = await reader.next_some()
                if isinstance(found, Reset):
                    await self.send(_reset(found, reader))
                elif admission.asked.acknowledges:
                    await self._send_all([frames.event(row.frame) for row in found])
                else:
                    begun = now()
                    await self._send_all([row.frame for row in found])
                    reader.sent(found, begun)
                    if watcher:  # it may have changed before it was sent
                        watcher.tell([row.owed.delivery_id for row in found])

    async def _send_all(self, texts: Sequence[bytes]) -> None:
        """Have our server send them in one write."""
        await self.base_send({"type": "websocket.send", "texts": texts})

    def _end(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._cancel()

    def _cancel(self) -> None:
        """Once, whoever ends it beside: a second time would break off its clean-up."""
        if self._serving and not self._serving.cancelling():
            self._serving.cancel()

    # --- what the client says

    def _hear(self, text: bytes) -> bool:
        """Take an acknowledgement that is in order at once; the rest, and what comes behind it, goes the long way."""
        if self._hears or self._reader is None or self._admission is None:
            return False
        try:
            frame = frames.parse(text)
            seq = _seq(frame.cursor, self._reader)
        except (frames.BadFrame, Refusal):
            return False
        workspace_id, key_id = self._admission.standing.endpoint.workspace_id, self._admission.key_id
        if not isinstance(frame, frames.Ack) or not budgets.spend_at_once(workspace_id, key_id, len(text)):
            return False
        self._reader.acknowledge(seq)
        return True

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._admission is None:
            return
        said = bytes_data if text_data is None else text_data
        workspace_id = self._admission.standing.endpoint.workspace_id
        await budgets.spend(workspace_id, self._admission.key_id, len(said or ""), self.scope)
        if self._reader:
            try:
                self._obey(frames.parse(said or ""), self._reader)
            except frames.BadFrame as problem:
                await self._complain(str(problem))
            except Refusal as refusal:
                await self._complain(refusal.reason)

    def _obey(self, frame: frames.Ack | frames.Nack, reader: Reader) -> None:
        seq = _seq(frame.cursor, reader)
        if isinstance(frame, frames.Ack):
            reader.acknowledge(seq)
        elif not reader.refuse(seq, frame.reason, frame.delay_seconds):
            raise frames.BadFrame(f"cursor {frame.cursor!r} is of no event that waits for an acknowledgement here.")

    async def _complain(self, message: str) -> None:
        self._bad_frames += 1
        if self._bad_frames >= MOST_BAD_FRAMES:
            self._end(Refusal(NOT_ALLOWED, f"{self._bad_frames} frames could not be read."))
        else:
            with suppress(ConnectionError):
                await self.send(frames.error("BAD_FRAME", message))


def _seq(text: str, reader: Reader) -> int:
    """Return the number that an acknowledged cursor stands for. Raises Refusal or BadFrame."""
    cursor = cursors.parse(text, "cursor")
    if cursor is None or cursor.epoch != reader.cursor.epoch or cursor.seq > reader.cursor.seq:
        raise frames.BadFrame(f"cursor {text!r:.40} was not sent here; the last that was is {reader.cursor}.")
    return cursor.seq


async def _sees_outcomes(admission: Admission) -> bool:
    return admission.user_id is not None and await in_thread(may_see_deliveries, admission.user_id)


def _ready(admission: Admission, reader: Reader) -> str:
    window = admission.asked.window
    assert window is not None
    return frames.ready(
        endpoint_id=admission.standing.endpoint.pk,
        cursor=reader.cursor,
        window_events=window.events,
        window_bytes=window.bytes,
        share=admission.asked.share,
    )


def _reset(reset: Reset, reader: Reader) -> str:
    return frames.reset(reason=reset.reason, after=reset.after, until=reset.until, cursor=reader.cursor)


async def web_sockets(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["path"] == PATH:
        await EventsConsumer()(scope, receive, send)
    else:
        await send({"type": "websocket.close"})  # before it is accepted: 403

"""What the API tells as it happens: an endpoint's events, and what becomes of its deliveries."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import graphene

from endpoints.errors import BadInput, Forbidden, NotFound, ServiceError, Unavailable
from endpoints.models import Endpoint, Scope
from endpoints.outage import OUTAGE
from endpoints.schema.access import Caller, one
from endpoints.schema.pages import preset, turn_page
from routing.envelope import payload
from routing.models import Delivery, Event
from routing.schema.types import DeliveryOutput, EventOutput
from routing.sockets.admission import Admission, Reset, admit_key
from routing.sockets.asked import Asked
from routing.sockets.cursors import Cursor
from routing.sockets.hub import hub
from routing.sockets.reader import Reader, now
from routing.sockets.reading import Row
from routing.sockets.refusals import (
    ENDPOINT_GONE,
    FAILED,
    NO_DATABASE,
    NO_SUCH_ENDPOINT,
    NOT_ALLOWED,
    RESTART,
    TRY_AGAIN,
    Refusal,
)
from routing.sockets.threads import in_query_thread

T = TypeVar("T")

# What the close codes of plain sockets are here.
_ERRORS: dict[int, type[ServiceError]] = {
    NOT_ALLOWED: Forbidden,
    FAILED: Unavailable,
    RESTART: Unavailable,
    TRY_AGAIN: Unavailable,
    NO_SUCH_ENDPOINT: NotFound,
    ENDPOINT_GONE: NotFound,
}


class ResetOutput(graphene.ObjectType):
    """Events that can't be had."""

    reason = graphene.String(required=True, description="HISTORY_GONE, EPOCH_CHANGED or AHEAD.")
    after = graphene.String(description="The cursor behind which they are missing.")
    until = graphene.String(description="The cursor up to which they are; null where nobody can say.")


class EventReceived(graphene.ObjectType):
    """An event that an endpoint is owed, or what of these can't be had."""

    cursor = graphene.String(required=True, description="Where to go on after it: the argument after.")
    event = graphene.Field(EventOutput, description="null in a reset.")
    reset = graphene.Field(ResetOutput, description="null in an event.")

    @staticmethod
    def resolve_event(received: "Received", info: Any) -> Event | None:
        if received.event_id is None:
            return None
        event: Event = info.context.beneath(Event.objects.defer("data")).get(pk=received.event_id)
        preset(event, "data", payload(received.frame))  # as its endpoint's sockets get it
        return event


@dataclass(frozen=True, slots=True)
class Received:
    """One payload of eventReceived."""

    cursor: Cursor
    event_id: UUID | None = None
    frame: bytes = b""
    reset: Reset | None = None


class Subscription(graphene.ObjectType):
    event_received = graphene.Field(
        EventReceived,
        required=True,
        endpoint_id=graphene.ID(required=True),
        after=graphene.String(description="A cursor, or 0 for all there is; the endpoint's position when left out."),
        description="The events of a websocket endpoint, as a plain websocket gets them. Sending is delivering.",
    )
    delivery_updated = graphene.Field(
        DeliveryOutput,
        required=True,
        endpoint_id=graphene.ID(required=True),
        description="An endpoint's deliveries when they are written or change, each as it then is.",
    )

    @staticmethod
    async def subscribe_event_received(
        _root: None, info: Any, endpoint_id: str, after: str | None = None
    ) -> AsyncGenerator[Received, None]:
        caller: Caller = info.context
        with _told():
            return _received(await in_query_thread(_admit, caller, endpoint_id, after), caller)

    @staticmethod
    async def subscribe_delivery_updated(_root: None, info: Any, endpoint_id: str) -> AsyncGenerator[Delivery, None]:
        caller: Caller = info.context
        with _told():
            return _updated(await in_query_thread(_own, caller, endpoint_id), caller)


def _own(caller: Caller, endpoint_id: str) -> Endpoint:
    with caller.transaction("subscribe"):
        return one(caller.own(Endpoint.objects.live(), Scope.SUBSCRIBE), endpoint_id, "endpointId")


def _admit(caller: Caller, endpoint_id: str, after: str | None) -> Admission:
    endpoint = _own(caller, endpoint_id)
    if endpoint.type != Endpoint.Type.WEB_SOCKET:
        raise BadInput(f"Endpoint {endpoint.pk} is a webhook; eventReceived is for websockets.", "endpointId")
    try:
        asked = Asked.plainly(endpoint.pk, after)
    except Refusal as refusal:
        raise BadInput(refusal.reason, "after") from None
    return admit_key(asked, caller.grant)


async def _received(admission: Admission, caller: Caller) -> AsyncGenerator[Received, None]:
    end = _End()
    with _told():
        async with hub.reader(admission, end=end, address=caller.address) as reader:
            while True:
                found = await end.unless(reader.next())
                if isinstance(found, Reset):
                    yield Received(reader.cursor, reset=found)
                else:
                    begun = now()
                    yield _payload(found, reader)
                    reader.sent([found], begun)  # who iterates has sent it by now


def _payload(row: Row, reader: Reader) -> Received:
    return Received(Cursor(reader.cursor.epoch, row.seq), event_id=row.event_id, frame=row.frame)


async def _updated(endpoint: Endpoint, caller: Caller) -> AsyncGenerator[Delivery, None]:
    end = _End()
    with _told():
        async with hub.watcher(endpoint, caller.grant.key_id, end=end, address=caller.address) as watcher:
            while True:
                changed = await end.unless(watcher.next())
                for delivery in await end.unless(in_query_thread(_read, caller, changed)):
                    yield delivery


def _read(caller: Caller, ids: list[UUID]) -> list[Delivery]:
    with caller.transaction("deliveryUpdated"):
        return turn_page(caller.beneath(Delivery.objects.filter(pk__in=ids)).order_by("pk"))


class _End:
    """Ends a subscription from outside: what it waits for raises the refusal."""

    def __init__(self) -> None:
        self._refusal: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()

    def __call__(self, refusal: Refusal) -> None:
        if not self._refusal.done():
            self._refusal.set_result(refusal)

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        try:
            either: list[asyncio.Future[Any]] = [task, self._refusal]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._refusal.done():
                raise self._refusal.result().with_traceback(None)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


@contextmanager
def _told() -> Iterator[None]:
    """Turn what ends a plain socket into what a client of GraphQL is told."""
    try:
        yield
    except Refusal as refusal:
        raise _ERRORS[refusal.code](refusal.reason) from None
    except OUTAGE:
        raise Unavailable(NO_DATABASE.reason) from None

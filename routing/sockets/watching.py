"""Who follows what becomes of an endpoint's deliveries: the changes that a trigger notes for them.

A look takes what is visible now and was not at the last look, by PostgreSQL's own snapshots. So a transaction that
commits late is not skipped, and one that runs for long holds up nothing.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from endpoints.models import Endpoint
from routing.sockets.admission import key_lost
from routing.sockets.refusals import BEHIND, Refusal, endpoint_gone
from routing.sockets.threads import insist

CHANGES_HINT = "event_service_changes"  # the trigger's: NOTIFY without payload
KEPT_S = 60  # how long a change is kept
LATE_S = 30  # between two looks or signs of life; the trigger stops writing for a process after a minute without one
MOST_WAITING = 10_000  # deliveries that changed and that one watcher has not been sent
PAGE = 100  # deliveries that are read at once


class Position(NamedTuple):
    """How far the changes were read. The order is that of the query's columns."""

    snapshot: str
    at: datetime  # by the database's clock


@dataclass(frozen=True, slots=True)
class Changes:
    position: Position
    seen_at: datetime | None  # the process's last sign of life; None: others took it for dead
    changed: dict[UUID, list[UUID]]  # deliveries by endpoint

    def follow(self, before: Position) -> bool:
        """Tell whether nothing can be missing since `before`."""
        if self.seen_at is None:
            return False
        return all((self.position.at - at).total_seconds() < LATE_S for at in (before.at, self.seen_at))


class Watcher:
    """Who is told of changes: the deliveries that changed and that it was not sent yet."""

    def __init__(self, endpoint_id: UUID, key_id: UUID | None, end: Callable[[Refusal], None]) -> None:
        self.endpoint_id = endpoint_id
        self.key_id = key_id
        self.end = end
        self.placed = False  # whether the trigger knows of it; it is told of changes from before on
        self._changed: dict[UUID, None] = {}
        self._wakes = asyncio.Event()

    def tell(self, delivery_ids: Collection[UUID]) -> None:
        self._changed |= dict.fromkeys(delivery_ids)
        self._wakes.set()
        if len(self._changed) > MOST_WAITING:
            self.end(BEHIND)

    def check(self, live: Set[UUID], lost_keys: Set[UUID]) -> None:
        """End if it must not go on."""
        if self.endpoint_id not in live:
            self.end(endpoint_gone(self.endpoint_id))
        elif self.key_id in lost_keys:
            self.end(key_lost())

    async def next(self) -> list[UUID]:
        """Return deliveries that changed, as soon as there are some. What changed twice meanwhile is there once."""
        await self._wakes.wait()
        page = list(islice(self._changed, PAGE))
        for id_ in page:
            del self._changed[id_]
        if not self._changed:
            self._wakes.clear()
        return page


class Watching:
    """The watchers of one process, which share each look."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self._position: Position | None = None
        self._wanted = asyncio.Event()

    @contextmanager
    def watched(self, watcher: Watcher) -> Iterator[None]:
        self.watchers.add(watcher)
        try:
            yield
        finally:
            self.watchers.discard(watcher)
            if not self.watchers:
                self._position = None

    async def begin(self) -> None:
        """Fix from where on changes are read. To be called before the first that is to be seen is noted."""
        if self._position is None:
            position = await insist(stand)
            self._position = self._position or position  # another watcher may have been quicker, and stand further back

    def end_all(self, refusal: Refusal) -> None:
        for watcher in self.placed():
            watcher.end(refusal)

    def placed(self) -> list[Watcher]:
        return [watcher for watcher in tuple(self.watchers) if watcher.placed]  # metrics ask from a thread of theirs

    def hint(self) -> None:
        self._wanted.set()

    async def wanted(self, within_s: float) -> None:
        """Return when there is a hint, or after that time."""
        try:
            async with asyncio.timeout(within_s):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()

    async def look(self, node_id: UUID) -> bool:
        """Tell the watchers what is new. Return False where something may be missing."""
        before = self._position
        if before is None:
            return True
        endpoints = {watcher.endpoint_id for watcher in self.watchers}
        changes = await insist(read, node_id, endpoints, before)
        if self._position is not before:  # all are gone meanwhile, and others may have come
            return True
        if endpoints.issuperset(watcher.endpoint_id for watcher in self.watchers):
            self._position = changes.position
        else:
            self.hint()  # for who came meanwhile, from the same place
        for watcher in list(self.watchers):
            if changed := changes.changed.get(watcher.endpoint_id):
                watcher.tell(changed)
        return changes.follow(before)


def live_endpoints(endpoint_ids: Set[UUID]) -> set[UUID]:
    return set(Endpoint.objects.live().filter(pk__in=endpoint_ids).values_list("pk", flat=True))


def stand() -> Position:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text, clock_timestamp()")
        return Position(*cursor.fetchone())


def read(node_id: UUID, endpoint_ids: Collection[UUID], before: Position) -> Changes:
    parameters: dict[str, Any] = {"node_id": node_id, "endpoints": list(endpoint_ids), "before": before.snapshot}
    with connection.cursor() as cursor:
        cursor.execute(_READ, parameters)
        rows = cursor.fetchall()
    snapshot, at, seen_at = rows[0][:3]
    changed: dict[UUID, dict[UUID, None]] = {}
    for *_, endpoint_id, delivery_id in rows:
        if endpoint_id:
            changed.setdefault(endpoint_id, {})[delivery_id] = None
    return Changes(Position(snapshot, at), seen_at, {endpoint: list(ids) for endpoint, ids in changed.items()})


def forget() -> None:
    """Delete the changes that everybody has read."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [KEPT_S])


# One statement: the snapshot is that of the changes that it reads.
_READ = """
SELECT pg_current_snapshot()::text, clock_timestamp(),
       (SELECT seen_at FROM routing_socketnode WHERE id = %(node_id)s),
       change.endpoint_id, change.delivery_id
FROM (SELECT) AS always LEFT JOIN (
    SELECT id, endpoint_id, delivery_id FROM routing_deliverychange
    WHERE endpoint_id = ANY(%(endpoints)s)
      AND transaction_id >= pg_snapshot_xmin(%(before)s::pg_snapshot)::text::bigint
      AND NOT pg_visible_in_snapshot(transaction_id::text::xid8, %(before)s::pg_snapshot)
) AS change ON true
ORDER BY change.id
"""
_FORGET = """
DELETE FROM routing_deliverychange WHERE id IN (
    SELECT id FROM routing_deliverychange WHERE changed_at < clock_timestamp() - %s * interval '1 second'
    FOR UPDATE SKIP LOCKED
)
"""

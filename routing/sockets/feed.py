"""The events of one endpoint on their way to its websockets in this process."""

import asyncio
import time
from collections.abc import Callable, Sequence, Set
from typing import ParamSpec, Protocol, TypeVar
from uuid import UUID

from endpoints.tenancy import inside, within_for_many
from routing.sockets.admission import Standing, key_lost
from routing.sockets.operators import Look, operator_lost
from routing.sockets.reading import Row, is_full, read_on
from routing.sockets.refusals import RENUMBERED, Refusal, endpoint_gone
from routing.sockets.threads import insist

P = ParamSpec("P")
T = TypeVar("T")

# Where PostgreSQL knows little of the tables yet, it would collect and sort the whole backlog for each read.
_IN_ORDER = {"enable_bitmapscan": "off", "enable_sort": "off"}
KEPT, KEPT_S = 8, 5  # reads of a feed that others may share; each has up to reading.MAX_BYTES


class Listener(Protocol):
    """A socket as its feed sees it."""

    key_id: UUID | None
    user_id: int | None

    def wake(self) -> None: ...
    def is_behind(self, last_seq: int) -> bool: ...
    def end(self, refusal: Refusal) -> None: ...


class Feed:
    """What an endpoint's sockets read. Those that stand at the same place share one read."""

    def __init__(self, standing: Standing) -> None:
        self.endpoint_id = standing.endpoint.pk
        self._workspace_id = standing.endpoint.workspace_id
        self.epoch = standing.epoch
        self.readers: set[Listener] = set()
        self.active = standing.active
        self._news = object()  # another one after each announcement
        self._chunks: dict[int, _Chunk] = {}  # by the position that they follow; the oldest first

    def inside(self, work: Callable[P, T]) -> Callable[P, T]:
        """Return `work` as something that sees the endpoint's workspace alone, and finds its deliveries in order."""
        return inside(self._workspace_id, work, _IN_ORDER, by=within_for_many)

    def announce(self) -> None:
        """Wake the readers: there may be something for them."""
        self._news = object()
        for reader in self.readers:
            reader.wake()

    def looks(self) -> set[Look]:
        return {(reader.user_id, self.endpoint_id) for reader in self.readers if reader.user_id}

    def check(self, standing: Standing | None, lost_keys: Set[UUID], lost_looks: Set[Look]) -> None:
        """End the readers that must not go on, and wake the others if one of them is behind."""
        for reader in list(self.readers):
            if problem := self._problem(reader, standing, lost_keys, lost_looks):
                reader.end(problem)
        if standing:
            resumed = standing.active and not self.active
            self.active = standing.active
            if resumed or any(reader.is_behind(standing.last_seq) for reader in self.readers):
                self.announce()

    def _problem(
        self, reader: Listener, standing: Standing | None, lost_keys: Set[UUID], lost_looks: Set[Look]
    ) -> Refusal | None:
        if standing is None:
            return endpoint_gone(self.endpoint_id)
        if reader.key_id in lost_keys:
            return key_lost()
        if (reader.user_id, self.endpoint_id) in lost_looks:
            return operator_lost()
        if standing.epoch != self.epoch:
            return RENUMBERED
        return standing.problem(keyed=bool(reader.key_id or reader.user_id))

    async def after(self, position: int, *, since: float) -> Sequence[Row]:
        """Return what follows `position`, as much as one read takes; nothing when there is nothing yet.

        What was read before `since` (of time.monotonic) is not good enough: its states may be old.
        """
        while self.active:
            chunk = self._chunk(position, since)
            rows = await asyncio.shield(chunk.rows)
            if rows or chunk.news is self._news:
                if is_full(rows):
                    self._chunk(rows[-1].seq, since)  # read on while these are being sent
                return rows
        return []

    def _chunk(self, position: int, since: float) -> "_Chunk":
        known = self._chunks.get(position)
        if known and known.begun_at >= since and (known.news is self._news or known.has_rows):
            return known
        self._chunks.pop(position, None)
        if len(self._chunks) >= KEPT:
            del self._chunks[next(iter(self._chunks))]
        chunk = self._chunks[position] = _Chunk(self, position, self._news)
        asyncio.get_running_loop().call_later(KEPT_S, self._drop, position, chunk.begun_at)
        return chunk

    def _drop(self, position: int, begun_at: float) -> None:
        """Forget a read: those that stand there by now read for themselves."""
        if (chunk := self._chunks.get(position)) and chunk.begun_at == begun_at:
            del self._chunks[position]


class _Chunk:
    """One read, which may still be going on."""

    def __init__(self, feed: Feed, position: int, news: object) -> None:
        self.news = news  # as of before the read: what is announced meanwhile may not be in it
        self.begun_at = time.monotonic()
        self.rows = asyncio.create_task(insist(feed.inside(read_on), feed.endpoint_id, feed.epoch, position))

    @property
    def has_rows(self) -> bool:
        return self.rows.done() and not self.rows.cancelled() and bool(self.rows.result())

"""The events of one endpoint on their way to its websockets in this process."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence, Set
from operator import attrgetter
from typing import Protocol
from uuid import UUID

from routing.sockets.admission import Standing, key_lost
from routing.sockets.reading import MAX_BYTES, MAX_ROWS, Row, read_on
from routing.sockets.refusals import RENUMBERED, Refusal, endpoint_gone
from routing.sockets.threads import insist


class Listener(Protocol):
    """A socket as its feed sees it."""

    key_id: UUID | None

    def wake(self) -> None: ...
    def is_behind(self, last_seq: int) -> bool: ...
    def end(self, refusal: Refusal) -> None: ...


class Feed:
    """What an endpoint's sockets read. Those at the live end share one read."""

    def __init__(self, standing: Standing) -> None:
        self.endpoint_id = standing.endpoint.pk
        self.epoch = standing.epoch
        self.readers: set[Listener] = set()
        self.active = standing.active
        self._news = object()  # another one after each announcement
        self._known: object | None = None  # the news up to which `_recent` is complete
        self._recent: list[Row] = []  # what follows `_floor`, up to `_tail`
        self._floor = self._tail = standing.last_seq
        self._lock = asyncio.Lock()

    def announce(self) -> None:
        """Wake the readers: there may be something for them."""
        self._news = object()
        for reader in self.readers:
            reader.wake()

    def check(self, standing: Standing | None, lost_keys: Set[UUID]) -> None:
        """End the readers that must not go on, and wake the others if one of them is behind."""
        for reader in list(self.readers):
            if problem := self._problem(reader, standing, lost_keys):
                reader.end(problem)
        if standing:
            resumed = standing.active and not self.active
            self.active = standing.active
            if resumed or any(reader.is_behind(standing.last_seq) for reader in self.readers):
                self.announce()

    def _problem(self, reader: Listener, standing: Standing | None, lost_keys: Set[UUID]) -> Refusal | None:
        if standing is None:
            return endpoint_gone(self.endpoint_id)
        if reader.key_id in lost_keys:
            return key_lost()
        if standing.epoch != self.epoch:
            return RENUMBERED
        return standing.problem(keyed=reader.key_id is not None)

    async def after(self, position: int) -> Sequence[Row]:
        """Return what follows `position`, as much as one read takes; nothing when there is nothing yet."""
        if not self.active:
            return []
        async with self._lock:
            if position > self._tail:
                self._recent, self._floor, self._tail = [], position, position
            if position == self._tail and self._known is not self._news:
                await self._read_tail()
            if position >= self._floor:
                return self._recent[bisect_right(self._recent, position, key=attrgetter("seq")) :]
        return await insist(read_on, self.endpoint_id, self.epoch, position)

    async def _read_tail(self) -> None:
        news = self._news  # as of before the read: what is announced meanwhile may not be in it
        rows = await insist(read_on, self.endpoint_id, self.epoch, self._tail)
        if len(rows) < MAX_ROWS and _size(rows) < MAX_BYTES:
            self._known = news
        if rows:
            self._recent += rows
            self._tail = rows[-1].seq
        while len(self._recent) > MAX_ROWS or _size(self._recent) > 2 * MAX_BYTES:
            self._floor = self._recent.pop(0).seq


def _size(rows: Sequence[Row]) -> int:
    return sum(row.size for row in rows)

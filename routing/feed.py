"""The events of one endpoint on their way to its websockets.

A reader pulls. It asks the feed for what follows its own position; hints and the poll only wake it. So a slow client
holds up nobody, and nothing is held for it but the batch that it is being sent.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence, Set
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from routing.admission import NOT_ALLOWED, Admission, Refusal, Standing, endpoint_gone
from routing.models import Delivery
from routing.reading import MAX_BYTES, MAX_ROWS, Row, Sent, insist, read_on


class Feed:
    """What an endpoint's sockets in this process read. Those at the live end share one read."""

    def __init__(self, standing: Standing) -> None:
        self.endpoint_id = standing.endpoint.pk
        self.readers: set[Reader] = set()
        self.active = standing.active
        self.news = asyncio.Event()  # another one after each announcement
        self._known: asyncio.Event | None = None  # the news up to which `_recent` is complete
        self._recent: list[Row] = []  # what follows `_floor`, up to `_tail`
        self._floor = self._tail = standing.last_seq
        self._lock = asyncio.Lock()

    def announce(self) -> None:
        """Wake the readers: there may be something for them."""
        self.news.set()
        self.news = asyncio.Event()

    def check(self, standing: Standing | None, lost_keys: Set[UUID]) -> None:
        """End the readers that must not go on, and wake the others if one of them is behind."""
        for reader in list(self.readers):
            if problem := reader.problem(standing, lost_keys):
                reader.end(problem)
        if standing:
            self.active = standing.active
            if any(reader.position < standing.last_seq for reader in self.readers):
                self.announce()

    async def after(self, position: int) -> Sequence[Row]:
        """Return what follows `position`, as much as one read takes; nothing when there is nothing yet."""
        if not self.active:
            return []
        async with self._lock:
            if position > self._tail:
                self._recent, self._floor, self._tail = [], position, position
            if position == self._tail and self._known is not self.news:
                await self._read_tail()
            if position >= self._floor:
                return self._recent[bisect_right(self._recent, position, key=attrgetter("seq")) :]
        return await insist(read_on, self.endpoint_id, position)

    async def _read_tail(self) -> None:
        news = self.news  # as of before the read: what is announced meanwhile may not be in it
        rows = await insist(read_on, self.endpoint_id, self._tail)
        if len(rows) < MAX_ROWS and _size(rows) < MAX_BYTES:
            self._known = news
        if rows:
            self._recent += rows
            self._tail = rows[-1].seq
        while len(self._recent) > MAX_ROWS or _size(self._recent) > 2 * MAX_BYTES:
            self._floor = self._recent.pop(0).seq


def _size(rows: Sequence[Row]) -> int:
    return sum(row.size for row in rows)


class Reader:
    """One socket's place in a feed."""

    def __init__(
        self,
        feed: Feed,
        admission: Admission,
        *,
        settle: Callable[[Sequence[Sent]], asyncio.Event],
        end: Callable[[Refusal], None],
    ) -> None:
        self.key_id = admission.key_id
        self.position = admission.position
        self.end = end
        self._feed = feed
        self._replay = admission.replay
        self._settle = settle
        self._batch: deque[Row] = deque()
        self._sent: list[Sent] = []
        self._settled = asyncio.Event()  # what was handed to `settle` last
        self._settled.set()

    def problem(self, standing: Standing | None, lost_keys: Set[UUID]) -> Refusal | None:
        if standing is None:
            return endpoint_gone(self._feed.endpoint_id)
        if self.key_id in lost_keys:
            return Refusal(NOT_ALLOWED, "The key was revoked, has expired or lost the scope 'subscribe'.")
        return standing.problem(keyed=self.key_id is not None)

    async def next(self) -> Row:
        """Return what to send now, as soon as there is something."""
        while True:
            while self._batch and self._feed.active:
                row = self._batch.popleft()
                if self._replay or not row.dropped:
                    return row
                self.position = row.seq
            await self._fetch()

    async def _fetch(self) -> None:
        await self._settled.wait()  # so that no more than two batches are ever sent and not settled
        self._hand_over()
        news = self._feed.news
        self._batch = deque(await self._feed.after(self.position))
        if not self._batch:
            await news.wait()

    def sent(self, row: Row, *, started_at: datetime, duration_ms: float) -> None:
        """Take note that `row` went out. Of the sockets that share it the first one settles it."""
        self.position = row.seq
        if row.state == Delivery.State.PENDING:
            row.state = Delivery.State.DELIVERED
            self._sent.append(Sent(row.delivery_id, started_at, duration_ms))

    async def leave(self) -> None:
        """Return once all that was sent is settled."""
        self._hand_over()
        await self._settled.wait()

    def _hand_over(self) -> None:
        if self._sent:
            self._settled = self._settle(self._sent)
            self._sent = []

"""One socket's place: what it is sent next, and what came of what it was sent."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter
from time import perf_counter
from uuid import UUID

from django.utils import timezone

from routing import tracing
from routing.models import Delivery
from routing.sockets.admission import Admission, Reset
from routing.sockets.cursors import Cursor
from routing.sockets.reading import Owed, Row
from routing.sockets.refusals import Refusal
from routing.sockets.registry import Place
from routing.sockets.settling import MOST_REFUSALS, Report
from routing.sockets.sources import Source
from routing.sockets.window import Begun, Flight, Window

SENT_AT_ONCE = 64 * 1024  # bytes; one frame more may begin below it
MOST_UNSETTLED = 6_400  # deliveries of one socket; then nothing more is read for it
_PENDING, _DELIVERED = Delivery.State.PENDING.value, Delivery.State.DELIVERED.value  # looked up for each event
_AFTER_S = 0.01  # so that what is due is due for every clock


class Reader:
    def __init__(
        self,
        source: Source,
        admission: Admission,
        place: Place,
        *,
        settle: Callable[[Sequence[Report]], asyncio.Event],
        end: Callable[[Refusal], None],
    ) -> None:
        self.key_id: UUID | None = admission.key_id
        self.user_id: int | None = admission.user_id
        self.source = source
        self.end = end
        self.cursor = Cursor(admission.standing.epoch, admission.position)  # behind what was sent last
        self._endpoint = admission.standing.endpoint
        self._place = place
        self._settle = settle
        self._window: Window | None = admission.asked.window  # None: sending is delivering
        self._watches = admission.asked.watches
        self._batch: deque[Row] = deque()
        self._refused: list[tuple[float, int]] = []  # when what is to be sent again; a heap
        self._refusals: Counter[int] = Counter()  # by number, of what was not acknowledged since
        self._timer: asyncio.TimerHandle | None = None  # of the first of these
        self._reset = admission.reset
        self._reports: list[Report] = []
        self._settled = asyncio.Event()  # what was handed to `settle` last
        self._settled.set()
        self._unsettled: deque[tuple[asyncio.Event, int]] = deque()  # that and what came before, with how many it is of
        self._unsettled_size = 0
        self._wakes = asyncio.Event()

    def wake(self) -> None:
        """Look again whether there is something to send."""
        self._wakes.set()

    def is_behind(self, last_seq: int) -> bool:
        return self.source.is_behind(last_seq)

    async def next(self) -> Row | Reset:
        """Return what to send now, as soon as there is something and the window has room for it."""
        while True:
            self._wakes.clear()
            if self._reset:
                return self._taken_reset(self._reset)
            if row := await self._read_again():
                return row
            if self._batch and self.source.active:
                if self._has_room(self._batch[0]):
                    return self._batch.popleft()
            elif not self._batch and await self._fetch():
                continue
            self._hand_over()  # what was sent, though its endpoint is paused before the rest
            self._wake_when_due()
            await self._wakes.wait()

    async def next_some(self) -> Reset | list[Row]:
        """Return what to send at once: what is there already, up to SENT_AT_ONCE and as the window has room.

        What is to be acknowledged counts as sent from now on: its acknowledgement may be quicker than who sends it.
        """
        found = await self.next()
        if isinstance(found, Reset):
            return found
        begun, rows, size = now(), [found], found.size
        self._fly(found, begun)
        while size < SENT_AT_ONCE and self._batch and self._has_room(self._batch[0]):
            row = self._batch.popleft()
            self._fly(row, begun)
            rows.append(row)
            size += row.size
        if self._window is not None:
            self._stand_behind(rows)
        return rows

    def _fly(self, row: Row, begun: Begun) -> None:
        if self._window is not None:
            self._window.add(Flight(row.owed, row.size, begun))

    def _stand_behind(self, rows: Sequence[Row]) -> None:
        """Take note of what was sent: behind the first, which may be sent again, they are in order."""
        self.cursor = Cursor(self.cursor.epoch, max(self.cursor.seq, rows[0].seq, rows[-1].seq))

    def _has_room(self, row: Row) -> bool:
        return self._window is None or self._window.has_room(row.size)

    def _taken_reset(self, reset: Reset) -> Reset:
        self._reset = None
        if reset.until:  # which for a group's member may lie before what it was sent: gone is what had waited
            self.cursor = Cursor(reset.until.epoch, max(self.cursor.seq, reset.until.seq))
        return reset

    async def _read_again(self) -> Row | None:
        """Return what was refused and is due. Its place in the window was kept."""
        while self.source.active and self._refused and self._refused[0][0] <= time.monotonic():
            _, seq = heappop(self._refused)
            await self._settled.wait()  # that it was refused, perhaps once too often
            row = await self.source.read_again(seq)
            if row:
                return row
            assert self._window is not None
            self._window.release(seq)
        return None

    async def _fetch(self) -> bool:
        """Read on, and return whether there was something."""
        self._hand_over()
        while self._unsettled_size > MOST_UNSETTLED:
            await self._unsettled[0][0].wait()
            self._forget_settled()
        helping = await self.source.read(self._window)
        self._batch.extend(helping.rows)
        if helping.gap:
            after, until = (Cursor(self.cursor.epoch, seq) for seq in helping.gap)
            self._reset = Reset("HISTORY_GONE", after, until)
        return bool(helping.rows or helping.gap)

    def sent(self, rows: Sequence[Row], begun: Begun) -> None:
        """Take note that `rows` went out, where nothing is acknowledged: to send is to deliver."""
        self._stand_behind(rows)
        if not self._watches:
            self._deliver((row.owed for row in rows), begun)

    def _deliver(self, owed: Iterable[Owed], begun: Begun) -> None:
        """Report what no other socket of this process had before; a member of a group reports all that it took."""
        delivered = [each for each in owed if each.state == _PENDING or self.source.share(each.seq)]
        if delivered:
            for each in delivered:
                each.state = _DELIVERED
            self._report(delivered, begun)

    def acknowledge(self, seq: int) -> None:
        """Settle all that was sent up to that number, but for what was refused."""
        assert self._window is not None
        if taken := self._window.take_up_to(seq):
            if self._refusals:
                for flight in taken:
                    self._refusals.pop(flight.owed.seq, None)
            for begun, together in groupby(taken, key=attrgetter("begun")):
                self._deliver((flight.owed for flight in together), begun)
            self._hand_over()
            self.wake()

    def refuse(self, seq: int, reason: str, delay_s: float) -> bool:
        """Have an event sent again, after a while. Return False for one that was not sent, or is not outstanding."""
        assert self._window is not None
        flight = self._window.take(seq)
        if flight is None:
            return False
        self._refusals[seq] += 1
        comes_again = self._refusals[seq] < MOST_REFUSALS
        detail = reason or "The client gave no reason."
        self._report([flight.owed], flight.begun, error="REFUSED", detail=detail, delay_s=delay_s)
        self._hand_over()
        if comes_again:
            if self.source.share(seq) is None:  # it comes again here, and here only
                self._window.reserve(seq)
            heappush(self._refused, (time.monotonic() + delay_s, seq))
        self.wake()
        return True

    def _wake_when_due(self) -> None:
        """Look again when the first of what was refused is due: one timer, which `leave` takes with it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._refused and self.source.active:
            wait_s = max(0.0, self._refused[0][0] - time.monotonic()) + _AFTER_S
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.wake)

    async def leave(self) -> None:
        """Return once all that was sent is settled, and what was not acknowledged is somebody else's to send."""
        if self._window is not None:
            lost = "The websocket ended before it acknowledged."
            for begun, together in groupby(self._window.take_all(), key=attrgetter("begun")):
                self._report([flight.owed for flight in together], begun, error="CONNECTION_LOST", detail=lost)
        self._hand_over()
        self._refused.clear()
        self._wake_when_due()
        await self._settled.wait()

    def _report(
        self, owed: Sequence[Owed], begun: Begun, *, error: str = "", detail: str = "", delay_s: float = 0
    ) -> None:
        started_at, start = begun
        if tracing.is_on():
            for each in owed:
                self._trace(each, started_at, error)
        self._reports.append(
            Report(
                [each.delivery_id for each in owed],
                started_at,
                (perf_counter() - start) * 1000,
                self._place.peer,
                state=_PENDING if error else _DELIVERED,
                error=error,
                error_detail=detail,
                shares=[share for each in owed if (share := self.source.share(each.seq))],
                delay_s=delay_s,
            )
        )

    def _trace(self, owed: Owed, started_at: datetime, error: str) -> None:
        """Tell of an attempt, from its sending to its acknowledgement or loss, beneath the event's publication."""
        tracing.past(
            "attempt",
            int(started_at.timestamp() * 1e9),
            parent=owed.traceparent,
            workspace_id=self._endpoint.workspace_id,
            endpoint_id=self._endpoint.pk,
            delivery_id=owed.delivery_id,
            socket_id=self._place.socket_id,
            error__type=error or None,
        )

    def _hand_over(self) -> None:
        if self._reports:
            self._forget_settled()
            size = sum(len(report.delivery_ids) for report in self._reports)
            self._settled = self._settle(self._reports)
            self._unsettled.append((self._settled, size))
            self._unsettled_size += size
            self._reports = []

    def _forget_settled(self) -> None:
        while self._unsettled and self._unsettled[0][0].is_set():
            _, size = self._unsettled.popleft()
            self._unsettled_size -= size


def now() -> Begun:
    return timezone.now(), perf_counter()

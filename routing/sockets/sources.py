"""Where a socket's events come from: all of its endpoint's, or its share of a group's."""

import time
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Protocol

from endpoints.outage import OUTAGE
from routing.sockets.admission import Admission
from routing.sockets.feed import Feed
from routing.sockets.reading import Row, read_again
from routing.sockets.refusals import NO_DATABASE
from routing.sockets.sharing import Helping, Share, take
from routing.sockets.threads import in_thread, insist
from routing.sockets.window import Window

SHORTEST_KEPT_S = 86_400  # what retention leaves of anything


class Source(Protocol):
    @property
    def active(self) -> bool:
        """Whether the endpoint is to be sent anything now."""

    def share(self, seq: int) -> Share | None:
        """Return the hold on a delivery, of a member of a group."""

    def is_behind(self, last_seq: int) -> bool:
        """Tell whether there is something that no hint told of."""

    async def read(self, window: Window | None) -> Helping:
        """Return what comes next, as far as there is something."""

    async def read_again(self, seq: int) -> Row | None:
        """Return what the client refused, unless it has ended or is others' to send."""


class Everything:
    """Each socket gets every event. It reads on from its own position, so that a slow client holds up nobody."""

    def __init__(self, feed: Feed, admission: Admission) -> None:
        self._feed = feed
        self._admission = admission
        self.position = admission.position
        self._rest: Sequence[Row] = ()  # read already, behind a hole
        # Who asked for history gets what there is; others do not get what was settled before they came.
        self._came_at = time.monotonic()
        self._since = 0.0 if admission.replays else self._came_at

    @property
    def active(self) -> bool:
        return self._feed.active

    def share(self, seq: int) -> None:
        return None

    def is_behind(self, last_seq: int) -> bool:
        return self.position < last_seq

    async def read(self, window: Window | None) -> Helping:
        while rows := self._rest or await self._feed.after(self.position, since=self._since):
            found = self._up_to_a_hole(rows)
            if found.rows or found.gap:
                return found
        return Helping()

    def _up_to_a_hole(self, rows: Sequence[Row]) -> Helping:
        """Return what comes before the next hole, and what is missing before that. What is behind it is for later."""
        gone = list(takewhile(self._is_missing, rows))
        here: list[Row] = []
        for row in rows[len(gone) :]:
            if self._is_missing(row) or (here and row.seq > here[-1].seq + 1):
                break
            here.append(row)
        self._rest = rows[len(gone) + len(here) :]
        until = here[0].seq - 1 if here else gone[-1].seq
        gap = (self.position, until) if until > self.position and (gone or self._lacks(until)) else None
        self.position = (here or gone)[-1].seq
        return Helping([row for row in here if self._wants(row)], gap)

    async def read_again(self, seq: int) -> Row | None:
        again = partial(self._feed.inside(read_again), ended=self._admission.replays)
        return await insist(again, self._feed.endpoint_id, self._feed.epoch, seq)

    def _is_missing(self, row: Row) -> bool:
        return not row.frame and self._wants(row)

    def _lacks(self, seq: int) -> bool:
        """Tell whether it wanted what was deleted up to there: as `_wants`, of what was settled before it came."""
        came_lately = time.monotonic() - self._came_at < SHORTEST_KEPT_S
        return self._admission.replays or seq > self._admission.standing.last_seq or not came_lately

    def _wants(self, row: Row) -> bool:
        """Leave out what was given up, and what others had before this one came, unless it asked for history."""
        if row.settled_at is None or self._admission.replays:
            return True
        return row.settled_at > self._admission.standing.now and not row.dropped


class Member:
    """The members of a group divide its events."""

    def __init__(self, feed: Feed, hold: Share) -> None:
        self._feed = feed
        self._hold = hold

    @property
    def active(self) -> bool:
        return self._feed.active

    @property
    def group_id(self) -> int:
        return self._hold.group_id

    def share(self, seq: int) -> Share:
        return Share(self._hold.group_id, seq, self._hold.socket_id)

    def is_behind(self, last_seq: int) -> bool:
        return False  # the hub asks for all groups at once

    async def read(self, window: Window | None) -> Helping:
        assert window is not None  # who shares acknowledges
        most, most_bytes = window.room
        if most <= 0 or most_bytes <= 0:
            return Helping()
        hold = self._hold
        take_some = partial(
            self._feed.inside(take), hold.group_id, hold.socket_id, self._feed.epoch, most=most, most_bytes=most_bytes
        )
        try:
            while True:
                helping = await in_thread(take_some)
                if helping.rows or helping.gap or not helping.more:
                    return helping
        except OUTAGE:  # what it took, if it took it, is given back when the socket ends
            raise NO_DATABASE.with_traceback(None) from None

    async def read_again(self, seq: int) -> None:
        return None  # the group has it, and it may be with another member

"""What a filter would have wanted of the events that are stored: tried out before anything is linked to it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from endpoints.errors import BadInput
from endpoints.patterns import Pattern
from routing.ids import LONG_AGO, first_id
from routing.models import Event

EVENTS = 10_000  # that are examined, unless asked otherwise
MOST_EVENTS = 100_000
BUDGET_S = 3.0  # after which it says how far it came; an operation has 5 s of the database in all
SAMPLES = 10
READ_AT_ONCE = 100  # events, of up to 256 KiB each
_SKEW = timedelta(minutes=1)  # by which ids, which processes make, and times, which are the database's, may differ


@dataclass(frozen=True, slots=True)
class Backtest:
    examined: int
    matched: int
    complete: bool  # whether that is all there is since the time that was asked for
    oldest: datetime | None  # when the last event that was examined was recorded
    samples: list[Event]  # the newest that matched
    passed_over: int = 0  # events beside these, whose payload was forgotten


def backtest(
    wanted: Pattern,
    *,
    workspace_id: UUID,
    since: datetime | None = None,
    limit: int = EVENTS,
    clock: Callable[[], float] = time.monotonic,
) -> Backtest:
    """Match the events that were recorded since then, the newest first. Raises BadInput for a limit out of bounds."""
    if not 1 <= limit <= MOST_EVENTS:
        raise BadInput(f"limit is {limit}; it is between 1 and {MOST_EVENTS}.", "limit")
    ends_at, examined, passed_over, matched, oldest = clock() + BUDGET_S, 0, 0, 0, None
    samples: list[Event] = []
    events = _newest_first(workspace_id, since)
    for event in islice(events, limit):
        if event.payload_forgotten_at:
            passed_over += 1
        else:
            examined, oldest = examined + 1, event.creation_date
            if wanted.match(event.fields()):
                matched += 1
                samples += [event] if len(samples) < SAMPLES else []
        if clock() > ends_at:
            break
    return Backtest(examined, matched, next(events, None) is None, oldest, samples, passed_over)


def _newest_first(workspace_id: UUID, since: datetime | None) -> Iterator[Event]:
    rows = Event.objects.filter(workspace=workspace_id).order_by("-pk")
    if since is not None:
        rows = rows.filter(pk__gte=first_id(max(since, LONG_AGO) - _SKEW))
    page = list(rows[:READ_AT_ONCE])
    while page:
        yield from (event for event in page if since is None or event.creation_date >= since)
        page = list(rows.filter(pk__lt=page[-1].pk)[:READ_AT_ONCE])

"""What a replay comes across: an endpoint's deliveries by their numbers, or the events of its workspace by their ids.

A look costs the same wherever in the walk it is: it is at so many rows behind the position, by an index.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from endpoints.models import Endpoint
from endpoints.patterns import Pattern, parse_definition
from routing.health import SOURCE, TOLD
from routing.models import Event, Replay
from routing.partitions import id_at

EXAMINED = 2_000  # rows by one look ...
MATCHED = 400  # ... where the data of events is read too
MATCHED_AT_ONCE = 50  # of these in memory
COUNTED, GLANCED = 100, 6  # looks that a count takes; and one that a page waits for
COUNT_S = 3.0  # that a count takes where data is read; an operation has 5 s of the database in all
CLOCKS_AGREE = timedelta(minutes=10)  # ids and numbers follow dates, but for this


class Row(NamedTuple):
    """What a walk comes across. The order is that of the queries' columns."""

    position: str
    event_id: UUID
    delivery_id: UUID | None  # what is repeated; None where the endpoint never had the event
    selected: bool
    has_payload: bool


class Count(NamedTuple):
    """What was found. Where there was more to look at, `number` is of what was looked at."""

    number: int
    exact: bool

    @property
    def nothing(self) -> bool:
        return self.exact and not self.number


class Batch(NamedTuple):
    rows: Sequence[Row]
    position: str  # up to which everything was looked at
    last: bool  # there is nothing behind it
    passed_over: int  # of what was looked at: their payload was forgotten


def along_deliveries(endpoint: Endpoint, since: datetime | None, until: datetime) -> tuple[str, str]:
    """Return before and up to which seq to look. Numbers have no gaps, so that a date's is found by halving."""
    early = None if since is None else since - CLOCKS_AGREE
    with connection.cursor() as cursor:
        cursor.execute(_HALVED, {"endpoint_id": endpoint.pk, "early": early})
        start, last_seq = cursor.fetchone()
    return str(start), str(last_seq)


def along_events(endpoint: Endpoint, since: datetime | None, until: datetime) -> tuple[str, str]:
    """Return before and up to which event id to look."""
    return str(id_at(since - CLOCKS_AGREE) if since else UUID(int=0)), str(id_at(until + CLOCKS_AGREE))


def count(replay: Replay, *, looks: int = COUNTED) -> Count:
    if not replay.wanted:
        return _counted(replay, looks * EXAMINED)
    total, position, ends_at = 0, replay.position, time.monotonic() + COUNT_S
    for _look_at in range(looks):
        batch = look(replay, position, room=EXAMINED)
        total, position = total + len(batch.rows), batch.position
        if batch.last:
            return Count(total, exact=True)
        if time.monotonic() > ends_at:
            break
    return Count(total, exact=False)


def _counted(replay: Replay, most: int) -> Count:
    """Count where no data is to be read: all that a preview looks at, at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), count(*) FILTER (WHERE selected AND has_payload) FROM ({_walk(replay)}) AS looked_at",
            _place(replay, replay.position, most),
        )
        looked_at, selected = cursor.fetchone()
    return Count(selected, exact=looked_at < most)


def look(replay: Replay, position: str, *, room: int) -> Batch:
    """Return up to `room` rows that are selected and match, of those that come next."""
    limit = MATCHED if replay.wanted else EXAMINED
    rows = _examine(replay, position, limit)
    taken: list[Row] = []
    for row in _matching(replay, rows):
        taken.append(row)
        if len(taken) == room:
            return Batch(taken, row.position, last=False, passed_over=_payloads_gone(rows[: rows.index(row)]))
    end = rows[-1].position if rows else position
    return Batch(taken, end, last=len(rows) < limit, passed_over=_payloads_gone(rows))


def _payloads_gone(rows: Sequence[Row]) -> int:
    return sum(row.selected and not row.has_payload for row in rows)


def _examine(replay: Replay, position: str, limit: int) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(_walk(replay), _place(replay, position, limit))
        return [Row(*columns) for columns in cursor.fetchall()]


def _walk(replay: Replay) -> str:
    return _EVENTS if replay.never_attempted else _DELIVERIES


def _place(replay: Replay, position: str, limit: int) -> dict[str, Any]:
    """Return what a walk is asked with."""
    return {
        "workspace_id": replay.workspace_id,
        "endpoint_id": replay.endpoint_id,
        "to_endpoint_id": replay.to_endpoint_id,
        "states": replay.states,
        "since": replay.since,
        "until": replay.until,
        "position": position,
        "end": replay.end,
        "limit": limit,
        "own_source": SOURCE,
        "told": list(TOLD),
    }


def _matching(replay: Replay, rows: Sequence[Row]) -> Iterator[Row]:
    selected = [row for row in rows if row.selected and row.has_payload]
    if not replay.wanted:
        yield from selected
        return
    wanted = [[parse_definition(definition) for definition in definitions] for definitions in replay.wanted]
    for start in range(0, len(selected), MATCHED_AT_ONCE):
        some = selected[start : start + MATCHED_AT_ONCE]
        events = Event.objects.in_bulk([row.event_id for row in some])
        yield from (row for row in some if row.event_id in events and _matches(wanted, events[row.event_id]))


def _matches(wanted: Sequence[Sequence[Pattern]], event: Event) -> bool:
    if event.payload_forgotten_at:  # since it was examined
        return False
    fields = event.fields()
    return all(any(pattern.match(fields) for pattern in patterns) for patterns in wanted)


# How many of the endpoint's numbers are of before that date: each step probes the one in the middle.
_HALVED = """
WITH RECURSIVE halved(low, high, last_seq) AS (
    SELECT 0::bigint, CASE WHEN %(early)s::timestamptz IS NULL THEN 0 ELSE last_seq END, last_seq
    FROM routing_cursor WHERE endpoint_id = %(endpoint_id)s
    UNION ALL
    SELECT CASE WHEN is_early THEN middle + 1 ELSE low END, CASE WHEN is_early THEN high ELSE middle END, last_seq
    FROM halved CROSS JOIN LATERAL (SELECT (low + high) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT creation_date < %(early)s FROM routing_delivery
            WHERE endpoint_id = %(endpoint_id)s AND seq > half.middle ORDER BY seq LIMIT 1
        ), false) AS is_early
    ) AS probed
    WHERE low < high
)
SELECT low, last_seq FROM halved WHERE low >= high
"""

# What follows the position, each with whether it is meant: not a delivery that was repeated there already, nor a test,
# which is about the endpoint itself. LIMIT 1 keeps each look an index probe, which EXISTS may turn into a scan.
_DELIVERIES = """
WITH page AS MATERIALIZED (
    SELECT id, event_id, endpoint_id, seq,
           state = ANY(%(states)s) AND creation_date < %(until)s
               AND (creation_date >= %(since)s OR %(since)s::timestamptz IS NULL) AS meant
    FROM routing_delivery
    WHERE endpoint_id = %(endpoint_id)s AND seq > %(position)s::bigint AND seq <= %(end)s::bigint
    ORDER BY seq LIMIT %(limit)s
)
SELECT page.seq::text, page.event_id, page.id,
       page.meant AND made.id IS NULL AND event.is_test IS NOT TRUE AS selected,
       event.id IS NOT NULL AND event.payload_forgotten_at IS NULL AS has_payload
FROM page LEFT JOIN LATERAL (
    SELECT id FROM routing_delivery
    WHERE page.meant AND event_id = page.event_id AND endpoint_id IN (page.endpoint_id, %(to_endpoint_id)s)
      AND retry_of_id = page.id
    LIMIT 1
) AS made ON true
LEFT JOIN LATERAL (
    SELECT id, payload_forgotten_at, source = %(own_source)s AND subject = page.endpoint_id::text AS is_test
    FROM routing_event WHERE page.meant AND id = page.event_id LIMIT 1
) AS event ON true
ORDER BY page.seq
"""

# The endpoint was never tried with an event that it has no delivery of, or that ended before its first attempt. Tests
# of other endpoints are none of its events, nor is what is told of itself.
_EVENTS = """
WITH page AS MATERIALIZED (
    SELECT id, payload_forgotten_at,
           creation_date < %(until)s AND (creation_date >= %(since)s OR %(since)s::timestamptz IS NULL)
               AND NOT (source = %(own_source)s AND (type <> ALL(%(told)s) OR subject = %(endpoint_id)s::text)
                        AND subject IN (SELECT id::text FROM endpoints_endpoint WHERE workspace_id = %(workspace_id)s))
               AS meant
    FROM routing_event
    WHERE workspace_id = %(workspace_id)s AND id > %(position)s::uuid AND id <= %(end)s::uuid
    ORDER BY id LIMIT %(limit)s
)
SELECT page.id::text, page.id, ended.id, page.meant AND tried.id IS NULL AND made.id IS NULL AS selected,
       page.payload_forgotten_at IS NULL AS has_payload
FROM page
LEFT JOIN LATERAL (
    SELECT id FROM routing_delivery
    WHERE page.meant AND event_id = page.id AND endpoint_id = %(endpoint_id)s
      AND (attempts_made > 0 OR state IN ('PENDING', 'SENDING'))
    LIMIT 1
) AS tried ON true
LEFT JOIN LATERAL (
    SELECT id FROM routing_delivery
    WHERE page.meant AND event_id = page.id AND endpoint_id = %(endpoint_id)s
    ORDER BY seq DESC LIMIT 1
) AS ended ON true
LEFT JOIN LATERAL (
    SELECT id FROM routing_delivery
    WHERE page.meant AND event_id = page.id AND endpoint_id = %(to_endpoint_id)s
      AND retry_of_id IS NOT DISTINCT FROM ended.id
    LIMIT 1
) AS made ON true
ORDER BY page.id
"""

"""Replays as durable jobs: each batch of new deliveries is committed together with how far the job has come.

A batch costs the same wherever in the walk it is: it looks at so many rows behind the position, by an index.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from endpoints.about import about
from endpoints.errors import BadInput, Conflict, Limited
from endpoints.models import Endpoint, EventFilter
from endpoints.outage import OUTAGE
from endpoints.patterns import Pattern, parse_definition
from routing import repeats
from routing.health import SOURCE, TOLD
from routing.models import Delivery, Event, Replay
from routing.repeats import Repeat

logger = logging.getLogger(__name__)

PER_SECOND = 50  # deliveries that a replay writes, unless it is told otherwise
MAX_PER_SECOND = 1_000
MAX_RUNNING = 20  # replays of one workspace
BATCHES = 4  # of one look: a worker has other things to do
WRITTEN = 250  # by one batch
EXAMINED = 2_000  # rows by one batch ...
MATCHED = 400  # ... where the data of events is read too
MATCHED_AT_ONCE = 50  # of these in memory
COUNTED = 100  # batches that a preview looks at
ARREARS = timedelta(seconds=1)  # that a throttled replay may catch up with
CLOCKS_AGREE = timedelta(minutes=10)  # ids and numbers follow dates, but for this


class Selection(NamedTuple):
    """Which deliveries are repeated, or which events are sent that `endpoint` was never tried with."""

    endpoint: Endpoint
    states: Sequence[str] | None = None
    never_attempted: bool = False
    since: datetime | None = None
    until: datetime | None = None
    event_filter: EventFilter | None = None


class _Row(NamedTuple):
    """What a walk comes across. The order is that of the queries' columns."""

    position: str
    event_id: UUID
    delivery_id: UUID | None  # what is repeated; None where the endpoint never had the event
    selected: bool
    has_payload: bool


class _Batch(NamedTuple):
    rows: Sequence[_Row]
    position: str  # up to which everything was looked at
    last: bool  # there is nothing behind it
    passed_over: int  # of what was looked at: their payload was forgotten


def preview(selection: Selection, *, to_endpoint: Endpoint | None = None) -> int | None:
    """Return how many deliveries the replay would write; None where there is too much to look at. Writes nothing."""
    return _count(_planned(selection, to_endpoint, PER_SECOND))


def create(selection: Selection, *, to_endpoint: Endpoint | None = None, per_second: int | None = None) -> Replay:
    """Start a replay to `to_endpoint`, or to the endpoint itself.

    Raises BadInput for what makes no sense, Conflict where the endpoint takes nothing, and Limited.
    """
    replay = _planned(selection, to_endpoint, PER_SECOND if per_second is None else per_second)
    if problem := repeats.problem_of(replay.to_endpoint):
        said = _("Nothing can be replayed: %(problem)s") % {"problem": problem}
        raise Conflict(said, "endpointId" if to_endpoint is None else "toEndpointId")
    running = Replay.objects.filter(workspace_id=replay.workspace_id, state=Replay.State.RUNNING).count()
    if running >= MAX_RUNNING:
        said = _("%(given)s replays are running; at most %(most)s do at once. Wait, or cancel one.")
        raise Limited(said % {"given": running, "most": MAX_RUNNING})
    replay.total = _count(replay)
    replay.save(force_insert=True)
    replay.refresh_from_db()
    return replay


def run_some(*, now: datetime | None = None) -> int:
    """Write the next batches of the replays whose turn it is by `now`, the database's time. Return how many ran."""
    for ran in range(BATCHES):
        if not _run_next(now):
            return ran
    return BATCHES


def _run_next(now: datetime | None) -> bool:
    replay = None
    try:
        with transaction.atomic():
            replay = _due(now)
            if replay is not None:
                _advance(replay)
    except OUTAGE:
        raise
    except Exception:  # a fault of ours must cost one replay, not the worker and all that it would have sent
        if replay is None:
            raise
        with about(workspace_id=replay.workspace_id, endpoint_id=replay.endpoint_id, replay_id=replay.pk):
            logger.exception("Replay %s failed; what it had written stays", replay.pk)
        replay.fail("INTERNAL")
    return replay is not None


def _due(now: datetime | None) -> Any:
    """Lock and return a replay whose turn it is, with the time as `now`; those that others work on are theirs."""
    replays = Replay.objects.select_related("to_endpoint").select_for_update(skip_locked=True, of=("self",))
    at = Now() if now is None else Value(now)
    running = replays.filter(state=Replay.State.RUNNING, resume_at__lte=at)
    return running.annotate(now=at).order_by("resume_at", "pk").first()


def _advance(replay: Any) -> None:
    target = replay.to_endpoint
    if repeats.problem_of(target):
        replay.fail("ENDPOINT_DELETED" if target.deleted_at else "ENDPOINT_DISABLED")
        return
    batch = _look(replay, replay.position, room=min(WRITTEN, replay.per_second))
    replay.done += repeats.write([Repeat(row.event_id, target.pk, row.delivery_id) for row in batch.rows])
    replay.passed_over += batch.passed_over
    replay.position = batch.position
    throttle = timedelta(seconds=len(batch.rows) / replay.per_second)
    replay.resume_at = max(replay.resume_at, replay.now - ARREARS) + throttle
    replay.save(update_fields=["done", "passed_over", "position", "resume_at"])
    if batch.last:
        replay.finish()


def _planned(selection: Selection, to_endpoint: Endpoint | None, per_second: int) -> Replay:
    if not 1 <= per_second <= MAX_PER_SECOND:
        said = _("%(field)s is %(given)s; it is between 1 and %(most)s.")
        raise BadInput(said % {"field": "perSecond", "given": per_second, "most": MAX_PER_SECOND}, "perSecond")
    endpoint = selection.endpoint
    until = _until(selection)
    if selection.since is not None and selection.since >= until:
        said = _("since is %(given)s, which is not before %(until)s.")
        raise BadInput(said % {"given": selection.since, "until": until}, "since")
    walk = _along_events if selection.never_attempted else _along_deliveries
    position, end = walk(endpoint, selection.since, until)
    return Replay(
        workspace_id=endpoint.workspace_id,
        endpoint=endpoint,
        never_attempted=selection.never_attempted,
        states=_states(selection),
        since=selection.since,
        until=until,
        event_filter_id=selection.event_filter.pk if selection.event_filter else None,
        wanted=_wanted(selection),
        to_endpoint=to_endpoint or endpoint,
        per_second=per_second,
        position=position,
        end=end,
    )


def _until(selection: Selection) -> datetime:
    """Return where the time ends: now, by the database's clock, at the latest."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT least(%s::timestamptz, clock_timestamp())", [selection.until])
        (until,) = cursor.fetchone()
    return until  # type: ignore[no-any-return]


def _states(selection: Selection) -> list[str]:
    """Return the states as they are kept: none where nothing was attempted, what failed where none are given."""
    given = selection.states
    if selection.never_attempted:
        if given is not None:
            raise BadInput(_("Both states and neverAttempted are given; give one of the two."), "states")
        return []
    if given is None:
        return [Delivery.State.EXHAUSTED.value]
    if not given:
        raise BadInput(_("states is empty, which selects nothing; leave it out for EXHAUSTED."), "states")
    for state in given:
        if state in Delivery.OPEN:
            said = _("states holds %(state)s; only what has ended can be replayed.")
            raise BadInput(said % {"state": state}, "states")
    return sorted(set(given))


def _wanted(selection: Selection) -> list[list[Any]]:
    """Return the filters that an event must match, one of each list: the given one; and the endpoint's own."""
    wanted = [[selection.event_filter.definition]] if selection.event_filter else []
    if selection.never_attempted:
        filters = selection.endpoint.event_filters.order_by("pk")
        own = list(filters.values_list("definition", flat=True))
        wanted += [own] if own else []
    return wanted


def _along_deliveries(endpoint: Endpoint, since: datetime | None, until: datetime) -> tuple[str, str]:
    """Return before and up to which seq to look. Numbers have no gaps, so that a date's is found by halving."""
    early = None if since is None else since - CLOCKS_AGREE
    with connection.cursor() as cursor:
        cursor.execute(_HALVED, {"endpoint_id": endpoint.pk, "early": early})
        start, last_seq = cursor.fetchone()
    return str(start), str(last_seq)


def _along_events(endpoint: Endpoint, since: datetime | None, until: datetime) -> tuple[str, str]:
    """Return before and up to which event id to look."""
    return str(_id_at(since - CLOCKS_AGREE) if since else UUID(int=0)), str(_id_at(until + CLOCKS_AGREE))


def _id_at(date: datetime) -> UUID:
    """Return the UUIDv7 before all of that millisecond."""
    return UUID(int=max(0, int(date.timestamp() * 1_000)) << 80)


def _count(replay: Replay) -> int | None:
    if not replay.wanted:
        return _counted(replay)
    total, position = 0, replay.position
    for _look_at in range(COUNTED):
        batch = _look(replay, position, room=EXAMINED)
        total, position = total + len(batch.rows), batch.position
        if batch.last:
            return total
    return None


def _counted(replay: Replay) -> int | None:
    """Count where no data is to be read: all that a preview looks at, at once."""
    most = COUNTED * EXAMINED
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), count(*) FILTER (WHERE selected AND has_payload) FROM ({_walk(replay)}) AS looked_at",
            _place(replay, replay.position, most),
        )
        looked_at, selected = cursor.fetchone()
    return selected if looked_at < most else None


def _look(replay: Replay, position: str, *, room: int) -> _Batch:
    """Return up to `room` rows that are selected and match, of those that come next."""
    limit = MATCHED if replay.wanted else EXAMINED
    rows = _examine(replay, position, limit)
    taken: list[_Row] = []
    for row in _matching(replay, rows):
        taken.append(row)
        if len(taken) == room:
            return _Batch(taken, row.position, last=False, passed_over=_payloads_gone(rows[: rows.index(row)]))
    end = rows[-1].position if rows else position
    return _Batch(taken, end, last=len(rows) < limit, passed_over=_payloads_gone(rows))


def _payloads_gone(rows: Sequence[_Row]) -> int:
    return sum(row.selected and not row.has_payload for row in rows)


def _examine(replay: Replay, position: str, limit: int) -> list[_Row]:
    with connection.cursor() as cursor:
        cursor.execute(_walk(replay), _place(replay, position, limit))
        return [_Row(*columns) for columns in cursor.fetchall()]


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


def _matching(replay: Replay, rows: Sequence[_Row]) -> Iterator[_Row]:
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

"""What is too old is forgotten: attempts of whole days by dropping their partition, all else in short transactions.

An event goes with all that became of it, once its last delivery ended that long ago: what is open keeps its event. Its
payload may go before it, which leaves the rest of it, and its deliveries; what is open keeps that too. Days begin at
00:00 UTC, so that attempts of a day that is over have left with their partition before anybody counts rows.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from routing import partitions

AT_ONCE = 500  # events, attempts or ids of one transaction
MOST_DELIVERIES = 5_000  # of these events, unless one alone has more
_LATE = timedelta(hours=1)  # by which the id of an attempt may lie behind the end of its delivery


class Forgot(NamedTuple):
    """What one transaction took away, or would have."""

    what: str  # "days" of attempts, "attempts", "events", "deliveries", "payloads" or "ids" of producers
    rows: int


class _Term(NamedTuple):
    """A workspace, and from when on what is kept of it. The order is that of the query's columns."""

    workspace_id: UUID
    since: datetime | None
    payloads_since: datetime | None  # where that is less than their events are kept
    attempts_since: datetime | None  # where that is less than what leaves with the partitions


def prune(*, dry_run: bool = False, now: datetime | None = None) -> Iterator[Forgot]:
    """Forget what is too old by `now`, the database's time: one short transaction after another, as it is iterated.

    What is in use by others at the moment is passed over. A dry run undoes each transaction. Each step is short, also
    where it found nothing to forget: so who has no time for all of it can stop after any of them.
    """
    yield from _whole_days(dry_run, now)
    for workspace_id, since, payloads_since, attempts_since in _terms(now):
        if attempts_since:
            yield from _walk(_OLD_ATTEMPTS, _FORGET_ATTEMPTS, workspace_id, attempts_since, dry_run)
        if since:
            yield from _walk(_OLD_EVENTS, _FORGET_EVENTS, workspace_id, since, dry_run, hold=_GROUPS)
            yield from _walk(_OLD_IDS, _FORGET_IDS, workspace_id, since, dry_run)
        if payloads_since:
            yield from _walk(_OLD_PAYLOADS, _FORGET_PAYLOADS, workspace_id, payloads_since, dry_run)


def _installations_days() -> int | None:
    """Return for how many days anybody's attempts are kept; None: for ever."""
    return min(filter(None, (settings.KEEP_DAYS, settings.KEEP_ATTEMPTS_DAYS)), default=None)


def _whole_days(dry_run: bool, now: datetime | None) -> Iterator[Forgot]:
    kept = _installations_days()
    if kept is None:
        return
    for day in partitions.older_than(kept, now=now):
        if not dry_run and not partitions.drop(day):  # one that waits for others to be done stands before the rest
            return
        yield Forgot("days", 1)


def _terms(now: datetime | None) -> list[_Term]:
    parameters = {
        "days": settings.KEEP_DAYS,
        "payloads_days": settings.KEEP_PAYLOADS_DAYS,
        "attempts_days": _installations_days(),
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TERMS, parameters)
        return [_Term(*row) for row in cursor.fetchall()]


def _walk(
    page: str, forget: str, workspace_id: UUID, since: datetime, dry_run: bool, *, hold: str = ""
) -> Iterator[Forgot]:
    """Go along the ids up to `since`, so that what has to stay is looked at once.

    The page is locked before it is asked what may go: nobody can add a delivery to its events then. What `hold` selects
    is locked next, which waits for those who take some of them at the moment.
    """
    parameters: dict[str, Any] = {
        "workspace_id": workspace_id,
        "since": since,
        "end": partitions.id_at(since),
        "attempts_end": partitions.id_at(since + _LATE),
        "limit": AT_ONCE,
    }
    position: UUID | None = UUID(int=0)
    while position:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(page, {**parameters, "position": position})
            ids = [id_ for (id_,) in cursor.fetchall()]
            there_is_more = len(ids) == AT_ONCE
            if hold:
                few = _with_few_deliveries(ids, cursor)
                ids, there_is_more = few, there_is_more or len(few) < len(ids)
                cursor.execute(hold, {"ids": ids})
            cursor.execute(forget, {**parameters, "ids": ids})
            forgot = [Forgot(*row) for row in cursor.fetchall()]
            transaction.set_rollback(dry_run)
        yield from forgot
        position = ids[-1] if there_is_more else None


def _with_few_deliveries(event_ids: list[UUID], cursor: Any) -> list[UUID]:
    """Return the first events, as many as one transaction may forget with their deliveries."""
    cursor.execute(_DELIVERIES, [event_ids])
    numbers = dict(cursor.fetchall())
    sums = accumulate(numbers.get(id_, 0) for id_ in event_ids)
    return [
        id_
        for place, (id_, sum_) in enumerate(zip(event_ids, sums, strict=True))
        if not place or sum_ <= MOST_DELIVERIES
    ]


# least() passes over what is not set.
_TERMS = """
SELECT id, day - least(keep_days, %(days)s) * interval '1 day',
       CASE WHEN least(keep_payloads_days, %(payloads_days)s) < least(keep_days, %(days)s)
                 OR least(keep_days, %(days)s::int) IS NULL
            THEN day - least(keep_payloads_days, %(payloads_days)s) * interval '1 day' END,
       CASE WHEN least(keep_attempts_days, keep_days) < %(attempts_days)s OR %(attempts_days)s::int IS NULL
            THEN day - least(keep_attempts_days, keep_days) * interval '1 day' END
FROM endpoints_workspace
CROSS JOIN date_trunc('day', coalesce(%(now)s, clock_timestamp()), 'UTC') AS day
ORDER BY id
"""
_PAGE = """
SELECT {id} FROM {table}
WHERE workspace_id = %(workspace_id)s AND {id} > %(position)s AND {id} < %(end)s AND {meant}
ORDER BY {id} LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_DELIVERIES = "SELECT event_id, count(*) FROM routing_delivery WHERE event_id = ANY(%s) GROUP BY event_id"
# Members take deliveries under the lock of their group: what they took and did not commit yet would be left behind.
_GROUPS = """
SELECT FROM routing_sharegroup
WHERE endpoint_id = ANY(ARRAY(SELECT DISTINCT endpoint_id FROM routing_delivery WHERE event_id = ANY(%(ids)s)))
ORDER BY id FOR UPDATE
"""
_OLD_ATTEMPTS = _PAGE.format(table="routing_attempt", id="id", meant="true")
_OLD_EVENTS = _PAGE.format(table="routing_event", id="id", meant="true")
_OLD_PAYLOADS = _PAGE.format(table="routing_event", id="id", meant="payload_forgotten_at IS NULL")
_OLD_IDS = _PAGE.format(table="routing_idempotencyrecord", id="event_id", meant="true")

_FORGET_ATTEMPTS = """
WITH gone AS (
    DELETE FROM routing_attempt WHERE workspace_id = %(workspace_id)s AND id = ANY(%(ids)s) RETURNING id
)
SELECT 'attempts', count(*) FROM gone
"""
# Ids of events are made by whoever records them, whose clock may be wrong; the dates are the database's.
_FORGET_EVENTS = """
WITH old AS MATERIALIZED (
    SELECT id FROM routing_event AS event
    WHERE id = ANY(%(ids)s) AND creation_date < %(since)s AND NOT EXISTS (
        SELECT FROM routing_delivery AS delivery
        WHERE delivery.event_id = event.id AND (settled_at IS NULL OR settled_at >= %(since)s))
), attempts AS (
    DELETE FROM routing_attempt AS attempt
    USING old JOIN routing_delivery AS delivery ON delivery.event_id = old.id
    WHERE attempt.delivery_id = delivery.id AND attempt.id < %(attempts_end)s
    RETURNING attempt.id
), deliveries AS (
    DELETE FROM routing_delivery AS delivery USING old WHERE delivery.event_id = old.id
    RETURNING delivery.id, endpoint_id, seq
), shared AS (
    DELETE FROM routing_shareddelivery AS shared
    USING deliveries JOIN routing_sharegroup AS share_group USING (endpoint_id)
    WHERE shared.group_id = share_group.id AND shared.seq = deliveries.seq AND shared.delivery_id = deliveries.id
), noted AS (
    INSERT INTO routing_forgotten AS forgotten (endpoint_id, deliveries)
    SELECT endpoint_id, count(*) FROM deliveries GROUP BY endpoint_id ORDER BY endpoint_id
    ON CONFLICT (endpoint_id) DO UPDATE SET deliveries = forgotten.deliveries + excluded.deliveries
), events AS (
    DELETE FROM routing_event AS event USING old WHERE event.id = old.id RETURNING event.id
)
SELECT 'attempts', count(*) FROM attempts
UNION ALL SELECT 'deliveries', count(*) FROM deliveries
UNION ALL SELECT 'events', count(*) FROM events
"""
_FORGET_PAYLOADS = """
WITH forgot AS (
    UPDATE routing_event AS event SET data = '', extensions = '', payload_forgotten_at = clock_timestamp()
    WHERE id = ANY(%(ids)s) AND creation_date < %(since)s AND NOT EXISTS (
        SELECT FROM routing_delivery AS delivery
        WHERE delivery.event_id = event.id AND (settled_at IS NULL OR settled_at >= %(since)s))
    RETURNING id
)
SELECT 'payloads', count(*) FROM forgot
"""
_FORGET_IDS = """
WITH gone AS (
    DELETE FROM routing_idempotencyrecord
    WHERE workspace_id = %(workspace_id)s AND event_id = ANY(%(ids)s) AND creation_date < %(since)s RETURNING event_id
)
SELECT 'ids', count(*) FROM gone
"""

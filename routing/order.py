"""Order within an ordering key: of a key's open deliveries the first is due, the others wait without a time.

The cursor of the endpoint is locked while somebody decides whose turn it is, so that a delivery that is written and
one that ends at the same moment see each other.
"""

from collections.abc import Collection
from uuid import UUID

import msgspec
from django.db import connection

from routing.plans import Tell

MOST_FORGOTTEN = 5_000

Key = tuple[UUID, str]  # endpoint and ordering key


def lock(keys: Collection[Key]) -> None:
    """Wait for whoever writes deliveries to these endpoints, and hold up who would, until the transaction ends."""
    locks = locking({endpoint_id for endpoint_id, _ in keys})
    with connection.cursor() as cursor:
        cursor.execute(locks.sql, locks.parameters)


def locking(endpoint_ids: Collection[UUID]) -> Tell:
    """Return the statement of `lock`, for a plan."""
    return Tell(_LOCK, [list(endpoint_ids)])


def let_next_go(keys: Collection[Key]) -> None:
    """Make due what comes next in each key, unless one before it is on its way.

    One that failed and waits to be tried again holds up those behind it with FIFO_BLOCK, and not with FIFO_SKIP.
    """
    with connection.cursor() as cursor:
        cursor.execute(*next_goes(keys))


def next_goes(keys: Collection[Key]) -> tuple[str, list[str]]:
    """Return the statement of let_next_go, for a plan."""
    rows = [{"endpoint_id": endpoint_id, "ordering_key": key} for endpoint_id, key in keys]
    return _LET_NEXT_GO, [msgspec.json.encode(rows).decode()]


def let_forgotten_go() -> int:
    """Make due what waits for nothing: its endpoint gave up order, or what was before it was ended by other hands.

    Return how many there were, of each kind at most MOST_FORGOTTEN at once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LET_GO.format(chosen=_FORGOTTEN), [MOST_FORGOTTEN])
        forgotten = int(cursor.rowcount)
        cursor.execute(_LET_GO.format(chosen=_UNORDERED), [MOST_FORGOTTEN])
        return forgotten + int(cursor.rowcount)


_LOCK = "SELECT FROM routing_cursor WHERE endpoint_id = ANY(%s) ORDER BY endpoint_id FOR UPDATE"

_HELD_UP = """
EXISTS (
    SELECT FROM routing_delivery AS before
    WHERE before.endpoint_id = next.endpoint_id AND before.ordering_key = next.ordering_key
      AND before.state IN ('PENDING', 'SENDING') AND before.seq < next.seq
      AND NOT (endpoint.ordering = 'FIFO_SKIP' AND before.state = 'PENDING' AND before.attempts_made > 0))
"""
_LET_NEXT_GO = f"""
UPDATE routing_delivery AS next SET due_at = clock_timestamp()
FROM (SELECT DISTINCT * FROM json_to_recordset(%s::json) AS key(endpoint_id uuid, ordering_key text)) AS key
JOIN endpoints_endpoint AS endpoint ON endpoint.id = key.endpoint_id
CROSS JOIN LATERAL (
    SELECT id FROM routing_delivery AS waiting
    WHERE waiting.endpoint_id = key.endpoint_id AND waiting.ordering_key = key.ordering_key
      AND waiting.state = 'PENDING' AND waiting.due_at IS NULL
    ORDER BY seq LIMIT 1
) AS first
WHERE next.id = first.id AND next.state = 'PENDING' AND next.due_at IS NULL AND NOT {_HELD_UP}
"""
# No cursor is locked: what is locked by others is being seen to, and is passed over.
_LET_GO = """
WITH RECURSIVE {chosen}, free AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE id IN (SELECT id FROM chosen) AND state = 'PENDING' AND due_at IS NULL
    FOR UPDATE SKIP LOCKED
)
UPDATE routing_delivery AS next SET due_at = clock_timestamp() FROM free WHERE next.id = free.id
"""
# key: each key with open deliveries, found by hopping along the index of order.
_FORGOTTEN = f"""
key(endpoint_id, ordering_key) AS (
    (SELECT endpoint_id, ordering_key FROM routing_delivery
     WHERE state IN ('PENDING', 'SENDING') AND ordering_key <> ''
     ORDER BY endpoint_id, ordering_key LIMIT 1)
    UNION ALL
    SELECT next.* FROM key CROSS JOIN LATERAL (
        SELECT endpoint_id, ordering_key FROM routing_delivery
        WHERE state IN ('PENDING', 'SENDING') AND ordering_key <> ''
          AND (endpoint_id, ordering_key) > (key.endpoint_id, key.ordering_key)
        ORDER BY endpoint_id, ordering_key LIMIT 1
    ) AS next
), chosen AS MATERIALIZED (
    SELECT next.id
    FROM key
    JOIN endpoints_endpoint AS endpoint ON endpoint.id = key.endpoint_id
    CROSS JOIN LATERAL (
        SELECT * FROM routing_delivery AS waiting
        WHERE waiting.endpoint_id = key.endpoint_id AND waiting.ordering_key = key.ordering_key
          AND waiting.state = 'PENDING' AND waiting.due_at IS NULL
        ORDER BY seq LIMIT 1
    ) AS next
    WHERE endpoint.deleted_at IS NULL AND NOT {_HELD_UP}
    LIMIT %s
)
"""
_UNORDERED = """
chosen AS MATERIALIZED (
    SELECT waiting.id
    FROM endpoints_endpoint AS endpoint JOIN routing_delivery AS waiting ON waiting.endpoint_id = endpoint.id
    WHERE endpoint.type = 'WEB_HOOK' AND endpoint.ordering = 'UNORDERED' AND endpoint.deleted_at IS NULL
      AND waiting.state = 'PENDING' AND waiting.due_at IS NULL
    LIMIT %s
)
"""

"""Order within an ordering key: of a key's open deliveries the first is due, the others wait without a time.

The cursor of the endpoint is locked while somebody decides whose turn it is, so that a delivery that is written and
one that ends at the same moment see each other.
"""

from collections.abc import Collection
from uuid import UUID

import msgspec
from django.db import connection

Key = tuple[UUID, str]  # endpoint and ordering key


def lock(keys: Collection[Key]) -> None:
    """Wait for whoever writes deliveries to these endpoints, and hold up who would, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [list({endpoint_id for endpoint_id, _ in keys})])


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
    """Make due what waits for nothing: its endpoint gave up order, or what was before it was ended by other hands."""
    with connection.cursor() as cursor:
        cursor.execute(_LET_FORGOTTEN_GO)
        return int(cursor.rowcount)


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
WHERE next.id = first.id AND NOT {_HELD_UP}
"""
_LET_FORGOTTEN_GO = f"""
UPDATE routing_delivery AS next SET due_at = clock_timestamp()
FROM endpoints_endpoint AS endpoint
WHERE endpoint.id = next.endpoint_id AND endpoint.type = 'WEB_HOOK' AND endpoint.deleted_at IS NULL
  AND next.ordering_key <> '' AND next.state = 'PENDING' AND next.due_at IS NULL
  AND (endpoint.ordering = 'UNORDERED' OR NOT {_HELD_UP})
"""

"""How much traffic a workspace has, without counting it: the same cost for ten rows and for ten million."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection

from routing.models import Rollup

MOST_COUNTS = 10_000  # not rolled up yet; with more nobody says how many there are


def events_of(workspace_id: UUID) -> int | None:
    """Return how many events the workspace has, exactly; None where too much is not rolled up yet."""
    parameters: dict[str, Any] = {
        "workspace_id": workspace_id,
        "names": list(Rollup.ROLLED_UP_EVER),
        "most": MOST_COUNTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, parameters)
        (found,) = cursor.fetchone()
    return None if found is None else int(found)


def deliveries_of(workspace_id: UUID, endpoint_ids: Collection[UUID] | None = None) -> int:
    """Return how many deliveries the workspace has, of all its endpoints or of these: their numbers have no gaps."""
    ids = None if endpoint_ids is None else list(endpoint_ids)
    with connection.cursor() as cursor:
        cursor.execute(_DELIVERIES, {"workspace_id": workspace_id, "endpoint_ids": ids})
        (found,) = cursor.fetchone()
    return int(found)


_EVENTS = """
WITH pending AS MATERIALIZED (SELECT workspace_id, endpoint_id, name, count FROM routing_count LIMIT %(most)s + 1)
SELECT CASE WHEN (SELECT count(*) FROM pending) <= %(most)s
            THEN coalesce(sum(CASE name WHEN 'EVENTS' THEN count ELSE -count END), 0) END
FROM (
    SELECT name, count FROM routing_rollup
    WHERE endpoint_id IS NULL AND workspace_id = %(workspace_id)s AND period = 'EVER' AND name = ANY(%(names)s)
    UNION ALL SELECT name, count FROM pending WHERE workspace_id = %(workspace_id)s AND name = ANY(%(names)s)
) AS counted
"""
_DELIVERIES = """
SELECT coalesce(sum(cursor.last_seq - coalesce(forgotten.deliveries, 0)), 0)
FROM endpoints_endpoint AS endpoint JOIN routing_cursor AS cursor ON cursor.endpoint_id = endpoint.id
LEFT JOIN routing_forgotten AS forgotten ON forgotten.endpoint_id = endpoint.id
WHERE endpoint.workspace_id = %(workspace_id)s
  AND (%(endpoint_ids)s::uuid[] IS NULL OR endpoint.id = ANY(%(endpoint_ids)s::uuid[]))
"""

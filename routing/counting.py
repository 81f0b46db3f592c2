"""How much traffic a workspace has, without counting it: the same cost for ten rows and for ten million."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection

MOST_COUNTS = 10_000  # not rolled up yet; with more nobody says how many there are


def events_of(workspace_id: UUID) -> int | None:
    """Return how many events the workspace has, exactly; None where too much is not rolled up yet."""
    return _lasting(workspace_id, None, ["EVENTS"])


def ended_of(workspace_id: UUID, endpoint_ids: Collection[UUID] | None, states: Collection[str]) -> int | None:
    """Return how many of its deliveries, or of these endpoints', ended so, as `events_of` does."""
    return _lasting(workspace_id, endpoint_ids, list(states))


def deliveries_of(workspace_id: UUID, endpoint_ids: Collection[UUID] | None = None) -> int:
    """Return how many deliveries the workspace has, or these endpoints of it: their numbers have no gaps."""
    return int(_number(_DELIVERIES, {"workspace_id": workspace_id, "endpoint_ids": _listed(endpoint_ids)}) or 0)


def _lasting(workspace_id: UUID, endpoint_ids: Collection[UUID] | None, names: list[str]) -> int | None:
    parameters = {"workspace_id": workspace_id, "endpoint_ids": _listed(endpoint_ids), "most": MOST_COUNTS}
    return _number(_LASTING, {**parameters, "names": names, "forgotten": [f"FORGOTTEN {name}" for name in names]})


def _listed(endpoint_ids: Collection[UUID] | None) -> list[UUID] | None:
    return None if endpoint_ids is None else list(endpoint_ids)


def _number(sql: str, parameters: dict[str, Any]) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        (found,) = cursor.fetchone()
    return None if found is None else int(found)


# Of all endpoints there is a row of the workspace's own. Counts become roll-ups in one transaction: each is seen once.
_LASTING = """
WITH pending AS MATERIALIZED (SELECT workspace_id, endpoint_id, name, count FROM routing_count LIMIT %(most)s + 1)
SELECT CASE WHEN (SELECT count(*) FROM pending) <= %(most)s
            THEN coalesce(sum(CASE WHEN name = ANY(%(names)s) THEN count ELSE -count END), 0) END
FROM (
    SELECT name, count FROM routing_rollup
    WHERE %(endpoint_ids)s::uuid[] IS NULL AND endpoint_id IS NULL AND workspace_id = %(workspace_id)s
      AND period = 'EVER' AND name = ANY(%(names)s::text[] || %(forgotten)s::text[])
    UNION ALL
    SELECT name, count FROM routing_rollup
    WHERE endpoint_id = ANY(%(endpoint_ids)s::uuid[]) AND workspace_id = %(workspace_id)s
      AND period = 'EVER' AND name = ANY(%(names)s::text[] || %(forgotten)s::text[])
    UNION ALL
    SELECT name, count FROM pending
    WHERE (%(endpoint_ids)s::uuid[] IS NULL OR endpoint_id = ANY(%(endpoint_ids)s::uuid[]))
      AND workspace_id = %(workspace_id)s AND name = ANY(%(names)s::text[] || %(forgotten)s::text[])
) AS counted
"""
_DELIVERIES = """
SELECT coalesce(sum(cursor.last_seq - coalesce(forgotten.deliveries, 0)), 0)
FROM endpoints_endpoint AS endpoint JOIN routing_cursor AS cursor ON cursor.endpoint_id = endpoint.id
LEFT JOIN routing_forgotten AS forgotten ON forgotten.endpoint_id = endpoint.id
WHERE endpoint.workspace_id = %(workspace_id)s
  AND (%(endpoint_ids)s::uuid[] IS NULL OR endpoint.id = ANY(%(endpoint_ids)s::uuid[]))
"""

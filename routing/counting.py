"""How much traffic a workspace has, without counting it: the same cost for ten rows and for ten million."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection

from routing.models import Rollup

MOST_COUNTS = 10_000  # not rolled up yet; with more nobody says how many there are


def events_of(workspace_id: UUID) -> int | None:
    """Return how many events the workspace has, exactly; None where too much is not rolled up yet."""
    found = _row(_LASTING, workspace_id, None)
    return None if found[0] is None else _kept(found[0], "EVENTS")


def states_of(workspace_id: UUID, endpoint_ids: Collection[UUID] | None) -> dict[str, int] | None:
    """Return how many of its deliveries, or of these endpoints', are in each state, as `events_of` does."""
    lasting, all_of_them, sending = _row(_STATES, workspace_id, endpoint_ids)
    if lasting is None:
        return None
    ended = {state: _kept(lasting, state) for state in Rollup.LASTING if state != "EVENTS"}
    return {**ended, "SENDING": sending, "PENDING": all_of_them - sending - sum(ended.values())}


def deliveries_of(workspace_id: UUID, endpoint_ids: Collection[UUID] | None) -> int:
    """Return how many deliveries the workspace has, or these endpoints of it: their numbers have no gaps."""
    (found,) = _row(f"SELECT ({_DELIVERIES})::bigint", workspace_id, endpoint_ids)
    return int(found)


def _kept(lasting: dict[str, int], name: str) -> int:
    return lasting.get(name, 0) - lasting.get(f"FORGOTTEN {name}", 0)


def _row(sql: str, workspace_id: UUID, endpoint_ids: Collection[UUID] | None) -> Any:
    parameters = {
        "workspace_id": workspace_id,
        "endpoint_ids": None if endpoint_ids is None else list(endpoint_ids),
        "names": list(Rollup.ROLLED_UP_EVER),
        "most": MOST_COUNTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


# Of all endpoints there is a row of the workspace's own. Counts become roll-ups in one transaction: each is seen once.
_LASTING = """
WITH pending AS MATERIALIZED (SELECT workspace_id, endpoint_id, name, count FROM routing_count LIMIT %(most)s + 1)
SELECT CASE WHEN (SELECT count(*) FROM pending) <= %(most)s THEN coalesce(json_object_agg(name, count), '{}') END
FROM (
    SELECT name, sum(count)::bigint AS count FROM (
        SELECT name, count FROM routing_rollup
        WHERE %(endpoint_ids)s::uuid[] IS NULL AND endpoint_id IS NULL AND workspace_id = %(workspace_id)s
          AND period = 'EVER' AND name = ANY(%(names)s)
        UNION ALL
        SELECT name, count FROM routing_rollup
        WHERE endpoint_id = ANY(%(endpoint_ids)s::uuid[]) AND workspace_id = %(workspace_id)s
          AND period = 'EVER' AND name = ANY(%(names)s)
        UNION ALL
        SELECT name, count FROM pending
        WHERE (%(endpoint_ids)s::uuid[] IS NULL OR endpoint_id = ANY(%(endpoint_ids)s::uuid[]))
          AND workspace_id = %(workspace_id)s AND name = ANY(%(names)s)
    ) AS counted GROUP BY name
) AS counts
"""
_DELIVERIES = """
SELECT coalesce(sum(cursor.last_seq - coalesce(forgotten.deliveries, 0)), 0)
FROM endpoints_endpoint AS endpoint JOIN routing_cursor AS cursor ON cursor.endpoint_id = endpoint.id
LEFT JOIN routing_forgotten AS forgotten ON forgotten.endpoint_id = endpoint.id
WHERE endpoint.workspace_id = %(workspace_id)s
  AND (%(endpoint_ids)s::uuid[] IS NULL OR endpoint.id = ANY(%(endpoint_ids)s::uuid[]))
"""
# In one statement, which sees one state of everything. What is being sent is never many, and has an index of its own.
_STATES = f"""
SELECT ({_LASTING}), ({_DELIVERIES})::bigint, (
    SELECT count(*) FROM routing_delivery
    WHERE state = 'SENDING' AND due_at IS NOT NULL AND workspace_id = %(workspace_id)s
      AND (%(endpoint_ids)s::uuid[] IS NULL OR endpoint_id = ANY(%(endpoint_ids)s::uuid[])))
"""

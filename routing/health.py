"""Endpoints that do nothing but fail: their owners are warned, then they are disabled. All by evidence of their lanes.

What is found is told as an event, which every endpoint of the workspace can receive but the one that it is about.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction

from endpoints.audit import Actor, by
from endpoints.models import Endpoint
from routing.models import Event, Lane
from routing.submissions import Submission, check

DISABLE_AFTER = timedelta(days=5)  # of nothing but failures
LEVELS = (50, 70, 90, 100)  # percent of it: three warnings and the end
AT_ONCE = 20  # endpoints in one look: the worker has more to do
SOURCE = "event-service"
TOLD = ("endpoint.failing", "endpoint.recovered", "endpoint.disabled")  # types of what is told


class Finding(NamedTuple):
    """An endpoint of which there is something to tell. The order is that of the query's columns."""

    endpoint_id: UUID
    workspace_id: UUID
    name: str
    url: str
    failing_since: datetime | None
    disable_reason: str
    warned: int  # percent
    level: int  # the highest that it has reached; 0 for one that has recovered, even if it fails again


def watch() -> int:
    """Tell of each endpoint, once, that it fails, is disabled or has recovered. Return how many there were."""
    told = 0
    while told < AT_ONCE and _tell():
        told += 1
    return told


@transaction.atomic
def _tell() -> bool:
    """Tell of one endpoint, if there is one: of each in a transaction of its own, whose locks nobody waits for."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [DISABLE_AFTER.total_seconds(), [0, *LEVELS], list(LEVELS)])
        row = cursor.fetchone()
    if row is None:
        return False
    found = Finding(*row)
    if found.disable_reason or found.level == LEVELS[-1]:
        _disable(found, found.disable_reason or f"It did nothing but fail for {DISABLE_AFTER.days} days.")
    elif found.level > found.warned:
        _record(found, "failing", f"It is disabled after {DISABLE_AFTER.days} days of nothing but failures.")
    else:
        _record(found, "recovered", "It took a request.")
    level = LEVELS[-1] if found.disable_reason else found.level
    Lane.objects.filter(pk=found.endpoint_id).update(warned_percent=level, disable_reason="")
    return True


def _disable(found: Finding, reason: str) -> None:
    with by(Actor("SERVICE", SOURCE, "health", "endpoint.disabled")):
        Endpoint.change_state([Endpoint(pk=found.endpoint_id)], Endpoint.State.DISABLED, reason)
    _record(found, "disabled", reason)


def _record(found: Finding, what: str, reason: str) -> None:
    data: dict[str, Any] = {
        "endpointId": found.endpoint_id,
        "name": found.name,
        "url": found.url,
        "failingSince": found.failing_since and found.failing_since.astimezone(UTC).isoformat(timespec="microseconds"),
        "percent": found.level,
        "reason": reason,
    }
    submission = Submission(
        type=f"endpoint.{what}",
        source=SOURCE,
        subject=str(found.endpoint_id),
        data=msgspec.Raw(msgspec.json.encode(data)),
    )
    Event.record_all([replace(check(submission, found.workspace_id), about=found.endpoint_id)])


# An endpoint that another worker has, or whose lane is in use right now, is left for the next look.
_FIND = """
SELECT endpoint.id, endpoint.workspace_id, endpoint.name, endpoint.url, lane.failing_since, lane.disable_reason,
       lane.warned_percent, level
FROM routing_lane AS lane JOIN endpoints_endpoint AS endpoint ON endpoint.id = lane.endpoint_id
CROSS JOIN LATERAL (
    SELECT coalesce(100 * extract(epoch FROM lane.last_failed_at - lane.failing_since) / %s, 0)::float8 AS percent
) AS time
CROSS JOIN LATERAL (SELECT (%s::int[])[1 + width_bucket(percent, %s::float8[])] AS level) AS reached
WHERE (lane.failing_since IS NOT NULL OR lane.warned_percent > 0 OR lane.disable_reason <> '')
  AND (lane.disable_reason <> '' OR level <> lane.warned_percent)
  AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
LIMIT 1
FOR NO KEY UPDATE OF endpoint, lane SKIP LOCKED
"""

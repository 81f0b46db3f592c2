"""Claim and settle: the only SQL of the delivery queue.

A claim leases rows until `due_at` (the database's clock) under a token; a result is written only where the token
still stands. What is due and what a dead worker left behind are found by the same index on `due_at`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
from django.db import connection

LEASE_S = 60  # at least twice the deadline of an attempt


class Job(NamedTuple):
    """A claimed delivery, with all that a request is made of. The order is that of the claim's columns."""

    delivery_id: UUID
    workspace_id: UUID
    endpoint_id: UUID
    endpoint_workspace_id: UUID
    number: int  # of this attempt: 1, 2, 3 ...
    url: str
    method: str
    secret: str
    event_id: UUID
    type: str
    date: datetime
    source: str
    subject: str
    data: str
    claimed_at: datetime
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a claimed delivery. Without `started_at` nothing was tried and the claim is undone."""

    job: Job
    state: str
    reason: str = ""
    retry_after_s: float | None = None
    started_at: datetime | None = None
    duration_ms: float | None = None
    status_code: int | None = None
    error: str = ""
    error_detail: str = ""
    response_body: str = ""


def claim(*, limit: int, per_endpoint: int, in_flight: Mapping[UUID, int]) -> list[Job]:
    """Lease up to `limit` due deliveries, of each endpoint at most `per_endpoint` less what is `in_flight`.

    The cost does not depend on how much is queued: it is one index probe an endpoint, and one a row taken.
    """
    busy = [{"endpoint_id": endpoint_id, "count": count} for endpoint_id, count in in_flight.items()]
    parameters: dict[str, Any] = {
        "busy": msgspec.json.encode(busy).decode(),
        "per_endpoint": per_endpoint,
        "limit": limit,
        "lease_s": LEASE_S,
        "token": uuid4(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        return [Job(*row) for row in cursor.fetchall()]


def settle(results: Sequence[Result]) -> int:
    """Write the results whose lease still stands, each with its attempt, in one statement. Return their number."""
    document = msgspec.json.encode([_row(result) for result in results]).decode()
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [document])
        return int(cursor.rowcount)


def cancel_deleted(*, within_s: float) -> int:
    """Cancel what is still owed to endpoints that were deleted within that time. Return how many deliveries that are.

    It is asked again and again, as events may still be recorded for an endpoint while it is being deleted.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CANCEL_DELETED, [within_s])
        return int(cursor.rowcount)


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.job.delivery_id,
        "token": result.job.lease_token,
        "number": result.job.number,
        "state": result.state,
        "reason": result.reason,
        "retry_after_s": result.retry_after_s,
        "started_at": result.started_at,
        "duration_ms": result.duration_ms,
        "status_code": result.status_code,
        "error": result.error,
        "error_detail": result.error_detail,
        "response_body": result.response_body,
    }


# lane: each endpoint that has anything to claim, found by hopping along the index from one to the next.
# taken: a few rows of each, in a random order of endpoints, so that none is always first.
# lost: a row that was leased has lost its worker; the attempt that nobody reported is recorded as such.
_CLAIM = """
WITH RECURSIVE hop(endpoint_id) AS (
    (SELECT endpoint_id FROM routing_delivery WHERE due_at IS NOT NULL ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT delivery.endpoint_id FROM routing_delivery AS delivery
        WHERE delivery.due_at IS NOT NULL AND delivery.endpoint_id > hop.endpoint_id
        ORDER BY delivery.endpoint_id LIMIT 1
    ) FROM hop WHERE hop.endpoint_id IS NOT NULL
), lane AS MATERIALIZED (
    SELECT endpoint.*, %(per_endpoint)s - coalesce(busy.count, 0) AS room
    FROM hop
    JOIN endpoints_endpoint AS endpoint ON endpoint.id = hop.endpoint_id
    LEFT JOIN json_to_recordset(%(busy)s::json) AS busy(endpoint_id uuid, count int) USING (endpoint_id)
    WHERE endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL AND coalesce(busy.count, 0) < %(per_endpoint)s
    ORDER BY random()
), taken AS MATERIALIZED (
    SELECT delivery.id, delivery.state, delivery.attempts_made, delivery.due_at,
           lane.workspace_id AS endpoint_workspace_id, lane.url, lane.method, lane.secret
    FROM lane CROSS JOIN LATERAL (
        SELECT * FROM routing_delivery AS delivery
        WHERE delivery.endpoint_id = lane.id AND delivery.due_at <= clock_timestamp()
        ORDER BY delivery.due_at, delivery.seq LIMIT lane.room FOR UPDATE SKIP LOCKED
    ) AS delivery
    LIMIT %(limit)s
), claimed AS (
    UPDATE routing_delivery AS delivery
    SET state = 'SENDING', attempts_made = delivery.attempts_made + 1, lease_token = %(token)s,
        due_at = clock_timestamp() + %(lease_s)s * interval '1 second'
    FROM taken WHERE delivery.id = taken.id
    RETURNING delivery.*, taken.state AS state_before, taken.attempts_made AS attempts_before,
              taken.due_at AS due_before, taken.endpoint_workspace_id, taken.url, taken.method, taken.secret
), lost AS (
    INSERT INTO routing_attempt
        (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body)
    SELECT routing_uuid7(), workspace_id, id, attempts_before, due_before, 'WORKER_LOST',
           'The worker did not report back within its lease.', ''
    FROM claimed WHERE state_before = 'SENDING'
)
SELECT claimed.id, claimed.workspace_id, claimed.endpoint_id, claimed.endpoint_workspace_id, claimed.attempts_made,
       claimed.url, claimed.method, claimed.secret,
       event.id, event.type, event.date, event.source, event.subject, event.data, clock_timestamp(), claimed.lease_token
FROM claimed JOIN routing_event AS event ON event.id = claimed.event_id
"""

# settled: fenced by the token. A row without started_at was not tried: its claim is undone, and no attempt written.
_SETTLE = """
WITH result AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json) AS result(
        id uuid, token uuid, number int, state text, reason text, retry_after_s float8, started_at timestamptz,
        duration_ms float8, status_code int, error text, error_detail text, response_body text)
), settled AS (
    UPDATE routing_delivery AS delivery
    SET state = result.state,
        reason = result.reason,
        attempts_made = delivery.attempts_made - (result.started_at IS NULL)::int,
        lease_token = NULL,
        due_at = CASE WHEN result.state = 'PENDING'
                      THEN clock_timestamp() + result.retry_after_s * interval '1 second' END,
        settled_at = CASE WHEN result.state <> 'PENDING' THEN clock_timestamp() END
    FROM result
    WHERE delivery.id = result.id AND delivery.lease_token = result.token
    RETURNING delivery.workspace_id, result.*
), attempt AS (
    INSERT INTO routing_attempt
        (id, workspace_id, delivery_id, number, started_at, duration_ms, status_code, error, error_detail,
         response_body)
    SELECT routing_uuid7(), workspace_id, id, number, started_at, duration_ms, status_code, error, error_detail,
           response_body
    FROM settled WHERE started_at IS NOT NULL
)
SELECT FROM settled
"""

# Two indexes hold what is open: `delivery_due` and, of websocket endpoints, `delivery_unread`. Both conditions are
# asked again of the row that is changed: it may have been claimed or settled since.
_CANCEL_DELETED = """
WITH gone AS MATERIALIZED (
    SELECT id FROM endpoints_endpoint WHERE deleted_at > clock_timestamp() - %s * interval '1 second'
), open AS (
    SELECT delivery.id FROM gone JOIN routing_delivery AS delivery ON delivery.endpoint_id = gone.id
    WHERE delivery.due_at IS NOT NULL
    UNION ALL
    SELECT delivery.id FROM gone JOIN routing_delivery AS delivery ON delivery.endpoint_id = gone.id
    WHERE delivery.due_at IS NULL AND delivery.state = 'PENDING'
)
UPDATE routing_delivery AS delivery
SET state = 'CANCELLED', reason = 'ENDPOINT_DELETED', due_at = NULL, lease_token = NULL,
    settled_at = clock_timestamp()
FROM open
WHERE delivery.id = open.id
  AND (delivery.state = 'PENDING' OR delivery.state = 'SENDING' AND delivery.due_at < clock_timestamp())
"""

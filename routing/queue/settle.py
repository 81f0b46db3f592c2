"""What came of the claims: next states, attempts, and what each lane learns from them."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from django.db import transaction

from event_service.postgres.prepared import prepared
from routing import failpoints, order, partitions
from routing.queue.jobs import Result

BREAKER_WINDOW_S = 60
BREAKER_ATTEMPTS = 10  # of a window, before it may open
BREAKER_FAILURES = 0.5  # of the attempts of a window
BREAKER_PAUSE_S = 30  # until the first probe; twice as long after each that failed
BREAKER_LONGEST_S = 900
OURS = ("INTERNAL", "SECRET_UNREADABLE")  # failures that are the service's own: no evidence against an endpoint


@partitions.for_attempts
def settle(results: Sequence[Result]) -> int:
    """Write the results whose lease still stands, each with its attempt. Return their number."""
    parameters: dict[str, Any] = {
        "results": msgspec.json.encode([_row(result) for result in results]).decode(),
        "window_s": BREAKER_WINDOW_S,
        "attempts": BREAKER_ATTEMPTS,
        "failures": BREAKER_FAILURES,
        "pause_s": BREAKER_PAUSE_S,
        "longest_s": BREAKER_LONGEST_S,
        "ours": list(OURS),
    }
    keys = {(result.job.target.endpoint_id, result.job.ordering_key) for result in results if result.job.ordering_key}
    # Without keys it is one statement, which is a transaction by itself.
    with transaction.atomic() if keys else nullcontext():
        with prepared() as cursor:
            cursor.execute(_SETTLE, parameters)
            (written,) = cursor.fetchone()
        if keys:
            order.lock(keys)
            order.let_next_go(keys)
            failpoints.reach("K7")
    return int(written)


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.job.delivery_id,
        "endpoint_id": result.job.target.endpoint_id,
        "token": result.job.lease_token,
        "claimed_at": result.job.claimed_at,
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
        "cause": result.cause,
        "pause_s": result.pause_s,
        "disable": result.disable,
    }


# settled: looked up by an array, as a join of that few rows may be planned as a walk through the whole table; fenced by
# the token. A row without started_at was not tried: its claim is undone, and no attempt written.
# locked: the lanes, in the order of endpoints, so that two workers never wait for each other in a ring; after the
# deliveries, as everywhere.
# learnt: what each lane learns. While the breaker is open, the success of a probe closes it and the failure of one
# doubles the wait; what was claimed before says nothing. The lane is trusted as before once some attempts went well.
_SETTLE = """
WITH result AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(results)s::json) AS result(
        id uuid, endpoint_id uuid, token uuid, claimed_at timestamptz, number int, state text, reason text,
        retry_after_s float8, started_at timestamptz, duration_ms float8, status_code int, error text,
        error_detail text, response_body text, cause text, pause_s float8, disable text)
), settled AS (
    UPDATE routing_delivery AS delivery
    SET state = result.state,
        reason = result.reason,
        attempts_made = delivery.attempts_made - (result.started_at IS NULL)::int,
        losses = CASE WHEN result.started_at IS NULL THEN delivery.losses ELSE 0 END,
        lease_token = NULL,
        due_at = CASE WHEN result.state = 'PENDING'
                      THEN clock_timestamp() + result.retry_after_s * interval '1 second' END,
        settled_at = CASE WHEN result.state <> 'PENDING' THEN clock_timestamp() END
    FROM result
    WHERE delivery.id = ANY (ARRAY(SELECT id FROM result))
      AND delivery.id = result.id AND delivery.lease_token = result.token
    RETURNING delivery.workspace_id, result.*
), attempt AS (
    INSERT INTO routing_attempt
        (id, workspace_id, delivery_id, number, started_at, duration_ms, status_code, error, error_detail,
         response_body, cause)
    SELECT routing_uuid7(), workspace_id, id, number, started_at, duration_ms, status_code, error, error_detail,
           response_body, cause
    FROM settled WHERE started_at IS NOT NULL
), tally AS (
    SELECT endpoint_id, count(*) AS settled,
           count(*) FILTER (WHERE started_at IS NOT NULL) AS attempts,
           count(*) FILTER (WHERE error <> '') AS failures,
           count(*) FILTER (WHERE error <> '' AND error <> ALL(%(ours)s)) AS refusals,
           count(*) FILTER (WHERE started_at IS NOT NULL AND error = '') AS successes,
           count(*) FILTER (WHERE started_at IS NULL) AS untried,
           max(claimed_at) FILTER (WHERE error <> '') AS failed_claim_at,
           max(claimed_at) FILTER (WHERE started_at IS NOT NULL AND error = '') AS succeeded_claim_at,
           max(pause_s) AS pause_s,
           max(disable) AS disable
    FROM settled GROUP BY endpoint_id
), locked AS MATERIALIZED (
    SELECT * FROM routing_lane WHERE endpoint_id IN (SELECT endpoint_id FROM tally)
    ORDER BY endpoint_id FOR UPDATE
), learnt AS (
    UPDATE routing_lane AS lane
    SET in_flight = greatest(lane.in_flight - tally.settled, 0),
        tokens = lane.tokens + tally.untried,
        window_started_at = CASE WHEN fresh OR trips OR closes THEN clock_timestamp()
                                 ELSE lane.window_started_at END,
        window_attempts = CASE WHEN trips OR closes THEN 0 ELSE window_attempts_now END,
        window_failures = CASE WHEN trips OR closes THEN 0 ELSE window_failures_now END,
        opened_at = CASE WHEN closes THEN NULL WHEN trips THEN clock_timestamp() ELSE lane.opened_at END,
        openings = CASE WHEN trips OR fails_again THEN least(lane.openings + 1, 30) WHEN steady THEN 0
                        ELSE lane.openings END,
        ready_at = greatest(
            lane.ready_at,
            clock_timestamp() + tally.pause_s * interval '1 second',
            CASE WHEN trips OR fails_again
                 THEN clock_timestamp()
                      + least(%(pause_s)s * 2 ^ least(lane.openings, 20), %(longest_s)s) * interval '1 second' END),
        paused_until = greatest(lane.paused_until,
                                clock_timestamp() + nullif(tally.pause_s, 0) * interval '1 second'),
        failing_since = CASE WHEN tally.successes > 0 THEN NULL
                             WHEN tally.refusals > 0 THEN coalesce(lane.failing_since, clock_timestamp())
                             ELSE lane.failing_since END,
        last_failed_at = CASE WHEN tally.refusals > 0 THEN clock_timestamp() ELSE lane.last_failed_at END,
        disable_reason = coalesce(nullif(tally.disable, ''), lane.disable_reason)
    FROM tally
    JOIN locked AS before USING (endpoint_id)
    CROSS JOIN LATERAL (
        SELECT clock_timestamp() - before.window_started_at > %(window_s)s * interval '1 second' AS fresh
    ) AS window_age
    CROSS JOIN LATERAL (
        SELECT CASE WHEN fresh THEN 0 ELSE before.window_attempts END + tally.attempts AS window_attempts_now,
               CASE WHEN fresh THEN 0 ELSE before.window_failures END + tally.failures AS window_failures_now
    ) AS counted
    CROSS JOIN LATERAL (
        SELECT coalesce(tally.succeeded_claim_at > before.opened_at, false) AS closes,
               coalesce(tally.failed_claim_at > before.opened_at, false)
                   AND NOT coalesce(tally.succeeded_claim_at > before.opened_at, false) AS fails_again,
               before.opened_at IS NULL AND window_attempts_now >= %(attempts)s
                   AND window_failures_now >= %(failures)s * window_attempts_now AS trips,
               before.opened_at IS NULL AND tally.successes > 0
                   AND (fresh OR window_attempts_now >= %(attempts)s) AS steady
    ) AS breaker
    WHERE lane.endpoint_id = tally.endpoint_id
)
SELECT count(*) FROM settled
"""

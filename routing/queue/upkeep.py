"""What nobody's request is about, looked at again and again: dead workers' leases, deleted endpoints."""

from django.db import connection, transaction

from routing import order, partitions

MOST_CANCELLED = 5_000  # deliveries at once: others have their turn between
MAX_LOSSES = 5  # in a row, after which a delivery is taken to be what ends the workers


@partitions.for_attempts
def reap() -> int:
    """Make what dead workers were sending due again, each with the attempt that nobody reported. Return the number.

    A delivery whose every attempt ends its worker is given up, for its reason to be seen.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_REAP, [MAX_LOSSES])
        rows = cursor.fetchall()
        if keys := {(endpoint_id, key) for endpoint_id, key in rows if key}:
            order.lock(keys)
            order.let_next_go(keys)
    return len(rows)


def cancel_deleted(*, within_s: float) -> int:
    """Cancel some of what is still owed to endpoints that were deleted within that time. Return how much was found.

    What others have locked is passed over, and found again. It is asked again and again, as events may still be
    recorded for an endpoint while it is being deleted.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CANCEL_DELETED, [within_s, MOST_CANCELLED])
        return int(cursor.fetchone()[0])


# The lanes are locked after the deliveries and in the order of endpoints, as they are in settle.
_REAP = """
WITH lost AS MATERIALIZED (
    SELECT id, endpoint_id, workspace_id, attempts_made, due_at, losses + 1 >= %s AS hopeless
    FROM routing_delivery
    WHERE state = 'SENDING' AND due_at < statement_timestamp()
    ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), reaped AS (
    UPDATE routing_delivery AS delivery
    SET state = CASE WHEN hopeless THEN 'EXHAUSTED' ELSE 'PENDING' END,
        reason = CASE WHEN hopeless THEN 'WORKER_LOST' ELSE '' END,
        due_at = CASE WHEN NOT hopeless THEN clock_timestamp() END,
        settled_at = CASE WHEN hopeless THEN clock_timestamp() END,
        losses = delivery.losses + 1,
        lease_token = NULL
    FROM lost WHERE delivery.id = lost.id
    RETURNING delivery.endpoint_id, delivery.ordering_key
), attempt AS (
    INSERT INTO routing_attempt
        (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body)
    SELECT routing_uuid7(), workspace_id, id, attempts_made, due_at, 'WORKER_LOST',
           'The worker did not report back within its lease.', ''
    FROM lost
), locked AS MATERIALIZED (
    SELECT endpoint_id FROM routing_lane WHERE endpoint_id IN (SELECT endpoint_id FROM lost)
    ORDER BY endpoint_id FOR UPDATE
), freed AS (
    UPDATE routing_lane AS lane SET in_flight = greatest(lane.in_flight - share.count, 0)
    FROM (SELECT endpoint_id, count(*) AS count FROM lost JOIN locked USING (endpoint_id) GROUP BY endpoint_id) AS share
    WHERE lane.endpoint_id = share.endpoint_id
)
SELECT endpoint_id, ordering_key FROM reaped
"""

# The condition is asked again of the row that is locked: it may have been claimed or settled since.
_CANCEL_DELETED = """
WITH gone AS MATERIALIZED (
    SELECT id FROM endpoints_endpoint WHERE deleted_at > statement_timestamp() - %s * interval '1 second'
), open AS (
    SELECT delivery.id FROM gone JOIN routing_delivery AS delivery ON delivery.endpoint_id = gone.id
    WHERE delivery.due_at IS NOT NULL AND delivery.attempts_made = 0 AND delivery.state = 'PENDING'
    UNION ALL
    SELECT delivery.id FROM gone JOIN routing_delivery AS delivery ON delivery.endpoint_id = gone.id
    WHERE delivery.due_at IS NOT NULL AND delivery.attempts_made > 0 AND delivery.state = 'PENDING'
    UNION ALL
    SELECT delivery.id FROM gone JOIN routing_delivery AS delivery ON delivery.endpoint_id = gone.id
    WHERE delivery.due_at IS NULL AND delivery.state = 'PENDING'
), found AS MATERIALIZED (
    SELECT id FROM open LIMIT %s
), chosen AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE id = ANY (ARRAY(SELECT id FROM found)) AND state = 'PENDING' ORDER BY id FOR UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE routing_delivery AS delivery
    SET state = 'CANCELLED', reason = 'ENDPOINT_DELETED', due_at = NULL, lease_token = NULL,
        settled_at = clock_timestamp()
    WHERE id = ANY (ARRAY(SELECT id FROM chosen))
)
SELECT count(*) FROM found
"""

"""Deliveries that are given up, at somebody's wish. What is on its way can't be called back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import connection, transaction

from endpoints.audit import note
from endpoints.models import Endpoint
from routing import order
from routing.models import Delivery

MOST = 5_000  # of an endpoint's deliveries that are cancelled at once: its cursor may be locked meanwhile


@dataclass(frozen=True, slots=True)
class Cancelled:
    cancelled: int
    sending: int  # that are on their way and may still arrive
    more: bool = False  # whether to ask again for the rest


def cancel(deliveries: Sequence[Delivery]) -> Cancelled:
    """Cancel those that wait; what has ended stays as it is."""
    ids = [delivery.pk for delivery in deliveries]
    keys = {(delivery.endpoint_id, delivery.ordering_key) for delivery in deliveries if delivery.ordering_key}
    with transaction.atomic():
        cancelled, _ = _cancel(_NAMED, {"ids": ids}, keys)
        sending = Delivery.objects.filter(pk__in=ids, state__in=Delivery.OPEN).count()
        for workspace_id, chosen in groupby(deliveries, key=lambda delivery: delivery.workspace_id):
            note("Delivery", [delivery.pk for delivery in chosen], workspace_id)
    return Cancelled(cancelled, sending)


def cancel_all(endpoint: Endpoint) -> Cancelled:
    """Cancel what waits for `endpoint`, as much as can be done at once."""
    ordered = endpoint.ordering != Endpoint.Ordering.UNORDERED
    with transaction.atomic():
        parameters = {"endpoint_id": endpoint.pk, "most": MOST}
        cancelled, found = _cancel(_WAITING, parameters, {(endpoint.pk, "")} if ordered else set())
        sending = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.SENDING).count()
        note("Endpoint", [endpoint.pk], endpoint.workspace_id, cancelled=cancelled)
    return Cancelled(cancelled, sending, more=found == MOST)


def _cancel(choice: str, parameters: Mapping[str, Any], locked: set[order.Key]) -> tuple[int, int]:
    """Return how many were cancelled, and how many were looked at."""
    with connection.cursor() as cursor:
        if locked:
            order.lock(locked)
        cursor.execute(_CANCEL.replace("CHOICE", choice), parameters)
        rows = cursor.fetchall()
    if locked and (keys := {(endpoint_id, key) for _, _, endpoint_id, key in rows if key}):
        order.let_next_go(keys)
    return sum(count for _, count, *_ in rows), rows[0][0]


_NAMED = "SELECT id FROM routing_delivery WHERE id = ANY(%(ids)s)"

# By the queue's own indexes: first attempts, what is due again, what has no time.
_WAITING = """
SELECT id FROM routing_delivery WHERE endpoint_id = %(endpoint_id)s AND due_at IS NOT NULL AND attempts_made = 0
UNION ALL
SELECT id FROM routing_delivery
WHERE endpoint_id = %(endpoint_id)s AND due_at IS NOT NULL AND attempts_made > 0 AND state = 'PENDING'
UNION ALL
SELECT id FROM routing_delivery WHERE endpoint_id = %(endpoint_id)s AND due_at IS NULL AND state = 'PENDING'
LIMIT %(most)s
"""

# Rows that somebody claims or settles at this moment are passed over: they are on their way, and who settles in order
# waits for the cursor that is locked here.
_CANCEL = """
WITH chosen AS MATERIALIZED (CHOICE), open AS MATERIALIZED (
    SELECT id FROM routing_delivery WHERE id IN (SELECT id FROM chosen) AND state = 'PENDING'
    ORDER BY id FOR UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE routing_delivery AS delivery
    SET state = 'CANCELLED', reason = 'CANCELLED_BY_REQUEST', due_at = NULL, settled_at = clock_timestamp()
    FROM open WHERE delivery.id = open.id
    RETURNING delivery.endpoint_id, delivery.ordering_key
)
SELECT (SELECT count(*) FROM chosen), count(cancelled.endpoint_id), endpoint_id, ordering_key
FROM (SELECT) AS always LEFT JOIN cancelled ON true
GROUP BY endpoint_id, ordering_key
"""

"""Deliveries that wait for their next try, tried at once at somebody's wish: the receiver is well again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from endpoints.audit import note
from endpoints.models import Endpoint
from routing.models import Delivery, Lane
from routing.router import WEBHOOK_HINT

MOST = 5_000  # of an endpoint's deliveries that are made due in one transaction


@dataclass(frozen=True, slots=True)
class Expedited:
    expedited: int  # that are due now, and were not
    released: int = 0  # that were due, and held back by a breaker that is closed now; MOST are counted
    more: bool = False  # whether to ask again for the rest
    left_open: int = 0  # breakers before them that were to stay as they are: single tries go on, until one succeeds


def expedite(deliveries: Sequence[Delivery], *, closing: bool = True) -> Expedited:
    """Make due what waits for another try; what is due or has ended stays as it is.

    Breakers before what waits for another try are closed, due or not, unless `closing` is false. The try counts as the
    next one of the schedule. Asking twice changes nothing.
    """
    with transaction.atomic():
        expedited = _expedite(_NAMED, {"ids": [delivery.pk for delivery in deliveries], "most": None})
        whose = {delivery.endpoint_id: delivery.workspace_id for delivery in deliveries if _is_tried_again(delivery)}
        closed = Lane.close_breakers(whose) if closing else []
        left_open = 0 if closing else Lane.objects.filter(pk__in=whose, opened_at__isnull=False).count()
        _note("Delivery", expedited)
        _note("Endpoint", [(whose[endpoint_id], endpoint_id) for endpoint_id in closed], released=True)
        return Expedited(len(expedited), _released(closed, expedited), left_open=left_open)


def expedite_all(endpoint: Endpoint) -> Expedited:
    """Do so with all that waits for `endpoint`, as much as can be done at once."""
    with transaction.atomic():
        expedited = _expedite(_WAITING, {"endpoint_id": endpoint.pk, "most": MOST})
        closed = Lane.close_breakers([endpoint.pk])
        changes = {"expedited": len(expedited), **({"released": True} if closed else {})}
        note("Endpoint", [endpoint.pk], endpoint.workspace_id, **changes)
        return Expedited(len(expedited), _released(closed, expedited), more=len(expedited) == MOST)


def _is_tried_again(delivery: Delivery) -> bool:
    return delivery.state == Delivery.State.PENDING and delivery.attempts_made > 0 and delivery.due_at is not None


def _expedite(choice: str, parameters: Mapping[str, Any]) -> list[tuple[UUID, UUID]]:
    """Return the workspace and the id of each that was made due."""
    with connection.cursor() as cursor:
        cursor.execute(_EXPEDITE.replace("CHOICE", choice), parameters)
        expedited: list[tuple[UUID, UUID]] = cursor.fetchall()
        cursor.execute("SELECT pg_notify(%s, '')", [WEBHOOK_HINT])
    return expedited


def _released(closed: Sequence[UUID], expedited: Sequence[tuple[UUID, UUID]]) -> int:
    """Return how many others are due at the endpoints whose breakers were closed."""
    if not closed:
        return 0
    with connection.cursor() as cursor:
        ids = [delivery_id for _, delivery_id in expedited]
        cursor.execute(_RELEASED, {"endpoints": list(closed), "expedited": ids, "most": MOST})
        (released,) = cursor.fetchone()
    return int(released)


def _note(object_type: str, objects: Iterable[tuple[UUID, UUID]], **changes: Any) -> None:
    for workspace_id, those in groupby(sorted(objects), key=itemgetter(0)):
        note(object_type, [object_id for _, object_id in those], workspace_id, **changes)


_NAMED = "id = ANY(%(ids)s)"
_WAITING = "endpoint_id = %(endpoint_id)s"  # by the queue's own index

# Rows that somebody claims or settles at this moment are passed over: they are being tried.
_EXPEDITE = """
WITH waiting AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE CHOICE AND state = 'PENDING' AND due_at > clock_timestamp() AND attempts_made > 0
    ORDER BY endpoint_id, due_at, seq LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE routing_delivery AS delivery SET due_at = clock_timestamp() FROM waiting WHERE delivery.id = waiting.id
RETURNING delivery.workspace_id, delivery.id
"""
# First tries and further ones, each by the queue's own index.
_RELEASED = """
SELECT least(%(most)s, sum(due)) FROM (
    SELECT count(*) AS due FROM (
        SELECT FROM routing_delivery
        WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'PENDING' AND due_at <= clock_timestamp()
          AND attempts_made > 0 AND id <> ALL(%(expedited)s)
        LIMIT %(most)s
    ) AS again
    UNION ALL
    SELECT count(*) FROM (
        SELECT FROM routing_delivery
        WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'PENDING' AND due_at <= clock_timestamp()
          AND attempts_made = 0
        LIMIT %(most)s
    ) AS first
) AS counted
"""

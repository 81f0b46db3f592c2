"""Deliveries that wait for their next try, tried at once at somebody's wish: the receiver is well again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
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
    more: bool = False  # whether to ask again for the rest


def expedite(deliveries: Sequence[Delivery]) -> Expedited:
    """Make due what waits for another try, and close the breakers before it; what is due or has ended stays as it is.

    The try counts as the next one of the schedule. Asking twice changes nothing.
    """
    ids = [delivery.pk for delivery in deliveries]
    with transaction.atomic():
        expedited = _expedite(_NAMED, {"ids": ids, "most": None}, _endpoints_held_back(deliveries))
        for workspace_id, chosen in groupby(deliveries, key=lambda delivery: delivery.workspace_id):
            note("Delivery", [delivery.pk for delivery in chosen], workspace_id)
    return Expedited(expedited)


def expedite_all(endpoint: Endpoint) -> Expedited:
    """Do so with all that waits for `endpoint`, as much as can be done at once."""
    with transaction.atomic():
        expedited = _expedite(_WAITING, {"endpoint_id": endpoint.pk, "most": MOST}, {endpoint.pk})
        note("Endpoint", [endpoint.pk], endpoint.workspace_id, expedited=expedited)
    return Expedited(expedited, more=expedited == MOST)


def _endpoints_held_back(deliveries: Sequence[Delivery]) -> set[UUID]:
    return {delivery.endpoint_id for delivery in deliveries if delivery.state == Delivery.State.PENDING}


def _expedite(choice: str, parameters: Mapping[str, Any], endpoint_ids: Collection[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_EXPEDITE.replace("CHOICE", choice), parameters)
        expedited = int(cursor.rowcount)
        Lane.close_breakers(endpoint_ids)
        cursor.execute("SELECT pg_notify(%s, '')", [WEBHOOK_HINT])
    return expedited


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
"""

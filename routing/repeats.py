"""Deliveries that repeat others, at somebody's wish: new rows that name the old ones. The old ones stay as they are."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from endpoints.audit import note
from endpoints.errors import Conflict
from endpoints.models import Endpoint
from routing import order
from routing.models import Delivery, Event
from routing.models.events import forgotten
from routing.router import WEB_SOCKET_HINT, WEBHOOK_HINT


class Repeat(NamedTuple):
    """An event that an endpoint is to get again, or for the first time where it repeats no delivery."""

    event_id: UUID
    endpoint_id: UUID
    retry_of_id: UUID | None


@transaction.atomic
def retry(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Owe once more what these deliveries owed. Return the new ones.

    One that was retried before keeps the delivery that repeats it: asking twice changes nothing.
    Raises Conflict, and writes nothing, for one that has not ended, whose endpoint takes nothing or whose event has no
    payload any more.
    """
    endpoints = Endpoint.objects.in_bulk({delivery.endpoint_id for delivery in deliveries})
    for delivery in deliveries:
        if delivery.state in Delivery.OPEN:
            said = _("Delivery %(id)s is %(state)s; only what has ended can be retried. What waits can be expedited.")
            raise Conflict(said % {"id": delivery.pk, "state": delivery.state}, "ids")
        if problem := problem_of(endpoints[delivery.endpoint_id]):
            said = _("Delivery %(id)s can't be retried: %(problem)s")
            raise Conflict(said % {"id": delivery.pk, "problem": problem}, "ids")
    write([Repeat(delivery.event_id, delivery.endpoint_id, delivery.pk) for delivery in deliveries])
    for workspace_id, chosen in groupby(deliveries, key=lambda delivery: delivery.workspace_id):
        note("Delivery", [delivery.pk for delivery in chosen], workspace_id)
    made = _repeating(deliveries)
    if lacking := {delivery.pk for delivery in deliveries} - {each.retry_of_id for each in made}:
        raise Conflict(_why_not(next(delivery for delivery in deliveries if delivery.pk in lacking)), "ids")
    return made


def _why_not(delivery: Delivery) -> str:
    at = Event.objects.filter(pk=delivery.event_id).values_list("payload_forgotten_at", flat=True).first()
    gone = forgotten(delivery.event_id, at) if at else f"Event {delivery.event_id} is not kept any more."
    return f"Delivery {delivery.pk} can't be retried: {gone}"


def problem_of(endpoint: Endpoint) -> str:
    """Return why nothing can be owed to `endpoint` now; "" where it can."""
    if endpoint.deleted_at:
        return _("the endpoint %(id)s was deleted.") % {"id": endpoint.pk}
    if endpoint.state == Endpoint.State.DISABLED:
        return _("the endpoint %(id)s is disabled; resume it first.") % {"id": endpoint.pk}
    return ""


def _repeating(deliveries: Sequence[Delivery]) -> list[Delivery]:
    endpoint_of = {delivery.pk: delivery.endpoint_id for delivery in deliveries}
    found = Delivery.objects.filter(  # of a unique index all columns
        event_id__in={delivery.event_id for delivery in deliveries},
        endpoint_id__in=set(endpoint_of.values()),
        retry_of_id__in=endpoint_of,
    ).order_by("pk")
    return [
        delivery
        for delivery in found
        if delivery.retry_of_id and endpoint_of[delivery.retry_of_id] == delivery.endpoint_id
    ]


def write(repeats: Sequence[Repeat]) -> int:
    """Write those that are not there yet, numbered in this order, and hint at them. Return how many that are."""
    rows = [{"id": uuid7(), **repeat._asdict()} for repeat in repeats]
    with transaction.atomic(), connection.cursor() as cursor:
        # Whoever writes deliveries holds these locks: what is not there once they are taken stays so.
        order.lock({(repeat.endpoint_id, "") for repeat in repeats})
        cursor.execute(_WRITE, [msgspec.json.encode(rows).decode()])
        written = cursor.fetchall()
        if keys := {(endpoint_id, key) for endpoint_id, _, key, _ in written if key}:
            order.let_next_go(keys)
        hints = {_hint(endpoint_id, type) for endpoint_id, type, *_ in written}
        cursor.executemany("SELECT pg_notify(%s, %s)", list(hints))
    return sum(count for *_, count in written)


def _hint(endpoint_id: UUID, type: str) -> tuple[str, str]:
    return (WEB_SOCKET_HINT, str(endpoint_id)) if type == Endpoint.Type.WEB_SOCKET else (WEBHOOK_HINT, "")


# As the router writes them: numbers without gaps, in the order of commits. Unlike there the cursors are locked before,
# and by another statement, so that this one sees all that others have written. Whoever forgets an event or its payload
# holds its lock: what is gone by then is left out.
_WRITE = """
WITH kept AS MATERIALIZED (
    SELECT repeat.*, event.workspace_id, event.ordering_key
    FROM json_to_recordset(%s::json) AS repeat(id uuid, event_id uuid, endpoint_id uuid, retry_of_id uuid)
    JOIN routing_event AS event ON event.id = repeat.event_id
    WHERE event.payload_forgotten_at IS NULL
    FOR KEY SHARE OF event
), owed AS MATERIALIZED (
    SELECT repeat.id, repeat.event_id, repeat.endpoint_id, repeat.retry_of_id, repeat.workspace_id, endpoint.type,
           endpoint.state = 'DISABLED' AS disabled,
           CASE WHEN endpoint.ordering <> 'UNORDERED' THEN repeat.ordering_key ELSE '' END AS ordering_key,
           row_number() OVER (PARTITION BY repeat.endpoint_id ORDER BY repeat.id) AS turn
    FROM kept AS repeat
    JOIN endpoints_endpoint AS endpoint
      ON endpoint.id = repeat.endpoint_id AND endpoint.workspace_id = repeat.workspace_id
    WHERE NOT EXISTS (
        SELECT FROM routing_delivery AS made
        WHERE made.event_id = repeat.event_id AND made.endpoint_id = repeat.endpoint_id
          AND made.retry_of_id IS NOT DISTINCT FROM repeat.retry_of_id)
), numbered AS (
    UPDATE routing_cursor AS cursor SET last_seq = cursor.last_seq + share.count
    FROM (SELECT endpoint_id, count(*) AS count FROM owed GROUP BY endpoint_id) AS share
    WHERE cursor.endpoint_id = share.endpoint_id
    RETURNING cursor.endpoint_id, cursor.last_seq - share.count AS before
), written AS (
    INSERT INTO routing_delivery
        (id, workspace_id, event_id, endpoint_id, retry_of_id, seq, ordering_key, attempts_made, state, reason, due_at,
         settled_at)
    SELECT id, workspace_id, event_id, endpoint_id, retry_of_id, before + turn, ordering_key, 0,
           CASE WHEN disabled THEN 'SKIPPED' ELSE 'PENDING' END,
           CASE WHEN disabled THEN 'ENDPOINT_DISABLED' ELSE '' END,
           CASE WHEN type = 'WEB_HOOK' AND ordering_key = '' AND NOT disabled THEN clock_timestamp() END,
           CASE WHEN disabled THEN clock_timestamp() END
    FROM owed JOIN numbered USING (endpoint_id)
)
SELECT endpoint_id, type, ordering_key, count(*) FROM owed GROUP BY endpoint_id, type, ordering_key
"""

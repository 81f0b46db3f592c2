"""Events and deliveries for tests: recorded as the door does, and brought to an end as if by workers."""

from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.models import Endpoint, Workspace
from routing.models import Attempt, Delivery, Event, Recorded
from routing.submissions import Submission, check


def record(workspace: Workspace, count: int = 1, **fields: Any) -> list[UUID]:
    """Record that many events, and return their ids."""
    submission = Submission(**{"type": "order.paid", "data": msgspec.Raw(b"1.0"), **fields})
    answers = Event.record_all([check(submission, workspace.pk) for _ in range(count)])
    return [answer.id for answer in answers if isinstance(answer, Recorded)]


def end(deliveries: QuerySet[Delivery], state: str = "EXHAUSTED", attempts_made: int = 1) -> None:
    deliveries.update(state=state, reason="test", attempts_made=attempts_made, due_at=None, settled_at=Now())


def attempt(delivery: Delivery, number: int, **fields: Any) -> Attempt:
    fields = {"started_at": timezone.now(), **fields}
    return Attempt.objects.create(workspace_id=delivery.workspace_id, delivery=delivery, number=number, **fields)


def forget_payloads(*ids: UUID) -> None:
    Event.objects.filter(pk__in=ids).update(data="", extensions="", payload_forgotten_at=Now())


def of(endpoint: Endpoint, **conditions: Any) -> QuerySet[Delivery]:
    return Delivery.objects.filter(endpoint=endpoint, **conditions).order_by("seq")


def conservation(endpoint: Endpoint) -> tuple[int, ...]:
    """Return how many were recorded, delivered, exhausted, skipped, cancelled and open, as the view has it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded, delivered, exhausted, skipped, cancelled, open FROM routing_conservation "
            "WHERE endpoint_id = %s",
            [endpoint.pk],
        )
        row: tuple[int, ...] = cursor.fetchone()
        return row

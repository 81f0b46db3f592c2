"""One event for one endpoint, leased as it is written: no worker takes it, and no limit or state holds it back."""

from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import F

from routing.models import Cursor, Delivery, Event, Lane
from routing.queue.claim import read_target
from routing.queue.jobs import LEASE_S, Job
from routing.submissions import NewEvent


@transaction.atomic
def lease_sample(event: NewEvent, endpoint_id: UUID) -> Job:
    """Store `event` and its delivery to this webhook alone. Whoever gets it sends and settles it, or it is reaped."""
    Lane.objects.filter(pk=endpoint_id).update(in_flight=F("in_flight") + 1)
    position = Cursor.objects.select_for_update().get(pk=endpoint_id)
    position.last_seq += 1
    position.save(update_fields=["last_seq"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp(), clock_timestamp() + %s * interval '1 second'", [LEASE_S])
        now, lease_end = cursor.fetchone()
        target = read_target(cursor, endpoint_id)
    stored = Event.objects.create(
        id=event.id,
        workspace_id=event.workspace_id,
        type=event.type,
        source=event.source,
        subject=event.subject,
        date=now,
        data=event.data,
        traceparent=event.traceparent,
        extensions=event.extensions,
    )
    token = uuid4()
    delivery = Delivery.objects.create(
        workspace_id=event.workspace_id,
        event=stored,
        endpoint_id=endpoint_id,
        seq=position.last_seq,
        state=Delivery.State.SENDING,
        attempts_made=1,
        due_at=lease_end,
        lease_token=token,
    )
    return Job(
        target=target,
        delivery_id=delivery.pk,
        workspace_id=delivery.workspace_id,
        ordering_key="",
        number=delivery.attempts_made,
        first_due_at=now,
        event_id=stored.pk,
        type=stored.type,
        date=now,
        source=stored.source,
        subject=stored.subject,
        data=stored.data,
        claimed_at=now,
        lease_token=token,
        traceparent=stored.traceparent,
        extensions=stored.extensions,
    )

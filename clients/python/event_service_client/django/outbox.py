"""publish(): an event becomes part of the transaction that it tells of."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import router, transaction
from django.utils import timezone

from event_service_client.django.models import OutboxEvent
from event_service_client.events import Event, Extension, RawJson

_NONE: Any = object()


def publish(
    type: str,
    data: Any = _NONE,
    *,
    source: str = "",
    subject: str = "",
    ordering_key: str = "",
    date: datetime | None = None,
    extensions: Mapping[str, Extension] | None = None,
    using: str | None = None,
) -> UUID:
    """Store an event in the running transaction: if that is rolled back there is no event, if it commits there is one.

    Dates, decimals and UUIDs in `data` are written as Django's JSON encoder does. Returns the id that the service
    knows the event by. Raises ValueError for what the service would refuse, and TransactionManagementError outside
    of transaction.atomic().
    """
    database = using or router.db_for_write(OutboxEvent)
    if not transaction.get_connection(database).in_atomic_block:
        raise transaction.TransactionManagementError(
            f"publish({type!r}) was called outside of transaction.atomic(using={database!r}): the event would be "
            "stored whether or not what it tells of is."
        )
    now = timezone.now()
    row = OutboxEvent(
        type=type,
        data="" if data is _NONE else _text(data),
        source=source,
        subject=subject,
        ordering_key=ordering_key,
        extensions=extensions or {},
        date=date or now,
        due_at=now,
    )
    as_event(row)  # what can't be sent is the caller's mistake, and told to the caller
    row.save(using=database, force_insert=True)
    return row.event_id


def as_event(row: OutboxEvent) -> Event:
    """Return the same event, byte for byte, each time. Raises ValueError."""
    return Event(
        row.type,
        **({"data": RawJson(row.data)} if row.data else {}),
        id=str(row.event_id),
        source=row.source or None,
        subject=row.subject or None,
        ordering_key=row.ordering_key or None,
        extensions=row.extensions,
        date=timezone.make_aware(row.date) if timezone.is_naive(row.date) else row.date,
    )


def _text(data: Any) -> str:
    if isinstance(data, RawJson):
        return data
    try:
        return json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"data {data!r:.100} can't be written as JSON: {error}.") from error

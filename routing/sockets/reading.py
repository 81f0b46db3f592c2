"""What websockets read in the database: the deliveries of an endpoint in their order."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from endpoints.shaping import shaped
from event_service.postgres.prepared import prepared
from routing.envelope import render
from routing.models import Delivery
from routing.sockets.cursors import spelt

MAX_ROWS = 800  # of one read
MAX_BYTES = 512 * 1024  # of the data of one read; one event more may begin below it


class Owed(msgspec.Struct, gc=False):
    """What several sockets may be sent, each as a row of its own: the first that had it says so in `state`."""

    delivery_id: UUID
    seq: int
    state: str
    traceparent: str = ""  # of the event's publication


class Row(msgspec.Struct, frozen=True, gc=False):
    """A delivery as its readers need it."""

    owed: Owed
    event_id: UUID
    seq: int
    settled_at: datetime | None
    frame: bytes  # of a plain socket; empty where the payload was forgotten: then nobody can have it

    @property
    def size(self) -> int:
        """Bytes of the frame."""
        return len(self.frame)

    @property
    def dropped(self) -> bool:
        """Whether the delivery was given up, so that only who asks for history gets it."""
        return self.owed.state in (Delivery.State.SKIPPED, Delivery.State.CANCELLED)


def read_on(endpoint_id: UUID, epoch: str, position: int) -> list[Row]:
    """Return the next deliveries after `position` in their order; none while the endpoint is not ACTIVE."""
    with prepared(binary=True) as cursor:
        cursor.execute(_READ_ON, [endpoint_id, position, MAX_ROWS, MAX_BYTES])
        return [as_row(epoch, *columns) for columns in cursor.fetchall()]


def is_full(rows: Sequence[Row]) -> bool:
    """Tell whether a read ended because it was long enough, so that there may be more."""
    return len(rows) >= MAX_ROWS or sum(row.size for row in rows) >= MAX_BYTES


def read_again(endpoint_id: UUID, epoch: str, seq: int, *, ended: bool) -> Row | None:
    """Return one delivery, if it still waits to be acknowledged. With `ended`, for who reads history, one that is over
    will do, but for what was given up. Its reader knows whether the endpoint is ACTIVE.
    """
    with prepared() as cursor:
        cursor.execute(_READ_AGAIN, [endpoint_id, seq - 1, 1, 1])
        rows = [as_row(epoch, *columns) for columns in cursor.fetchall()]
    found = [row for row in rows if row.seq == seq and row.frame and not row.dropped]
    return next((row for row in found if ended or row.owed.state == Delivery.State.PENDING), None)


def as_row(
    epoch: str,
    delivery_id: UUID,
    seq: int,
    state: str,
    settled_at: datetime | None,
    payload_shape: str | None,
    data: str,
    payload_forgotten_at: datetime | None,
    event_id: UUID,
    workspace_id: UUID,
    type: str,
    date: datetime,
    source: str,
    subject: str,
    traceparent: str,
    extensions: str,
) -> Row:
    if payload_forgotten_at:
        return Row(Owed(delivery_id, seq, state), event_id, seq, settled_at, b"")
    frame = render(
        id=event_id,
        type=type,
        date=date,
        source=source,
        subject=subject,
        workspace_id=workspace_id,
        data=shaped(payload_shape, data),
        cursor=spelt(epoch, seq),
        traceparent=traceparent,
        extensions=extensions,
    )
    return Row(Owed(delivery_id, seq, state, traceparent), event_id, seq, settled_at, frame)


def unread_position(endpoint_id: UUID, last_seq: int) -> int:
    """Return where the endpoint's delivery stands. What came in since `last_seq` was read has a higher number."""
    unread = Delivery.objects.filter(endpoint=endpoint_id, state=Delivery.State.PENDING, due_at=None)
    lowest = unread.order_by("seq").values_list("seq", flat=True).first()
    return last_seq if lowest is None else lowest - 1


def last_before(endpoint_id: UUID, after: int, up_to: int) -> int:
    """Return the highest number up to `up_to` of a delivery that is kept, or `after` where there is none behind it."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST_BEFORE, [after, endpoint_id, after, up_to])
        return int(cursor.fetchone()[0])


def position_at(endpoint_id: UUID, since: datetime, last_seq: int) -> int:
    """Return the position before the first delivery that was recorded at `since` or later, in log(n) index probes.

    Numbers follow commits and times follow the beginnings of transactions, so near neighbours may stand in each other's
    order: the last steps are taken one by one.
    """
    before, after = 0, last_seq + 1  # recorded before `since`; recorded later, or never
    with connection.cursor() as cursor:
        while after - before > _NEAR:
            middle = (before + after) // 2
            cursor.execute(_FIRST_FROM, [endpoint_id, middle])
            row = cursor.fetchone()
            if row is not None and row[1] < since:
                before = max(middle, row[0])
            else:
                after = middle
        cursor.execute(_FIRST_SINCE, [endpoint_id, before - _NEAR, since])
        row = cursor.fetchone()
    return last_seq if row is None else row[0] - 1


_NEAR = 1_000  # deliveries whose order by number and by time may differ

# The bytes are added up over rows that are taken already: over the backlog they would cost as much as it is long.
# Events are looked up one by one: a join of that few rows may be planned as a scan of the whole table.
_READ = """
WITH next AS MATERIALIZED (
    SELECT delivery.id, delivery.seq, delivery.state, delivery.settled_at, delivery.workspace_id, delivery.event_id,
           endpoint.payload_shape::text AS payload_shape
    FROM endpoints_endpoint AS endpoint
    JOIN routing_delivery AS delivery
      ON delivery.endpoint_id = endpoint.id AND delivery.workspace_id = endpoint.workspace_id
    WHERE endpoint.id = %s AND CONDITION delivery.seq > %s
    ORDER BY delivery.seq LIMIT %s
), sized AS (
    SELECT next.id AS delivery_id, next.seq, next.state, next.settled_at, next.payload_shape, event.*,
           sum(octet_length(event.data)) OVER (ORDER BY next.seq) - octet_length(event.data) AS bytes_before
    FROM next CROSS JOIN LATERAL (
        SELECT * FROM routing_event
        WHERE routing_event.id = next.event_id AND routing_event.workspace_id = next.workspace_id LIMIT 1) AS event
)
SELECT delivery_id, seq, state, settled_at, payload_shape, data, payload_forgotten_at, id, workspace_id, type, date,
       source, subject, traceparent, extensions
FROM sized WHERE bytes_before < %s ORDER BY seq
"""
_READ_ON = _READ.replace("CONDITION", "endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL AND")
_READ_AGAIN = _READ.replace("CONDITION ", "")
_LAST_BEFORE = """
SELECT coalesce(max(seq), %s) FROM routing_delivery WHERE endpoint_id = %s AND seq > %s AND seq <= %s
"""
_FIRST_FROM = """
SELECT seq, creation_date FROM routing_delivery WHERE endpoint_id = %s AND seq >= %s ORDER BY seq LIMIT 1
"""
_FIRST_SINCE = """
SELECT seq FROM routing_delivery WHERE endpoint_id = %s AND seq > %s AND creation_date >= %s ORDER BY seq LIMIT 1
"""

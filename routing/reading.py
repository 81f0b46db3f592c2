"""What websockets do in the database: read on from a cursor, and settle what was sent."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar
from uuid import UUID

import msgspec
from django.db import InterfaceError, OperationalError, connection
from uuid_utils.compat import uuid7

from routing.envelope import render
from routing.models import Delivery

logger = logging.getLogger(__name__)

MAX_ROWS = 100  # of one read
MAX_BYTES = 512 * 1024  # of the data of one read; one event more may begin below it
RETRY_S = 0.5  # between tries while the database does not answer

P = ParamSpec("P")
T = TypeVar("T")

# Few, and a connection for each at most: so much of the process's pool websockets may take.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="websockets")


@dataclass(slots=True)
class Row:
    """A delivery as its readers need it. Several sockets may share one."""

    delivery_id: UUID
    seq: int
    state: str
    frame: str
    size: int  # bytes of the frame

    @property
    def dropped(self) -> bool:
        """Whether the delivery was given up, so that only who asks for history gets it."""
        return self.state in (Delivery.State.SKIPPED, Delivery.State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Sent:
    """A PENDING delivery that went out to a socket."""

    delivery_id: UUID
    started_at: datetime
    duration_ms: float
    id: UUID = field(default_factory=uuid7)  # of the attempt


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do database work off the event loop."""

    def run() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()  # gives it back to the pool

    return await asyncio.get_running_loop().run_in_executor(_threads, run)


async def insist(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do database work that may be done twice, again and again until the database answers."""
    while True:
        try:
            return await in_thread(work, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Websockets wait for the database: %s", error)
        await asyncio.sleep(RETRY_S)


def read_on(endpoint_id: UUID, position: int) -> list[Row]:
    """Return the next deliveries after `position` in their order; none while the endpoint is not ACTIVE."""
    with connection.cursor() as cursor:
        cursor.execute(_READ_ON, [endpoint_id, position, MAX_ROWS, MAX_BYTES])
        return [_row(*columns) for columns in cursor.fetchall()]


def _row(
    delivery_id: UUID,
    seq: int,
    state: str,
    workspace_id: UUID,
    event_id: UUID,
    type: str,
    date: datetime,
    source: str,
    subject: str,
    data: str,
) -> Row:
    frame = render(
        id=event_id,
        type=type,
        date=date,
        source=source,
        subject=subject,
        workspace_id=workspace_id,
        data=data,
        cursor=seq,
    )
    return Row(delivery_id, seq, state, frame.decode(), len(frame))


def settle(sent: Sequence[Sent]) -> None:
    """Write that the deliveries were sent, each with its attempt; what another process settled stays."""
    document = msgspec.json.encode(sent).decode()
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [document])


# The bytes are added up over rows that are taken already: over the backlog they would cost as much as it is long.
_READ_ON = """
WITH next AS MATERIALIZED (
    SELECT delivery.id, delivery.seq, delivery.state, delivery.workspace_id, delivery.event_id
    FROM endpoints_endpoint AS endpoint
    JOIN routing_delivery AS delivery
      ON delivery.endpoint_id = endpoint.id AND delivery.workspace_id = endpoint.workspace_id
    WHERE endpoint.id = %s AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL AND delivery.seq > %s
    ORDER BY delivery.seq LIMIT %s
), sized AS (
    SELECT next.id AS delivery_id, next.seq, next.state, event.*,
           sum(octet_length(event.data)) OVER (ORDER BY next.seq) - octet_length(event.data) AS bytes_before
    FROM next JOIN routing_event AS event ON event.id = next.event_id AND event.workspace_id = next.workspace_id
)
SELECT delivery_id, seq, state, workspace_id, id, type, date, source, subject, data
FROM sized WHERE bytes_before < %s ORDER BY seq
"""

# Locked in one order everywhere: two processes that settle the same deliveries then never wait for each other in a
# ring, and the second finds them settled.
_SETTLE = """
WITH sent AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json)
        AS sent(delivery_id uuid, started_at timestamptz, duration_ms float8, id uuid)
), taken AS MATERIALIZED (
    SELECT delivery.id FROM routing_delivery AS delivery
    WHERE delivery.id IN (SELECT delivery_id FROM sent) AND delivery.state = 'PENDING'
    ORDER BY delivery.id FOR UPDATE
), delivered AS (
    UPDATE routing_delivery AS delivery
    SET state = 'DELIVERED', attempts_made = delivery.attempts_made + 1, settled_at = clock_timestamp()
    FROM taken JOIN sent ON sent.delivery_id = taken.id
    WHERE delivery.id = taken.id
    RETURNING delivery.workspace_id, delivery.attempts_made, sent.*
)
INSERT INTO routing_attempt
    (id, workspace_id, delivery_id, number, started_at, duration_ms, error, error_detail, response_body)
SELECT id, workspace_id, delivery_id, attempts_made, started_at, duration_ms, '', '', '' FROM delivered
"""

"""What came of what sockets were sent: acknowledged, sent to who acknowledges nothing, refused or lost."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection, transaction

from event_service.postgres.prepared import prepared
from routing import partitions
from routing.models import Delivery
from routing.sockets import sharing
from routing.sockets.sharing import Share
from routing.sockets.threads import insist

MOST_REFUSALS = 10  # of one delivery, after which it is given up
MOST_LOSSES = 1_000  # attempts of one delivery that are written, where its sockets break off again and again
_MAX_SETTLED = 800  # deliveries in one statement, where they come from several reports


class Report(msgspec.Struct, frozen=True):
    """An attempt of each of these deliveries, which were sent together and have the same end.

    That makes them DELIVERED, or PENDING once more.
    """

    delivery_ids: Sequence[UUID]
    started_at: datetime
    duration_ms: float
    peer: str
    state: str = Delivery.State.DELIVERED
    error: str = ""
    error_detail: str = ""
    shares: Sequence[Share] = ()  # of a member of a group
    delay_s: float = 0  # until other members may have them


@partitions.for_attempts
@transaction.atomic
def settle(reports: Sequence[Report]) -> None:
    """Write what is reported of deliveries that are still PENDING; what another socket settled stays."""
    delivered = Delivery.State.DELIVERED
    document = msgspec.json.encode(reports).decode()
    with prepared() as cursor:
        if all(report.state == delivered for report in reports):
            cursor.execute(_DELIVER, {"reports": document})
        else:
            cursor.execute(_SETTLE, {"reports": document, "refusals": MOST_REFUSALS, "losses": MOST_LOSSES})
    held = [(share, report) for report in reports for share in report.shares]
    if finished := [share for share, report in held if report.state == delivered]:
        sharing.finish(finished)
    if failed := [(share, report.delay_s) for share, report in held if report.state != delivered]:
        sharing.give_back(failed)


@transaction.atomic
def adopt(endpoint_id: UUID, behind: int, up_to: int, peer: str) -> bool:
    """Take as delivered what its reader says that it had: what is still PENDING behind the one number up to the other.

    Return whether there may be more of it: it is done in parts, between which others have their turn.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ADOPT, [endpoint_id, behind, up_to, _MAX_SETTLED, peer])
        return bool(cursor.fetchone()[0] >= _MAX_SETTLED)


class Settler:
    """Writes reports, in the order in which they were added: what waits shares a statement, as far as it takes.

    Statements are short enough that sockets send while they run, and long enough to be worth their trip.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Report, asyncio.Event]] = deque()
        self._wanted = asyncio.Event()

    def add(self, reports: Sequence[Report]) -> asyncio.Event:
        """Return the event that happens once these are settled, and all that were added before."""
        for report in reports:
            settled = asyncio.Event()
            self._waiting.append((report, settled))
        self._wanted.set()
        return settled

    @property
    def wanted(self) -> bool:
        """Whether there are reports that nobody has begun to write."""
        return self._wanted.is_set()

    async def run(self) -> None:
        """Raises what the database has against a batch: what that was about stays owed, and nobody waits for it."""
        while True:
            await self._wanted.wait()
            reports, events = self._next()
            if not self._waiting:
                self._wanted.clear()
            try:
                await insist(settle, reports)
            finally:
                for settled in events:
                    settled.set()

    def _next(self) -> tuple[list[Report], list[asyncio.Event]]:
        reports, events, size = [], [], 0
        while self._waiting and (not size or size + len(self._waiting[0][0].delivery_ids) <= _MAX_SETTLED):
            report, settled = self._waiting.popleft()
            reports.append(report)
            events.append(settled)
            size += len(report.delivery_ids)
        return reports, events


# Of several reports of one delivery the one that delivers it counts. Locked in one order everywhere: two processes that
# settle the same deliveries then never wait for each other in a ring, and the second finds them settled. What is taken
# is looked up once more by an array: a join of that few rows may be planned as a scan of the whole table.
#
# Where all was delivered, which is the rule, nothing has to be told apart: half of the work. Nor does anybody wait
# until that is on the disk (unhurried): clients hear no answer to what they acknowledge, and what a crash of the
# database takes back is owed again, as what was acknowledged and not yet written.
_DELIVER = """
WITH report AS MATERIALIZED (
    SELECT DISTINCT ON (delivery_id) delivery_id, started_at, duration_ms, peer
    FROM json_to_recordset(%(reports)s::json)
        AS report(delivery_ids uuid[], started_at timestamptz, duration_ms float8, peer text)
    CROSS JOIN LATERAL unnest(delivery_ids) AS delivery_id
    ORDER BY delivery_id, started_at
), taken AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE id = ANY (ARRAY(SELECT delivery_id FROM report)) AND state = 'PENDING' ORDER BY id FOR UPDATE
), settled AS (
    UPDATE routing_delivery AS delivery
    SET state = 'DELIVERED', attempts_made = delivery.attempts_made + 1, settled_at = clock_timestamp()
    WHERE delivery.id = ANY (ARRAY(SELECT id FROM taken))
    RETURNING delivery.id, delivery.workspace_id, delivery.attempts_made
), unhurried AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
)
INSERT INTO routing_attempt
    (id, workspace_id, delivery_id, number, started_at, duration_ms, error, error_detail, response_body, peer)
SELECT routing_uuid7(), workspace_id, delivery_id, attempts_made, started_at, duration_ms, '', '', '', peer
FROM settled JOIN report ON report.delivery_id = settled.id CROSS JOIN unhurried
"""
_SETTLE = """
WITH report AS MATERIALIZED (
    SELECT DISTINCT ON (delivery_id) delivery_id, started_at, duration_ms, peer, state, error, error_detail
    FROM json_to_recordset(%(reports)s::json)
        AS report(delivery_ids uuid[], started_at timestamptz, duration_ms float8, peer text, state text, error text,
                  error_detail text)
    CROSS JOIN LATERAL unnest(delivery_ids) AS delivery_id
    ORDER BY delivery_id, (state = 'DELIVERED') DESC, started_at
), taken AS MATERIALIZED (
    SELECT delivery.id FROM routing_delivery AS delivery
    WHERE delivery.id = ANY (ARRAY(SELECT delivery_id FROM report)) AND delivery.state = 'PENDING'
    ORDER BY delivery.id FOR UPDATE
), settled AS (
    UPDATE routing_delivery AS delivery
    SET state = CASE WHEN gives_up THEN 'EXHAUSTED' ELSE report.state END,
        reason = CASE WHEN gives_up THEN 'REFUSED' ELSE '' END,
        attempts_made = delivery.attempts_made + 1,
        settled_at = CASE WHEN gives_up OR report.state <> 'PENDING' THEN clock_timestamp() END
    FROM taken JOIN report ON report.delivery_id = taken.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN report.error = 'REFUSED' THEN
                   (SELECT count(*) + 1 >= %(refusals)s FROM routing_attempt
                    WHERE routing_attempt.delivery_id = taken.id AND routing_attempt.error = 'REFUSED')
               ELSE false END AS gives_up
    ) AS refused
    WHERE delivery.id = taken.id AND delivery.id = ANY (ARRAY(SELECT id FROM taken))
      AND (report.state <> 'PENDING' OR delivery.attempts_made < %(losses)s)
    RETURNING delivery.workspace_id, delivery.attempts_made, report.*
)
INSERT INTO routing_attempt
    (id, workspace_id, delivery_id, number, started_at, duration_ms, error, error_detail, response_body, peer)
SELECT routing_uuid7(), workspace_id, delivery_id, attempts_made, started_at, duration_ms, error, error_detail, '', peer
FROM settled
"""
_ADOPT = """
WITH had AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE endpoint_id = %s AND state = 'PENDING' AND due_at IS NULL
      AND seq > %s AND seq <= %s
    ORDER BY seq LIMIT %s
), taken AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE id = ANY (ARRAY(SELECT id FROM had)) AND state = 'PENDING' ORDER BY id FOR UPDATE
), settled AS (
    UPDATE routing_delivery AS delivery
    SET state = 'DELIVERED', attempts_made = delivery.attempts_made + 1, settled_at = clock_timestamp()
    WHERE delivery.id = ANY (ARRAY(SELECT id FROM taken))
    RETURNING delivery.id, delivery.workspace_id, delivery.attempts_made
), written AS (
    INSERT INTO routing_attempt
        (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body, peer)
    SELECT routing_uuid7(), workspace_id, id, attempts_made, clock_timestamp(), '', '', '', %s FROM settled
)
SELECT count(*) FROM had
"""

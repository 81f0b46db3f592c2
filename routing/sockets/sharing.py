"""Groups whose members divide an endpoint's events, on any process: who has what is in the database.

A delivery is with one member until that acknowledges it, gives it back, or is gone. Those of one ordering key are all
with the same member at a time, in their order, and wait where another has some of them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

from event_service.postgres.prepared import prepared
from routing.models import ShareGroup
from routing.router import WEB_SOCKET_HINT
from routing.sockets.reading import MAX_BYTES, MAX_ROWS, Row, as_row

MOST_WAITING = 1_000  # deliveries of a group that wait for the member that has their key


@dataclass(frozen=True, slots=True)
class Share:
    """A member's hold on a delivery."""

    group_id: int
    seq: int
    socket_id: UUID


@dataclass(frozen=True, slots=True)
class Helping:
    """What a member got, and the numbers after the first up to the last of `gap`, which are not there any more."""

    rows: Sequence[Row] = ()
    gap: tuple[int, int] | None = None
    more: bool = False  # it passed over what nobody is to get: there may be something behind


def join(endpoint_id: UUID, name: str, position: int) -> int:
    """Return the id of the group. A new one begins behind `position`; one that was there stays where it stands."""
    group, _ = ShareGroup.objects.get_or_create(endpoint_id=endpoint_id, name=name, defaults={"scanned_to": position})
    return int(group.pk)


@transaction.atomic
def take(group_id: int, socket_id: UUID, epoch: str, *, most: int, most_bytes: int) -> Helping:
    """Give the socket what it may have now: what waits, then what is new."""
    given: dict[str, Any] = {
        "group_id": group_id,
        "socket_id": socket_id,
        "most": min(most, MAX_ROWS),
        "bytes": min(most_bytes, MAX_BYTES),
    }
    with prepared() as cursor:
        cursor.execute(_LOCK, given)
        group = cursor.fetchone()
        if group is None:  # its endpoint is not ACTIVE, or the socket has ended meanwhile
            return Helping()
        scanned_to, waiting = group
        cursor.execute(_TAKE_WAITING, given)
        rows, gap, scanned = cursor.fetchall(), None, []
        if not rows and waiting < MOST_WAITING:
            cursor.execute(_SCAN, given)
            scanned = cursor.fetchall()
            rows = [row for mine, _, *row in scanned if mine]
            if scanned:
                (_, missing, _, first, *_), last = scanned[0], scanned[-1][3]
                cursor.execute(_SCANNED, [last, group_id])
                until = last if missing else first - 1
                gap = (scanned_to, until) if until > scanned_to else None
    taken = sorted((as_row(epoch, *row) for row in rows), key=lambda row: row.seq)
    given_up = [Share(group_id, row.seq, socket_id) for row in taken if row.dropped]
    if given_up:  # while it waited
        finish(given_up)
        taken = [row for row in taken if not row.dropped]
    gone, here, rest = _up_to_a_hole(taken)
    if gone:
        finish([Share(group_id, row.seq, socket_id) for row in gone])
        gap = (gone[0].seq - 1, gone[-1].seq)
    if rest:
        give_back([(Share(group_id, row.seq, socket_id), 0) for row in rest])
    return Helping(here, gap, more=bool(scanned or given_up))


def _up_to_a_hole(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row], Sequence[Row]]:
    """Return what waited so long that its payload was forgotten, numbers without a break, what comes behind it up to
    the next such row, and the rest.
    """
    places = range(len(rows))
    begin = next((at for at in places if rows[at].frame or rows[at].seq != rows[0].seq + at), len(rows))
    end = next((at for at in places[begin:] if not rows[at].frame), len(rows))
    return rows[:begin], rows[begin:end], rows[end:]


def finish(shares: Collection[Share]) -> None:
    """Have the group done with what its members acknowledged, and wake who waits for these keys."""
    _change(_FINISH, [_listed(share, delay_s=0) for share in shares])


def give_back(shares: Sequence[tuple[Share, float]]) -> None:
    """Let other members have it, after so many seconds; but not what was given up."""
    listed = [_listed(share, delay_s=delay_s) for share, delay_s in shares]
    _change(_FINISH_ENDED, listed)
    _change(_GIVE_BACK, listed)


def takeable(group_ids: Collection[int]) -> set[UUID]:
    """Return the endpoints of those groups in which there is something to take: asked where no hint comes."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKEABLE, [list(group_ids)])
        return {endpoint_id for (endpoint_id,) in cursor.fetchall()}


def _change(sql: str, shares: Sequence[dict[str, Any]]) -> None:
    with prepared() as cursor:
        cursor.execute(sql, {"shares": msgspec.json.encode(shares).decode(), "hint": WEB_SOCKET_HINT})


def _listed(share: Share, *, delay_s: float) -> dict[str, Any]:
    return {"group_id": share.group_id, "seq": share.seq, "socket_id": share.socket_id, "delay_s": delay_s}


# The group's lock makes its members take turns: one sees all that the one before took.
_LOCK = """
SELECT share_group.scanned_to,
       (SELECT count(*) FROM routing_shareddelivery AS waiting
        WHERE waiting.group_id = share_group.id AND waiting.socket_id IS NULL)
FROM routing_sharegroup AS share_group JOIN endpoints_endpoint AS endpoint ON endpoint.id = share_group.endpoint_id
JOIN routing_socket AS socket ON socket.id = %(socket_id)s
WHERE share_group.id = %(group_id)s AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
FOR UPDATE OF share_group FOR KEY SHARE OF socket
"""
_COLUMNS = (
    "id, seq, state, settled_at, payload_shape, data, payload_forgotten_at, event_id, workspace_id, type, date, "
    "source, subject, traceparent, extensions"
)
_SIZED = """
SELECT next.*, delivery.id, delivery.state, delivery.settled_at, delivery.workspace_id,
       event.id AS event_id, event.type, event.date, event.source, event.subject, event.data,
       event.payload_forgotten_at, event.traceparent, event.extensions, event.ordering_key AS key,
       endpoint.payload_shape::text AS payload_shape,
       sum(octet_length(event.data)) OVER (ORDER BY next.seq) - octet_length(event.data) AS bytes_before
FROM next CROSS JOIN LATERAL (SELECT * FROM routing_delivery WHERE id = next.delivery_id LIMIT 1) AS delivery
CROSS JOIN LATERAL (
    SELECT * FROM routing_event
    WHERE routing_event.id = delivery.event_id AND routing_event.workspace_id = delivery.workspace_id LIMIT 1) AS event
JOIN endpoints_endpoint AS endpoint ON endpoint.id = delivery.endpoint_id
"""
# What waits may go unless another member has its key, or one before it in its key waits for a time.
_TAKE_WAITING = f"""
WITH next AS MATERIALIZED (
    SELECT waiting.seq, waiting.delivery_id FROM routing_shareddelivery AS waiting
    WHERE waiting.group_id = %(group_id)s AND waiting.socket_id IS NULL
      AND (waiting.not_before IS NULL OR waiting.not_before <= clock_timestamp())
      AND (waiting.ordering_key = '' OR NOT EXISTS (
          SELECT 1 FROM routing_shareddelivery AS other
          WHERE other.group_id = waiting.group_id AND other.ordering_key = waiting.ordering_key
            AND other.ordering_key <> ''
            AND (other.socket_id <> %(socket_id)s
                 OR other.socket_id IS NULL AND other.seq < waiting.seq AND other.not_before > clock_timestamp())))
    ORDER BY waiting.seq LIMIT %(most)s
), sized AS MATERIALIZED ({_SIZED}), taken AS (
    UPDATE routing_shareddelivery AS waiting SET socket_id = %(socket_id)s, not_before = NULL
    FROM sized WHERE waiting.group_id = %(group_id)s AND waiting.seq = sized.seq AND bytes_before < %(bytes)s
    RETURNING sized.*
)
SELECT {_COLUMNS} FROM taken
"""
# What is new is taken unless others have its key, or some of that waits: then it waits behind. It goes up to the next
# hole, where numbers or payloads are missing; with the latter it begins.
_SCAN = f"""
WITH next AS MATERIALIZED (
    SELECT delivery.seq, delivery.id AS delivery_id, share_group.creation_date AS made_at
    FROM routing_sharegroup AS share_group
    JOIN routing_delivery AS delivery
      ON delivery.endpoint_id = share_group.endpoint_id AND delivery.seq > share_group.scanned_to
    WHERE share_group.id = %(group_id)s ORDER BY delivery.seq LIMIT %(most)s
), sized AS MATERIALIZED ({_SIZED}), told AS MATERIALIZED (
    SELECT *, NOT unwanted AND payload_forgotten_at IS NOT NULL AS missing
    FROM sized CROSS JOIN LATERAL (
        SELECT state IN ('SKIPPED', 'CANCELLED') OR coalesce(settled_at < made_at, false) AS unwanted) AS judgement
    WHERE bytes_before < %(bytes)s
), part AS MATERIALIZED (
    SELECT *, bool_and(missing) OVER so_far AS all_missing, bool_or(missing) OVER so_far AS some_missing,
           seq - first_value(seq) OVER so_far = row_number() OVER so_far - 1 AS unbroken
    FROM told WINDOW so_far AS (ORDER BY seq)
), judged AS MATERIALIZED (
    SELECT *, unwanted OR missing AS left_out,
           key <> '' AND EXISTS (
               SELECT 1 FROM routing_shareddelivery AS other
               WHERE other.group_id = %(group_id)s AND other.ordering_key = key AND other.ordering_key <> ''
                 AND other.socket_id IS DISTINCT FROM %(socket_id)s) AS blocked
    FROM part WHERE unbroken AND (all_missing OR NOT some_missing)
), written AS (
    INSERT INTO routing_shareddelivery (group_id, seq, delivery_id, ordering_key, socket_id)
    SELECT %(group_id)s, seq, id, key, CASE WHEN NOT blocked THEN %(socket_id)s::uuid END
    FROM judged WHERE NOT left_out
)
SELECT NOT blocked AND NOT left_out, missing, {_COLUMNS} FROM judged ORDER BY seq
"""
_SCANNED = "UPDATE routing_sharegroup SET scanned_to = %s WHERE id = %s"
_SHARES = """
WITH share AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(shares)s::json)
        AS share(group_id bigint, seq bigint, socket_id uuid, delay_s float8)
)"""
# Only of what the member still has: another may have got it, if this one was taken for dead.
_HINT = """
SELECT pg_notify(%(hint)s, endpoint_id::text)
FROM (SELECT DISTINCT endpoint_id FROM changed JOIN routing_sharegroup ON id = changed.group_id) AS told
"""
_FINISH_WHERE = f"""{_SHARES}, changed AS (
    DELETE FROM routing_shareddelivery AS held USING share
    WHERE held.group_id = share.group_id AND held.seq = share.seq AND held.socket_id = share.socket_id CONDITION
    RETURNING held.group_id, held.ordering_key
)
{_HINT} WHERE endpoint_id IN (
    SELECT endpoint_id FROM changed JOIN routing_sharegroup ON id = changed.group_id
    WHERE EXISTS (SELECT 1 FROM routing_shareddelivery AS waiting
                  WHERE waiting.group_id = changed.group_id AND waiting.socket_id IS NULL))
"""
_FINISH = _FINISH_WHERE.replace("CONDITION", "")
_FINISH_ENDED = _FINISH_WHERE.replace(
    "CONDITION",
    "AND EXISTS (SELECT 1 FROM routing_delivery AS delivery WHERE delivery.id = held.delivery_id "
    "AND delivery.state IN ('EXHAUSTED', 'SKIPPED', 'CANCELLED'))",
)
_GIVE_BACK = f"""{_SHARES}, changed AS (
    UPDATE routing_shareddelivery AS held
    SET socket_id = NULL,
        not_before = CASE WHEN share.delay_s > 0 THEN clock_timestamp() + share.delay_s * interval '1 second' END
    FROM share
    WHERE held.group_id = share.group_id AND held.seq = share.seq AND held.socket_id = share.socket_id
    RETURNING held.group_id
)
{_HINT}
"""
_TAKEABLE = """
SELECT endpoint_id FROM routing_sharegroup AS share_group
WHERE id = ANY(%s)
  AND (EXISTS (SELECT 1 FROM routing_delivery AS delivery
               WHERE delivery.endpoint_id = share_group.endpoint_id AND delivery.seq > share_group.scanned_to)
       OR EXISTS (SELECT 1 FROM routing_shareddelivery AS waiting
                  WHERE waiting.group_id = share_group.id AND waiting.socket_id IS NULL
                    AND (waiting.not_before IS NULL OR waiting.not_before <= clock_timestamp())))
"""

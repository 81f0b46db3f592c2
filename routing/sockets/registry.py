"""Which websockets are open, on all processes: who lives, who has too many, and whose are left behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from endpoints.models import Endpoint, Workspace
from endpoints.models.quotas import Quota, limit_of
from routing import partitions
from routing.models import Socket, SocketNode
from routing.router import WEB_SOCKET_HINT
from routing.sockets.refusals import NOT_ALLOWED, Refusal
from routing.sockets.settling import MOST_LOSSES

DEAD_AFTER_S = 20  # without a sign of life


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants a place: which endpoint it is about, and by which key it comes; None where anybody may."""

    endpoint: Endpoint
    key_id: UUID | None
    address: str
    share: str = ""
    watches: bool = False
    looks_on: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A socket's own row, and how its attempts name it."""

    socket_id: UUID
    peer: str
    node_id: UUID


def open_node() -> UUID:
    return SocketNode.objects.create().pk


def renew_node(node_id: UUID) -> bool:
    """Say that this process lives. Return False where others took it for dead: its sockets have lost their places."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_socketnode SET seen_at = clock_timestamp() WHERE id = %s", [node_id])
        return bool(cursor.rowcount)


@transaction.atomic
def enter(visitor: Visitor, node_id: UUID) -> Place:
    """Take a place among the open sockets. Raises Refusal where the key or the workspace has too many."""
    workspace_id = visitor.endpoint.workspace_id
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [str(workspace_id)])
        cursor.execute(_COUNT, [visitor.key_id, workspace_id])
        of_key, of_workspace = cursor.fetchone()
    of_workspace_at_most = limit_of(Workspace.objects.get(pk=workspace_id), Quota.SOCKETS)
    for whose, count, most in (
        ("This key", of_key, settings.SOCKETS_PER_KEY),
        ("This workspace", of_workspace, of_workspace_at_most),
    ):
        if most is not None and count >= most:
            raise Refusal(NOT_ALLOWED, f"{whose} has {count} websockets open; at most {most} are.")
    socket = Socket.objects.create(
        node_id=node_id,
        workspace_id=workspace_id,
        endpoint=visitor.endpoint,
        key_id=visitor.key_id,
        address=visitor.address[:64],
        share=visitor.share,
        watches=visitor.watches,
        looks_on=visitor.looks_on,
    )
    key = f"key {visitor.key_id}" if visitor.key_id else "no key"
    return Place(socket.pk, f"socket {socket.pk}, {key}, {socket.address}", node_id)


def leave(socket_id: UUID) -> None:
    """Give the place up. What its group still had with it goes to other members."""
    _end_sockets([socket_id], "The websocket ended before it acknowledged.")


@partitions.for_attempts
@transaction.atomic
def sweep() -> None:
    """Forget the processes that died, and their sockets."""
    with connection.cursor() as cursor:
        cursor.execute(_DEAD, [DEAD_AFTER_S])
        dead = [id_ for (id_,) in cursor.fetchall()]
    if dead:
        sockets = Socket.objects.filter(node__in=dead).order_by("pk").select_for_update()
        _end_sockets([socket.pk for socket in sockets], "The process ended, and the websocket with it.")
        SocketNode.objects.filter(pk__in=dead).delete()


@transaction.atomic
def _end_sockets(socket_ids: Sequence[UUID], detail: str) -> None:
    with connection.cursor() as cursor:
        # A member that ends may still be taking: its sockets wait for that, and then give back what it took.
        cursor.execute("SELECT FROM routing_socket WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(socket_ids)])
        cursor.execute(_TAKE_BACK, {"sockets": list(socket_ids), "detail": detail, "losses": MOST_LOSSES})
        cursor.execute(_END, [list(socket_ids)])
        ended = cursor.fetchall()
        cursor.execute(_LEFT, [[endpoint_id for endpoint_id, reads in ended if reads]])
        endpoints = {str(endpoint_id) for endpoint_id, _ in ended}
        cursor.executemany("SELECT pg_notify(%s, %s)", [(WEB_SOCKET_HINT, id_) for id_ in sorted(endpoints)])


# One at a time in a workspace, so that many who come at once don't all see room for one.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_COUNT = "SELECT count(*) FILTER (WHERE key_id = %s), count(*) FROM routing_socket WHERE workspace_id = %s"
_DEAD = """
SELECT id FROM routing_socketnode WHERE seen_at < clock_timestamp() - %s * interval '1 second'
ORDER BY id FOR UPDATE SKIP LOCKED
"""
_END = "DELETE FROM routing_socket WHERE id = ANY(%s) RETURNING endpoint_id, NOT (watches OR looks_on)"
# The last one says when it left. Those that end just now have locked their rows, which xmax shows, and each takes the
# others for gone, so that one at least says it. That a member of a group has locked its own shows too, and may have it
# said too early: nobody asks while a socket is open.
_LEFT = """
WITH abandoned AS MATERIALIZED (
    SELECT endpoint_id FROM routing_cursor AS cursor
    WHERE endpoint_id = ANY(%s) AND NOT EXISTS (
        SELECT FROM routing_socket AS open
        WHERE open.endpoint_id = cursor.endpoint_id AND NOT (open.watches OR open.looks_on) AND open.xmax = 0
    )
    ORDER BY endpoint_id FOR UPDATE
)
UPDATE routing_cursor AS cursor SET last_socket_left_at = clock_timestamp()
FROM abandoned WHERE cursor.endpoint_id = abandoned.endpoint_id
"""
# What a group had with them, which nobody reported.
_TAKE_BACK = """
WITH lost AS (
    UPDATE routing_shareddelivery AS held SET socket_id = NULL
    FROM routing_socket AS socket
    WHERE held.socket_id = socket.id AND socket.id = ANY(%(sockets)s)
    RETURNING held.delivery_id, socket.id AS socket_id, socket.key_id, socket.address
), taken AS MATERIALIZED (
    SELECT id FROM routing_delivery
    WHERE id IN (SELECT delivery_id FROM lost) AND state = 'PENDING' AND attempts_made < %(losses)s
    ORDER BY id FOR UPDATE
), counted AS (
    UPDATE routing_delivery AS delivery SET attempts_made = delivery.attempts_made + 1
    FROM taken WHERE delivery.id = taken.id RETURNING delivery.id, delivery.workspace_id, delivery.attempts_made
)
INSERT INTO routing_attempt
    (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body, peer)
SELECT DISTINCT ON (counted.id) routing_uuid7(), counted.workspace_id, counted.id, counted.attempts_made,
       clock_timestamp(), 'CONNECTION_LOST', %(detail)s, '',
       'socket ' || socket_id || coalesce(', key ' || key_id, ', no key') || ', ' || address
FROM counted JOIN lost ON lost.delivery_id = counted.id
"""

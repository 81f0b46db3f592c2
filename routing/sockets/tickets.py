"""Single-use tickets: how a web page opens a websocket without ever seeing a key."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from endpoints.models import Endpoint
from routing.models import SocketTicket
from routing.sockets.operators import looks_that_are_allowed
from routing.sockets.refusals import NOT_ALLOWED, Refusal

LIFE = timedelta(seconds=30)
_UNUSABLE = Refusal(NOT_ALLOWED, "This ticket is unknown, used, expired, or for another endpoint or address.")


class Opener(NamedTuple):
    """What a websocket was opened with: a key, an operator who looks on, or nothing."""

    workspace_id: UUID | None = None
    key_id: UUID | None = None
    user_id: int | None = None


def issue(
    *, endpoint: Endpoint, key_id: UUID | None = None, user_id: int | None = None, address: str = ""
) -> tuple[str, datetime]:
    """Return a ticket for one websocket on `endpoint`, and when it expires.

    It is made with a key, or by an operator who wants to look on; its socket lives for as long as they may.
    """
    text = f"evt_{secrets.token_urlsafe(32)}"
    SocketTicket.objects.filter(expires_at__lt=Now() - LIFE).delete()
    ticket = SocketTicket.objects.create(
        digest=_digest(text),
        key_id=key_id,
        user_id=user_id,
        endpoint=endpoint,
        address=address,
        expires_at=Now() + LIFE,
    )
    ticket.refresh_from_db(fields=["expires_at"])
    return text, ticket.expires_at


def take(text: str, *, endpoint_id: str, address: str) -> Opener:
    """Use the ticket up, and return what it was made with. Raises Refusal."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [_digest(text)])
        row = cursor.fetchone()
    if row is None:
        raise _UNUSABLE.with_traceback(None)
    *opener, of_endpoint, of_address, usable = row
    found = Opener(*opener)
    if found.user_id:
        usable &= bool(looks_that_are_allowed({(found.user_id, of_endpoint)}))
    if not usable or str(of_endpoint) != endpoint_id.lower() or of_address not in ("", address):
        raise _UNUSABLE.with_traceback(None)
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha512(text.encode()).digest()


# Used up even where it does not fit: who tries it elsewhere has it from somebody.
_TAKE = """
DELETE FROM routing_socketticket AS ticket USING endpoints_endpoint AS endpoint
WHERE ticket.digest = %s AND endpoint.id = ticket.endpoint_id
RETURNING endpoint.workspace_id, ticket.key_id, ticket.user_id, ticket.endpoint_id, ticket.address,
          ticket.expires_at > clock_timestamp() AND (ticket.key_id IS NULL OR EXISTS (
              SELECT 1 FROM endpoints_apikey AS key
              WHERE key.id = ticket.key_id AND key.workspace_id = endpoint.workspace_id AND key.revoked_at IS NULL
                AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp()) AND 'subscribe' = ANY(key.scopes)))
"""

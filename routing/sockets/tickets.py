"""Single-use tickets: how a web page opens a websocket without ever seeing a key."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from endpoints.models import Endpoint
from routing.models import SocketTicket
from routing.sockets.refusals import NOT_ALLOWED, Refusal

LIFE = timedelta(seconds=30)
_UNUSABLE = Refusal(NOT_ALLOWED, "This ticket is unknown, used, expired, or for another endpoint or address.")


def issue(*, endpoint: Endpoint, key_id: UUID, address: str = "") -> tuple[str, datetime]:
    """Return a ticket for one websocket on `endpoint`, and when it expires. Its socket lives as long as the key may."""
    text = f"evt_{secrets.token_urlsafe(32)}"
    SocketTicket.objects.filter(expires_at__lt=Now() - LIFE).delete()
    ticket = SocketTicket.objects.create(
        digest=_digest(text), key_id=key_id, endpoint=endpoint, address=address, expires_at=Now() + LIFE
    )
    ticket.refresh_from_db(fields=["expires_at"])
    return text, ticket.expires_at


def take(text: str, *, endpoint_id: str, address: str) -> tuple[UUID, UUID]:
    """Use the ticket up, and return the key that it was made with and its workspace. Raises Refusal."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [_digest(text)])
        row = cursor.fetchone()
    if row is None:
        raise _UNUSABLE
    key_id, workspace_id, of_endpoint, of_address, usable = row
    if not usable or str(of_endpoint) != endpoint_id.lower() or of_address not in ("", address):
        raise _UNUSABLE
    return key_id, workspace_id


def _digest(text: str) -> bytes:
    return hashlib.sha512(text.encode()).digest()


# Used up even where it does not fit: who tries it elsewhere has it from somebody.
_TAKE = """
DELETE FROM routing_socketticket AS ticket USING endpoints_apikey AS key
WHERE ticket.digest = %s AND key.id = ticket.key_id
RETURNING key.id, key.workspace_id, ticket.endpoint_id, ticket.address,
          ticket.expires_at > clock_timestamp() AND key.revoked_at IS NULL
          AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp()) AND 'subscribe' = ANY(key.scopes)
"""

"""A worker says that it lives and what it holds, and is told in the same statement whether it may claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

LEASES_TOLD = 100  # of one worker: the oldest
DEAD_AFTER_S = 20  # without a sign of life it counts as gone ...
FORGOTTEN_AFTER_S = 3_600  # ... and its row, with what operators said of it, is kept for as long


@dataclass(frozen=True, slots=True)
class Presence:
    id: UUID
    name: str
    version: str
    held: int
    slow: int
    oldest_claim_at: datetime | None
    lease_tokens: Sequence[UUID] = ()  # of the oldest that are held


def report(presence: Presence) -> bool:
    """Write it down. Return whether an operator has drained the worker."""
    with connection.cursor() as cursor:
        held, slow, since = presence.held, presence.slow, presence.oldest_claim_at
        tokens = list(presence.lease_tokens)
        cursor.execute(_REPORT, [presence.id, presence.name, presence.version, held, slow, since, tokens])
        return bool(cursor.fetchone()[0])


def leave(id_: UUID) -> None:
    """Forget a worker that ends, and those that ended without a word."""
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, [id_, FORGOTTEN_AFTER_S])


_REPORT = """
INSERT INTO routing_workernode AS node (id, name, version, held, slow, oldest_claim_at, lease_tokens, drained)
VALUES (%s, %s, %s, %s, %s, %s, %s, false)
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), held = excluded.held, slow = excluded.slow,
    oldest_claim_at = excluded.oldest_claim_at, lease_tokens = excluded.lease_tokens
RETURNING drained
"""
_LEAVE = "DELETE FROM routing_workernode WHERE id = %s OR seen_at < clock_timestamp() - %s * interval '1 second'"

"""A worker says that it lives and what it holds, and is told in the same statement what there is to do for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
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


class Told(NamedTuple):
    """Whether it is drained by an operator, and of what else there is something. The order is that of the query."""

    drained: bool
    lost: bool  # leases that are over
    deleted: bool  # endpoints within the time that was asked for
    ailing: bool  # endpoints that fail, or that did
    replays: bool  # whose turn it is
    tallies: bool
    counts: bool


def report(presence: Presence, *, deleted_within_s: float) -> Told:
    """Write it down, and say what is to be done. In a service at rest it is all that is asked, once a second."""
    with connection.cursor() as cursor:
        cursor.execute(
            _REPORT,
            [
                *(presence.id, presence.name, presence.version, presence.held, presence.slow),
                *(presence.oldest_claim_at, list(presence.lease_tokens), deleted_within_s),
            ],
        )
        return Told(*cursor.fetchone())


def leave(id_: UUID) -> None:
    """Forget a worker that ends, and those that ended without a word."""
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, [id_, FORGOTTEN_AFTER_S])


# Rows of the last two come and go: the first by its id is found without a look at those that are gone.
_REPORT = """
WITH told AS (
    INSERT INTO routing_workernode AS node (id, name, version, held, slow, oldest_claim_at, lease_tokens, drained)
    VALUES (%s, %s, %s, %s, %s, %s, %s, false)
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), held = excluded.held, slow = excluded.slow,
        oldest_claim_at = excluded.oldest_claim_at, lease_tokens = excluded.lease_tokens
    RETURNING drained
)
SELECT drained,
       EXISTS (SELECT FROM routing_delivery WHERE state = 'SENDING' AND due_at < statement_timestamp()),
       EXISTS (SELECT FROM endpoints_endpoint WHERE deleted_at > statement_timestamp() - %s * interval '1 second'),
       EXISTS (SELECT FROM routing_lane
               WHERE failing_since IS NOT NULL OR warned_percent > 0 OR disable_reason <> ''),
       EXISTS (SELECT FROM routing_replay WHERE state = 'RUNNING' AND resume_at <= clock_timestamp()),
       (SELECT id FROM routing_typetally ORDER BY id LIMIT 1) IS NOT NULL,
       (SELECT id FROM routing_count ORDER BY id LIMIT 1) IS NOT NULL
FROM told
"""
_LEAVE = "DELETE FROM routing_workernode WHERE id = %s OR seen_at < clock_timestamp() - %s * interval '1 second'"

"""What happened, and by which of the producer's own ids it is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from uuid import UUID

import msgspec
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.errors import Conflict
from endpoints.models import Workspace
from routing.signals import events_recorded
from routing.submissions import TEXT_LENGTH, NewEvent


@dataclass(frozen=True, slots=True)
class Recorded:
    """The id under which an event is stored, now or since the first time it was sent."""

    id: UUID
    duplicate: bool = False


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_index=False, related_name="+")
    type = models.CharField(max_length=TEXT_LENGTH)
    source = models.CharField(max_length=TEXT_LENGTH, blank=True)
    subject = models.CharField(max_length=TEXT_LENGTH, blank=True)
    ordering_key = models.CharField(max_length=TEXT_LENGTH, blank=True)
    date = models.DateTimeField()  # when it happened, as the producer says; or when it was recorded
    data = models.TextField()  # the producer's exact JSON text: never parsed and written again
    creation_date = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="event_in_workspace"),
            models.CheckConstraint(condition=~Q(type=""), name="event_has_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @classmethod
    def record_all(cls, events: Sequence[NewEvent]) -> list[Recorded | Conflict]:
        """Store the events and everything that is owed because of them, or nothing.

        The answers are in the order of `events`. An event whose producer's id is known is not stored again: the
        answer is the first one's id, or a Conflict where the content differs.
        """
        with transaction.atomic(savepoint=False):
            answers = IdempotencyRecord.claim_all(events)
            fresh = [event for event in events if answers[event.id] == Recorded(event.id)]
            if fresh:
                cls._insert(fresh)
                events_recorded.send(sender=cls, events=fresh)
        return [answers[event.id] for event in events]

    @staticmethod
    def _insert(events: Sequence[NewEvent]) -> None:
        rows = [
            {
                "id": event.id,
                "workspace_id": event.workspace_id,
                "type": event.type,
                "source": event.source,
                "subject": event.subject,
                "ordering_key": event.ordering_key,
                "date": event.date,
                "data": event.data,
            }
            for event in events
        ]
        with connection.cursor() as cursor:
            cursor.execute(_INSERT_EVENTS, [msgspec.json.encode(rows).decode()])


class IdempotencyRecord(models.Model):
    """The producer's own id of an event. Apart from Event, so that it can be kept for another time."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False, related_name="+")
    key = models.CharField(max_length=TEXT_LENGTH)
    event_id = models.UUIDField()
    digest = models.BinaryField(max_length=32)  # SHA-256 of the content that the key stands for
    creation_date = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key

    @classmethod
    def claim_all(cls, events: Sequence[NewEvent]) -> dict[UUID, Recorded | Conflict]:
        """Take the producer's ids of `events`, and return by event what became of it.

        Whoever takes an id that another transaction is taking waits for that transaction's end.
        """
        answers: dict[UUID, Recorded | Conflict] = {event.id: Recorded(event.id) for event in events}
        first: dict[tuple[UUID, str], NewEvent] = {}
        for event in events:
            if event.producer_id is not None:
                first.setdefault((event.workspace_id, event.producer_id), event)
        if not first:
            return answers
        stored = cls._insert(first)
        for event in events:
            if event.producer_id is not None:
                event_id, digest = stored[event.workspace_id, event.producer_id]
                if event_id != event.id:
                    answers[event.id] = (
                        Recorded(event_id, duplicate=True)
                        if digest == event.digest()
                        else Conflict(f"id {event.producer_id!r} was sent before with other content.", "id")
                    )
        return answers

    @staticmethod
    def _insert(claims: dict[tuple[UUID, str], NewEvent]) -> dict[tuple[UUID, str], tuple[UUID, bytes]]:
        """Insert what is not there yet. Return for each claim the event id and digest that stand."""
        # In one order everywhere: two transactions that take the same ids then never wait for each other in a ring.
        rows = [
            {"workspace_id": workspace_id, "key": key, "event_id": event.id, "digest": event.digest().hex()}
            for (workspace_id, key), event in sorted(claims.items(), key=itemgetter(0))
        ]
        document = msgspec.json.encode(rows).decode()
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM_KEYS, [document])
            cursor.execute(_STANDING_KEYS, [document])
            return {(row[0], row[1]): (row[2], bytes(row[3])) for row in cursor.fetchall()}


# Rows travel as one JSON document: a parameter for each column of each row costs several times as much.
_INSERT_EVENTS = """
INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data)
SELECT id, workspace_id, type, source, subject, ordering_key, coalesce(date, statement_timestamp()), data
FROM json_to_recordset(%s::json) AS new(id uuid, workspace_id uuid, type text, source text, subject text,
                                        ordering_key text, date timestamptz, data text)
"""
_CLAIM_KEYS = """
INSERT INTO routing_idempotencyrecord (workspace_id, key, event_id, digest)
SELECT workspace_id, key, event_id, decode(digest, 'hex')
FROM json_to_recordset(%s::json) AS new(workspace_id uuid, key text, event_id uuid, digest text)
ON CONFLICT (workspace_id, key) DO NOTHING
"""
_STANDING_KEYS = """
SELECT stands.workspace_id, stands.key, stands.event_id, stands.digest
FROM json_to_recordset(%s::json) AS new(workspace_id uuid, key text)
JOIN routing_idempotencyrecord AS stands USING (workspace_id, key)
"""

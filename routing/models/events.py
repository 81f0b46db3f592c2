"""What happened, and by which of the producer's own ids it is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import msgspec
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.errors import BadInput, Conflict
from endpoints.models import Workspace
from routing import envelope, plans, rules
from routing.models.tallies import TypeTally
from routing.plans import Ask, Plan, Tell
from routing.rules import Problem
from routing.signals import events_recorded
from routing.submissions import TEXT_LENGTH, NewEvent


@dataclass(frozen=True, slots=True)
class Recorded:
    """The id under which an event is stored, now or since the first time it was sent."""

    id: UUID
    duplicate: bool = False


Answer = Recorded | Conflict | BadInput


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_index=False, related_name="+")
    type = models.CharField(max_length=TEXT_LENGTH)
    source = models.CharField(max_length=TEXT_LENGTH, blank=True)
    subject = models.CharField(max_length=TEXT_LENGTH, blank=True)
    ordering_key = models.CharField(max_length=TEXT_LENGTH, blank=True)
    date = models.DateTimeField()  # when it happened, as the producer says; or when it was recorded
    data = models.TextField()  # the producer's exact JSON text: never parsed and written again
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")  # W3C's, of who published it
    extensions = models.TextField(blank=True, default="", db_default="")  # a JSON text; empty where there are none
    creation_date = models.DateTimeField(db_default=Now())
    # Since when `data` and `extensions` are empty, because their time was over: see retention.py.
    payload_forgotten_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="event_in_workspace"),
            models.CheckConstraint(condition=~Q(type=""), name="event_has_type"),
            models.CheckConstraint(
                condition=Q(payload_forgotten_at=None) | Q(data="", extensions=""), name="event_forgot_its_payload"
            ),
        ]
        # prune: what has a payload. It would look at all others each time, which are kept for longer.
        indexes = [
            models.Index(fields=["workspace", "id"], condition=Q(payload_forgotten_at=None), name="event_with_payload")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    def fields(self) -> dict[str, Any]:
        """Return what filters look at. Raises Conflict where that was forgotten: it is not the same as none."""
        if self.payload_forgotten_at:
            raise Conflict(forgotten(self.pk, self.payload_forgotten_at))
        return envelope.fields(
            id=self.pk,
            type=self.type,
            date=self.date,
            source=self.source,
            subject=self.subject,
            workspace_id=self.workspace_id,
            data=msgspec.json.decode(self.data) if self.data else msgspec.UNSET,
        )

    @classmethod
    def record_all(cls, events: Sequence[NewEvent]) -> list[Answer]:
        """Store the events and everything that is owed because of them, or nothing.

        The answers are in the order of `events`. An event whose producer's id is known is not stored again: the
        answer is the first one's id, or a Conflict where the content differs.
        """
        return plans.run(cls.recording(events))

    @classmethod
    def publishing(cls, workspace_id: UUID, events: Sequence[NewEvent]) -> Plan[list[Answer]]:
        """Return the plan that judges events of one workspace by what it enforces now, and records the others."""
        standing = yield from rules.standing(workspace_id)
        return (yield from cls.recording(events, standing.judge(events).problems))

    @classmethod
    def recording(
        cls, events: Sequence[NewEvent], problems: Mapping[UUID, Problem] = MappingProxyType({})
    ) -> Plan[list[Answer]]:
        """Return the plan of record_all. What a problem rejects is not stored: the answer is its refusal."""
        refused = {id_: problem.refusal for id_, problem in problems.items() if problem.rejects}
        answers = yield from IdempotencyRecord.claiming(events, refused)
        fresh = [event for event in events if answers[event.id] == Recorded(event.id)]
        if fresh:
            yield Tell(_INSERT_EVENTS, [msgspec.json.encode([_row(event) for event in fresh]).decode()])
            for _, plan in events_recorded.send(sender=cls, events=fresh):
                yield from cast(Plan[None], plan) or ()
        turned_away = [event for event in events if answers[event.id] is refused.get(event.id)]
        yield from TypeTally.adding([*fresh, *turned_away], problems)
        return [answers[event.id] for event in events]


def forgotten(event_id: UUID, at: datetime) -> str:
    return f"The payload of event {event_id} was forgotten at {at.isoformat()}, as it is kept no longer."


class IdempotencyRecord(models.Model):
    """The producer's own id of an event. Apart from Event, so that it can be kept for another time."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False, related_name="+")
    key = models.CharField(max_length=TEXT_LENGTH)
    event_id = models.UUIDField()
    digest = models.BinaryField(max_length=32)  # SHA-256 of the content that the key stands for
    creation_date = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["workspace", "event_id"], name="idempotency_of_event")]  # prune

    def __str__(self) -> str:
        return self.key

    @classmethod
    def claiming(cls, events: Sequence[NewEvent], refused: Mapping[UUID, BadInput]) -> Plan[dict[UUID, Answer]]:
        """Take the producer's ids of `events` but of what is refused, and return by event what became of it.

        What was accepted before and is refused now, when it is sent again, is as good as accepted.
        Whoever takes an id that another transaction is taking waits for that transaction's end.
        """
        answers: dict[UUID, Answer] = {event.id: refused.get(event.id) or Recorded(event.id) for event in events}
        named = [event for event in events if event.producer_id is not None]
        if named:
            document = _claims(named)
            taking = _claims([event for event in named if event.id not in refused]) if refused else document
            yield Tell(_CLAIM_KEYS, [taking])
            rows = yield Ask(_STANDING_KEYS, [document])
            standing = {(workspace_id, key): (id_, bytes(digest)) for workspace_id, key, id_, digest in rows}
            for event in named:
                id_, digest = standing.get((event.workspace_id, str(event.producer_id)), (event.id, b""))
                if id_ != event.id:
                    answers[event.id] = _known(event, id_, digest)
        return answers


def _claims(events: Sequence[NewEvent]) -> str:
    """Return, as JSON, a row for each producer's id. The first event of a batch that has it stands for it.

    They are in one order everywhere: two transactions that take the same ids then never wait for each other in a ring.
    """
    first = {(event.workspace_id, str(event.producer_id)): event for event in reversed(events)}
    rows = [
        {"workspace_id": workspace_id, "key": key, "event_id": event.id, "digest": event.digest().hex()}
        for (workspace_id, key), event in sorted(first.items(), key=itemgetter(0))
    ]
    return msgspec.json.encode(rows).decode()


def _known(event: NewEvent, id_: UUID, digest: bytes) -> Recorded | Conflict:
    if digest == event.digest():
        return Recorded(id_, duplicate=True)
    return Conflict(f"id {event.producer_id!r} was sent before with other content.", "id")


def _row(event: NewEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "workspace_id": event.workspace_id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "ordering_key": event.ordering_key,
        "date": event.date,
        "data": event.data,
        "traceparent": event.traceparent,
        "extensions": event.extensions,
    }


# Rows travel as one JSON document: a parameter for each column of each row costs several times as much.
_INSERT_EVENTS = """
INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data, traceparent,
                           extensions)
SELECT id, workspace_id, type, source, subject, ordering_key, coalesce(date, statement_timestamp()), data,
       traceparent, extensions
FROM json_to_recordset(%s::json) AS new(id uuid, workspace_id uuid, type text, source text, subject text,
                                        ordering_key text, date timestamptz, data text, traceparent text,
                                        extensions text)
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

"""What happened and where it went: the traffic, which code writes and people read.

Ids are UUIDv7 (RFC 9562): in the order of time, so the newest come first by the primary key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from uuid import UUID

import msgspec
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.constraints import SameWorkspace
from endpoints.errors import Conflict
from endpoints.models import Endpoint, Workspace
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


class Cursor(models.Model):
    """The last number that an endpoint's deliveries have reached. Written by the router alone.

    The row is locked until the transaction that took numbers ends: numbers have no gaps and follow commits.
    """

    endpoint = models.OneToOneField(Endpoint, models.PROTECT, primary_key=True, related_name="+")
    last_seq = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.last_seq}"


class Lane(models.Model):
    """How a webhook endpoint takes what it is sent. Written by the workers alone; made with the endpoint, by a trigger.

    Apart from the cursor, so that workers and the door never wait for each other.
    """

    endpoint = models.OneToOneField(Endpoint, models.PROTECT, primary_key=True, related_name="lane")
    in_flight = models.PositiveIntegerField(default=0)  # deliveries that are SENDING
    ready_at = models.DateTimeField(db_default=Now())  # no claim before: rate limit, breaker, Retry-After
    # The rate limit's bucket: how many requests may go at once.
    tokens = models.FloatField(default=0)
    tokens_at = models.DateTimeField(db_default=Now())
    # The breaker: failures among the attempts of a window. While it is open, one delivery at a time is tried.
    window_started_at = models.DateTimeField(db_default=Now())
    window_attempts = models.PositiveIntegerField(default=0)
    window_failures = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField(null=True, blank=True)
    openings = models.PositiveSmallIntegerField(default=0)  # in a row: each waits twice as long
    # Nothing but failures since then; how far that has been told, in percent of the time until it is disabled.
    failing_since = models.DateTimeField(null=True, blank=True)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    warned_percent = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.in_flight} in flight"


class Delivery(models.Model):
    """One event owed to one endpoint: the queue and the record."""

    class State(models.TextChoices):
        PENDING = "PENDING"  # waits for its time (due_at), or for a websocket to read it
        SENDING = "SENDING"  # leased to a worker until due_at
        DELIVERED = "DELIVERED"
        EXHAUSTED = "EXHAUSTED"  # every attempt failed
        SKIPPED = "SKIPPED"  # not tried, for the reason given
        CANCELLED = "CANCELLED"  # given up before its end, for the reason given

    OPEN = (State.PENDING, State.SENDING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    event = models.ForeignKey(Event, models.PROTECT, db_constraint=False, db_index=False, related_name="deliveries")
    endpoint = models.ForeignKey(
        Endpoint, models.PROTECT, db_constraint=False, db_index=False, related_name="deliveries"
    )
    seq = models.BigIntegerField()
    # The delivery that this one repeats, at somebody's wish; each repeats at most once, over and over.
    retry_of = models.ForeignKey(
        "self", models.PROTECT, null=True, editable=False, db_constraint=False, db_index=False, related_name="+"
    )
    ordering_key = models.CharField(max_length=TEXT_LENGTH, blank=True)  # where the endpoint asks for order
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=200, blank=True)
    attempts_made = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    creation_date = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="delivery_in_workspace"),
            # Also what a websocket reads on from its cursor.
            models.UniqueConstraint(fields=["endpoint", "seq"], name="delivery_seq_once"),
            # Also where one event went.
            models.UniqueConstraint(
                fields=["event", "endpoint", "retry_of"], nulls_distinct=False, name="delivery_once"
            ),
            SameWorkspace(column="event_id", target="routing_event", name="delivery_event_in_workspace"),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="delivery_endpoint_in_workspace"),
            SameWorkspace(column="retry_of_id", target="routing_delivery", name="delivery_retry_in_workspace"),
            models.CheckConstraint(
                condition=Q(state="PENDING", lease_token=None, settled_at=None)
                | Q(state="SENDING", lease_token__isnull=False, due_at__isnull=False, settled_at=None)
                | Q(
                    state__in=["DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED"],
                    lease_token=None,
                    due_at=None,
                    settled_at__isnull=False,
                ),
                name="delivery_state_and_times_agree",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["EXHAUSTED", "SKIPPED", "CANCELLED"], reason=""),
                name="delivery_end_has_reason",
            ),
        ]
        indexes = [
            # queue.claim: first attempts ...
            models.Index(
                fields=["endpoint", "seq"],
                condition=Q(due_at__isnull=False, attempts_made=0),
                name="delivery_first",
            ),
            # ... and what is due again.
            models.Index(
                fields=["endpoint", "due_at", "seq"],
                condition=Q(state="PENDING", due_at__isnull=False, attempts_made__gt=0),
                name="delivery_due",
            ),
            # queue.reap: whose lease ran out.
            models.Index(fields=["due_at"], condition=Q(state="SENDING"), name="delivery_leased"),
            # queue.settle and the router: whose turn it is within an ordering key.
            models.Index(
                fields=["endpoint", "ordering_key", "seq"],
                condition=Q(state__in=["PENDING", "SENDING"]) & ~Q(ordering_key=""),
                name="delivery_in_order",
            ),
            # consumers: where a websocket endpoint stands.
            models.Index(fields=["endpoint", "seq"], condition=Q(state="PENDING", due_at=None), name="delivery_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}: {self.state}"


class Attempt(models.Model):
    """One try of a delivery, and what came of it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    delivery = models.ForeignKey(Delivery, models.PROTECT, db_constraint=False, db_index=False, related_name="attempts")
    number = models.PositiveSmallIntegerField()  # 1, 2, 3 ... within the delivery
    started_at = models.DateTimeField()
    duration_ms = models.FloatField(null=True, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=40, blank=True)  # the class of failure; empty where it succeeded
    error_detail = models.CharField(max_length=500, blank=True)
    response_body = models.TextField(blank=True)  # its first 16 KiB, as far as they are UTF-8

    class Meta:
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="attempt_in_workspace"),
            # Also the attempts of one delivery.
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number_once"),
            SameWorkspace(column="delivery_id", target="routing_delivery", name="attempt_delivery_in_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"


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

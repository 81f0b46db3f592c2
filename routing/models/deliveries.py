"""What is owed to whom, and what was tried."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.constraints import SameWorkspace
from endpoints.models import Endpoint, Workspace
from routing.models.events import Event
from routing.submissions import TEXT_LENGTH


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
    # Where the endpoint asks for order.
    ordering_key = models.CharField(max_length=TEXT_LENGTH, blank=True, default="", db_default="")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=200, blank=True)
    attempts_made = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    losses = models.PositiveSmallIntegerField(default=0, db_default=0)  # of its worker, in a row
    lease_token = models.UUIDField(null=True, blank=True)
    creation_date = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        permissions = [("retry_delivery", "Can deliver again"), ("cancel_delivery", "Can cancel deliveries")]
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
            # ... and what may have ended its worker.
            models.Index(
                fields=["endpoint", "due_at"], condition=Q(state="PENDING", losses__gt=0), name="delivery_lost"
            ),
            # queue.reap: whose lease ran out.
            models.Index(fields=["due_at"], condition=Q(state="SENDING"), name="delivery_leased"),
            # queue.settle and the router: whose turn it is within an ordering key.
            models.Index(
                fields=["endpoint", "ordering_key", "seq"],
                condition=Q(state__in=["PENDING", "SENDING"]) & ~Q(ordering_key=""),
                name="delivery_in_order",
            ),
            # prune: whether another one repeats it.
            models.Index(
                fields=["workspace", "retry_of"], condition=Q(retry_of__isnull=False), name="delivery_repeated"
            ),
            # consumers: where a websocket endpoint stands.
            models.Index(fields=["endpoint", "seq"], condition=Q(state="PENDING", due_at=None), name="delivery_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} № {self.seq}"


class Attempt(models.Model):
    """One try of a delivery, and what came of it. Kept in partitions, a day of ids in each: see partitions.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    delivery = models.ForeignKey(Delivery, models.PROTECT, db_constraint=False, db_index=False, related_name="attempts")
    number = models.PositiveSmallIntegerField()  # 1, 2, 3 ... within the delivery
    started_at = models.DateTimeField()
    duration_ms = models.FloatField(null=True, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=40, blank=True)  # the class of failure; empty where it succeeded
    error_detail = models.CharField(max_length=500, blank=True)
    # What the tenant must not know: where the error is UNREACHABLE, how. Operators of the whole installation see it.
    cause = models.TextField(blank=True, db_default="")
    response_body = models.TextField(blank=True)  # its first 16 KiB, as far as they are UTF-8
    peer = models.CharField(max_length=200, blank=True, db_default="")  # of a websocket: which one, and by which key

    class Meta:
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="attempt_in_workspace"),
        ]
        # The attempts of one delivery. That each number is there once follows from the delivery's row, which is locked
        # by whoever writes an attempt: a constraint can't reach over partitions.
        indexes = [models.Index(fields=["delivery", "number"], name="attempt_of_delivery")]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"

"""The outbox: events that were stored with what they tell of, and are owed to the service."""

from uuid import uuid4

from django.db import models


class State(models.TextChoices):
    WAITING = "WAITING"
    SET_ASIDE = "SET_ASIDE"  # refused too often: somebody has to look at it


class OutboxEvent(models.Model):
    """A row is there until the service has the event. `event_id` makes it idempotent there, `id` is its place."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    type = models.CharField(max_length=255)
    data = models.TextField(blank=True)  # JSON text; empty where there is none
    source = models.CharField(max_length=255, blank=True)
    subject = models.CharField(max_length=255, blank=True)
    ordering_key = models.CharField(max_length=255, blank=True)
    extensions = models.JSONField(default=dict, blank=True)
    date = models.DateTimeField()

    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField()  # of a row that a forwarder has: when others may take it
    claim = models.UUIDField(null=True, editable=False)  # by whom it was taken last
    refusals = models.PositiveSmallIntegerField(default=0)
    problem = models.TextField(blank=True)

    class Meta:
        verbose_name = "outgoing event"
        indexes = [
            # What a forwarder takes next.
            models.Index(fields=["id"], condition=models.Q(state="WAITING"), name="outbox_waiting"),
            # Whether something of the same key waits before it.
            models.Index(
                fields=["ordering_key", "id"],
                condition=models.Q(state="WAITING") & ~models.Q(ordering_key=""),
                name="outbox_waiting_by_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

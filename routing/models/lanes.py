"""The two narrow rows beside each endpoint, apart so that who writes the one never waits for who writes the other."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Greatest, Now

from endpoints.models import Endpoint


class Cursor(models.Model):
    """The last number that an endpoint's deliveries have reached. Written by whoever writes deliveries.

    The row is locked until the transaction that took numbers ends: numbers have no gaps and follow commits. Besides,
    it is written where the last websocket of an endpoint ends: see sockets/registry.py.
    """

    endpoint = models.OneToOneField(Endpoint, models.PROTECT, primary_key=True, related_name="+")
    last_seq = models.BigIntegerField()
    # Stands for this numbering: see sockets/cursors.py.
    epoch = models.UUIDField(db_default=models.Func(function="gen_random_uuid"))
    last_socket_left_at = models.DateTimeField(null=True)  # means something while none is open

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.last_seq}"


class Lane(models.Model):
    """How a webhook endpoint takes what it is sent. Written by the workers alone; made with the endpoint, by a trigger.

    Apart from the cursor, so that workers and the door never wait for each other.
    """

    endpoint = models.OneToOneField(Endpoint, models.PROTECT, primary_key=True, related_name="lane")
    in_flight = models.PositiveIntegerField(default=0)  # deliveries that are SENDING
    ready_at = models.DateTimeField(db_default=Now())  # no claim before: rate limit, breaker, Retry-After
    paused_until = models.DateTimeField(null=True, blank=True)  # the receiver's part of that, which is not ours to end
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
    disable_reason = models.CharField(max_length=200, blank=True)  # the receiver wants nothing more: see health.py

    class Meta:
        permissions = [("release_lane", "Can close breakers")]
        # health.watch: whoever fails, or did when it was told.
        indexes = [
            models.Index(
                fields=["endpoint"],
                condition=Q(failing_since__isnull=False) | Q(warned_percent__gt=0) | ~Q(disable_reason=""),
                name="lane_unwell",
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.in_flight} in flight"

    def release(self) -> None:
        """Forget what speaks against the endpoint, so that it is sent to as before."""
        type(self).objects.filter(pk=self.pk).update(**_CLOSED)

    @classmethod
    def close_breakers(cls, endpoint_ids: Collection[UUID]) -> list[UUID]:
        """Do so where a breaker is open, and return where. What a rate limit or a Retry-After asks for stays."""
        with transaction.atomic():  # in the order of endpoints, as everywhere
            locked = cls.objects.filter(pk__in=endpoint_ids, opened_at__isnull=False).order_by("pk").select_for_update()
            closed = list(locked.values_list("pk", flat=True))
            cls.objects.filter(pk__in=closed).update(**_CLOSED)
        return closed


_CLOSED: dict[str, Any] = {
    "ready_at": Greatest(Now(), "paused_until"),  # NULL counts for nothing
    "opened_at": None,
    "openings": 0,
    "window_started_at": Now(),
    "window_attempts": 0,
    "window_failures": 0,
}

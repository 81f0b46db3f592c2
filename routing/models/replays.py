"""Deliveries that somebody wants to have again, by the thousand."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.constraints import SameWorkspace
from endpoints.models import Endpoint, Workspace


class Replay(models.Model):
    """A walk along an endpoint's deliveries, or along the events that it was never sent, and how far it has come."""

    class State(models.TextChoices):
        RUNNING = "RUNNING"
        DONE = "DONE"
        CANCELLED = "CANCELLED"  # what was written before stays
        FAILED = "FAILED"  # for the reason given; what was written before stays

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    # What is selected: of this endpoint's deliveries those in these states, or what it was never tried with.
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    never_attempted = models.BooleanField(default=False)
    states = models.JSONField(default=list, blank=True)
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField()
    event_filter_id = models.UUIDField(null=True, blank=True)  # as it stood: it may be changed or deleted since
    wanted = models.JSONField(default=list, blank=True)  # lists of filters' definitions: one of each list must match
    # Where it goes, and how fast.
    to_endpoint = models.ForeignKey(Endpoint, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    per_second = models.PositiveIntegerField()
    # How far it is: a seq of the deliveries or an id of the events, and the last one to look at.
    position = models.CharField(max_length=36)
    end = models.CharField(max_length=36)
    state = models.CharField(max_length=9, choices=State.choices, default=State.RUNNING)
    reason = models.CharField(max_length=200, blank=True)
    total = models.PositiveIntegerField(null=True, blank=True)  # that were found at first; null: too many to count
    done = models.PositiveIntegerField(default=0)
    passed_over = models.PositiveIntegerField(default=0)  # as their payload was forgotten
    resume_at = models.DateTimeField(db_default=Now())  # the next batch, by the throttle
    creation_date = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("cancel_replay", "Can cancel replays")]
        constraints = [
            # Also the list of a workspace, newest first.
            models.UniqueConstraint(fields=["workspace", "id"], name="replay_in_workspace"),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="replay_endpoint_in_workspace"),
            SameWorkspace(column="to_endpoint_id", target="endpoints_endpoint", name="replay_target_in_workspace"),
            models.CheckConstraint(condition=Q(per_second__gt=0), name="replay_rate_is_positive"),
            models.CheckConstraint(
                condition=Q(state="RUNNING", ended_at=None)
                | Q(state__in=["DONE", "CANCELLED", "FAILED"], ended_at__isnull=False),
                name="replay_state_and_times_agree",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["CANCELLED", "FAILED"], reason=""), name="replay_end_has_reason"
            ),
        ]
        # replays.run_some: whose turn it is.
        indexes = [models.Index(fields=["resume_at"], condition=Q(state="RUNNING"), name="replay_running")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} to {self.to_endpoint_id}: {self.done} of {self.total}"

    def cancel(self) -> None:
        """Stop it before its next batch. One that has ended stays as it is."""
        self._end(self.State.CANCELLED, "CANCELLED_BY_REQUEST")

    def fail(self, reason: str) -> None:
        self._end(self.State.FAILED, reason)

    def finish(self) -> None:
        self._end(self.State.DONE)

    def _end(self, state: State, reason: str = "") -> None:
        running = Replay.objects.filter(pk=self.pk, state=self.State.RUNNING)
        running.update(state=state, reason=reason, ended_at=Now())
        self.refresh_from_db()

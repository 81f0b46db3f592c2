"""How much happened, counted as it is written: questions about months cost what questions about an hour do.

Names of what is counted: EVENTS; OWED, DELIVERED, EXHAUSTED, SKIPPED and CANCELLED deliveries; ATTEMPTS; and, each
followed by a space and which, FAILED attempts by class of error, what was FORGOTTEN of events and of deliveries by
state, LATENCY of deliveries that were made and DURATION of attempts, both by bucket: number n holds from 2^(n/2) ms up
to 2^((n+1)/2) ms.
"""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from endpoints.models import Endpoint, Workspace

NAME_LENGTH = 60
BUCKETS = 61


class Count(models.Model):
    """What one statement added, on the way to the roll-ups. Rows are only ever added, by triggers, and taken away by
    rollups.py; never changed, so that transactions do not wait for each other."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    endpoint = models.ForeignKey(
        Endpoint, models.CASCADE, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    name = models.CharField(max_length=NAME_LENGTH)
    count = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.count} {self.name}"


class Rollup(models.Model):
    """What was counted in a period: of an endpoint; without one, of its workspace; without either, of all of them."""

    class Period(models.TextChoices):
        MINUTE = "MINUTE"
        TEN_MINUTES = "TEN_MINUTES"
        HOUR = "HOUR"
        DAY = "DAY"
        EVER = "EVER"  # of the names in ROLLED_UP_EVER alone: what a workspace has is known without counting it

    LASTING = ("EVENTS", "DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED")
    ROLLED_UP_EVER = ("OWED", *LASTING, *(f"FORGOTTEN {name}" for name in LASTING))
    KEPT_DAYS: ClassVar[dict[str, float]] = {"MINUTE": 0.125, "TEN_MINUTES": 2.0, "HOUR": 32.0, "DAY": 800.0}

    workspace = models.ForeignKey(
        Workspace, models.CASCADE, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    endpoint = models.ForeignKey(
        Endpoint, models.CASCADE, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    period = models.CharField(max_length=11, choices=Period.choices)
    at = models.DateTimeField()  # its start, in UTC
    name = models.CharField(max_length=NAME_LENGTH)
    count = models.BigIntegerField()

    class Meta:
        constraints = [
            # Also how stats.py reads them.
            models.UniqueConstraint(
                fields=["endpoint", "workspace", "period", "at", "name"], nulls_distinct=False, name="rollup_once"
            )
        ]
        indexes = [models.Index(fields=["period", "at"], name="rollup_old")]  # rollups.forget

    def __str__(self) -> str:
        return f"{self.count} {self.name} in the {self.period} of {self.at}"

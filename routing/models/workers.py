"""The processes that send, as operators see them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class WorkerNode(models.Model):
    """A process that delivers, and says each second that it lives and what it holds. Operators say what it is to do."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)  # host:pid
    version = models.CharField(max_length=40)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    held = models.PositiveIntegerField(default=0)  # deliveries that it has leased
    slow = models.PositiveIntegerField(default=0)  # threads of the slow pool that are at work
    oldest_claim_at = models.DateTimeField(null=True)  # of what it holds
    # Of the oldest of these, as deliveries have them: by which a lease is known as this worker's.
    lease_tokens = ArrayField(models.UUIDField(), default=list, db_default=[], editable=False)
    drained = models.BooleanField(default=False)  # it claims nothing more, until somebody resumes it

    class Meta:
        permissions = [("drain_workernode", "Can drain and resume workers")]

    def __str__(self) -> str:
        return self.name

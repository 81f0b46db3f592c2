"""Who did what to what."""

from datetime import timedelta
from uuid import uuid4

from django.db import models
from django.db.models.functions import Now

from endpoints.errors import BadInput
from endpoints.models.workspaces import Workspace
from endpoints.tenancy import transaction_with

KEPT_DAYS = 30  # at least: the table itself refuses to forget what is younger


class AuditEntry(models.Model):
    """One change of one object. Triggers write it in the transaction of the change, and nobody changes it."""

    class Actor(models.TextChoices):
        KEY = "KEY"  # over the API
        USER = "USER"  # in the admin
        COMMAND = "COMMAND"  # of manage.py, by a user of the operating system
        PORTAL = "PORTAL"  # a customer, by a portal link
        SERVICE = "SERVICE"  # by itself
        DATABASE = "DATABASE"  # by SQL, with a user of the database

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, null=True, db_index=False, related_name="+")
    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=8, choices=Actor.choices)
    actor_id = models.CharField(max_length=200)
    actor_name = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=200, blank=True)
    operation = models.CharField(max_length=200)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    # field -> {"before", "after"}, or {"secret": true} of what nobody is shown
    changes = models.JSONField(default=dict)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        indexes = [
            # The list of a workspace, newest first ...
            models.Index(fields=["workspace", "-at", "-id"], name="audit_newest"),
            # ... what became of one object ...
            models.Index(fields=["object_id", "-at"], name="audit_of_object"),
            # ... and forget.
            models.Index(fields=["at"], name="audit_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.operation}: {self.actor_name or self.actor_id}"

    @classmethod
    def forget(cls, *, older_than_days: int) -> int:
        """Delete what is older than that, and return how much it was. Raises BadInput."""
        if older_than_days < KEPT_DAYS:
            raise BadInput(f"The audit log is kept for {KEPT_DAYS} days at least, not {older_than_days}.", "days")
        with transaction_with({"event_service.audit_retention": "on"}):
            return cls.objects.filter(at__lt=Now() - timedelta(days=older_than_days)).delete()[0]

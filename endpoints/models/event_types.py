"""What kinds of events a workspace has: each that has arrived, or of which somebody said what it must be like."""

from collections.abc import Iterable
from typing import Any, Self, TypedDict, Unpack
from uuid import UUID

from django.db import models, transaction
from django.db.models import Q, Sum
from django.db.models.functions import Cast, Length
from django.utils.translation import gettext as _

from endpoints.checks import checked_name
from endpoints.errors import BadInput, Limited
from endpoints.json_schema import Schema
from endpoints.models.workspaces import Configuration, Workspace

TYPE_LENGTH = 255
DESCRIPTION_LENGTH = 1_000
PROBLEM_LENGTH = 1_000
MAX_TYPES = 1_000  # of a workspace; what arrives beyond is counted together
MAX_SCHEMAS = 1024 * 1024  # characters of all schemas of a workspace: each process keeps them at hand


class Changes(TypedDict, total=False):
    """What people say of a type; None is nothing, and OFF."""

    description: str | None
    schema: dict[str, Any] | None
    enforcement: str | None


class EventType(Configuration):
    class Enforcement(models.TextChoices):
        OFF = "OFF"  # the schema is for people
        WARN = "WARN"  # what does not fit it is accepted, and counted
        REJECT = "REJECT"  # what does not fit it is refused, and counted

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="event_types", db_index=False)
    name = models.CharField(max_length=TYPE_LENGTH)  # `type` of the events
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    schema = models.JSONField(null=True, blank=True)  # of `data`; see json_schema.py
    enforcement = models.CharField(max_length=6, choices=Enforcement.choices, default=Enforcement.OFF)
    # What has arrived, added up by the routing. Of what was refused there is no other trace.
    first_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    count = models.BigIntegerField(default=0, editable=False)  # accepted, those that were warned of too
    warned = models.BigIntegerField(default=0, editable=False)
    rejected = models.BigIntegerField(default=0, editable=False)
    last_problem = models.CharField(max_length=PROBLEM_LENGTH, blank=True, editable=False)
    last_problem_at = models.DateTimeField(null=True, blank=True, editable=False)
    inferred_shape = models.JSONField(null=True, blank=True, editable=False)  # see inferring.py

    class Meta:
        constraints = [
            # Also what a workspace enforces, and its list.
            models.UniqueConstraint(fields=["workspace", "name"], name="event_type_once"),
            models.CheckConstraint(condition=~Q(name=""), name="event_type_has_name"),
            models.CheckConstraint(
                condition=Q(enforcement="OFF") | Q(enforcement__in=["WARN", "REJECT"], schema__isnull=False),
                name="event_type_enforces_a_schema",
            ),
        ]

    @classmethod
    def named(cls, *, workspace_id: UUID, name: str) -> Self:
        """Return the type of that name, made if it is not there yet. Raises BadInput or Limited."""
        checked_name(name, field="type", length=TYPE_LENGTH)
        types = cls.objects.filter(workspace_id=workspace_id)
        if not types.filter(name=name).exists() and types.count() >= MAX_TYPES:
            said = _("The workspace has %(most)s event types, the most there may be; delete some.")
            raise Limited(said % {"most": MAX_TYPES}, "type")
        return types.get_or_create(workspace_id=workspace_id, name=name)[0]

    def change(self, **changes: Unpack[Changes]) -> None:
        """Change what is given, of a locked row. Raises BadInput or Limited, and changes nothing, where it is bad."""
        if "description" in changes:
            self.description = _checked_description(changes["description"] or "")
        if "schema" in changes:
            self.schema = changes["schema"]
        if "enforcement" in changes:
            self.enforcement = changes["enforcement"] or self.Enforcement.OFF
        self.check_schema()
        self.save(update_fields=["description", "schema", "enforcement", "last_modified"])

    def check_schema(self) -> None:
        """Raise BadInput or Limited for a schema that can't be kept, or an enforcement without one."""
        if self.schema is None:
            if self.enforcement != self.Enforcement.OFF:
                said = _("enforcement is %(given)s, but there is no schema; give one.")
                raise BadInput(said % {"given": self.enforcement}, "enforcement")
            return
        Schema(self.schema)
        others = EventType.objects.filter(workspace_id=self.workspace_id).exclude(pk=self.pk)
        length = others.aggregate(all=Sum(Length(Cast("schema", models.TextField()))))["all"] or 0
        if length > MAX_SCHEMAS:
            said = _("The workspace's other schemas have %(given)s characters; %(most)s is enough.")
            raise Limited(said % {"given": length, "most": MAX_SCHEMAS}, "schema")

    @classmethod
    @transaction.atomic
    def remove(cls, event_types: Iterable["EventType"]) -> None:
        """Delete all of them. One that arrives again is there again, without a schema."""
        found = cls.objects.filter(pk__in=[event_type.pk for event_type in event_types])
        list(found.select_for_update().order_by("pk"))  # as what arrived is added up: so nobody waits in a ring
        found.delete()


def _checked_description(text: str) -> str:
    return checked_name(text, field="description", length=DESCRIPTION_LENGTH) if text else ""

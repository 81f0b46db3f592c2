"""Which events go where."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from django.db import models, transaction
from django.db.models import Q

from endpoints.checks import checked_name
from endpoints.constraints import SameWorkspace
from endpoints.models.endpoints import Endpoint
from endpoints.models.quotas import USED, Quota, require_room
from endpoints.models.workspaces import Configuration, Workspace
from endpoints.patterns import check_definition


class EventFilter(Configuration):
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="event_filters", db_index=False)
    # As it was given: {"in": {"eventTypes": [...], ...}} or {"pattern": {...}}. See patterns.py.
    definition = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "id"], name="event_filter_in_workspace"),
            models.CheckConstraint(condition=~Q(name=""), name="event_filter_has_name"),
        ]
        # The list of a workspace, newest first.
        indexes = [models.Index(fields=["workspace", "-creation_date"], name="event_filter_newest")]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it. Raises OverQuota where it is new and its workspace has as many as it may."""
        with transaction.atomic():
            if self._state.adding:
                require_room(self.workspace_id, Quota.EVENT_FILTERS, "event filters")
            super().save(*args, **kwargs)

    @classmethod
    def create(
        cls,
        *,
        workspace_id: UUID,
        name: str,
        definition: dict[str, Any],
        endpoints: Iterable[Endpoint] = (),
        id: UUID | None = None,
    ) -> "EventFilter":
        """Make a filter and link it to `endpoints`, or nothing. Raises BadInput for a bad name or definition."""
        check_definition(definition)
        with transaction.atomic():
            event_filter = cls.objects.create(
                id=id or uuid4(), workspace_id=workspace_id, name=checked_name(name), definition=definition
            )
            FilterLink.link(endpoints, event_filter)
        return event_filter

    def change(self, *, name: str | None = None, definition: dict[str, Any] | None = None) -> None:
        """Change what is given. Raises BadInput, and changes nothing, where a value is bad."""
        if definition is not None:
            check_definition(definition)
            self.definition = definition
        if name is not None:
            self.name = checked_name(name)
        self.save(update_fields=["name", "definition", "last_modified"])

    @classmethod
    def remove(cls, event_filters: Iterable["EventFilter"]) -> None:
        """Delete all of them with their links."""
        cls.objects.filter(pk__in=[event_filter.pk for event_filter in event_filters]).delete()


def _count(workspace_id: UUID) -> int:
    return EventFilter.objects.filter(workspace_id=workspace_id).count()


USED[Quota.EVENT_FILTERS] = _count


class _Named(models.Manager["FilterLink"]):
    """Links with what they are called by: Django asks it for those that it lists as going with what is deleted."""

    def get_queryset(self) -> models.QuerySet["FilterLink"]:
        return super().get_queryset().select_related("event_filter", "endpoint")


class FilterLink(models.Model):
    # Composite keys, below, stand in for the constraints of single columns.
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, db_constraint=False, db_index=False, related_name="links")
    event_filter = models.ForeignKey(EventFilter, models.CASCADE, db_constraint=False, related_name="links")

    objects = models.Manager["FilterLink"]()
    named = _Named()

    class Meta:
        base_manager_name = "named"
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event_filter"], name="filter_link_once"),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="filter_link_endpoint_in_workspace"),
            SameWorkspace(
                column="event_filter_id",
                target="endpoints_eventfilter",
                name="filter_link_event_filter_in_workspace",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_filter} → {self.endpoint}"

    @classmethod
    def link(cls, endpoints: Iterable[Endpoint], event_filter: EventFilter) -> None:
        """Link all of them; what is linked stays so."""
        links = [
            FilterLink(workspace_id=event_filter.workspace_id, endpoint=endpoint, event_filter=event_filter)
            for endpoint in endpoints
        ]
        FilterLink.objects.bulk_create(links, ignore_conflicts=True)

    @classmethod
    def unlink(cls, endpoints: Iterable[Endpoint], event_filter: EventFilter) -> None:
        """Unlink all of them; what is not linked stays so."""
        cls.objects.filter(endpoint__in=list(endpoints), event_filter=event_filter).delete()

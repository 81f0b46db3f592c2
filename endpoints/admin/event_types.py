"""Event types: what was seen, and what is enforced."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from endpoints.admin.configuration import DATES, ConfigurationAdmin, JsonField, NamedForm, checked
from endpoints.checks import checked_name
from endpoints.errors import ServiceError
from endpoints.models import EventType
from endpoints.models.event_types import TYPE_LENGTH


class EventTypeForm(NamedForm):
    schema = JsonField(
        label=gettext_lazy("Schema"),
        required=False,
        help_text=gettext_lazy("What data must be like: JSON Schema, draft 2020-12."),
    )

    def clean_name(self) -> Any:
        return checked(partial(checked_name, length=TYPE_LENGTH), self.cleaned_data["name"])

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        if not self.errors:
            row = EventType(pk=self.instance.pk, schema=given["schema"], enforcement=given["enforcement"])
            row.workspace_id = self.instance.workspace_id or given["workspace"].pk
            try:
                row.check_schema()
            except ServiceError as refusal:
                self.add_error("enforcement" if refusal.field == "enforcement" else "schema", refusal.message)
        return given


@admin.register(EventType)
class EventTypeAdmin(ConfigurationAdmin):
    form = EventTypeForm
    list_display = ("name", "workspace", "enforcement", "count", "warned", "rejected", "last_seen_at")
    list_filter = ("enforcement",)
    arrived = (
        *("inferred_shape", "first_seen_at", "last_seen_at", "count", "warned", "rejected"),
        *("last_problem", "last_problem_at"),
    )
    fields = ("workspace", "name", "description", "schema", "enforcement", *arrived, "id", *DATES)
    readonly_fields = ("id", *arrived, *DATES)
    fixed = ("workspace", "name")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[EventType]) -> None:
        EventType.remove(queryset)

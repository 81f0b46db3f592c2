"""Filters, and which endpoints they are linked to."""

from json import JSONEncoder
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from endpoints.admin.configuration import DATES, ConfigurationAdmin, JsonField, NamedForm, checked
from endpoints.models import Endpoint, EventFilter, FilterLink
from endpoints.models.quotas import Quota
from endpoints.patterns import check_definition


class FilterLinkForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        endpoint, event_filter = given.get("endpoint"), given.get("event_filter")
        if endpoint and event_filter:
            if endpoint.workspace_id != event_filter.workspace_id:
                raise ValidationError(
                    _("%(filter)s is a filter of another workspace than %(endpoint)s is of.")
                    % {"filter": event_filter, "endpoint": endpoint}
                )
            self.instance.workspace_id = endpoint.workspace_id
        return given


class FilterLinkInline(admin.TabularInline):
    model = FilterLink
    form = FilterLinkForm
    fields = ("event_filter",)
    raw_id_fields = ("event_filter",)
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[FilterLink]:
        return super().get_queryset(request).select_related("event_filter", "endpoint")


class Indented(JSONEncoder):
    """Writes a definition as people read it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2})


class EventFilterForm(NamedForm):
    quota = (Quota.EVENT_FILTERS, gettext_noop("event filters"))
    definition = JsonField(
        label=gettext_lazy("Definition"),
        encoder=Indented,
        widget=forms.Textarea({"placeholder": '{"pattern": {"type": ["order.paid"]}}', "spellcheck": "false"}),
    )

    def clean_definition(self) -> Any:
        return checked(check_definition, self.cleaned_data["definition"])


@admin.register(EventFilter)
class EventFilterAdmin(ConfigurationAdmin):
    form = EventFilterForm
    list_display = ("name", "workspace", "creation_date", "last_modified")
    fields = ("workspace", "name", "definition", "id", *DATES)


@admin.register(FilterLink)
class FilterLinkAdmin(admin.ModelAdmin):
    form = FilterLinkForm
    list_display = ("endpoint", "event_filter")
    list_select_related = ("endpoint", "event_filter")
    fields = ("endpoint", "event_filter")
    raw_id_fields = ("endpoint", "event_filter")
    search_fields = ("endpoint__name", "event_filter__name")
    ordering = ("-pk",)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["help_text"] = _("Choose it by its name behind the magnifier, or paste its id.")
        if db_field.name == "endpoint":
            kwargs["queryset"] = Endpoint.objects.live()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

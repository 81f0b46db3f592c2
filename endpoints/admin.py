"""The configuration, for operators. Forms refuse what the API refuses, in the same words."""

from collections.abc import Callable
from functools import partial
from json import JSONDecodeError, JSONDecoder
from typing import Any, ClassVar

import msgspec
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from endpoints.checks import checked_expiry, checked_method, checked_name, checked_url
from endpoints.errors import BadInput, Limited, ServiceError
from endpoints.models import (
    ApiKey,
    AuditEntry,
    Endpoint,
    EventFilter,
    EventType,
    FilterLink,
    Scope,
    SigningKey,
    Workspace,
)
from endpoints.models.event_types import TYPE_LENGTH
from endpoints.models.quotas import Quota, require_room, standing
from endpoints.patterns import parse_definition
from endpoints.policy import (
    checked_max_in_flight,
    checked_payload_shape,
    checked_rate_limit,
    checked_rate_period_s,
    checked_retry_policy,
)

DATES = ("creation_date", "last_modified")


def _checked(check: Callable[[Any], Any], value: Any) -> Any:
    """Return `value` if `check` takes it; what it says against it becomes the form's error."""
    try:
        check(value)
    except (BadInput, Limited) as refusal:
        raise ValidationError(refusal.message) from None
    return value


class NamedForm(forms.ModelForm):
    quota: ClassVar[tuple[Quota, str] | None] = None  # that another one counts for, and what they are called

    def clean_name(self) -> Any:
        return _checked(checked_name, self.cleaned_data["name"])

    def clean(self) -> dict[str, Any]:
        super().clean()
        workspace = self.cleaned_data.get("workspace")
        if self.quota and workspace and self.instance._state.adding:
            _checked(partial(require_room, workspace.pk, self.quota[0]), self.quota[1])
        return self.cleaned_data


class ConfigurationAdmin(admin.ModelAdmin):
    """What all configuration has in common. A row never changes its workspace: its links would stay behind."""

    form = NamedForm
    search_fields = ("name", "id__exact")
    ordering = ("-creation_date", "-pk")
    readonly_fields: ClassVar[tuple[str, ...]] = ("id", *DATES)
    fixed: ClassVar[tuple[str, ...]] = ("workspace",)  # what cannot be changed once it is there
    raw_id_fields: ClassVar[tuple[str, ...]] = ("workspace",)
    list_select_related: ClassVar[bool | tuple[str, ...]] = ("workspace",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, *self.fixed) if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        # Only what was changed here: the rest may have changed since the page was opened.
        obj.save(update_fields=[*form.changed_data, "last_modified"] if change else None)


@admin.register(Workspace)
class WorkspaceAdmin(ConfigurationAdmin):
    list_display = ("name", "id", "creation_date")
    fields = ("name", *Quota, "used", "id", "unlisted_events", *DATES)
    readonly_fields = ("used", "id", "unlisted_events", *DATES)
    fixed = ()
    raw_id_fields = ()
    list_select_related = False

    @admin.display(description="In use, and at most")
    def used(self, workspace: Workspace) -> str:
        found = {quota.removeprefix("max_"): standing(workspace, quota) for quota in Quota}
        return "; ".join(
            f"{name.replace('_', ' ')}: {found.used} of {'any number' if found.limit is None else found.limit}"
            for name, found in found.items()
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its traffic holds it


class ApiKeyForm(NamedForm):
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    def clean_expires_at(self) -> Any:
        return _checked(checked_expiry, self.cleaned_data["expires_at"])


@admin.register(ApiKey)
class ApiKeyAdmin(ConfigurationAdmin):
    form = ApiKeyForm
    list_display = ("name", "prefix", "workspace", "scopes", "expires_at", "revoked_at", "last_used_at")
    fields = ("workspace", "name", "scopes", "expires_at", "id", "prefix", "revoked_at", "last_used_at", *DATES)
    readonly_fields = ("id", "prefix", "revoked_at", "last_used_at", *DATES)
    fixed = ("workspace", "scopes", "expires_at")
    actions = ("revoke",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # it is revoked instead, and stays to be seen

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = ApiKey.issue(workspace=obj.workspace, name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at)
        obj.pk = key.pk
        messages.success(request, f"The key is {text} - it is shown this once.")

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            key.revoke()
            self.log_change(request, key, "Revoked.")


class StrictDecoder(JSONDecoder):
    """Reads the JSON that can be stored and written again: no NaN, no half surrogate pairs."""

    def decode(self, s: str, *_args: Any) -> Any:
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as error:
            raise JSONDecodeError(str(error), s, 0) from None


# How a webhook is sent to, and what is right in each; the database gives a websocket no other than the default.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "retry_policy": checked_retry_policy,
    "max_in_flight": checked_max_in_flight,
    "rate_limit": checked_rate_limit,
    "rate_period_s": checked_rate_period_s,
}
OF_WEBHOOKS = ("url", "method", "retry_policy", "max_in_flight", "rate_limit")


class EndpointForm(NamedForm):
    quota = (Quota.ENDPOINTS, "endpoints")
    retry_policy = forms.JSONField(
        decoder=StrictDecoder, required=False, help_text='Such as {"schedule": [5, 300]}; {} is the default.'
    )

    payload_shape = forms.JSONField(
        decoder=StrictDecoder,
        required=False,
        help_text='What is sent of data: {"paths": ["customer.id"]} or {"template": {...}}; all of it when empty.',
    )

    def clean_retry_policy(self) -> Any:
        return self.cleaned_data["retry_policy"] or {}

    def clean_payload_shape(self) -> Any:
        return _checked(checked_payload_shape, self.cleaned_data["payload_shape"])

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        if given.get("type", self.instance.type) == Endpoint.Type.WEB_HOOK:
            self._check("url", checked_url)
            self._check("method", checked_method)
            for field, check in SETTINGS.items():
                self._check(field, check)
            if given.get("open_access"):
                self.add_error("open_access", "Only a websocket can be open: a webhook is not listened to.")
            return given
        for field in OF_WEBHOOKS:
            if given.get(field):
                self.add_error(field, f"A websocket endpoint has no {field}; leave it empty.")
        for field, default in (
            ("ordering", Endpoint.Ordering.UNORDERED),
            ("payload_format", Endpoint.PayloadFormat.STANDARD),
        ):
            if given.get(field) != default:
                self.add_error(field, f"A websocket endpoint has no {field}; leave the default.")
        return given

    def _check(self, field: str, check: Callable[[Any], Any]) -> None:
        """Add what `check` says against a value, unless the field itself has found fault with it."""
        if field in self.errors:
            return
        try:
            check(self.cleaned_data[field])
        except BadInput as refusal:
            self.add_error(field, refusal.message)


class FilterLinkForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        endpoint, event_filter = given.get("endpoint"), given.get("event_filter")
        if endpoint and event_filter:
            if endpoint.workspace_id != event_filter.workspace_id:
                raise ValidationError(f"{event_filter} is a filter of another workspace than {endpoint} is of.")
            self.instance.workspace_id = endpoint.workspace_id
        return given


class FilterLinkInline(admin.TabularInline):
    model = FilterLink
    form = FilterLinkForm
    fields = ("event_filter",)
    raw_id_fields = ("event_filter",)
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[FilterLink]:
        return super().get_queryset(request).select_related("event_filter")


@admin.register(Endpoint)
class EndpointAdmin(ConfigurationAdmin):
    form = EndpointForm
    list_display = ("name", "type", "state", "state_reason", "url", "workspace", "creation_date")
    list_filter = ("type", "state")
    fields = (
        "workspace",
        "type",
        "name",
        "url",
        "method",
        "open_access",
        "retry_policy",
        "max_in_flight",
        "rate_limit",
        "rate_period_s",
        "ordering",
        "payload_format",
        "payload_shape",
        "id",
        "state",
        "state_reason",
        *DATES,
    )
    readonly_fields = ("id", "state", "state_reason", *DATES)
    fixed = ("workspace", "type")
    inlines = (FilterLinkInline,)
    actions = ("pause", "resume", "rotate_secrets")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).filter(deleted_at=None)

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change and obj.type == Endpoint.Type.WEB_HOOK:
            obj.give_secret()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say what is deleted: the endpoints alone. Their deliveries, which may be millions, stay."""
        return [str(endpoint) for endpoint in objs], {"endpoints": len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Endpoint) -> None:
        Endpoint.remove([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        Endpoint.remove(queryset)

    @admin.action(description="Pause the selected endpoints", permissions=["change"])
    def pause(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        self._change_state(request, endpoints, Endpoint.State.PAUSED)

    @admin.action(description="Resume the selected endpoints", permissions=["change"])
    def resume(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        self._change_state(request, endpoints, Endpoint.State.ACTIVE)

    @admin.action(description="Rotate the secrets of the selected webhooks", permissions=["change"])
    def rotate_secrets(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        try:
            with transaction.atomic():
                for endpoint in endpoints.select_for_update(no_key=True, of=("self",)).order_by("pk"):
                    SigningKey.rotate(endpoint)
                    self.log_change(request, endpoint, "Secret rotated.")
        except ServiceError as refusal:
            messages.error(request, f"Nothing was rotated. {refusal.message}")

    def _change_state(self, request: HttpRequest, endpoints: QuerySet[Endpoint], state: Endpoint.State) -> None:
        chosen = list(endpoints)
        Endpoint.change_state(chosen, state)
        for endpoint in chosen:
            self.log_change(request, endpoint, f"State set to {state}.")


class EventFilterForm(NamedForm):
    quota = (Quota.EVENT_FILTERS, "event filters")
    definition = forms.JSONField(decoder=StrictDecoder)

    def clean_definition(self) -> Any:
        return _checked(parse_definition, self.cleaned_data["definition"])


@admin.register(EventFilter)
class EventFilterAdmin(ConfigurationAdmin):
    form = EventFilterForm
    list_display = ("name", "workspace", "creation_date", "last_modified")
    fields = ("workspace", "name", "definition", "id", *DATES)


class EventTypeForm(NamedForm):
    schema = forms.JSONField(
        decoder=StrictDecoder, required=False, help_text="What data must be like: JSON Schema, draft 2020-12."
    )

    def clean_name(self) -> Any:
        return _checked(partial(checked_name, length=TYPE_LENGTH), self.cleaned_data["name"])

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


@admin.register(SigningKey)
class SigningKeyAdmin(admin.ModelAdmin):
    """When keys were made and end. What they are is not shown; rotating is an action of endpoints."""

    list_display = ("id", "endpoint", "scheme", "creation_date", "expires_at")
    list_filter = ("scheme",)
    list_select_related = ("endpoint",)
    fields = ("id", "workspace", "endpoint", "scheme", "creation_date", "expires_at")
    readonly_fields = fields
    search_fields = ("endpoint__name",)
    ordering = ("-creation_date", "-pk")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
        if db_field.name == "endpoint":
            kwargs["queryset"] = Endpoint.objects.live()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    """Who did what, to look at."""

    list_display = ("at", "actor_kind", "actor_name", "address", "operation", "object_type", "object_id", "workspace")
    list_filter = ("actor_kind",)
    list_select_related = ("workspace",)
    fields = (*list_display, "actor_id", "changes")
    readonly_fields = fields
    search_fields = ("object_id__exact", "actor_id__exact", "operation__exact")
    ordering = ("-at", "-pk")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

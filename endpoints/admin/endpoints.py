"""Endpoints: where events go, how, and whether now."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from endpoints.admin.configuration import DATES, ConfigurationAdmin, JsonField, NamedForm, checked, needs
from endpoints.admin.filters import FilterLinkInline
from endpoints.admin.revealing import PERMISSION, reveal_secret
from endpoints.checks import checked_method, checked_url
from endpoints.errors import BadInput, ServiceError
from endpoints.models import Endpoint, SigningKey
from endpoints.models.quotas import Quota
from endpoints.policy import (
    checked_max_in_flight,
    checked_payload_shape,
    checked_rate_limit,
    checked_rate_period_s,
    checked_retry_policy,
)

# How a webhook is sent to, and what is right in each; the database gives a websocket no other than the default.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "retry_policy": checked_retry_policy,
    "max_in_flight": checked_max_in_flight,
    "rate_limit": checked_rate_limit,
    "rate_period_s": checked_rate_period_s,
}
OF_WEBHOOKS = ("url", "method", "retry_policy", "max_in_flight", "rate_limit")
# What an endpoint that is there is not asked for.
OF_OTHERS: dict[str, Sequence[str]] = {
    Endpoint.Type.WEB_HOOK: ("open_access",),
    Endpoint.Type.WEB_SOCKET: (*OF_WEBHOOKS, "rate_period_s", "ordering", "payload_format"),
}
# In a language that all can read: it is translated where it is shown.
SET_TO = {
    Endpoint.State.PAUSED: gettext_noop("State set to Paused."),
    Endpoint.State.ACTIVE: gettext_noop("State set to Active."),
}
SHORT = forms.Textarea({"rows": 3, "cols": 60, "spellcheck": "false"})


class EndpointForm(NamedForm):
    quota = (Quota.ENDPOINTS, gettext_noop("endpoints"))
    retry_policy = JsonField(
        label=gettext_lazy("Retry policy"),
        widget=SHORT,
        required=False,
        help_text=gettext_lazy('Such as {"schedule": [5, 300]}; {} is the default.'),
    )

    payload_shape = JsonField(
        label=gettext_lazy("Payload shape"),
        widget=SHORT,
        required=False,
        help_text=gettext_lazy(
            'What is sent of data: {"paths": ["customer.id"]} or {"template": {...}}; all of it when empty.'
        ),
    )

    def clean_retry_policy(self) -> Any:
        return self.cleaned_data["retry_policy"] or {}

    def clean_payload_shape(self) -> Any:
        return checked(checked_payload_shape, self.cleaned_data["payload_shape"])

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        if given.get("type", self.instance.type) == Endpoint.Type.WEB_HOOK:
            self._check("url", checked_url)
            self._check("method", checked_method)
            for field, check in SETTINGS.items():
                self._check(field, check)
            if given.get("open_access"):
                self.add_error("open_access", _("Only a websocket can be open: a webhook is not listened to."))
            return given
        for field in OF_WEBHOOKS:
            if given.get(field):
                self.add_error(field, _("A websocket endpoint has no %(field)s; leave it empty.") % {"field": field})
        for field, default in (
            ("ordering", Endpoint.Ordering.UNORDERED),
            ("payload_format", Endpoint.PayloadFormat.STANDARD),
        ):
            if given.get(field, default) != default:
                self.add_error(field, _("A websocket endpoint has no %(field)s; leave the default.") % {"field": field})
        return given

    def _check(self, field: str, check: Callable[[Any], Any]) -> None:
        """Add what `check` says against a value, unless the field itself has found fault with it."""
        if field in self.errors:
            return
        try:
            check(self.cleaned_data[field])
        except BadInput as refusal:
            self.add_error(field, refusal.message)


@admin.register(Endpoint)
class EndpointAdmin(ConfigurationAdmin):
    form = EndpointForm
    list_display: tuple[str, ...] = ("name", "type", "state", "url", "workspace", "creation_date")
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
    has_pause_permission = needs("endpoints.pause_endpoint")
    has_resume_permission = needs("endpoints.resume_endpoint")
    has_rotate_permission = needs("endpoints.rotate_endpoint_secret")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_fields(request, obj)
        return [field for field in fields if obj is None or field not in OF_OTHERS[obj.type]]

    def get_urls(self) -> list[URLPattern]:
        reveal = self.admin_site.admin_view(reveal_secret)
        return [path("<uuid:endpoint_id>/secret/", reveal, name="endpoints_endpoint_secret"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        endpoint = context.get("original")
        context["may_reveal"] = (
            endpoint and endpoint.type == Endpoint.Type.WEB_HOOK and request.user.has_perm(PERMISSION)
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).filter(deleted_at=None)

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change and obj.type == Endpoint.Type.WEB_HOOK:
            obj.give_secret()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say what is deleted: the endpoints alone. Their deliveries, which may be millions, stay."""
        return [str(endpoint) for endpoint in objs], {Endpoint._meta.verbose_name_plural: len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Endpoint) -> None:
        Endpoint.remove([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        Endpoint.remove(queryset)

    @admin.action(description=gettext_lazy("Pause the selected endpoints"), permissions=["pause"])
    def pause(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        self._change_state(request, endpoints, Endpoint.State.PAUSED)

    @admin.action(description=gettext_lazy("Resume the selected endpoints"), permissions=["resume"])
    def resume(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        self._change_state(request, endpoints, Endpoint.State.ACTIVE)

    @admin.action(description=gettext_lazy("Rotate the secrets of the selected webhooks"), permissions=["rotate"])
    def rotate_secrets(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        try:
            with transaction.atomic():
                for endpoint in endpoints.select_for_update(no_key=True, of=("self",)).order_by("pk"):
                    SigningKey.rotate(endpoint)
                    self.log_change(request, endpoint, gettext_noop("Secret rotated."))
        except ServiceError as refusal:
            messages.error(request, _("Nothing was rotated. %(reason)s") % {"reason": refusal.message})

    def _change_state(self, request: HttpRequest, endpoints: QuerySet[Endpoint], state: Endpoint.State) -> None:
        chosen = list(endpoints)
        Endpoint.change_state(chosen, state)
        for endpoint in chosen:
            self.log_change(request, endpoint, SET_TO[state])

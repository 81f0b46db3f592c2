"""Workspaces, and the keys that open them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from endpoints.admin.configuration import DATES, ConfigurationAdmin, NamedForm, checked, needs
from endpoints.admin.portal import make_link, revoke_link
from endpoints.checks import checked_expiry
from endpoints.models import ApiKey, Workspace
from endpoints.models.quotas import Quota


@admin.register(Workspace)
class WorkspaceAdmin(ConfigurationAdmin):
    list_display = ("name", "id", "creation_date")
    fields = (
        "name",
        "keep_days",
        "keep_payloads_days",
        "keep_attempts_days",
        *Quota,
        "id",
        "unlisted_events",
        *DATES,
    )
    readonly_fields = ("id", "unlisted_events", *DATES)
    fixed = ()
    raw_id_fields = ()
    list_select_related = False

    def get_urls(self) -> list[URLPattern]:
        make, revoke = self.admin_site.admin_view(make_link), self.admin_site.admin_view(revoke_link)
        return [
            path("<uuid:workspace_id>/portal/", make, name="endpoints_workspace_portal"),
            path("<uuid:workspace_id>/portal/<uuid:link_id>/", revoke, name="endpoints_workspace_revoke"),
            *super().get_urls(),
        ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its traffic holds it


def _scopes() -> list[tuple[Any, Any]]:
    scopes: Any = ApiKey._meta.get_field("scopes")
    return list(scopes.base_field.flatchoices)


class ApiKeyForm(NamedForm):
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"), choices=_scopes, widget=forms.CheckboxSelectMultiple
    )

    def clean_expires_at(self) -> Any:
        return checked(checked_expiry, self.cleaned_data["expires_at"])


@admin.register(ApiKey)
class ApiKeyAdmin(ConfigurationAdmin):
    form = ApiKeyForm
    list_display = ("name", "prefix", "workspace", "scopes", "expires_at", "revoked_at", "last_used_at")
    fields = ("workspace", "name", "scopes", "expires_at", "id", "prefix", "revoked_at", "last_used_at", *DATES)
    readonly_fields = ("id", "prefix", "revoked_at", "last_used_at", *DATES)
    fixed = ("workspace", "scopes", "expires_at")
    actions = ("revoke",)
    has_revoke_permission = needs("endpoints.revoke_apikey")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # it is revoked instead, and stays to be seen

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = ApiKey.issue(workspace=obj.workspace, name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at)
        obj.pk = key.pk
        messages.success(request, _("The key is %(key)s - it is shown this once.") % {"key": text})

    @admin.action(description=gettext_lazy("Revoke the selected keys"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            key.revoke()
            self.log_change(request, key, gettext_noop("Revoked."))

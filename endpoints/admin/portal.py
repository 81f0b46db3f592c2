"""Portal links, made on a page of their workspace and shown once; and how the portal looks."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from endpoints.admin.configuration import DATES, ConfigurationAdmin, NamedForm, checked, needs
from endpoints.admin.records import RecordAdmin
from endpoints.checks import NAME_LENGTH, checked_name
from endpoints.errors import ServiceError
from endpoints.models import Endpoint, PortalLink, PortalRight, PortalTheme, Workspace
from endpoints.models.portal import LIFE_S, checked_color, checked_logo

MAKE, REVOKE = "endpoints.add_portallink", "endpoints.revoke_portallink"
MOST_CHOICES = 200  # endpoints to choose from; with more, the API takes any
LIVES = [
    (3_600, gettext_lazy("an hour")),
    (LIFE_S, gettext_lazy("a day")),
    (7 * 86_400, gettext_lazy("a week")),
    (30 * 86_400, gettext_lazy("30 days")),
    (90 * 86_400, gettext_lazy("90 days")),
]


# What who makes a link must be allowed, so that it lets nobody see or do what they may not themselves.
SEES = ("endpoints.view_endpoint", "routing.view_event", "routing.view_delivery", "routing.view_attempt")
NEEDED = {
    PortalRight.OPERATE: (
        "endpoints.pause_endpoint",
        "endpoints.resume_endpoint",
        "endpoints.test_endpoint",
        "routing.add_replay",
        "routing.retry_delivery",
    ),
    PortalRight.EDIT: ("endpoints.change_endpoint",),
    PortalRight.SECRETS: ("endpoints.reveal_endpoint_secret", "endpoints.rotate_endpoint_secret"),
}


class PortalLinkForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("For whom"), max_length=NAME_LENGTH, help_text=gettext_lazy("The audit log names it.")
    )
    endpoint = forms.ModelChoiceField(
        Endpoint.objects.none(),
        label=gettext_lazy("What it shows"),
        required=False,
        empty_label=gettext_lazy("the whole workspace"),
    )
    rights = forms.MultipleChoiceField(
        label=gettext_lazy("Besides looking, one may"),
        required=False,
        choices=[
            (PortalRight.OPERATE, gettext_lazy("pause, resume, test and deliver again")),
            (PortalRight.EDIT, gettext_lazy("change names and URLs")),
            (PortalRight.SECRETS, gettext_lazy("see and rotate secrets")),
        ],
        widget=forms.CheckboxSelectMultiple,
    )
    life_s = forms.TypedChoiceField(label=gettext_lazy("It ends after"), choices=LIVES, coerce=int, initial=LIFE_S)
    once = forms.BooleanField(label=gettext_lazy("It opens once, for whoever comes first"), required=False)

    def __init__(self, workspace: Workspace, user: Any, *args: Any) -> None:
        super().__init__(*args)
        rights: Any = self.fields["rights"]
        rights.choices = [each for each in rights.choices if user.has_perms(NEEDED[each[0]])]
        rows = Endpoint.objects.live().filter(workspace=workspace).order_by("-creation_date", "pk")
        chosen: Any = self.fields["endpoint"]
        chosen.queryset = rows
        chosen.choices = [("", chosen.empty_label), *((each.pk, each.name) for each in rows[:MOST_CHOICES])]

    def clean_name(self) -> Any:
        return checked(checked_name, self.cleaned_data["name"])


@never_cache
def make_link(request: HttpRequest, workspace_id: UUID) -> HttpResponse:
    """Ask what the link is to be, make it, and show its address this once."""
    workspace = _workspace(request, workspace_id, MAKE, *SEES)
    form = PortalLinkForm(workspace, request.user, request.POST or None)
    found: dict[str, Any] = {"workspace": workspace, "form": form, "title": _("A link to the portal")}
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            found["link"], token = PortalLink.issue(
                workspace=workspace,
                name=given["name"],
                endpoint=given["endpoint"],
                rights=given["rights"],
                expires_in_s=given["life_s"],
                once=given["once"],
            )
            found["url"] = request.build_absolute_uri(f"{reverse('portal-open')}?{urlencode({'token': token})}")
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
    return render(request, "endpoints/portal_link.html", {**admin.site.each_context(request), **found})


@require_POST
def revoke_link(request: HttpRequest, workspace_id: UUID, link_id: UUID) -> HttpResponseBase:
    workspace = _workspace(request, workspace_id, REVOKE)
    link = get_object_or_404(PortalLink, pk=link_id, workspace=workspace)
    link.revoke()
    messages.success(request, _("%(name)s: revoked. Whoever opened it is out.") % {"name": link.name})
    return redirect("admin:endpoints_workspace_change", workspace.pk)


def _workspace(request: HttpRequest, workspace_id: UUID, *permissions: str) -> Workspace:
    if not request.user.has_perms((*permissions, "endpoints.view_workspace")):
        raise PermissionDenied
    return get_object_or_404(Workspace, pk=workspace_id)


@admin.register(PortalLink)
class PortalLinkAdmin(RecordAdmin):
    """Those that there are. They are made on the page of their workspace."""

    come_by = gettext_lazy("A link is made on the page of its workspace.")
    list_display = ("name", "workspace", "endpoint", "rights", "once", "expires_at", "opened_at", "revoked_at")
    list_select_related = ("workspace", "endpoint")
    fields = ("id", *list_display, *DATES)
    readonly_fields = fields
    search_fields = ("name", "id__exact")
    ordering = ("-creation_date", "-pk")
    actions = ("revoke",)
    has_revoke_permission = needs(REVOKE)

    @admin.action(description=gettext_lazy("Revoke the selected links"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, links: QuerySet[PortalLink]) -> None:
        for link in links:
            link.revoke()
            self.log_change(request, link, gettext_noop("Revoked."))


class PortalThemeForm(NamedForm):
    picture = forms.FileField(
        label=gettext_lazy("Logo"),
        required=False,
        help_text=gettext_lazy("A PNG, JPEG or WebP of at most 64 KiB. Empty: it stays as it is."),
    )
    no_logo = forms.BooleanField(required=False, label=gettext_lazy("Take the logo away"))

    class Meta:
        widgets = {"color": forms.TextInput({"type": "color"})}  # noqa: RUF012  # as Django reads it

    def clean_color(self) -> Any:
        return checked(checked_color, self.cleaned_data["color"])

    def clean_picture(self) -> Any:
        given = self.cleaned_data["picture"]
        if given is None:
            return None
        if given.size > PortalTheme.LOGO_BYTES:
            raise ValidationError(_("At most 64 KiB are kept."))
        return checked(checked_logo, given.read())


@admin.register(PortalTheme)
class PortalThemeAdmin(ConfigurationAdmin):
    form = PortalThemeForm
    list_display = ("name", "workspace", "color", "logo_type")
    fields = ("workspace", "name", "color", "picture", "no_logo", "logo_type", *DATES)
    readonly_fields = ("logo_type", *DATES)

    def save_model(self, request: HttpRequest, obj: PortalTheme, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if given["no_logo"] or given["picture"]:
            obj.logo = b"" if given["no_logo"] else given["picture"]
        obj.save()

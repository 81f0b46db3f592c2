"""A webhook's secret, shown to who may see it and gives the password once more."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth import authenticate
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from endpoints.audit import note
from endpoints.models import Endpoint
from endpoints.tenancy import beyond

PERMISSION = "endpoints.reveal_endpoint_secret"


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(*args)
        self._request = request

    def clean_password(self) -> str:
        given: str = self.cleaned_data["password"]
        with beyond():  # failures count towards the lock, and are counted where bound staff have no access
            user = authenticate(self._request, username=self._request.user.get_username(), password=given)
        if user is None or user.pk != self._request.user.pk:
            raise ValidationError(_("This is not your password."))
        return given


@never_cache
@sensitive_post_parameters("password")
def reveal_secret(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    hooks = Endpoint.objects.live().filter(type=Endpoint.Type.WEB_HOOK)
    endpoint = get_object_or_404(hooks, pk=endpoint_id)
    form = PasswordForm(request, request.POST or None)
    found = {"endpoint": endpoint, "form": form, "secret": _revealed(endpoint) if form.is_valid() else ""}
    return render(request, "endpoints/secret.html", {**admin.site.each_context(request), **found})


def _revealed(endpoint: Endpoint) -> str:
    note("Endpoint", [endpoint.pk], endpoint.workspace_id, secret="revealed")
    return endpoint.secret

"""The admin's site and how one signs in to it: where two factors are asked for, with both."""

from functools import update_wrapper
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.options import TO_FIELD_VAR
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django_otp.forms import OTPAuthenticationFormMixin
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from event_service.known_browsers import remember
from routing.console.navigation import links
from routing.console.overview import overview

_WRONG = _("This is no code of yours, or it was used.")


class SignInForm(AdminAuthenticationForm, OTPAuthenticationFormMixin):
    otp_token = forms.CharField(
        label=_("Code"), required=False, widget=forms.TextInput({"autocomplete": "one-time-code"})
    )
    otp_error_messages = {
        **OTPAuthenticationFormMixin.otp_error_messages,
        "token_required": _("Give a code of your app, or a recovery code."),
        "device_required": _WRONG,
        "invalid_token": _WRONG,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not settings.TWO_FACTOR:
            del self.fields["otp_token"]

    def clean(self) -> Any:
        super().clean()
        if settings.TWO_FACTOR and self.get_user():
            self._clean_second_factor()
        return self.cleaned_data

    def _clean_second_factor(self) -> None:
        user = self.get_user()
        kind = TOTPDevice if self.cleaned_data["otp_token"].isdecimal() else StaticDevice  # whose codes have letters
        device = kind.objects.devices_for_user(user, confirmed=True).first()
        self.cleaned_data["otp_device"] = device and device.persistent_id
        try:
            self.clean_otp(user)
        except forms.ValidationError:  # counts as a failure to sign in: see AXES_FAILURE_LIMIT
            name = {"username": user.get_username()}
            user_login_failed.send(sender=__name__, credentials=name, request=self.request)
            raise
        finally:
            self.fields["password"].widget.render_value = False  # what django-otp would have the page repeat


class Site(admin.AdminSite):
    site_title = site_header = "Event Service"
    index_title, index_template, site_url = _("Overview"), "routing/overview.html", None
    enable_nav_sidebar = False  # what it lists is in the header
    login_form = SignInForm
    login_template = "endpoints/sign_in.html"

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        answer = super().login(request, extra_context)
        if request.method == "POST" and answer.status_code == 302:
            remember(answer, request.user.get_username())
        return answer

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        return super().index(request, {**overview(request), **(extra_context or {})})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "console_links": links(request)}

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Answer 400 to an empty `_to_field`: Django's own check lets it pass, and its pages end in a traceback."""
        inner = super().admin_view(view, cacheable)

        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if "" in (request.GET.get(TO_FIELD_VAR), request.POST.get(TO_FIELD_VAR)):
                raise DisallowedModelAdminToField("The field '' can't be referenced.")
            answer = inner(request, *args, **kwargs)
            return answer if answer.status_code != 405 else self._button_only(request, answer, kwargs)

        return update_wrapper(checked, inner)

    def _button_only(self, request: HttpRequest, refusal: HttpResponse, named: dict[str, Any]) -> HttpResponse:
        """Say where to go to who has opened, by hand or by a bookmark, what only a form leads to."""
        found = {"title": _("This needs a button"), "endpoint_id": named.get("endpoint_id")}
        page = {**self.each_context(request), **found}
        answer = render(request, "endpoints/button_only.html", page, status=405)
        answer["Allow"] = refusal["Allow"]
        return answer

    def register(self, model_or_iterable: Any, *args: Any, **kwargs: Any) -> None:
        if model_or_iterable not in (StaticDevice, TOTPDevice):  # whose secrets are for nobody to look at
            super().register(model_or_iterable, *args, **kwargs)

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return super().has_permission(request) and (user.is_verified() or not settings.TWO_FACTOR)

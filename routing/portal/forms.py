"""What visitors fill in. The domain's own checks say what is wrong."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from endpoints.admin.configuration import checked
from endpoints.checks import NAME_LENGTH, URL_LENGTH, checked_name, checked_url
from endpoints.models import Endpoint
from endpoints.urls import read_url
from routing.models import Delivery
from routing.submissions import TEXT_LENGTH


class EndpointForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=NAME_LENGTH)
    url = forms.CharField(
        label=_("URL"),
        max_length=URL_LENGTH,
        widget=forms.TextInput({"inputmode": "url", "autocomplete": "off", "spellcheck": "false", "dir": "ltr"}),
        help_text=_("Where events are sent, such as https://example.com/hooks."),
    )

    def __init__(self, endpoint: Endpoint, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if endpoint.type == Endpoint.Type.WEB_SOCKET:
            del self.fields["url"]

    def clean_name(self) -> Any:
        return checked(checked_name, self.cleaned_data["name"])

    def clean_url(self) -> Any:
        return checked(checked_url, self.cleaned_data["url"])


def _states() -> list[tuple[Any, Any]]:
    field: Any = Delivery._meta.get_field("state")
    return [("", _("any")), ("OPEN", _("waiting")), *field.flatchoices]


class SearchForm(forms.Form):
    """Which deliveries to list."""

    state = forms.ChoiceField(label=_("State"), required=False, choices=_states)
    type = forms.CharField(label=_("Type of event"), required=False, max_length=TEXT_LENGTH)
    id = forms.UUIDField(label=_("Id of a delivery or event"), required=False)
    endpoint = forms.UUIDField(required=False, widget=forms.HiddenInput)
    before = forms.CharField(required=False, max_length=36, widget=forms.HiddenInput)


def leads_elsewhere(old: str, new: str) -> bool:
    """Tell whether `new` is of another receiver than `old`: another scheme, host or port."""
    return read_url(old)[:3] != read_url(new)[:3]

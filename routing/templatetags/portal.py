"""What pages of the portal are made of."""

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

from endpoints.models import Endpoint, Workspace
from routing.portal.look import Look

register = template.Library()


@register.filter
def look(workspace: Workspace) -> Look:
    return Look.of(workspace)


# Why a delivery ended as it did, and why an attempt failed. What is not here is shown as it is called.
_REASONS = {
    "ABORTED_BY_RECEIVER": _("The receiver asked for this event not to be sent again."),
    "ATTEMPTS_EXHAUSTED": _("Every attempt has failed."),
    "DISABLED_BY_RECEIVER": _("The receiver asked for nothing more to be sent."),
    "ENDPOINT_DELETED": _("The endpoint was deleted."),
    "ENDPOINT_DISABLED": _("The endpoint was disabled."),
    "FINAL_STATUS": _("The receiver answered with a status after which it is not tried again."),
    "GONE": _("The receiver answered 410: it is gone for good."),
    "MAX_AGE": _("It had waited for too long."),
    "HTTP_STATUS": _("The receiver answered something other than 2xx."),
    "TIMEOUT": _("The receiver did not answer in time."),
    "UNREACHABLE": _("The receiver could not be found or reached, or is at an address that may not be reached."),
    "BAD_URL": _("The URL can't be used."),
    "TLS_FAILED": _("The receiver's certificate could not be trusted, or it broke the encryption off."),
    "CONNECTION_LOST": _("The connection was lost before there was an answer."),
    "NOT_HTTP": _("The receiver answered something that is no HTTP."),
    "WORKER_LOST": _("We do not know whether it was reached; it is tried again."),
    "INTERNAL": _("It was not reached, by a fault of ours."),
    "SECRET_UNREADABLE": _("It was not sent: the secret can't be opened. We have to look into this."),
}


@register.filter
def reason(code: str) -> Any:
    return _REASONS.get(code, code)


@register.filter
def state_of_endpoint(endpoint: Endpoint) -> str:
    """Return the colour of an endpoint's state."""
    lane = getattr(endpoint, "lane", None)
    if endpoint.state == Endpoint.State.ACTIVE:
        return "bad" if lane is not None and (lane.opened_at or lane.failing_since) else "ok"
    return "warn" if endpoint.state == Endpoint.State.PAUSED else "bad"

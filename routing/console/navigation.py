"""The console's places, as each of its pages names them."""

from typing import NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


class Link(NamedTuple):
    name: object
    address: str
    current: bool


# Name, view, and what one has to be allowed to.
_PLACES = (
    (_("Overview"), "admin:index", ""),
    (_("Endpoints"), "admin:endpoints_endpoint_changelist", "endpoints.view_endpoint"),
    (_("Filters"), "admin:endpoints_eventfilter_changelist", "endpoints.view_eventfilter"),
    (_("Events"), "admin:routing_event_changelist", "routing.view_event"),
    (_("Deliveries"), "admin:routing_delivery_changelist", "routing.view_delivery"),
    (_("Queue"), "queue", "routing.view_lane"),
    (_("Live"), "live", "routing.view_event"),
    (_("Workspaces"), "admin:endpoints_workspace_changelist", "endpoints.view_workspace"),
)


def links(request: HttpRequest) -> list[Link]:
    """Return those that the user may open."""
    allowed = [(name, reverse(view)) for name, view, needed in _PLACES if not needed or request.user.has_perm(needed)]
    home = reverse("admin:index")
    return [
        Link(name, address, request.path == address or address != home and request.path.startswith(address))
        for name, address in allowed
    ]

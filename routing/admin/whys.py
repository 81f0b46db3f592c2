"""An event's page asks of each endpoint why the event went there, or did not."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from endpoints.models import Endpoint
from routing.models import Delivery, Event
from routing.whys import why

MOST = 100  # endpoints on an event's page
NEEDED = ("routing.view_event", "routing.view_delivery", "endpoints.view_endpoint", "endpoints.view_eventfilter")


@require_GET
def why_page(request: HttpRequest) -> HttpResponse:
    """Answer for ?event=ID&endpoint=ID."""
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    event = get_object_or_404(Event, pk=_id(request, "event"))
    endpoint = get_object_or_404(Endpoint, pk=_id(request, "endpoint"), workspace=event.workspace_id)
    found = {"event": event, "endpoint": endpoint, "found": why(event, endpoint)}
    return render(request, "routing/why.html", {**admin.site.each_context(request), **found})


def _id(request: HttpRequest, name: str) -> UUID:
    given = request.GET.get(name, "")
    try:
        return UUID(given)
    except ValueError:
        raise Http404(f"{name} {given!r:.60} is no UUID.") from None


def destinations(event: Event) -> list[tuple[Endpoint, Delivery | None]]:
    """Return the endpoints of the event's workspace, each with its latest delivery of the event."""
    endpoints = list(Endpoint.objects.live().filter(workspace=event.workspace_id).order_by("name", "pk")[:MOST])
    deliveries: dict[Any, Delivery] = {}
    for delivery in Delivery.objects.filter(event=event, endpoint__in=endpoints).order_by("seq"):
        deliveries[delivery.endpoint_id] = delivery
    return [(endpoint, deliveries.get(endpoint.pk)) for endpoint in endpoints]

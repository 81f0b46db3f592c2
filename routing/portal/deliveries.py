"""What endpoints were owed, and what became of it."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from endpoints.errors import BadInput
from endpoints.models import PortalRight
from endpoints.shaping import shaped
from routing.console import timelines
from routing.expediting import expedite
from routing.models import Delivery
from routing.portal.door import Visit, page, shown
from routing.portal.endpoints import said
from routing.portal.forms import SearchForm
from routing.portal.search import Wanted, search
from routing.repeats import retry
from routing.whys import Ways, held_back


@page("GET", "HEAD")
def deliveries(request: HttpRequest, visit: Visit) -> HttpResponse:
    form = SearchForm(request.GET)
    form.is_valid()
    given = {name: form.cleaned_data.get(name) for name in form.fields}
    endpoint_id = given["endpoint"] or visit.link.endpoint_id
    endpoint = get_object_or_404(visit.endpoints(), pk=endpoint_id) if endpoint_id else None
    states = Delivery.OPEN if given["state"] == "OPEN" else tuple(filter(None, [given["state"]]))
    wanted = Wanted(endpoint, states, given["type"] or "", given["id"], given["before"] or "")
    asked = urlencode({name: request.GET[name] for name in form.fields if request.GET.get(name) and name != "before"})
    narrowed = any(given[name] for name in ("state", "type", "id", "before"))
    found = search(visit.deliveries(), wanted)
    return shown(
        request,
        visit,
        "deliveries",
        {"form": form, "found": found, "endpoint": endpoint, "asked": asked, "narrowed": narrowed},
        200 if form.is_valid() else 422,
    )


@page("GET", "HEAD")
def delivery(request: HttpRequest, visit: Visit, delivery_id: UUID) -> HttpResponse:
    found = get_object_or_404(visit.deliveries().select_related("endpoint", "event"), pk=delivery_id)
    again = visit.deliveries().filter(event=found.event_id, endpoint=found.endpoint_id, retry_of=found).first()
    (told,) = timelines.with_attempts([found])
    shape = {
        "delivery": found,
        "attempts": told.attempts,
        "told": told,
        "again": again,
        "payload": _payload(found),
    }
    return shown(request, visit, "delivery", shape)


@page("POST", right=PortalRight.OPERATE)
def deliver_again(request: HttpRequest, visit: Visit, delivery_id: UUID) -> HttpResponse:
    chosen = get_object_or_404(visit.deliveries(), pk=delivery_id)
    (made,) = retry([chosen])
    return said("again", "portal-delivery", made.pk)


@page("POST", right=PortalRight.OPERATE)
def deliver_now(request: HttpRequest, visit: Visit, delivery_id: UUID) -> HttpResponse:
    """Try now what waits for another try. Where it is not tried, its page says what holds it back."""
    chosen = get_object_or_404(visit.deliveries().select_related("endpoint"), pk=delivery_id)
    outcome = expedite([chosen])
    chosen.refresh_from_db(fields=["state", "due_at"])
    tried = (outcome.expedited or outcome.released) and not _held_back(chosen)
    return said("now", "portal-delivery", delivery_id) if tried else redirect("portal-delivery", delivery_id)


def _held_back(delivery: Delivery) -> str:
    return held_back(delivery, delivery.endpoint, Ways.to([delivery.endpoint], timezone.now()))


def _payload(delivery: Delivery) -> Any:
    """Return what the endpoint is sent of the event's data: the rest of it may not be for whoever has the link."""
    if delivery.event.payload_forgotten_at:
        return ""
    shape = delivery.endpoint.payload_shape
    try:
        return shaped(None if shape is None else json.dumps(shape), delivery.event.data)
    except BadInput:
        return ""

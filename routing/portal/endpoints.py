"""Endpoints as a visitor sees them, and what one does with them."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from endpoints.models import Endpoint, PortalRight
from endpoints.schema.access import for_change
from routing import stats
from routing.portal.door import Visit, page, shown
from routing.portal.forms import EndpointForm, leads_elsewhere
from routing.portal.search import Wanted, search
from routing.stats import success_of
from routing.templatetags.console import health

SHOWN = 50  # endpoints of a page
RECENT = 10  # deliveries on an endpoint's page
STATES = (Endpoint.State.ACTIVE, Endpoint.State.PAUSED)


@page("GET", "HEAD")
def home(request: HttpRequest, visit: Visit) -> HttpResponse:
    if visit.link.endpoint_id is not None:
        return redirect("portal-endpoint", visit.link.endpoint_id)
    term = request.GET.get("q", "").replace("\0", "").strip()[:200]
    number = request.GET.get("page", "")
    first = SHOWN * int(number[:6]) if number.isdecimal() else 0
    rows = visit.endpoints().select_related("lane").order_by("-creation_date", "pk")
    if term:
        rows = rows.filter(name__icontains=term)
    listed = list(rows[first : first + SHOWN + 1])
    more = len(listed) > SHOWN
    counts = stats.of_each(listed[:SHOWN], stats.WINDOWS["24h"], timezone.now())
    found = {
        "endpoints": [(each, success_of(counts.get(each.pk, {}))) for each in listed[:SHOWN]],
        "term": term,
        "next": first // SHOWN + 1 if more else None,
        "previous": first // SHOWN - 1 if first else None,
    }
    return shown(request, visit, "home", found)


@page("GET", "HEAD")
def endpoint(request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    found = get_object_or_404(visit.endpoints().select_related("lane"), pk=endpoint_id)
    filters = found.event_filters.order_by("name", "pk")
    recent = search(visit.deliveries(), Wanted(found)).deliveries[:RECENT]
    about = {**health(found), "endpoint": found, "filters": filters, "deliveries": recent}
    return shown(request, visit, "endpoint", about)


@page("POST", right=PortalRight.OPERATE)
def change_state(request: HttpRequest, visit: Visit, endpoint_id: UUID, state: str) -> HttpResponse:
    if state not in STATES:
        raise Http404
    chosen = to_change(visit, endpoint_id)
    Endpoint.change_state([chosen], Endpoint.State(state))
    return said("paused" if state == Endpoint.State.PAUSED else "resumed", "portal-endpoint", endpoint_id)


@page("GET", "HEAD", "POST", right=PortalRight.EDIT)
def edit(request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    """Change the name and the URL. Headers of an endpoint's own may be credentials that were meant for one receiver:
    they do not go with the URL to another one."""
    chosen = to_change(visit, endpoint_id)
    form = EndpointForm(chosen, request.POST or None, initial={"name": chosen.name, "url": chosen.url})
    if request.method == "POST" and form.is_valid():
        given: dict[str, Any] = form.cleaned_data
        if chosen.headers and leads_elsewhere(chosen.url, given["url"]):
            given = {**given, "headers": {}}
        chosen.change(**given)
        return said("changed", "portal-endpoint", endpoint_id)
    return shown(request, visit, "edit", {"endpoint": chosen, "form": form}, 422 if form.errors else 200)


def to_change(visit: Visit, endpoint_id: UUID) -> Endpoint:
    rows: QuerySet[Endpoint] = for_change(visit.endpoints())
    return get_object_or_404(rows, pk=endpoint_id)


def said(what: str, view: str, *args: Any) -> HttpResponse:
    """Lead to a page that begins with what was done: see portal/said.html."""
    answer = redirect(view, *args)
    answer["Location"] += f"?said={what}"
    return answer

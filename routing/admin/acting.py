"""What an operator does on an endpoint's page: pause and resume it, try it out, have deliveries again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from endpoints.audit import note
from endpoints.errors import ServiceError
from endpoints.models import Endpoint, SigningKey
from routing import replays, stats
from routing.models import Delivery
from routing.replays import Selection
from routing.samples import TYPE, send_sample
from routing.walks import GLANCED, Count

TEST, REPLAY, ROTATE = "endpoints.test_endpoint", "routing.add_replay", "endpoints.rotate_endpoint_secret"
STATES = {
    Endpoint.State.PAUSED: "endpoints.pause_endpoint",
    Endpoint.State.ACTIVE: "endpoints.resume_endpoint",
}
HOURS = (1, 24, 24 * 7, 24 * 30)
MOST_WAITING = 10_000  # that are counted


@require_POST
def change_state(request: HttpRequest, endpoint_id: UUID, state: str) -> HttpResponseBase:
    if state not in STATES:
        raise Http404(f"{state!r:.40} is no state to bring an endpoint into; {' and '.join(STATES)} are.")
    endpoint = _endpoint(request, endpoint_id, STATES[Endpoint.State(state)])
    Endpoint.change_state([endpoint], Endpoint.State(state))
    endpoint.refresh_from_db()
    messages.success(
        request, _("%(name)s: %(state)s.") % {"name": endpoint.name, "state": endpoint.get_state_display()}
    )
    return _back_to(endpoint)


@require_POST
def test_endpoint(request: Any, endpoint_id: UUID) -> HttpResponse:
    """Send a sample event and show what came of it. No transaction is open while it is on the wire."""
    with request.acting():
        endpoint = _endpoint(request, endpoint_id, TEST)
        note("Endpoint", [endpoint.pk], endpoint.workspace_id)
    found: dict[str, Any] = {"endpoint": endpoint, "title": _("What came of the test")}
    try:
        found["attempt"], body = send_sample(endpoint, type=TYPE)
        found["sent"] = body.decode()
    except ServiceError as refusal:
        found["problem"] = refusal.message
    with request.acting():
        return render(request, "routing/tested.html", {**admin.site.each_context(request), **found})


test_endpoint.acts_by_itself = True  # type: ignore[attr-defined]  # see event_service/audited.py


@require_POST
def rotate_secret(request: HttpRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Give it a new secret. The old one is valid for a day more, in which its receiver learns the new one."""
    endpoint = _endpoint(request, endpoint_id, ROTATE)
    try:
        with transaction.atomic():
            SigningKey.rotate(Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk))
    except ServiceError as refusal:
        messages.error(request, refusal.message)
    else:
        said = _("%(name)s has a new secret. The old one is valid for 24 hours more: give its receiver the new one.")
        messages.success(request, said % {"name": endpoint.name})
    return _back_to(endpoint)


@require_POST
def replay(request: HttpRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Say how many deliveries failed for good in the last so many hours; started with `start`, have them again."""
    endpoint = _endpoint(request, endpoint_id, REPLAY)
    hours = next((each for each in HOURS if str(each) == request.POST.get("hours")), HOURS[1])
    selection = Selection(endpoint, [Delivery.State.EXHAUSTED], since=timezone.now() - timedelta(hours=hours))
    try:
        if "start" in request.POST:
            started = replays.create(selection, looks=GLANCED)
            said = ngettext(
                "%(count)s delivery is sent again.", "%(count)s deliveries are sent again.", started.total or 2
            )
            messages.success(request, said % {"count": _("Many") if started.total is None else started.total})
            return _back_to(endpoint)
        found: dict[str, Any] = {"count": replays.preview(selection, looks=GLANCED)}
    except ServiceError as refusal:
        messages.error(request, refusal.message)
        return _back_to(endpoint)
    waiting = stats.waiting_again(endpoint, MOST_WAITING)
    found |= {"endpoint": endpoint, "hours": hours, "title": _("Deliver again what failed")}
    found["waiting"] = Count(waiting, exact=waiting < MOST_WAITING)
    return render(request, "routing/replaying.html", {**admin.site.each_context(request), **found})


def _endpoint(request: HttpRequest, endpoint_id: UUID, permission: str) -> Endpoint:
    if not request.user.has_perms((permission, "endpoints.view_endpoint")):
        raise PermissionDenied
    return get_object_or_404(Endpoint.objects.live(), pk=endpoint_id)


def _back_to(endpoint: Endpoint) -> HttpResponseBase:
    return redirect("admin:endpoints_endpoint_change", endpoint.pk)

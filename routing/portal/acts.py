"""A webhook is tried out, its secret seen and rotated, what waits tried now, and what failed delivered again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from endpoints.audit import note
from endpoints.models import Endpoint, PortalRight, SigningKey
from endpoints.models.signing import OVERLAP_S
from routing import replays
from routing.expediting import expedite_all
from routing.models import Delivery
from routing.portal.door import Visit, page, shown
from routing.portal.endpoints import said, to_change
from routing.replays import Selection
from routing.samples import TYPE, send_sample
from routing.walks import GLANCED

TEST_COSTS, REPLAY_COSTS = 20, 20  # units: one holds up a thread of ours, the other looks at many rows
HOURS = (1, 24, 24 * 7, 24 * 30)


@page("POST", right=PortalRight.OPERATE, cost=TEST_COSTS, by_itself=True)
def test_endpoint(request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    """Send a sample event and show what came of it. No transaction is open while it is on the wire."""
    with visit.transaction("portal-test"):
        endpoint = _webhook(visit, endpoint_id)
        note("Endpoint", [endpoint.pk], endpoint.workspace_id)
    attempt, body = send_sample(endpoint, type=TYPE)
    return shown(request, visit, "tested", {"endpoint": endpoint, "attempt": attempt, "sent": body.decode()})


@page("GET", "HEAD", "POST", right=PortalRight.SECRETS)
def secret(request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    """Show the secret to who asks for it by a form, as it is or after a rotation."""
    rotated = request.method == "POST" and "rotate" in request.POST
    endpoint = to_change(visit, endpoint_id) if rotated else _webhook(visit, endpoint_id)
    found: dict[str, Any] = {"endpoint": endpoint, "rotated": rotated}
    if request.method == "POST":
        if rotated:
            SigningKey.rotate(endpoint, overlap_s=0 if "at_once" in request.POST else OVERLAP_S)
        else:
            note("Endpoint", [endpoint.pk], endpoint.workspace_id, secret="revealed")
        found["secret"] = endpoint.secret
    found["old"] = list(endpoint.signing_keys.valid().exclude(expires_at=None).order_by("expires_at"))
    return shown(request, visit, "secret", found)


@page("POST", right=PortalRight.OPERATE, cost=REPLAY_COSTS)
def try_now(_request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    """Try now all that waits, as much as can be done at once: the receiver is well again."""
    outcome = expedite_all(_webhook(visit, endpoint_id))
    return said("tried" if outcome.expedited or outcome.released else "nothing", "portal-endpoint", endpoint_id)


@page("POST", right=PortalRight.OPERATE, cost=REPLAY_COSTS)
def replay(request: HttpRequest, visit: Visit, endpoint_id: UUID) -> HttpResponse:
    """Say how many deliveries failed for good in the last so many hours; started with `start`, have them again."""
    endpoint = _webhook(visit, endpoint_id)
    hours = next((each for each in HOURS if str(each) == request.POST.get("hours")), HOURS[1])
    selection = Selection(endpoint, [Delivery.State.EXHAUSTED], since=timezone.now() - timedelta(hours=hours))
    if "start" in request.POST:
        replays.create(selection, looks=GLANCED)
        return said("replayed", "portal-endpoint", endpoint_id)
    found = {"endpoint": endpoint, "hours": hours, "count": replays.preview(selection, looks=GLANCED)}
    return shown(request, visit, "replay", found)


def _webhook(visit: Visit, endpoint_id: UUID) -> Endpoint:
    return get_object_or_404(visit.endpoints().filter(type=Endpoint.Type.WEB_HOOK), pk=endpoint_id)

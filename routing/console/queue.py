"""The queue as its operators see it: what is being sent, what is held back and why, and who does the work."""

from typing import Any

from django.contrib import admin, messages
from django.core import checks
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from endpoints.audit import note
from endpoints.models import Endpoint, StaffBinding
from routing import stats
from routing.models import Lane, Replay
from routing.stats import Whose

NEEDED = ("routing.view_lane", "endpoints.view_endpoint")
RELEASE = "routing.release_lane"
MOST = 50  # lanes that are shown


@require_GET
def queue(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    bound = StaffBinding.workspaces_of(request.user)
    whose = Whose(bound)
    found = {
        "title": _("Queue"),
        "lanes": _busy_lanes(),
        "most": MOST,
        "now": timezone.now(),
        "backlog": stats.backlog(whose),
        "oldest_due": stats.oldest_due(whose),
        "alive": stats.alive(whose),
        "everybody": bound is None,
        "replays": list(Replay.objects.filter(state="RUNNING").select_related("endpoint").order_by("pk")[:MOST]),
        "warnings": [problem for problem in checks.run_checks() if problem.level >= checks.WARNING],
        "may_release": request.user.has_perm(RELEASE),
    }
    return render(request, "routing/queue.html", {**admin.site.each_context(request), **found})


@require_POST
def release(request: HttpRequest, endpoint_id: Any) -> HttpResponseBase:
    """Close a lane's breaker, so that all that waits is sent as before."""
    if not request.user.has_perms((RELEASE, *NEEDED)):
        raise PermissionDenied
    endpoint = get_object_or_404(Endpoint.objects.live(), pk=endpoint_id)
    get_object_or_404(Lane, pk=endpoint.pk).release()
    note("Endpoint", [endpoint.pk], endpoint.workspace_id, released=True)
    messages.success(request, _("%(name)s is sent to again.") % {"name": endpoint.name})
    return redirect("queue")


def _busy_lanes() -> list[Lane]:
    """Return the lanes that are sent to or held back, those first that are held back."""
    lanes = Lane.objects.filter(endpoint__deleted_at=None).select_related("endpoint", "endpoint__workspace")
    busy = Q(in_flight__gt=0) | Q(opened_at__isnull=False) | Q(failing_since__isnull=False)
    return list(lanes.filter(busy).order_by("opened_at", "failing_since", "-in_flight", "pk")[:MOST])

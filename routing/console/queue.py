"""The queue as its operators see it: what is being sent, what is held back and why, and who does the work."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core import checks
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from endpoints.audit import note
from endpoints.models import Endpoint, StaffBinding
from routing import stats
from routing.models import Delivery, Lane, Replay, Rollup, WorkerNode
from routing.queue import LEASE_S
from routing.queue.presence import DEAD_AFTER_S
from routing.senders import SLOW_THREADS
from routing.stats import Whose

NEEDED = ("routing.view_lane", "endpoints.view_endpoint")
RELEASE = "routing.release_lane"
DRAIN = "routing.drain_workernode"
MOST = 50  # lanes that are shown
_PERIODS = (
    ("MINUTE", gettext_lazy("Figures by the minute")),
    ("TEN_MINUTES", gettext_lazy("Figures by ten minutes")),
    ("HOUR", gettext_lazy("Figures by the hour")),
    ("DAY", gettext_lazy("Figures by the day")),
)


@require_GET
def queue(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    bound = StaffBinding.workspaces_of(request.user)
    whose = Whose(bound)
    workers = stats.workers() if bound is None else []
    may_see_deliveries = request.user.has_perm("routing.view_delivery")
    found = {
        "title": _("Queue"),
        "lanes": _busy_lanes(),
        "leases": _leases(workers) if may_see_deliveries else None,
        "most": MOST,
        "now": timezone.now(),
        "backlog": stats.backlog(whose),
        "oldest_due": stats.oldest_due(whose),
        "alive": stats.alive(whose),
        "everybody": bound is None,
        "workers": [(each, _is_silent(each)) for each in workers],
        "stored": stats.stored() if bound is None else [],
        "kept": [(name, timedelta(days=Rollup.KEPT_DAYS[period])) for period, name in _PERIODS],
        "version": settings.VERSION,
        "slow_threads": SLOW_THREADS,
        "lease_s": LEASE_S,
        "may_drain": bound is None and request.user.has_perm(DRAIN),
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


@require_POST
def set_drained(request: HttpRequest, node_id: UUID, *, drained: bool) -> HttpResponseBase:
    """Have a worker claim nothing more, or go on. It is told with its next sign of life, within a second."""
    may = request.user.has_perms((DRAIN, *NEEDED)) and StaffBinding.workspaces_of(request.user) is None
    if not may:
        raise PermissionDenied
    worker = get_object_or_404(WorkerNode, pk=node_id)
    WorkerNode.objects.filter(pk=node_id).update(drained=drained)
    note("WorkerNode", [node_id], None, drained=drained)
    said = (
        _("Worker %(name)s finishes what it holds and takes nothing more.")
        if drained
        else _("Worker %(name)s takes work again.")
    )
    messages.success(request, said % {"name": worker.name})
    return redirect("queue")


def _is_silent(worker: WorkerNode) -> bool:
    return timezone.now() - worker.seen_at > timedelta(seconds=DEAD_AFTER_S)


class Lease(NamedTuple):
    """A delivery that is being sent: by whom, if they have said so, and since when. Its `due_at` is until when."""

    delivery: Delivery
    worker: str
    since: datetime


def _leases(workers: list[WorkerNode]) -> list[Lease]:
    names = {token: worker.name for worker in workers for token in worker.lease_tokens}
    found = []
    for each in stats.leases(MOST):
        assert each.due_at
        assert each.lease_token
        since = each.due_at - timedelta(seconds=LEASE_S)
        found.append(Lease(each, names.get(each.lease_token, ""), since))
    return found


def _busy_lanes() -> list[Lane]:
    """Return the lanes that are sent to or held back, those first that are held back."""
    lanes = Lane.objects.filter(endpoint__deleted_at=None).select_related("endpoint", "endpoint__workspace")
    busy = Q(in_flight__gt=0) | Q(opened_at__isnull=False) | Q(failing_since__isnull=False)
    return list(lanes.filter(busy).order_by("opened_at", "failing_since", "-in_flight", "pk")[:MOST])

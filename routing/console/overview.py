"""The admin's first page: what is wrong now, and how much happens."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.models import Endpoint, StaffBinding, Workspace
from routing import stats
from routing.console import charts
from routing.stats import Traffic, Whose

NEEDED = ("routing.view_delivery", "endpoints.view_endpoint")
UNWELL = 8  # endpoints that are shown
CHOICES = 200  # workspaces to choose from; another one is opened by its id: ?workspace=ID
ENDS = (("ok", _("delivered")), ("bad", _("exhausted")), ("quiet", _("skipped or cancelled")))


def overview(request: HttpRequest) -> Mapping[str, Any]:
    """Return what is shown of ?workspace=ID in the last ?window=1h, 24h, 7d or 30d; nothing to who may not look."""
    if not request.user.has_perms(NEEDED):
        return {}
    bound = StaffBinding.workspaces_of(request.user)
    choices = _workspaces(bound)
    chosen = _chosen(request.GET.get("workspace", ""), choices, bound)
    whose = Whose([chosen.pk] if chosen else bound)
    window = request.GET.get("window", "24h")
    window = window if window in stats.WINDOWS else "24h"
    found = stats.traffic(whose, stats.WINDOWS[window], timezone.now())
    alive = stats.alive(whose)
    return {
        "chosen": chosen,
        "workspaces": choices,
        "window": window,
        "windows": list(stats.WINDOWS),
        "traffic": found,
        "success": found.success,
        "latencies": [(name, found.percentile_ms("LATENCY", part)) for name, part in _PARTS],
        "chart": _chart(found, window),
        "failures": found.failures()[:6],
        "unwell": [(endpoint, complaint(endpoint)) for endpoint in stats.unwell(whose, UNWELL)],
        "backlog": stats.backlog(whose),
        "oldest_due": stats.oldest_due(whose),
        "alive": alive,
        "workers": alive.workers if bound is None else None,
        "has_endpoints": bool(found.total) or _has_endpoints(whose),
        "console": True,
    }


_PARTS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def _workspaces(bound: Any) -> list[Workspace]:
    rows = Workspace.objects.order_by("name", "pk")
    return list((rows if bound is None else rows.filter(pk__in=bound))[:CHOICES])


def _chosen(id_: str, choices: list[Workspace], bound: Any) -> Workspace | None:
    """Return the workspace that is asked for, be it in the list or not. Raises Http404 where it is not to be seen."""
    if not id_:
        return None
    for each in choices:
        if str(each.pk) == id_:
            return each
    rows = Workspace.objects.all() if bound is None else Workspace.objects.filter(pk__in=bound)
    try:
        return get_object_or_404(rows, pk=id_)
    except ValidationError:
        raise Http404(f"workspace {id_!r:.60} is no UUID.") from None


def _has_endpoints(whose: Whose) -> bool:
    rows = Endpoint.objects.live()
    ids: Any = whose.workspace_ids
    return (rows if ids is None else rows.filter(workspace__in=ids)).exists()


def complaint(endpoint: Endpoint) -> str:
    """Say in a line what is wrong with an endpoint."""
    if endpoint.state == Endpoint.State.DISABLED:
        return str(_("Disabled: %(reason)s")) % {"reason": gettext(endpoint.state_reason)}
    if endpoint.lane.opened_at:
        return str(_("Its breaker is open: it is tried by single requests, after each failure more seldom"))
    return str(_("Nothing but failures"))


def label(at: datetime, window: str) -> str:
    return date_format(at, "d M" if window == "30d" else "H:i" if window == "1h" else "d M H:i") + " UTC"


def _chart(found: Traffic, window: str) -> charts.Chart:
    values = [
        (counts["DELIVERED"], counts["EXHAUSTED"], counts["SKIPPED"] + counts["CANCELLED"]) for counts in found.periods
    ]
    kinds = [(kind, str(name)) for kind, name in ENDS]
    return charts.stacked(str(_("Deliveries that ended")), [label(at, window) for at in found.starts], kinds, values)


_UNITS = (
    (86_400, _("%(number)s d")),
    (3_600, _("%(number)s h")),
    (60, _("%(number)s min")),
    (1, _("%(number)s s")),
)


def age(duration: timedelta | None) -> str:
    """Return a duration as people say it: 12 s, 5 min, 3 h, 2 d."""
    if duration is None:
        return "–"
    seconds = duration.total_seconds()
    size, said = next(unit for unit in _UNITS if seconds >= 2 * unit[0] or unit[0] == 1)
    return str(said) % {"number": f"{seconds / size:.0f}"}

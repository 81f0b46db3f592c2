"""What pages of the console are made of."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from endpoints.models import Endpoint, EventFilter
from routing import stats
from routing.console import charts, timelines
from routing.console.overview import age, complaint, label
from routing.console.searches import of_endpoint
from routing.console.wording import settings_of, state_of
from routing.ids import made_at
from routing.models import Delivery, Event
from routing.stats import Whose, success_of

register = template.Library()
MOST_LINKS = 50
RECENT = 8  # deliveries on an endpoint's page
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

register.filter("age", age)


@register.filter
def ms(value: float | None) -> str:
    """Return milliseconds as people say them."""
    if value is None:
        return "–"
    if value < 1_000:
        return _("%(number)s ms") % {"number": f"{value:.0f}"}
    seconds = number_format(value / 1_000, 1)
    return _("%(number)s s") % {"number": seconds} if value < 120_000 else age(timedelta(milliseconds=value))


@register.filter
def percent(part: float | None) -> str:
    """Return a part as percent; never 100 where something is missing."""
    if part is None:
        return "–"
    return f"{part:.0%}".replace("%", " %") if part in (0, 1) else f"{number_format(min(part * 100, 99.99), 2)} %"


@register.filter
def count(value: int) -> str:
    return number_format(value, force_grouping=True, use_l10n=True)


@register.filter
def since(at: datetime) -> timedelta:
    return timezone.now() - at


@register.filter
def as_times(bounds: str) -> str:
    """Return the ids that a partition begins and ends with as the times that are in them."""
    times = [f"{made_at(UUID(id_)):%Y-%m-%d %H:%M}" for id_ in _ID.findall(bounds)]
    return f"{' – '.join(times)} UTC" if times else bounds


register.filter("tree", timelines.tree)


@register.filter
def state_kind(state: str) -> str:
    """Return the colour of a delivery's state."""
    return {"DELIVERED": "ok", "EXHAUSTED": "bad", "PENDING": "warn", "SENDING": "warn"}.get(state, "")


@register.simple_tag
def state_badge(endpoint: Endpoint) -> str:
    return format_html('<span class="badge {}">{}</span>', *state_of(endpoint))


@register.inclusion_tag("routing/timelines.html", takes_context=True)
def event_timelines(context: template.Context, event: Event) -> dict[str, Any]:
    return _timelines(context, timelines.deliveries_of(event))


@register.inclusion_tag("routing/timelines.html", takes_context=True)
def delivery_timeline(context: template.Context, delivery: Delivery) -> dict[str, Any]:
    return _timelines(context, [delivery])


def _timelines(context: template.Context, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    may_see = context["user"].has_perm("routing.view_attempt")
    told = timelines.with_attempts(deliveries) if may_see else timelines.without_attempts(deliveries)
    return {"timelines": told, **_about(context)}


def _about(context: template.Context) -> dict[str, Any]:
    return {"perms": context["perms"], "csrf_token": context["csrf_token"]}


@register.inclusion_tag("routing/filter_links.html")
def filter_links(event_filter: EventFilter) -> dict[str, Any]:
    rows = (
        Endpoint.objects.live().filter(links__event_filter=event_filter).select_related("lane").order_by("name", "pk")
    )
    return {"event_filter": event_filter, "endpoints": list(rows[:MOST_LINKS]), "most": MOST_LINKS}


@register.inclusion_tag("routing/chart.html")
def chart(drawn: charts.Chart) -> dict[str, Any]:
    return {"chart": drawn}


@register.inclusion_tag("routing/endpoint_health.html", takes_context=True)
def endpoint_health(context: template.Context, endpoint: Endpoint) -> dict[str, Any]:
    """Show how an endpoint does: the last 15 hours in 90 cells, and what it was asked for and answered."""
    return {
        **health(endpoint),
        "recent": list(of_endpoint(endpoint)[:RECENT]),
        "settings": settings_of(endpoint),
        **_about(context),
    }


def health(endpoint: Endpoint) -> dict[str, Any]:
    found = stats.cells(endpoint, timezone.now())
    lane = getattr(endpoint, "lane", None)
    failing = lane is not None and bool(lane.opened_at or lane.failing_since)
    return {
        "endpoint": endpoint,
        "complaint": complaint(endpoint) if failing or endpoint.state == Endpoint.State.DISABLED else "",
        "tracker": charts.tracker(
            _("The last 15 hours, ten minutes each"),
            [label(at, "24h") for at in found.starts],
            [_health(counts) for counts in found.periods],
            [_said(counts) for counts in found.periods],
        ),
        "traffic": found,
        "success": found.success,
        "latencies": [(name, found.percentile_ms("LATENCY", part)) for name, part in (("p50", 0.5), ("p95", 0.95))],
        "failures": found.failures()[:4],
        "backlog": stats.backlog(Whose(endpoint=endpoint)),
        "lane": lane,
    }


def _health(counts: dict[str, int]) -> str:
    part = success_of(counts)
    if part is None:
        return "none" if not any(name.startswith("FAILED") for name in counts) else "bad"
    return "ok" if part == 1 and not any(name.startswith("FAILED") for name in counts) else "warn" if part else "bad"


def _said(counts: dict[str, int]) -> str:
    failed = sum(count for name, count in counts.items() if name.startswith("FAILED"))
    said = [(counts.get("DELIVERED", 0), _("delivered")), (failed, _("failed attempts"))]
    said.append((counts.get("EXHAUSTED", 0), _("exhausted")))
    return ", ".join(f"{count(number)} {what}" for number, what in said if number) or _("nothing")

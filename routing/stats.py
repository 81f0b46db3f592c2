"""Operators' questions: one function, one question, one query. None of them counts a table of traffic."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Now

from endpoints.models import Endpoint
from routing.models import Delivery, Rollup, WorkerNode
from routing.queue.presence import DEAD_AFTER_S
from routing.router import WEBHOOK_HINT

TRAFFIC_TABLES = ("routing_event", "routing_delivery", "routing_attempt")
MOST_PARTITIONS = 60  # that are shown of each
MOST_WORKERS = 100
ENDS = ("DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED")
_LENGTHS = {
    "MINUTE": timedelta(minutes=1),
    "TEN_MINUTES": timedelta(minutes=10),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
}


class Window(NamedTuple):
    """The last so many periods, of which the newest still runs."""

    period: str
    periods: int

    def starts(self, now: datetime) -> Sequence[datetime]:
        """Return when each period begins, the oldest first."""
        length = _LENGTHS[self.period]
        newest = now.astimezone(UTC) - (now - datetime.fromtimestamp(0, UTC)) % length
        return [newest - length * number for number in reversed(range(self.periods))]


WINDOWS: Mapping[str, Window] = {
    "1h": Window("MINUTE", 60),
    "24h": Window("TEN_MINUTES", 144),
    "7d": Window("HOUR", 168),
    "30d": Window("DAY", 30),
}


@dataclass(frozen=True)
class Whose:
    """All workspaces, some of them, or one endpoint."""

    workspace_ids: Collection[UUID] | None = None
    endpoint: Endpoint | None = None

    def rollups(self) -> QuerySet[Rollup]:
        if self.endpoint is not None:
            return Rollup.objects.filter(endpoint=self.endpoint, workspace=self.endpoint.workspace_id)
        if self.workspace_ids is not None:
            return Rollup.objects.filter(endpoint=None, workspace__in=self.workspace_ids)
        return Rollup.objects.filter(endpoint=None, workspace=None)


class Traffic:
    """What was counted in a window, as a whole and period by period."""

    def __init__(self, starts: Sequence[datetime], counts: Mapping[datetime, Counter[str]]) -> None:
        self.starts = starts
        self.periods = [counts.get(start, Counter()) for start in starts]
        self.total = sum(self.periods, Counter[str]())

    @property
    def success(self) -> float | None:
        """Return which part of what ended after being tried was delivered; None: nothing was."""
        return success_of(self.total)

    @property
    def attempts_success(self) -> float | None:
        """Return which part of the attempts succeeded, of what still waits too; None: there was none."""
        attempts = self.total["ATTEMPTS"]
        return 1 - sum(count for _, count in self.failures()) / attempts if attempts else None

    def percentile_ms(self, what: str, part: float) -> float | None:
        """Return what `part` of all LATENCY or DURATION is at most, to a fifth of itself; None: there is none."""
        buckets = sorted(
            (int(name.partition(" ")[2]), count) for name, count in self.total.items() if name.startswith(f"{what} ")
        )
        left = part * sum(count for _, count in buckets)
        for bucket, count in buckets:
            if left <= count:
                return float(2 ** ((bucket + left / count) / 2))
            left -= count
        return None

    def failures(self) -> list[tuple[str, int]]:
        """Return the classes of error, the most frequent first."""
        return failures_of(self.total)


def failures_of(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    found = [(name.removeprefix("FAILED "), count) for name, count in counts.items() if name[:7] == "FAILED "]
    return sorted(found, key=lambda each: (-each[1], each[0]))


def success_of(counts: Mapping[str, int]) -> float | None:
    delivered, exhausted = counts.get("DELIVERED", 0), counts.get("EXHAUSTED", 0)
    return delivered / (delivered + exhausted) if delivered + exhausted else None


def traffic(whose: Whose, window: Window, now: datetime) -> Traffic:
    starts = window.starts(now)
    rows = whose.rollups().filter(period=window.period, at__gte=starts[0]).order_by()
    counts: dict[datetime, Counter[str]] = defaultdict(Counter)
    for at, name, count in rows.values_list("at", "name").annotate(Sum("count")):
        counts[at][name] = count
    return Traffic(starts, counts)


def of_each(endpoints: Collection[Endpoint], window: Window, now: datetime) -> dict[UUID, Counter[str]]:
    """Return what was counted of each endpoint in a window, all with one query."""
    rows = Rollup.objects.filter(
        endpoint__in=endpoints,
        workspace__in={endpoint.workspace_id for endpoint in endpoints},
        period=window.period,
        at__gte=window.starts(now)[0],
    ).order_by()
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    for id_, name, count in rows.values_list("endpoint", "name").annotate(Sum("count")):
        counts[id_][name] = count
    return counts


def backlog(whose: Whose) -> int:
    """Return how many deliveries are open, of those that were owed in the last 800 days."""
    rows = whose.rollups().filter(period=Rollup.Period.DAY, name__in=["OWED", *ENDS]).order_by()
    counts: dict[str, int] = dict(rows.values_list("name").annotate(Sum("count")))
    return max(0, counts.pop("OWED", 0) - sum(counts.values()))


def waiting_again(endpoint: Endpoint, most: int) -> int:
    """Return how many of an endpoint's deliveries failed and wait for another try, as far as `most`."""
    rows = Delivery.objects.filter(endpoint=endpoint, state="PENDING", due_at__isnull=False, attempts_made__gt=0)
    return rows.order_by()[:most].count()


def unwell(whose: Whose, most: int) -> list[Endpoint]:
    """Return the endpoints that want somebody's eye, those that are disabled first, then as long as they fail."""
    failing = Q(lane__failing_since__isnull=False) | Q(lane__opened_at__isnull=False)
    rows = Endpoint.objects.live().filter(Q(state=Endpoint.State.DISABLED) | failing & Q(state=Endpoint.State.ACTIVE))
    if whose.workspace_ids is not None:
        rows = rows.filter(workspace__in=whose.workspace_ids)
    return list(rows.select_related("workspace", "lane").order_by("-state", "lane__failing_since", "pk")[:most])


def oldest_due(whose: Whose) -> timedelta | None:
    """Return for how long the delivery has been due that waits the longest; None: none is due."""
    with connection.cursor() as cursor:
        ids = None if whose.workspace_ids is None else list(whose.workspace_ids)
        cursor.execute(_OLDEST_DUE, {"all": ids is None, "workspaces": ids or []})
        (found,) = cursor.fetchone()
    return found if isinstance(found, timedelta) else None


class Alive(NamedTuple):
    workers: int  # each listens on a connection of its own; 0 to who may not see the connections of others
    sockets: int
    processes: int  # that serve these


def alive(whose: Whose) -> Alive:
    with connection.cursor() as cursor:
        ids = None if whose.workspace_ids is None else list(whose.workspace_ids)
        cursor.execute(_ALIVE, {"listen": f"LISTEN {WEBHOOK_HINT}", "all": ids is None, "workspaces": ids or []})
        return Alive(*cursor.fetchone())


def workers() -> list[WorkerNode]:
    """Return the workers that said within the last minutes that they live, the oldest first."""
    recently = Now() - timedelta(seconds=10 * DEAD_AFTER_S)
    return list(WorkerNode.objects.filter(seen_at__gt=recently).order_by("started_at", "pk")[:MOST_WORKERS])


def leases(most: int) -> list[Delivery]:
    """Return what is being sent, the oldest leases first. Whose it is, WorkerNode.lease_tokens tell."""
    rows = Delivery.objects.filter(state=Delivery.State.SENDING).select_related("endpoint__workspace", "event")
    return list(rows.defer("event__data").order_by("due_at", "pk")[:most])


class Stored(NamedTuple):
    """A partition of a table of traffic, or the whole of a table that has none."""

    table: str
    name: str
    bounds: str
    bytes: int
    rows: int  # about; -1 where nobody has counted yet


def stored() -> list[Stored]:
    """Return what the tables of traffic are kept in, the newest partitions first; from the catalogue alone."""
    with connection.cursor() as cursor:
        cursor.execute(_STORED, [list(TRAFFIC_TABLES), MOST_PARTITIONS])
        return [Stored(*row) for row in cursor.fetchall()]


def cells(endpoint: Endpoint, now: datetime) -> Traffic:
    """Return what became of an endpoint's deliveries in the last 15 hours, for a tracker of 90 cells."""
    return traffic(Whose(endpoint=endpoint), Window("TEN_MINUTES", 90), now)


# Of each lane that may be claimed, the first of its first attempts and the first that is due again: two probes.
_OLDEST_DUE = """
SELECT clock_timestamp() - min(due_at)
FROM routing_lane AS lane JOIN endpoints_endpoint AS endpoint ON endpoint.id = lane.endpoint_id
CROSS JOIN LATERAL (
    (SELECT due_at FROM routing_delivery AS delivery
     WHERE delivery.endpoint_id = lane.endpoint_id AND due_at IS NOT NULL AND attempts_made = 0
     ORDER BY seq LIMIT 1)
    UNION ALL
    (SELECT due_at FROM routing_delivery AS delivery
     WHERE delivery.endpoint_id = lane.endpoint_id AND due_at IS NOT NULL AND attempts_made > 0 AND state = 'PENDING'
     ORDER BY due_at, seq LIMIT 1)
) AS first
WHERE endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL AND first.due_at < clock_timestamp()
  AND (%(all)s OR endpoint.workspace_id = ANY(%(workspaces)s::uuid[]))
"""
_STORED = """
SELECT parent, name, bounds, pg_total_relation_size(oid), reltuples::bigint
FROM (
    SELECT root.relname AS parent, part.relname AS name, pg_get_expr(part.relpartbound, part.oid) AS bounds,
           part.oid, part.reltuples, row_number() OVER (PARTITION BY root.oid ORDER BY part.relname DESC) AS place
    FROM unnest(%s::text[]) AS wanted JOIN pg_class AS root ON root.oid = to_regclass(wanted)
    JOIN pg_class AS part ON part.oid = root.oid AND root.relkind = 'r'
                          OR part.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = root.oid)
) AS parts
WHERE place <= %s ORDER BY parent, place
"""
_ALIVE = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = %(listen)s),
       count(*), count(DISTINCT node_id)
FROM routing_socket WHERE %(all)s OR workspace_id = ANY(%(workspaces)s::uuid[])
"""

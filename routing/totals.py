"""What holds for the whole installation, for Prometheus: one look at the database, whichever process is asked.

Counters are those of the roll-ups since the month began (UTC). That they begin again is to Prometheus as if a process
had been restarted: rate() and increase() allow for it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection, transaction
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from routing import stats
from routing.models.rollups import BUCKETS
from routing.stats import Whose

TIMEOUT_MS = 5_000  # of each question
MOST_COUNTS = 100_000  # not rolled up yet; beyond it nobody says whether everything is accounted for


class Totals(Collector):
    """Asks anew with each `collect`. Raises Django's database errors."""

    def describe(self) -> Iterator[Metric]:
        return iter(())  # registering it asks nothing

    def collect(self) -> Iterator[Metric]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [TIMEOUT_MS])
            cursor.execute(_TOTALS, [MOST_COUNTS, MOST_COUNTS])
            counted, endpoints, *gauges = cursor.fetchone()
            oldest = stats.oldest_due(Whose())
            alive = stats.alive(Whose())
            open_ = stats.backlog(Whose())
        counts: Mapping[str, int] = json.loads(counted)
        yield from _counters(counts)
        yield _histogram("delivery_latency_seconds", "From an event's commit to its delivery.", counts, "LATENCY")
        yield _histogram("attempt_duration_seconds", "How long attempts took.", counts, "DURATION")
        yield _by_state(json.loads(endpoints))
        values = [open_, oldest.total_seconds() if oldest else 0, *alive, *gauges]
        for (name, text), value in zip(GAUGES.items(), values, strict=True):
            yield GaugeMetricFamily(f"event_service_{name}", text, float("nan") if value is None else float(value))


def _counters(counts: Mapping[str, int]) -> Iterator[Metric]:
    yield _counter("events", "Events that were recorded.", counts.get("EVENTS", 0))
    yield _counter("deliveries_owed", "Deliveries that were written: an event for an endpoint.", counts.get("OWED", 0))
    ended = CounterMetricFamily("event_service_deliveries_ended", "Deliveries that ended, by state.", labels=["state"])
    for state in stats.ENDS:
        ended.add_metric([state], counts.get(state, 0))
    yield ended
    failed = {name.removeprefix("FAILED "): count for name, count in counts.items() if name.startswith("FAILED ")}
    by_outcome = {"OK": counts.get("ATTEMPTS", 0) - sum(failed.values()), **failed}
    attempts = CounterMetricFamily("event_service_attempts", "Attempts: OK or a class of error.", labels=["outcome"])
    for outcome, count in sorted(by_outcome.items()):
        attempts.add_metric([outcome], count)
    yield attempts


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"event_service_{name}", text, value)


def _histogram(name: str, text: str, counts: Mapping[str, int], what: str) -> HistogramMetricFamily:
    """Return a histogram by powers of two, each of two buckets of the roll-up. The sum is not known, and left out."""
    buckets, so_far = [], 0
    for bucket in range(BUCKETS):
        so_far += counts.get(f"{what} {bucket}", 0)
        if bucket % 2:  # it ends where a power of two begins
            buckets.append((str(2.0 ** ((bucket + 1) // 2) / 1000), so_far))
    return HistogramMetricFamily(f"event_service_{name}", text, [*buckets, ("+Inf", so_far)])


def _by_state(found: Mapping[str, Any]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("event_service_endpoints", "Endpoints that are not deleted, by state.", labels=["state"])
    for state in ("ACTIVE", "PAUSED", "DISABLED"):
        family.add_metric([state], found.get(state, 0))
    return family


# In the order of the answers.
GAUGES = {
    "deliveries_open": "Deliveries that have not ended.",
    "queue_age_seconds": "For how long the delivery is due that waits the longest.",
    "workers": "Delivery workers that listen for work.",
    "sockets": "Websockets that are open.",
    "socket_processes": "Web processes that have some.",
    "deliveries_in_flight": "Deliveries to webhooks that are claimed.",
    "endpoints_failing": "Endpoints that do nothing but fail.",
    "breakers_open": "Endpoints whose breaker is open.",
    "replays_running": "Replays that are not through.",
    "rollup_lag_seconds": "By how much the counters are behind.",
    "conservation_difference": "Numbers that were given to deliveries, less deliveries that were written. Always 0.",
}
# One statement sees one state of everything: a number and the delivery that has it are committed together.
_TOTALS = """
SELECT
    (SELECT coalesce(json_object_agg(name, count), '{}')::text FROM (
        SELECT name, sum(count)::bigint AS count FROM routing_rollup
        WHERE endpoint_id IS NULL AND workspace_id IS NULL AND period = 'DAY'
          AND at >= date_trunc('month', clock_timestamp(), 'UTC')
        GROUP BY name) AS counted),
    (SELECT coalesce(json_object_agg(state, count), '{}')::text FROM (
        SELECT state, count(*) AS count FROM endpoints_endpoint WHERE deleted_at IS NULL GROUP BY state) AS standing),
    (SELECT coalesce(sum(in_flight), 0) FROM routing_lane),
    (SELECT count(*) FROM routing_lane AS lane JOIN endpoints_endpoint AS endpoint ON endpoint.id = lane.endpoint_id
     WHERE failing_since IS NOT NULL AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL),
    (SELECT count(*) FROM routing_lane AS lane JOIN endpoints_endpoint AS endpoint ON endpoint.id = lane.endpoint_id
     WHERE opened_at IS NOT NULL AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL),
    (SELECT count(*) FROM routing_replay WHERE state = 'RUNNING'),
    coalesce((SELECT extract(epoch FROM greatest(clock_timestamp() - at, interval '0'))
              FROM routing_count ORDER BY id LIMIT 1), 0),
    (SELECT CASE WHEN pending.rows <= %s THEN
        (SELECT coalesce(sum(last_seq), 0) FROM routing_cursor)
        - (SELECT coalesce(sum(count), 0) FROM routing_rollup
           WHERE endpoint_id IS NULL AND workspace_id IS NULL AND period = 'EVER' AND name = 'OWED')
        - pending.owed END
     FROM (SELECT count(*) AS rows, coalesce(sum(count) FILTER (WHERE name = 'OWED'), 0) AS owed
           FROM (SELECT * FROM routing_count LIMIT %s + 1) AS counts) AS pending)
"""

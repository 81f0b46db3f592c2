"""What a claim costs with little and with much behind one dead endpoint, and how many endpoints a small one reaches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles

from django.db import connection, transaction
from django.db.models.functions import Now

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.service import clear, new_workspace
from endpoints.models import Endpoint
from routing.models import Lane
from routing.queue import claim
from routing.worker import PER_ENDPOINT, PREFETCH

OTHERS = 50  # endpoints that have something due
DUE = 3  # of each of them, one of these for another time
LITTLE, OLD, MUCH = 1_000, 300_000, 1_000_000  # rows of the one endpoint
SMALL = 50  # deliveries of a claim that is asked how many endpoints it reaches
WARM_UP = 10
CLAIMS = 100
RATIO = 1.5
REACH = 25  # endpoints
P99_MS = 10
COPIES = "little"
TABLES = {  # with their fillfactor
    "endpoints_endpoint": 100,
    "endpoints_signingkey": 100,
    "routing_event": 100,
    "routing_lane": 20,
    "routing_delivery": 70,
}


def run() -> Iterator[Figure]:
    print(f"\nclaims: {OTHERS} endpoints have {DUE} deliveries due each, one more has a backlog; each claim is undone")
    clear()
    workspace, _ = new_workspace(webhooks=[f"http://127.0.0.1:9/{number}" for number in range(OTHERS + 1)])
    crowded, *others = Endpoint.objects.filter(workspace=workspace).order_by("pk")
    for endpoint in others:
        _owe(endpoint, DUE)
    _owe(crowded, LITTLE)
    _set_breaker(crowded, opened_at=Now(), openings=5)
    with _copied_tables():
        _owe(crowded, OLD - LITTLE)
        yield from _reach(crowded)
        _owe(crowded, MUCH - OLD)
        yield _costs(crowded)


def _costs(dead: Endpoint) -> Figure:
    """Measure by turns here, and in the copies that were made when there was little."""
    _set_breaker(dead, opened_at=Now(), openings=5)
    _tidy()
    claims = [(_claim(PREFETCH, schema=COPIES)[0], _claim(PREFETCH)[0]) for _ in range(WARM_UP + CLAIMS)]
    name = f"{MUCH:,} rows behind a dead endpoint, beside {LITTLE:,}"
    return Figure.of_rounds(name, f"ms a claim of {PREFETCH}", claims[WARM_UP:], [at_most(RATIO)])


def _reach(sound: Endpoint) -> Iterator[Figure]:
    _set_breaker(sound, opened_at=None, openings=0)
    _tidy()
    costs_ms, reached = zip(*[_claim(SMALL) for _ in range(WARM_UP + CLAIMS)][WARM_UP:], strict=True)
    name, unit = f"{OLD:,} rows behind a sound endpoint", f"ms a claim of {SMALL}"
    yield Figure(name=f"{name}, p50", unit=unit, measured=median(costs_ms))
    p99 = quantiles(costs_ms, n=100)[98]
    yield Figure(name=f"{name}, p99", unit=unit, measured=p99, targets=(at_most(P99_MS, "measured"),))
    targets = (at_least(REACH, "measured"),)
    yield Figure(name="what such a claim reaches, at least", unit="endpoints", measured=min(reached), targets=targets)


def _claim(limit: int, *, schema: str = "public") -> tuple[float, int]:
    """Return how many milliseconds a claim took, and how many endpoints it reached."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL search_path = {schema}")
        started = time.perf_counter()
        jobs = claim(limit=limit, per_endpoint=PER_ENDPOINT, rooms={})
        took_s = time.perf_counter() - started
        transaction.set_rollback(True)
    return took_s * 1000, len({job.target.endpoint_id for job in jobs})


def _set_breaker(endpoint: Endpoint, **fields) -> None:
    Lane.objects.filter(endpoint=endpoint).update(**fields)


def _tidy() -> None:
    """Do what autovacuum would come to."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


@contextmanager
def _copied_tables() -> Iterator[None]:
    """Have a copy of what a claim reads, as it is now, in a schema of its own."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {COPIES}")
        try:
            for table, fillfactor in TABLES.items():
                cursor.execute(f"CREATE TABLE {COPIES}.{table} (LIKE public.{table} INCLUDING ALL)")
                cursor.execute(f"ALTER TABLE {COPIES}.{table} SET (fillfactor = {fillfactor})")
                cursor.execute(f"INSERT INTO {COPIES}.{table} SELECT * FROM public.{table}")
            yield
        finally:
            cursor.execute(f"DROP SCHEMA {COPIES} CASCADE")


def _owe(endpoint: Endpoint, count: int) -> None:
    """Write what the router would have written by now; without asking of each row whether its keys stand."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_OWE, {"workspace": endpoint.workspace_id, "endpoint": endpoint.pk, "count": count})


_OWE = """
WITH event AS (
    INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data)
    SELECT routing_uuid7(), %(workspace)s, 'order.paid', '', '', '', now(), '{}' FROM generate_series(1, %(count)s)
    RETURNING id
), cursor AS (
    UPDATE routing_cursor SET last_seq = last_seq + %(count)s WHERE endpoint_id = %(endpoint)s
    RETURNING last_seq - %(count)s AS before
)
INSERT INTO routing_delivery (id, workspace_id, event_id, endpoint_id, seq, state, reason, attempts_made, due_at)
SELECT routing_uuid7(), %(workspace)s, id, %(endpoint)s, before + nth, 'PENDING', '', (nth %% 3 = 0)::int,
       now() - interval '1 hour'
FROM (SELECT id, row_number() OVER () AS nth FROM event) AS numbered CROSS JOIN cursor
"""

"""What a claim costs with little and with much behind one dead endpoint, and how many endpoints a small one reaches."""

import time
from statistics import median

from django.db import connection, transaction
from django.db.models.functions import Now

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
COST_MS = 10


def run() -> None:
    print(f"\nclaims: {OTHERS} endpoints have {DUE} deliveries due each, one more has a backlog; each claim is undone")
    clear()
    workspace, _ = new_workspace(webhooks=[f"http://127.0.0.1:9/{number}" for number in range(OTHERS + 1)])
    crowded, *others = Endpoint.objects.filter(workspace=workspace).order_by("pk")
    for endpoint in others:
        _owe(endpoint, DUE)
    little_ms = _dead_ms(crowded, LITTLE)
    _owe(crowded, OLD - LITTLE)
    _show_reach(crowded)
    much_ms = _dead_ms(crowded, MUCH - OLD)
    print(f"  {LITTLE:9,} rows behind a dead endpoint  {little_ms:5.2f} ms a claim of {PREFETCH}")
    print(f"  {MUCH:9,} rows behind a dead endpoint  {much_ms:5.2f} ms  ", end="")
    print(f"ratio {much_ms / little_ms:.2f} (target <= {RATIO})", flush=True)


def _dead_ms(endpoint: Endpoint, more: int) -> float:
    """Return the median cost of a claim once `endpoint`, whose breaker is open and lets a probe through, has `more`."""
    _owe(endpoint, more)
    _set_breaker(endpoint, opened_at=Now(), openings=5)
    _tidy()
    return median(ms for ms, _ in _claims(limit=PREFETCH))


def _show_reach(crowded: Endpoint) -> None:
    _set_breaker(crowded, opened_at=None, openings=0)
    _tidy()
    costs_ms, reached = zip(*_claims(limit=SMALL), strict=True)
    print(f"  {OLD:9,} rows behind a sound endpoint {median(costs_ms):5.2f} ms a claim of {SMALL}, ", end="")
    print(f"at most {max(costs_ms):.1f} ms (target <= {COST_MS});")
    print(f"  {'':9} it reaches {min(reached)} to {max(reached)} endpoints (target >= {REACH})", flush=True)


def _claims(limit: int) -> list[tuple[float, int]]:
    """Return of each claim its milliseconds, and how many endpoints it reached."""
    return [_claim(limit) for _ in range(WARM_UP + CLAIMS)][WARM_UP:]


def _claim(limit: int) -> tuple[float, int]:
    with transaction.atomic():
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


def _owe(endpoint: Endpoint, count: int) -> None:
    with connection.cursor() as cursor:
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

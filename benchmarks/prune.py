"""How long a day of a million attempts takes to be dropped, and one of 100,000 events with their deliveries to be
forgotten in short transactions, and how late the API answers meanwhile. EVENTS=1000000 forgets a million.
"""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles

from django.db import connection, transaction

from benchmarks.figures import Figure, at_most
from benchmarks.service import EVENT, MANAGE, clear, new_workspace, web_process
from endpoints.models import Workspace
from routing import partitions, retention

ATTEMPTS = 1_000_000
EVENTS = int(os.environ.get("EVENTS", "100000"))  # with a delivery each
ROUNDS = 3
BEFORE_S, AFTER_S = 4, 1  # of asking, around what is measured
DROP_S, RATIO = 1, 2


def run() -> Iterator[Figure]:
    print(f"\nprune: a day of {ATTEMPTS:,} attempts is dropped while events come in, one after the other")
    drops, rounds = [], []
    for _ in range(ROUNDS):
        took_s, quiet_ms, meanwhile_ms = _drop_a_day()
        drops.append(took_s)
        rounds.append((quiet_ms, meanwhile_ms))
    name = f"a day of {ATTEMPTS:,} attempts"
    yield Figure(name=name, unit="s", measured=median(drops), targets=(at_most(DROP_S, "measured"),))
    yield Figure.of_rounds("p99 of the API meanwhile", "ms", rounds, [at_most(RATIO)])
    yield from _forget_events()


def _drop_a_day() -> tuple[float, float, float]:
    """Return how long it took, and the p99 of the API before and meanwhile."""
    clear()
    workspace, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    partitions.make(day)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        start = partitions.first_id(day).hex[:12]
        cursor.execute(_FILL, {"start": int(start, 16), "count": ATTEMPTS, "workspace": workspace.pk})
    with web_process(MANAGE, "web") as web:
        _asked(web.port, key, lambda: time.sleep(1))  # warm-up
        quiet, _ = _asked(web.port, key, lambda: time.sleep(BEFORE_S))
        dropping, took_s = _asked(web.port, key, lambda: partitions.drop(day))
    return took_s, quantiles(quiet, n=100)[98], quantiles(dropping, n=100)[98]


def _asked(port: int, key: str, work: Callable[[], object]) -> tuple[list[float], float]:
    """Return the milliseconds that each event took during `work` and a moment after, and the seconds of the work."""
    answers_ms: list[float] = []
    ended = threading.Event()
    asking = threading.Thread(target=_ask, args=(port, key, answers_ms, ended))
    asking.start()
    started = time.perf_counter()
    work()
    took_s = time.perf_counter() - started
    time.sleep(AFTER_S)
    ended.set()
    asking.join()
    return answers_ms, took_s


def _ask(port: int, key: str, answers_ms: list[float], ended: threading.Event) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    while not ended.is_set():
        started = time.perf_counter()
        client.request("POST", "/event-service/events", EVENT, headers)
        answer = client.getresponse()
        answer.read()
        if answer.status != 202:
            raise RuntimeError(f"An event was answered with {answer.status}")
        answers_ms.append((time.perf_counter() - started) * 1000)
    with suppress(OSError):
        client.close()


def _forget_events() -> Iterator[Figure]:
    clear()
    workspace, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    Workspace.objects.filter(pk=workspace.pk).update(keep_days=1)
    start = partitions.first_id((datetime.now(UTC) - timedelta(days=40)).date()).hex[:12]
    given = {"start": int(start, 16), "count": EVENTS, "workspace": workspace.pk, "step": 86_400_000 / EVENTS}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_FILL_EVENTS, given)
        cursor.execute("UPDATE routing_cursor SET last_seq = %s", [EVENTS])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE routing_event, routing_delivery")
    print(f"  a day of {EVENTS:,} events with a delivery each is forgotten, {retention.AT_ONCE} at once, {_tables()}")
    transactions_ms: list[float] = []
    with web_process(MANAGE, "web") as web:
        _asked(web.port, key, lambda: time.sleep(1))  # warm-up
        quiet, _ = _asked(web.port, key, lambda: time.sleep(BEFORE_S))
        pruning, took_s = _asked(web.port, key, lambda: transactions_ms.extend(_pruned_ms()))
    name = f"{EVENTS:,} events with a delivery each"
    yield Figure(name=name, unit="events/s", measured=EVENTS / took_s)
    for which, ms in (("p50", median(transactions_ms)), ("longest", max(transactions_ms))):
        yield Figure(name=f"{name}, a transaction, {which}", unit="ms", measured=ms)
    p99s = [quantiles(answers, n=100)[98] for answers in (quiet, pruning)]
    yield Figure.of_rounds("p99 of the API while these are forgotten", "ms", [tuple(p99s)], [at_most(RATIO)])
    print(f"  afterwards {_tables()}")
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM routing_event, routing_delivery")
    print(f"  vacuum took {time.perf_counter() - started:.1f} s: {_tables()}", flush=True)


def _pruned_ms() -> Iterator[float]:
    """Forget all that is too old. Gives how long each transaction of it took that found something."""
    begun = time.perf_counter()
    for forgot in retention.prune():
        now = time.perf_counter()
        if forgot.what == "attempts":  # the first that a page of events tells
            yield (now - begun) * 1000
        begun = now


def _tables() -> str:
    """Say how big the tables are, and how many dead rows PostgreSQL counts in them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(_TABLES)
        return "; ".join(f"{name} {size}, {dead:,} dead" for name, size, dead in cursor.fetchall())


_FILL = """
INSERT INTO routing_attempt (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body)
SELECT (lpad(to_hex(%(start)s::bigint + nth * 80), 12, '0') || '7' || lpad(to_hex(nth %% 4096), 3, '0')
        || '8' || substr(md5(nth::text), 1, 15))::uuid,
       %(workspace)s, gen_random_uuid(), 1, now(), '', '', repeat('answer ', 20)
FROM generate_series(1, %(count)s) AS nth
"""
_FILL_EVENTS = """
WITH new AS MATERIALIZED (
    SELECT nth, (lpad(to_hex(%(start)s::bigint + (nth * %(step)s::float8)::bigint), 12, '0') || '7'
                 || lpad(to_hex(nth %% 4096), 3, '0') || '8' || substr(md5(nth::text), 1, 15))::uuid AS id
    FROM generate_series(1, %(count)s) AS nth
), events AS (
    INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data, creation_date)
    SELECT id, %(workspace)s, 'order.paid', '/orders', '', '', now() - interval '40 days',
           '{"total": ' || nth || ', "text": "' || repeat('x', 300) || '"}', now() - interval '40 days'
    FROM new
)
INSERT INTO routing_delivery (id, workspace_id, event_id, endpoint_id, seq, state, reason, attempts_made, creation_date,
                              settled_at)
SELECT gen_random_uuid(), %(workspace)s, new.id, endpoint.id, nth, 'DELIVERED', '', 1, now() - interval '40 days',
       now() - interval '40 days'
FROM new CROSS JOIN endpoints_endpoint AS endpoint
"""
_TABLES = """
SELECT replace(relname, 'routing_', ''), pg_size_pretty(pg_total_relation_size(relid)), n_dead_tup
FROM pg_stat_user_tables WHERE relname IN ('routing_event', 'routing_delivery') ORDER BY relname DESC
"""

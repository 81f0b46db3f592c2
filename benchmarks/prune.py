"""How long a day of a million attempts takes to be dropped, and how late the API answers meanwhile."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles

from django.db import connection, transaction

from benchmarks.figures import Figure, at_most
from benchmarks.service import EVENT, MANAGE, clear, new_workspace, record_events, web_process
from endpoints.models import Workspace
from routing import partitions, retention

ATTEMPTS = 1_000_000
EVENTS = 20_000  # with a delivery each
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
    workspace, _ = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    for _ in range(EVENTS // 1_000):
        record_events(workspace, 1_000)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_delivery SET state = 'DELIVERED', due_at = NULL, settled_at = now()")
        cursor.execute("VACUUM ANALYZE")
    Workspace.objects.filter(pk=workspace.pk).update(keep_days=1)
    started = time.perf_counter()
    later = datetime.now(UTC) + timedelta(days=3)
    gone = sum(forgot.rows for forgot in retention.prune(now=later) if forgot.what == "events")
    took_s = time.perf_counter() - started
    batch_ms = took_s * 1000 / (gone / retention.AT_ONCE)
    name = f"events with a delivery each, {retention.AT_ONCE} at once"
    yield Figure(name=name, unit="events/s", measured=gone / took_s)
    yield Figure(name=f"{name}, a transaction", unit="ms", measured=batch_ms)


_FILL = """
INSERT INTO routing_attempt (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body)
SELECT (lpad(to_hex(%(start)s::bigint + nth * 80), 12, '0') || '7' || lpad(to_hex(nth %% 4096), 3, '0')
        || '8' || substr(md5(nth::text), 1, 15))::uuid,
       %(workspace)s, gen_random_uuid(), 1, now(), '', '', repeat('answer ', 20)
FROM generate_series(1, %(count)s) AS nth
"""

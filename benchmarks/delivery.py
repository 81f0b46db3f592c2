"""Delivery: what waits, through the workers, beside one bare loop of requests to the same sink, and beside as many."""

from collections.abc import Iterator

from django.db import connection

from benchmarks.bare_requests import bare_rate
from benchmarks.costs import Meter, service_meter
from benchmarks.figures import Figure, Found, at_least
from benchmarks.service import body_of_first_event, clear, new_workspace, record_events, workers
from benchmarks.sink import Sink
from endpoints.models import Endpoint
from routing.models import Delivery
from routing.router import WEBHOOK_HINT

ROUNDS = 3
ENDPOINTS = 20
DELIVERIES = 20_000
FAN_OUTS = (1, 10)  # of each event
WORKERS = ((2, 4), (1, 8))  # processes, and threads of each
BARE, BARE_OF_ONE = 8_000, 3_000  # requests of the bare loops
TARGET = 2.0  # times the bare loops


def run() -> Iterator[Found]:
    print(f"\ndelivery: {DELIVERIES:,} waiting for {ENDPOINTS} endpoints at one sink, claimed, sent and settled")
    with Sink() as sink:
        for fan_out in FAN_OUTS:
            for processes, threads in WORKERS:
                rounds = [_round(sink, fan_out, processes, threads) for _ in range(ROUNDS)]
                name = f"fan-out {fan_out}, {processes} x {threads} threads"
                for column, beside in enumerate(("one bare loop", "as many bare loops")):
                    pairs = [(bare[column], rate) for bare, rate, _ in rounds]
                    yield Figure.of_rounds(f"{name}, beside {beside}", "deliveries/s", pairs, [at_least(TARGET)])
                yield rounds[-1][-1].cost(name, DELIVERIES, "deliveries")


def _round(sink: Sink, fan_out: int, processes: int, threads: int) -> tuple[tuple[float, float], float, Meter]:
    clear()
    urls = [f"{sink.url}/{number}" for number in range(ENDPOINTS)]
    for start in range(0, ENDPOINTS, fan_out):
        workspace, _ = new_workspace(webhooks=urls[start : start + fan_out], paused=True)
        record_events(workspace, DELIVERIES // ENDPOINTS)
    body = body_of_first_event()
    one = bare_rate(sink, urls, body, processes=1, threads=1, count=BARE_OF_ONE)
    as_many = bare_rate(sink, urls, body, processes=processes, threads=threads, count=BARE)
    return (one, as_many), *_delivered(sink, processes, threads)


def resume() -> None:
    """Let all endpoints have what waits for them, at once."""
    Endpoint.change_state(Endpoint.objects.all(), Endpoint.State.ACTIVE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [WEBHOOK_HINT])


def _delivered(sink: Sink, processes: int, threads: int) -> tuple[float, Meter]:
    """Return deliveries a second, from the moment the endpoints are resumed until the last one is settled."""
    with workers(processes=processes, threads=threads) as running, service_meter(worker=running) as meter:
        sink.clear()
        resume()
        sink.wait_for(DELIVERIES, within_s=60)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), extract(epoch FROM max(settled_at) - (SELECT max(last_modified) FROM endpoints_endpoint))"
            " FROM routing_delivery WHERE state = %s",
            [Delivery.State.DELIVERED],
        )
        count, seconds = cursor.fetchone()
    if count != DELIVERIES:
        raise RuntimeError(f"{count} of {DELIVERIES} were delivered")
    return count / float(seconds), meter

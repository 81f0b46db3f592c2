"""Waiting deliveries through the workers, beside as many bare loops of requests to the same sink."""

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

ROUNDS = 2
ENDPOINTS = 20
DELIVERIES = 20_000
BARE = 8_000  # requests of the bare loops
TARGET = 1.3  # times the bare loops


def run() -> Iterator[Found]:
    print(f"\nbacklog: {DELIVERIES:,} waiting for {ENDPOINTS} endpoints at one sink, claimed, sent and settled")
    with Sink() as sink:
        for processes, threads in ((2, 4), (1, 8)):
            rounds = [_round(sink, processes, threads) for _ in range(ROUNDS)]
            name = f"{processes} x {threads} threads, beside as many bare loops"
            yield Figure.of_rounds(name, "deliveries/s", [rates for rates, _ in rounds], [at_least(TARGET)])
            yield rounds[-1][1].cost(f"{processes} x {threads} threads", DELIVERIES, "deliveries")


def _round(sink: Sink, processes: int, threads: int) -> tuple[tuple[float, float], Meter]:
    clear()
    for number in range(ENDPOINTS):
        workspace, _ = new_workspace(webhooks=[f"{sink.url}/{number}"], paused=True)
        record_events(workspace, DELIVERIES // ENDPOINTS)
    urls = [f"{sink.url}/{number}" for number in range(ENDPOINTS)]
    bare = bare_rate(sink, urls, body_of_first_event(), processes=processes, threads=threads, count=BARE)
    rate, meter = _delivered(sink, processes, threads)
    return (bare, rate), meter


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

"""Waiting deliveries through the workers, beside as many bare loops of requests to the same sink."""

from statistics import median

from django.db import connection

from benchmarks.bare_requests import BareLoops
from benchmarks.service import clear, new_workspace, record_events, workers
from benchmarks.sink import Sink
from endpoints.models import Endpoint
from routing import envelope
from routing.models import Delivery, Event
from routing.router import WEBHOOK_HINT

ROUNDS = 2
ENDPOINTS = 20
DELIVERIES = 20_000
BARE = 8_000  # requests of a bare loop
TARGET = 1.3  # times the bare loops


def run() -> None:
    print(f"\ndelivery: {DELIVERIES:,} waiting for {ENDPOINTS} endpoints at one sink, claimed, sent and settled")
    with Sink() as sink:
        for processes, threads in ((2, 4), (1, 8)):
            rounds = []
            for _ in range(ROUNDS):
                clear()
                _fill(sink)
                rounds.append((_bare(sink, processes, threads), _delivered(sink, processes, threads)))
            ceiling, rate = (median(column) for column in zip(*rounds, strict=True))
            ratio = median(rate / ceiling for ceiling, rate in rounds)
            print(f"  {processes} processes x {threads} threads")
            print(f"    bare loop   {ceiling:6,.0f} requests/s")
            print(f"    the service {rate:6,.0f} deliveries/s  ratio {ratio:.2f} (target >= {TARGET})", flush=True)


def _fill(sink: Sink) -> None:
    for number in range(ENDPOINTS):
        workspace, _ = new_workspace(webhooks=[f"{sink.url}/{number}"], paused=True)
        record_events(workspace, DELIVERIES // ENDPOINTS)


def _bare(sink: Sink, processes: int, threads: int) -> float:
    urls = [f"{sink.url}/{number}" for number in range(ENDPOINTS)]
    loops = BareLoops(processes=processes, threads=threads, urls=urls, body=_body(), count=BARE // processes)
    sink.clear()
    loops.run()
    report = sink.report()
    return report["count"] / (report["last_at"] - report["first_at"])


def _body() -> str:
    event = Event.objects.order_by("pk").first()
    fields = ("id", "type", "date", "source", "subject", "workspace_id", "data")
    return envelope.render(**{name: getattr(event, name) for name in fields}).decode()


def _delivered(sink: Sink, processes: int, threads: int) -> float:
    """Return deliveries a second, from the moment the endpoints are resumed until the last one is settled."""
    with workers(processes=processes, threads=threads):
        sink.clear()
        Endpoint.change_state(Endpoint.objects.all(), Endpoint.State.ACTIVE)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [WEBHOOK_HINT])
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
    return count / float(seconds)

"""Endpoints that never answer, and how late their neighbours' events come, beside the same without them."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from subprocess import DEVNULL

from benchmarks.figures import Figure, at_most
from benchmarks.load import load
from benchmarks.service import clear, new_workspace, record_events, whole_service
from benchmarks.sink import Sink
from endpoints.models import Endpoint, EventFilter

ROUNDS = 3
ENDPOINTS = 20
HANGING = (1, 10)  # of these, one stage after the other
BACKLOG = 10_000  # of each that hangs
RATE = 200  # events a second, to the healthy ones in turn
SECONDS = 12
WARM_UP_S = 3
HANG_AFTER_S = 1  # into the measurement: how the hanging begins is part of it
CONNECTIONS = 32
LATE_MS = 1_000
TARGETS = [at_most(1.2), at_most(20, "more")]  # of the p99
EVENT = '{"type": "TYPE", "source": "/orders", "data": {"sentAt":SENT_AT, "note": "%s"}}' % ("abcdefghij" * 64)


def run() -> Iterator[Figure]:
    print(
        f"\nisolation: {RATE} events/s in turn to the healthy ones of {ENDPOINTS} endpoints; the others never answer,"
    )
    print(f"  {BACKLOG:,} wait for each of them; one web and one worker process")
    with Sink() as sink:
        rounds = [_round(sink) for _ in range(ROUNDS)]
    baselines, *stages = zip(*rounds, strict=True)
    for hanging, stage in zip(HANGING, stages, strict=True):
        name = f"{hanging} of {ENDPOINTS} hang"
        for column, percentile in enumerate(("p50", "p95", "p99")):
            pairs = [(before[column], found[column]) for before, found in zip(baselines, stage, strict=True)]
            yield Figure.of_rounds(f"{name}, {percentile}", "ms", pairs, TARGETS if percentile == "p99" else [])
        late = sum(found[-1] for found in stage)
        yield Figure(name=f"{name}, late", unit="events", measured=late, targets=(at_most(0, "measured"),))


def _round(sink: Sink) -> list[tuple[float, ...]]:
    """Return p50, p95, p99 and the number of late events, for the baseline and each stage."""
    clear()
    with whole_service(log=DEVNULL) as port:  # it tells of each attempt that came to nothing
        workspace, key = new_workspace(webhooks=[f"{sink.url}/{number}" for number in range(ENDPOINTS)])
        endpoints = list(Endpoint.objects.filter(workspace=workspace).order_by("pk"))
        for endpoint in endpoints:
            _route(str(endpoint.pk), [endpoint])
        _send(port, key, endpoints, seconds=WARM_UP_S)
        figures = [_measure(sink, port, key, endpoints)]
        before = 0
        for count in HANGING:
            hang = _prepare(sink, endpoints[before:count])
            figures.append(_measure(sink, port, key, endpoints[count:], meanwhile=hang))
            before = count
    return figures


def _route(type: str, endpoints: Sequence[Endpoint]) -> None:
    EventFilter.create(
        workspace_id=endpoints[0].workspace_id, name=type, definition={"pattern": {"type": [type]}}, endpoints=endpoints
    )


def _prepare(sink: Sink, endpoints: Sequence[Endpoint]) -> Callable[[], None]:
    """Give each of them its backlog while it is paused. Returns what resumes them."""
    Endpoint.change_state(endpoints, Endpoint.State.PAUSED)
    for endpoint in endpoints:
        endpoint.change(url=f"{sink.url}/hang")
    _route(f"backlog of {len(endpoints)}", endpoints)
    for _ in range(BACKLOG // 1_000):
        record_events(endpoints[0].workspace, 1_000, type=f"backlog of {len(endpoints)}")
    return lambda: Endpoint.change_state(endpoints, Endpoint.State.ACTIVE)


def _measure(
    sink: Sink, port: int, key: str, healthy: Sequence[Endpoint], meanwhile: Callable[[], None] = lambda: None
) -> tuple[float, ...]:
    sink.clear()
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(_send, port, key, healthy, seconds=SECONDS)
        time.sleep(HANG_AFTER_S)
        meanwhile()
        sent = sending.result()
    time.sleep(LATE_MS / 1000)
    found = sink.report()["latencies_ms"]
    cuts = quantiles(found, n=100)
    return cuts[49], cuts[94], cuts[98], sent - sum(ms <= LATE_MS for ms in found)


def _send(port: int, key: str, endpoints: Sequence[Endpoint], *, seconds: float) -> int:
    bodies = [EVENT.replace("TYPE", str(endpoint.pk)) for endpoint in endpoints]
    return load(port=port, key=key, connections=CONNECTIONS, seconds=seconds, rate=RATE, bodies=bodies)["answers"]

"""Endpoints that never answer, and how late their neighbours' events come, beside the same without them."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from subprocess import DEVNULL

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
EVENT = '{"type": "TYPE", "source": "/orders", "data": {"sentAt":SENT_AT, "note": "%s"}}' % ("abcdefghij" * 64)


def run() -> None:
    print(
        f"\nisolation: {RATE} events/s in turn to the healthy ones of {ENDPOINTS} endpoints; the others never answer,"
    )
    print(f"  {BACKLOG:,} wait for each of them; one web and one worker process")
    with Sink() as sink:
        rounds = [_round(sink) for _ in range(ROUNDS)]
    baselines, *stages = zip(*rounds, strict=True)
    _show("none hangs", baselines)
    for hanging, figures in zip(HANGING, stages, strict=True):
        _show(f"{hanging} of {ENDPOINTS} hang", figures, _beside(baselines, figures))


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


def _beside(baselines: Sequence[tuple[float, ...]], figures: Sequence[tuple[float, ...]]) -> str:
    pairs = [(baseline[2], stage[2]) for baseline, stage in zip(baselines, figures, strict=True)]
    ratio = median(p99 / baseline for baseline, p99 in pairs)
    added = median(p99 - baseline for baseline, p99 in pairs)
    return f"  p99 {ratio:.2f} x, {added:+.1f} ms (target <= 1.2 x or + 20 ms)"


def _show(name: str, figures: Sequence[tuple[float, ...]], beside: str = "") -> None:
    p50, p95, p99, _ = (median(column) for column in zip(*figures, strict=True))
    late = sum(stage[-1] for stage in figures)
    print(
        f"  {name:14} p50 {p50:5.1f} ms  p95 {p95:5.1f} ms  p99 {p99:5.1f} ms  late {late} (target 0){beside}",
        flush=True,
    )

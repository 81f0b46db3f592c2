"""From the moment an event is due at the producer until its webhook arrives, through one web and one worker process.

Beside the same steps, bare: what a machine needs for them by itself, with stalls of its disk and its scheduler.
"""

from collections.abc import Iterator
from statistics import median, quantiles

from benchmarks.bare_steps import steps
from benchmarks.costs import service_meter
from benchmarks.figures import Figure, Found, at_most
from benchmarks.load import load
from benchmarks.service import EMPTY, Web, clear, new_workspace, serving, web_process
from benchmarks.sink import Sink

RATES = (50, 200)  # events a second
ROUNDS = 3
SECONDS = 10  # of each round and rate
WARM_UP_S = 3
CONNECTIONS, CLOSED = 32, 16  # the latter while the maximum is looked for
MOST = 4_000  # events, of each of its rounds
TARGETS = {"p50": 5, "p95": 12, "p99": 30}  # ms
TARGETS_AT_HALF = {"p50": 15, "p99": 60}
EVENT = '{"type": "order.paid", "source": "/orders", "data": {"sentAt":SENT_AT, "note": "%s"}}' % ("abcdefghij" * 64)


def run() -> Iterator[Found]:
    print(f"\nlatency: producer to receiver, {ROUNDS} x {SECONDS} s at each rate, one web and one worker process")
    clear()
    with Sink() as sink, serving() as service, web_process(*EMPTY) as daphne:
        _, key = new_workspace(webhooks=[sink.url])
        _measure(sink, service.port, key, rate=max(RATES), seconds=WARM_UP_S)
        _bare(sink, daphne, rate=max(RATES), seconds=WARM_UP_S)
        most = median(_most(sink, service.port, key) for _ in range(ROUNDS))
        yield Figure(name="the most, producer to receiver", unit="events/s", measured=most)
        half = round(most / 2)
        rates = {rate: (f"{rate}/s", TARGETS) for rate in RATES} | {half: ("at half of the most", TARGETS_AT_HALF)}
        meter = service_meter(web=service.processes("web"), worker=service.processes("deliver"))
        bare, rounds = {rate: [] for rate in RATES}, {rate: [] for rate in rates}
        for _ in range(ROUNDS):
            for rate, found in bare.items():
                found.append(_bare(sink, daphne, rate=rate, seconds=SECONDS))
            for rate, found in rounds.items():
                with meter:
                    found.append(_measure(sink, service.port, key, rate=rate, seconds=SECONDS))
    for rate, (name, targets) in rates.items():
        yield from _figures(name, bare.get(rate), rounds[rate], targets)
    count = sum(len(found) for each in rounds.values() for found in each)
    yield meter.cost("at all three rates", count, "events")


def _figures(
    name: str, bare: list[list[float]] | None, rounds: list[list[float]], targets: dict[str, float]
) -> Iterator[Figure]:
    for percentile in (50, 95, 99):
        label, limit = f"{name}, p{percentile}", targets.get(f"p{percentile}")
        judged = [at_most(limit, "measured")] if limit else []
        measured = _percentiles(rounds, percentile)
        if bare:
            pairs = list(zip(_percentiles(bare, percentile), measured, strict=True))
            yield Figure.of_rounds(label, "ms", pairs, judged)
        else:
            yield Figure(name=label, unit="ms", measured=median(measured), targets=tuple(judged))


def _percentiles(rounds: list[list[float]], percentile: int) -> list[float]:
    return [quantiles(found, n=100)[percentile - 1] for found in rounds]


def _most(sink: Sink, port: int, key: str) -> float:
    """Return events a second from the first request until the last arrival, while producers wait for answers alone."""
    sink.clear()
    sent = load(port=port, key=key, connections=CLOSED, count=MOST, body=EVENT.replace("SENT_AT", "0"))
    return MOST / (sink.wait_for(MOST, within_s=60)["last_at"] - sent["started_at"])


def _measure(sink: Sink, port: int, key: str, *, rate: int, seconds: float) -> list[float]:
    sink.clear()
    sent = load(port=port, key=key, connections=CONNECTIONS, seconds=seconds, rate=rate, bodies=[EVENT])
    return sink.wait_for(sent["answers"], within_s=30)["latencies_ms"]


def _bare(sink: Sink, daphne: Web, *, rate: int, seconds: float) -> list[float]:
    sink.clear()
    steps(door=f"http://127.0.0.1:{daphne.port}/", receiver=sink.url, body=EVENT, rate=rate, seconds=seconds)
    return sink.report()["latencies_ms"]

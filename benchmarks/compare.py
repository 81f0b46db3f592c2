"""The same load to several webhook servers, one after the other: the most that goes through, and how late it comes."""

from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from msgspec.structs import replace

from benchmarks.costs import Meter
from benchmarks.drivers import SENT_AT, Driver, Publish
from benchmarks.figures import Figure, Found
from benchmarks.load import load
from benchmarks.sink import Sink

ROUNDS = 3
MOST = 4_000  # events of a round, to find the maximum
RATES = (50, 200)
SECONDS = 10
WARM_UP = 200
CLOSED, OPEN = 16, 32  # connections
PATIENCE_S = 120
CUTS = (50, 95, 99)


def run(drivers: Sequence[Driver], *, most: int = MOST, seconds: float = SECONDS) -> Iterator[Found]:
    """Measure each server; what the first one does is the baseline of the others.

    Raises RuntimeError where a server refuses events, or the sink does not get all within two minutes.
    """
    print(f"\ncompare: {ROUNDS} x {most:,} events, then {seconds} s at each of {RATES} events/s")
    first: dict[str, Figure] = {}
    for driver in drivers:
        for found in _server(driver, most, seconds):
            if isinstance(found, Figure):
                found = _beside(first.setdefault(found.name, found), found)
            yield replace(found, name=f"{driver.name}, {found.name}")


def _beside(first: Figure, other: Figure) -> Figure:
    if other is first:
        return other
    return replace(other, baseline=first.measured, ratio=other.measured / first.measured)


def _server(driver: Driver, most: int, seconds: float) -> Iterator[Found]:
    with Sink(*driver.sink) as sink:
        publish = driver.start(sink.url)
        try:
            _most(sink, publish, WARM_UP)
            meter = Meter(driver.processes())
            with meter:
                rounds = [_most(sink, publish, most) for _ in range(ROUNDS)]
            yield Figure(name="the most", unit="events/s", measured=median(rounds))
            for rate in RATES:
                yield from _lateness(sink, publish, rate, seconds)
            yield meter.cost("the most", ROUNDS * most, "events")
        finally:
            driver.stop()


def _most(sink: Sink, publish: Publish, count: int) -> float:
    """Return events a second from the first request until the last arrival, while producers wait for answers alone."""
    sink.clear()
    sent = load(to=publish.to, connections=CLOSED, count=count, body=publish.body.replace(SENT_AT, "0"))
    return count / (sink.wait_for(count, within_s=PATIENCE_S)["last_at"] - sent["started_at"])


def _lateness(sink: Sink, publish: Publish, rate: int, seconds: float) -> Iterator[Figure]:
    sink.clear()
    sent = load(to=publish.to, connections=OPEN, seconds=seconds, rate=rate, bodies=[publish.body])
    found = sink.wait_for(sent["answers"], within_s=PATIENCE_S)["latencies_ms"]
    if not found:
        raise RuntimeError('Nothing that came has "sentAt": ${SENT_AT} must be in the body that is published.')
    cuts = quantiles(found, n=100)
    yield from (Figure(name=f"{rate}/s, p{cut}", unit="ms", measured=cuts[cut - 1]) for cut in CUTS)

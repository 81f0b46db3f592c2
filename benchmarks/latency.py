"""From the moment an event is due at the producer until its webhook arrives, through one web and one worker process."""

from statistics import quantiles

from benchmarks.load import load
from benchmarks.service import clear, new_workspace, whole_service
from benchmarks.sink import Sink

RATES = (50, 200)  # events a second
SECONDS = 15
WARM_UP_S = 3
CONNECTIONS = 32
EVENT = '{"type": "order.paid", "source": "/orders", "data": {"sentAt":SENT_AT, "note": "%s"}}' % ("abcdefghij" * 64)


def run() -> None:
    print(f"\nlatency: producer to receiver, {SECONDS} s at each rate, one web and one worker process")
    clear()
    with Sink() as sink, whole_service() as port:
        _, key = new_workspace(webhooks=[sink.url])
        _measure(sink, port, key, rate=max(RATES), seconds=WARM_UP_S)
        for rate in RATES:
            cuts = quantiles(_measure(sink, port, key, rate=rate, seconds=SECONDS), n=100)
            p50, p95, p99 = cuts[49], cuts[94], cuts[98]
            print(f"  {rate:3}/s  p50 {p50:5.1f} ms (target < 10)  p95 {p95:5.1f} ms (target < 40)  p99 {p99:5.1f} ms")


def _measure(sink: Sink, port: int, key: str, *, rate: int, seconds: float) -> list[float]:
    sink.clear()
    sent = load(port=port, key=key, connections=CONNECTIONS, seconds=seconds, rate=rate, bodies=[EVENT])
    return sink.wait_for(sent["answers"], within_s=30)["latencies_ms"]

"""What the service costs while nothing happens: statements a second and CPU of all its processes, for a minute."""

import time
from collections.abc import Iterator

from benchmarks import sql
from benchmarks.costs import service_meter
from benchmarks.figures import Figure, Found, at_most
from benchmarks.load import load
from benchmarks.service import EVENT, clear, new_workspace, serving
from benchmarks.sink import Sink

SECONDS = 60
SETTLE_S = 15  # after the last event
STATEMENTS, CPU = 5, 1  # a second; % of a core


def run() -> Iterator[Found]:
    print(f"\nidle: no events for {SECONDS} s after some, `serve` with one web and one worker process")
    clear()
    with Sink() as sink, serving() as service:
        _, key = new_workspace(webhooks=[sink.url])
        load(port=service.port, key=key, connections=4, count=200, body=EVENT)
        sink.wait_for(200, within_s=30)
        time.sleep(SETTLE_S)
        meter = service_meter(service=[service.process])
        with sql.listening() as sent, meter:
            time.sleep(SECONDS)
    yield Figure(
        name="statements of all processes",
        unit="/s",
        measured=sent.of() / SECONDS,
        targets=(at_most(STATEMENTS, "measured"),),
    )
    for statement, calls in sent.calls.most_common(20):
        print(f"    {calls / SECONDS:5.2f} /s  {statement.text[:110]}")
    yield Figure(
        name="CPU of all processes, PostgreSQL's too",
        unit="% of a core",
        measured=meter.cpu_s() / SECONDS * 100,
        targets=(at_most(CPU, "measured"),),
    )

"""How many SQL statements a delivery costs beyond its ingest, while the workers are busy."""

from collections.abc import Iterator

from benchmarks import sql
from benchmarks.delivery import resume
from benchmarks.end_to_end import publish_and_settle, wait_until_settled
from benchmarks.figures import Figure, at_most
from benchmarks.service import MANAGE, clear, new_workspace, record_events, web_process, workers
from benchmarks.sink import Sink

DELIVERIES = 5_000
FAN_OUTS = (1, 10)
PROCESSES, THREADS = 1, 8
TARGET = 0.1  # of a worker's statements, for each delivery
MOST_OFTEN = 8  # of them that are shown


def run() -> Iterator[Figure]:
    print(f"\nstatements: {DELIVERIES:,} deliveries, as sent to PostgreSQL by web and worker processes")
    clear()
    with Sink() as sink, web_process(MANAGE, "web") as web, workers(processes=PROCESSES, threads=THREADS):
        for fan_out in FAN_OUTS:
            workspace, key = new_workspace(webhooks=[f"{sink.url}/{number}" for number in range(fan_out)])
            with sql.listening() as sent:
                publish_and_settle(sink, web, workspace, key, deliveries=DELIVERIES, fan_out=fan_out)
            yield _beyond_ingest(f"end to end, fan-out {fan_out}", sent)
            of_events = sent.of("web") / (DELIVERIES // fan_out)
            yield Figure(name=f"fan-out {fan_out}, ingest", unit="an event", measured=of_events)
        workspace, _ = new_workspace(webhooks=[sink.url], paused=True)
        record_events(workspace, DELIVERIES)
        with sql.listening() as sent:
            resume()
            wait_until_settled(workspace)
        yield _beyond_ingest("a waiting backlog", sent)


def _beyond_ingest(name: str, sent: sql.Sent) -> Figure:
    by_workers = {statement: calls for statement, calls in sent.calls.items() if statement.kind == "worker"}
    for statement in sorted(by_workers, key=by_workers.get, reverse=True)[:MOST_OFTEN]:
        print(f"    {by_workers[statement] / DELIVERIES:6.4f}  {statement.text[:110]}")
    measured = sent.of("worker") / DELIVERIES
    return Figure(
        name=f"{name}, beyond ingest", unit="a delivery", measured=measured, targets=(at_most(TARGET, "measured"),)
    )

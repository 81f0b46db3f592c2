"""Events end to end: published over HTTP, stored, routed, sent, settled, all at once.

Beside one bare loop of requests, and beside a machine divided between the bare halves of the work. Each was measured
with the machine to itself: an empty application under daphne takes the events, bare loops post the deliveries.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Count, Max, Q

from benchmarks.bare_requests import bare_rate
from benchmarks.costs import Meter, service_meter
from benchmarks.figures import Figure, Found
from benchmarks.load import load
from benchmarks.service import (
    EMPTY,
    EVENT,
    MANAGE,
    Web,
    body_of_first_event,
    clear,
    new_workspace,
    record_events,
    web_process,
    workers,
)
from benchmarks.sink import Sink
from endpoints.models import Workspace
from routing.models import Delivery

ROUNDS = 3
DELIVERIES = 6_000  # of each round and case
BARE = 3_000  # requests of the bare loops
CONNECTIONS = 16
WORKERS = ((1, 8), (2, 4))  # processes, and threads of each
PATIENCE_S = 30


class Case(NamedTuple):
    fan_out: int
    at_once: int  # events of a request

    def __str__(self) -> str:
        return f"fan-out {self.fan_out}" + (f", published {self.at_once} at once" if self.at_once > 1 else "")


CASES = (Case(1, 1), Case(10, 1), Case(1, 100))


class Bare(NamedTuple):
    """Requests a second."""

    loop: float  # one thread that posts, and posts again
    loops: float  # as many processes and threads as deliver
    daphne: float  # into an application that does nothing

    def divided(self, fan_out: int) -> float:
        """Return the deliveries a second of a machine that does one after the other."""
        return 1 / (1 / (fan_out * self.daphne) + 1 / self.loops)


def run() -> Iterator[Found]:
    print(f"\nend_to_end: {DELIVERIES:,} deliveries, {CONNECTIONS} connections, one web process")
    with Sink() as sink:
        for processes, threads in WORKERS:
            yield from _with_workers(sink, processes, threads)


def _with_workers(sink: Sink, processes: int, threads: int) -> Iterator[Found]:
    clear()
    named = f"{processes} worker process{'es' if processes > 1 else ''}"
    with (
        web_process(*EMPTY) as daphne,
        web_process(MANAGE, "web") as web,
        workers(processes=processes, threads=threads) as running,
    ):
        meters = {case: service_meter(web=[web.process], worker=running) for case in CASES}
        workspaces = {case: _workspace(sink, case) for case in CASES}
        rounds = []
        for _ in range(ROUNDS):
            bare = Bare(_posted(sink, 1, 1), _posted(sink, processes, threads), _taken(daphne))
            rounds.append((bare, {case: _rate(sink, web, *workspaces[case], case, meters[case]) for case in CASES}))
    for case in CASES:
        name = f"{case}, {named}"
        pairs = [(bare.divided(case.fan_out), rates[case]) for bare, rates in rounds]
        if case.at_once == 1:
            yield Figure.of_rounds(f"{name}, beside the machine divided", "deliveries/s", pairs)
        pairs = [(bare.loop, rates[case]) for bare, rates in rounds]
        yield Figure.of_rounds(f"{name}, beside one loop", "deliveries/s", pairs)
        yield meters[case].cost(name, DELIVERIES * ROUNDS, "deliveries")


def _workspace(sink: Sink, case: Case) -> tuple[Workspace, str]:
    """Make one that has had its first event, so that nothing is new to anybody."""
    workspace, key = new_workspace(webhooks=[f"{sink.url}/{number}" for number in range(case.fan_out)])
    record_events(workspace, 1)
    wait_until_settled(workspace)
    return workspace, key


def _posted(sink: Sink, processes: int, threads: int) -> float:
    return bare_rate(sink, [f"{sink.url}/0"], body_of_first_event(), processes=processes, threads=threads, count=BARE)


def _taken(daphne: Web) -> float:
    sent = load(port=daphne.port, key="", connections=CONNECTIONS, count=DELIVERIES, body=EVENT)
    return DELIVERIES / sent["seconds"]


def _rate(sink: Sink, web: Web, workspace: Workspace, key: str, case: Case, meter: Meter) -> float:
    with meter:
        seconds = publish_and_settle(
            sink, web, workspace, key, deliveries=DELIVERIES, fan_out=case.fan_out, at_once=case.at_once
        )
    return DELIVERIES / seconds


def publish_and_settle(
    sink: Sink, web: Web, workspace: Workspace, key: str, *, deliveries: int, fan_out: int, at_once: int = 1
) -> float:
    """Return the seconds from the first request of a producer until the last delivery is settled."""
    before = _delivered(workspace)
    sink.clear()
    body = EVENT if at_once == 1 else f"[{','.join([EVENT] * at_once)}]"
    requests = deliveries // fan_out // at_once
    sent = load(port=web.port, key=key, connections=CONNECTIONS, count=requests, body=body)
    sink.wait_for(deliveries, within_s=PATIENCE_S)
    settled_at = wait_until_settled(workspace)
    if (delivered := _delivered(workspace) - before) != deliveries:
        raise RuntimeError(f"{delivered} of {deliveries} were delivered")
    return settled_at - sent["started_at"]


def wait_until_settled(workspace: Workspace) -> float:
    """Return when the last one was, in seconds of the epoch; the database has this machine's clock."""
    deadline = time.monotonic() + PATIENCE_S
    found = Delivery.objects.filter(workspace=workspace).aggregate
    while (left := found(left=Count("pk", filter=Q(settled_at=None)))["left"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        raise RuntimeError(f"{left} deliveries were not settled within {PATIENCE_S} s")
    return found(last=Max("settled_at"))["last"].timestamp()


def _delivered(workspace: Workspace) -> int:
    return Delivery.objects.filter(workspace=workspace, state=Delivery.State.DELIVERED).count()

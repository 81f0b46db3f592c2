"""A worker stands still until its lease is over and another has delivered: what it then reports must not be written."""

import time
from pathlib import Path

import psutil
import requests

from chaos.database import wait_for
from chaos.figures import at_least, at_most, figure, say
from chaos.judge import judge
from chaos.publisher import new_event
from chaos.scene import Scene, scene
from chaos.service import Service

RESULTS = 200
HELD_S = 20
EVENTS = 50  # of a round: 150 deliveries
_STANDING = "SELECT count(*) FROM routing_delivery WHERE state = 'SENDING'"
_REFUSED = "results came after their lease"


def run(folder: Path, _: float = 0) -> None:
    with scene(folder) as here:
        refuse(here, results=RESULTS)
        hold(here)


def refuse(here: Scene, *, results: int) -> None:
    before = _refused(here.service)
    stale = rounds = 0
    while stale < results:
        stale += _stop_with(here, "K4", str(rounds))
        rounds += 1
    wait_for("the late results to be refused", lambda: _refused(here.service) - before >= stale)
    say(f"  {rounds} pauses")
    figure("results that came after their lease", stale, results, at_least)
    figure("of these refused", _refused(here.service) - before, stale)
    judge(here.service, here.account())


def hold(here: Scene) -> None:
    """Have one worker stop within a transaction: what it has locked, the others get all the same."""
    workers = {worker.pid for worker in here.service.processes("deliver")}
    started = time.monotonic()
    _stop_with(here, "K7", "held")
    held_s = time.monotonic() - started
    figure("seconds that a worker stopped within a transaction held the others up", held_s, HELD_S, at_most)
    refused = "terminating connection due to idle-in-transaction timeout"
    wait_for("the worker to notice", lambda: refused in here.service.log.read_text())
    figure("workers that ended of it", len(workers - {worker.pid for worker in here.service.processes("deliver")}), 0)
    judge(here.service, here.account())


def _stop_with(here: Scene, point: str, name: str) -> int:
    """Have one worker stop at `point` with all that it claimed while the other delivers it. Return how much it was."""
    service = here.service
    ((workspace_id, key),) = here.world.workspaces.items()
    one, other = service.processes("deliver")
    other.suspend()
    service.arm(point, "SIGSTOP")
    events = [new_event(workspace_id, f"stale-{name}-{n}") for n in range(EVENTS)]
    here.producer().publish(requests.Session(), workspace_id, key, events)
    wait_for("the worker to stop", lambda: one.status() == psutil.STATUS_STOPPED)
    ((standing,),) = service.ask(_STANDING)
    other.resume()
    service.end_leases()
    wait_for("the other to deliver", service.is_final)
    one.resume()
    return int(standing)


def _refused(service: Service) -> int:
    lines = service.log.read_text().splitlines()
    return sum(int(line.split("WARNING routing.worker: ")[1].split()[0]) for line in lines if _REFUSED in line)

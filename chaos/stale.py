"""A worker stands still until its lease is over and another has delivered: what it then reports must not be written."""

import signal
from pathlib import Path

import psutil
import requests

from chaos.figures import at_least, figure, say
from chaos.judge import judge
from chaos.publisher import new_event
from chaos.scene import Scene, scene
from chaos.service import Service, wait_for

RESULTS = 200
EVENTS = 50  # of a round: 150 deliveries
_STANDING = "SELECT count(*) FROM routing_delivery WHERE state = 'SENDING'"
_REFUSED = "results came after their lease"


def run(folder: Path, _: float = 0) -> None:
    with scene(folder) as here:
        refuse(here, results=RESULTS)


def refuse(here: Scene, *, results: int) -> None:
    before = _refused(here.service)
    stale = rounds = 0
    while stale < results:
        stale += _round(here, rounds)
        rounds += 1
    wait_for("the late results to be refused", lambda: _refused(here.service) - before >= stale)
    say(f"  {rounds} pauses")
    figure("results that came after their lease", stale, results, at_least)
    figure("of these refused", _refused(here.service) - before, stale)
    judge(here.service, here.account())


def _round(here: Scene, number: int) -> int:
    """Have one worker stop with all that it claimed while the other delivers it. Return how much that was."""
    service = here.service
    ((workspace_id, key),) = here.world.workspaces.items()
    one, other = service.processes("deliver")
    other.suspend()
    service.arm("K4", "SIGSTOP")
    events = [new_event(workspace_id, f"stale-{number}-{n}") for n in range(EVENTS)]
    here.producer().publish(requests.Session(), workspace_id, key, events)
    wait_for("the worker to stop", lambda: one.status() == psutil.STATUS_STOPPED)
    ((standing,),) = service.ask(_STANDING)
    other.resume()
    service.end_leases()
    wait_for("the other to deliver", service.is_final)
    one.send_signal(signal.SIGCONT)
    return int(standing)


def _refused(service: Service) -> int:
    lines = service.log.read_text().splitlines()
    return sum(int(line.split("WARNING routing.worker: ")[1].split()[0]) for line in lines if _REFUSED in line)

"""A run: each door, case after case, and what the judge says."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from chaos.service import Service
from fuzz import admin, documents, events, graphql, graphql_sockets, raw, sockets
from fuzz.doors import Door
from fuzz.judge import DEAREST, Judge
from fuzz.wire import Answer
from fuzz.world import World

ORDINARY = 20  # times that an ordinary case is sent, to know what is one
TRIES = 3  # of a case that seems dear: a machine has other things to do
MAKERS: dict[str, Callable[["Here"], Door]] = {
    "events": lambda here: events.door(here.port, here.world, here.judge),
    "graphql": lambda here: graphql.door(here.port, here.world),
    "filters": lambda here: documents.filters(here.port, here.world),
    "schemas": lambda here: documents.schemas(here.port, here.world),
    "shapes": lambda here: documents.shapes(here.port, here.world),
    "graphql_sockets": lambda here: graphql_sockets.door(here.port, here.world),
    "sockets": lambda here: sockets.door(here.port, here.world),
    "frames": lambda here: sockets.frames(here.port, here.world),
    "raw": lambda here: raw.door(here.port, here.world),
    "admin": lambda here: admin.door(here.port, here.world),  # the last: it may change anything
}


@dataclass(frozen=True)
class Here:
    port: int
    world: World
    judge: Judge


@dataclass(frozen=True)
class Bounds:
    seed: int = 1
    count: int = 1_000  # cases of a door
    seconds: float = 30.0  # for each
    only: int | None = None  # this case alone


@contextmanager
def here(folder: Path) -> Iterator[Here]:
    """A service from which nothing leaves the machine: what webhooks send goes to a proxy that is not there."""
    environment = {"EVENT_SERVICE_EGRESS_PROXY": "http://127.0.0.1:9", "EVENT_SERVICE_EGRESS_ALLOW": ""}
    environment |= {f"EVENT_SERVICE_RATE_PER_{whose}": "0" for whose in ("KEY", "WORKSPACE", "ADDRESS")}
    service = Service(folder / "data", web=1, workers=1, environment=environment)
    try:
        service.run("manage.py", "migrate", "--verbosity", "0")
        world = World.parse(service.run("-m", "fuzz.world"))
        service.start()
        yield Here(service.port, world, Judge(service, {**world.secret, **world.foreign}))
    finally:
        service.kill_everything()


def run(here: Here, bounds: Bounds, names: Sequence[str]) -> None:
    doors = [MAKERS[name](here) for name in MAKERS if name in names]
    for door in doors:
        _warm_up(here, door)
    before = here.judge.rss()
    for door in doors:
        _try(here.judge, door, bounds)
    here.judge.memory(before)


def _warm_up(here: Here, door: Door) -> None:
    for _ in range(3):
        here.judge.answer(f"{door.name} ordinary", door.send(door.ordinary), may_show=door.may_show)


def _try(judge: Judge, door: Door, bounds: Bounds) -> None:
    meter = Meter(judge, door)
    end = time.monotonic() + bounds.seconds
    for number in range(bounds.count) if bounds.only is None else [bounds.only]:
        if time.monotonic() > end:
            break
        name = f"{door.name} --seed {bounds.seed} --only {number}"
        case = door.draw(Random(name))
        answer = meter.send(name, case)
        judge.answer(name, answer, may_show=door.may_show)
        judge.log(name)
        door.check(name, case, answer)
    door.finish()
    judge.life(door.name)
    judge.log(door.name)
    print(f"  {judge.line(door.name)}", flush=True)


class Meter:
    """What a case costs, held against an ordinary one of the same door."""

    def __init__(self, judge: Judge, door: Door) -> None:
        self._judge = judge
        self._door = door
        measured = [self._measured(door.ordinary)[1:] for _ in range(ORDINARY)]
        self._ordinary = [median(column) for column in zip(*measured, strict=True)]

    def send(self, name: str, case: object) -> Answer:
        answer, *costs = self._measured(case)
        for _ in range(TRIES - 1):
            if not self._is_dear(costs):
                break
            costs = [min(pair) for pair in zip(costs, self._measured(case)[1:], strict=True)]
        if self._is_dear(costs):
            self._judge.fault(name, f"takes CPU and time of {costs} s; an ordinary one {self._ordinary} s")
        return answer

    def _measured(self, case: object) -> tuple[Answer, float, float]:
        """Return the answer, and the CPU of the web process and the time that it took."""
        cpu_s, begun = self._cpu_s(), time.monotonic()
        answer = self._door.send(case)
        time_s = 0 if answer.waited else time.monotonic() - begun
        return answer, self._cpu_s() - cpu_s, time_s

    def _cpu_s(self) -> float:
        try:
            return time.clock_gettime(
                ~self._judge.web.pid << 3 | 2
            )  # the clock of that process: clock_getcpuclockid(3)
        except OSError:
            return 0.0

    def _is_dear(self, costs: Sequence[float]) -> bool:
        return any(cost > DEAREST * ordinary for cost, ordinary in zip(costs, self._ordinary, strict=True))

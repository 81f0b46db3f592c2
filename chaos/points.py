"""Kill points K1 to K11 (K12: migrating.py), many times each: a few events, and somebody is killed just there."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import requests

from chaos import ledger
from chaos.accounting import account
from chaos.database import wait_for
from chaos.figures import at_most, figure, say
from chaos.judge import judge
from chaos.publisher import new_event
from chaos.scene import Scene, scene
from chaos.service import Service, kill
from chaos.watch import Watch

TIMES = 50
EVENTS = 5
POLL_S = 1.0
AFTER_POLL_S = 0.5


class Rig:
    """Everything that a round needs."""

    def __init__(self, here: Scene) -> None:
        self.folder, self.service, self.receiver = here.folder, here.service, here.receiver
        self.session = requests.Session()
        self.published = 0
        self._producer = here.producer()
        ((self._workspace_id, self._key),) = here.world.workspaces.items()

    def publish(self) -> set[str]:
        """Publish a few events in one request, again and again until they are accepted; return their names."""
        events = [new_event(self._workspace_id, f"point-{self.published + n}") for n in range(EVENTS)]
        self.published += EVENTS
        self._producer.publish(self.session, self._workspace_id, self._key, events)
        return {event["id"] for event in events}

    def kill_at(self, point: str) -> None:
        self.service.arm(point)
        self.publish()
        wait_for(f"{point} to be reached", lambda: not self.service.is_armed(point))

    def finish(self, *, with_leases: bool) -> None:
        if with_leases:
            self.service.end_leases()
        wait_for("everything to be final", self._is_final)

    def _is_final(self) -> bool:
        if self.service.is_final():
            return True
        self.service.close_breakers()  # they open where a round has receivers fail, and wait for minutes
        return False


def at_the_door(point: str) -> Callable[[Rig], None]:
    return lambda rig: rig.kill_at(point)


def in_the_worker(point: str) -> Callable[[Rig], None]:
    return lambda rig: rig.kill_at(point)


def after_the_2xx(rig: Rig) -> None:
    """K3: whoever answered dies at once, and no hint ever comes; see `without_hints`."""
    own_ports: list[int] = []
    rig.session.hooks["response"] = [lambda answer, **_: own_ports.append(_port_of(answer))]
    with rig.service.connect() as listening:
        listening.execute("LISTEN event_service_webhooks")
        rig.publish()
        rig.session.hooks["response"] = []
        kill([rig.service.connected_by(own_ports[-1])])
        if any(listening.notifies(timeout=0.1)):
            raise AssertionError("a hint came all the same")


def unanswered(rig: Rig) -> None:
    """K5: the request has come and is not answered."""
    rig.receiver.tell(mode="silent")
    names = rig.publish()
    request = wait_for("a request", lambda: _first(rig.folder, names))
    rig.receiver.tell(mode="honest")
    kill([rig.service.connected_by(request["peer"])])


def failure_recorded(rig: Rig) -> None:
    """K8: impossible in between, being one statement; so right after it. The next try stands beside the failure."""
    rig.receiver.tell(mode="failing")
    rig.kill_at("K8")
    rig.receiver.tell(mode="honest")
    forgotten = rig.service.ask("SELECT 1 FROM routing_delivery WHERE state = 'PENDING' AND due_at IS NULL")
    if forgotten:
        raise AssertionError(f"{len(forgotten)} failed deliveries have no next try")


def reaping(rig: Rig) -> None:
    """K9: the lanes are locked, so that the reaper waits within its statement; there it or its connection ends."""
    rig.kill_at("K4")
    with rig.service.connect() as holding:
        holding.execute("BEGIN")
        holding.execute("SELECT 1 FROM routing_lane FOR UPDATE")
        rig.service.end_leases()
        wait_for("a reaper that waits", lambda: rig.service.ask(_REAPING))
        if random.random() < 0.5:
            rig.service.ask(f"SELECT pg_terminate_backend(pid) FROM ({_REAPING}) AS reaping")
        else:
            kill(rig.service.processes("deliver"))


def database(rig: Rig) -> None:
    """K10: pg_ctl stop -m immediate, with work in every stage."""
    rig.publish()
    if postmaster := rig.service.postmaster():
        postmaster.send_signal(signal.SIGQUIT)
    rig.publish()


def everything(rig: Rig) -> None:
    """K11: all at once, then started in any order."""
    rig.publish()
    rig.service.kill_everything()
    starts: list[Callable[[], object]] = [rig.service.start, partial(rig.service.spawn, "deliver")]
    random.shuffle(starts)
    for start in starts:
        start()
    rig.publish()


ROUNDS: dict[str, Callable[[Rig], None]] = {
    "K1": at_the_door("K1"),
    "K2": at_the_door("K2"),
    "K3": after_the_2xx,
    "K4": in_the_worker("K4"),
    "K5": unanswered,
    "K6": in_the_worker("K6"),
    "K7": in_the_worker("K7"),
    "K8": failure_recorded,
    "K9": reaping,
    "K10": database,
    "K11": everything,
}


def run(folder: Path, _: float = 0) -> None:
    with scene(folder, web=3, workers=4) as here:
        reach(here, times=TIMES, names=tuple(ROUNDS))


def reach(here: Scene, *, times: int, names: Sequence[str]) -> None:
    rig = Rig(here)
    with Watch(here.service) as watch:
        for name in names:
            _many(rig, name, times)
    figure("violations of conservation", watch.violations, 0)
    judge(here.service, here.account())


def _many(rig: Rig, name: str, times: int) -> None:
    without_hints(rig.service, name == "K3")
    rig.publish()  # once all are connected again
    rig.finish(with_leases=True)
    started, since = time.monotonic(), rig.published
    for _ in range(times):
        ROUNDS[name](rig)
        rig.finish(with_leases=name not in ("K1", "K2", "K3"))
    found = account(rig.folder)
    say(f"  {name}: {times} times in {time.monotonic() - started:.0f} s, {found.recovered} answers got by repeating")
    figure(f"{name}: lost", found.lost, 0)
    if name not in ("K10", "K11"):  # there, what was delivered and not written may meet the end of its lease, too
        figure(f"{name}: requests for one delivery", _most(rig, since), 1 if name in ("K1", "K2", "K3") else 2, at_most)
    if name == "K3":
        figure(
            "seconds from the 2xx to the last delivery, without hints",
            _slowest(rig, since),
            POLL_S + AFTER_POLL_S,
            at_most,
        )


def without_hints(service: Service, wanted: bool) -> None:
    """Have pg_notify do nothing, or what it is for: the router finds the first one along the search_path.

    It passes over schemas that the role may not use, and events are recorded as another role.
    """
    service.ask("CREATE SCHEMA IF NOT EXISTS deaf")
    service.ask("GRANT USAGE ON SCHEMA deaf TO PUBLIC")
    service.ask(
        "CREATE OR REPLACE FUNCTION deaf.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT NULL::void'"
    )
    path = "deaf, pg_catalog, public" if wanted else "public"
    service.ask(f"ALTER DATABASE event_service SET search_path = {path}")
    service.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def _slowest(rig: Rig, since: int) -> float:
    told = {line["n"]: line["at"] for line in ledger.read(rig.folder / "accepted")}
    return max(float(line["at"] - told[line["n"]]) for line in _received(rig, since))


def _most(rig: Rig, since: int) -> int:
    """Return how many requests came at most for one delivery of the events from `since` on."""
    return max(Counter((line["n"], line["path"]) for line in _received(rig, since)).values())


def _received(rig: Rig, since: int) -> list[dict[str, Any]]:
    """Return the requests for the events from the one of that number on."""
    names = {f"point-{number}" for number in range(since, rig.published)}
    return [line for line in ledger.read(rig.folder / "received") if line["n"] in names]


def _port_of(answer: requests.Response) -> int:
    connection: Any = answer.raw._connection
    return int(connection.sock.getsockname()[1])


def _first(folder: Path, names: set[str]) -> dict[str, Any] | None:
    return next((line for line in ledger.read(folder / "received") if line["n"] in names), None)


_REAPING = """
SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%WORKER_LOST%%'
"""

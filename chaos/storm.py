"""Processes are killed, stopped and cut off at random while producers publish and receivers fail."""

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from chaos.database import wait_for
from chaos.faults import Faults
from chaos.figures import at_least, at_most, figure, say
from chaos.judge import judge
from chaos.scene import Scene, scene
from chaos.service import Service
from chaos.watch import Watch

LEASE_S = 60
AFTER_S = 10
RATE = 60.0  # events a second
WORKSPACES = 50
EVENTS_A_MINUTE, KILLS_A_MINUTE = 2_000, 10  # at least
DUPLICATES = 0.05  # at most, of what was received
BETWEEN = 30  # deliveries between two faults of the short storm


def run(folder: Path, minutes: float) -> None:
    with scene(folder, web=2, workers=3, workspaces=WORKSPACES, mode="faulty") as here:
        with here.publishing(RATE) as publisher, Watch(here.service) as watch:
            faults = Faults(here.service)
            faults.storm(time.monotonic() + minutes * 60)
            publisher.finish()
            here.receiver.tell(mode="honest")
            wait_for("everything to be final", here.service.is_final, within_s=10 * LEASE_S)
        found = here.account()
        say(f"  killed: {_told(faults.kills)}\n  besides: {_told(faults.others)}")
        say(f"  {found.recovered} answers were lost and got again by repeating; {found.received} requests processed")
        figure("kills", faults.kills.total(), int(KILLS_A_MINUTE * minutes), at_least)
        figure("accepted events", found.accepted, int(EVENTS_A_MINUTE * minutes), at_least)
        figure("duplicates", found.duplicates / max(found.received, 1), DUPLICATES, at_most)
        figure("questions to the conservation view", watch.asked, int(minutes * 60 / 2), at_least)
        figure(
            "seconds from the last fault until all was final", _late_s(here.service, faults), LEASE_S + AFTER_S, at_most
        )
        figure("violations of conservation", watch.violations, 0)
        judge(here.service, found)
        figure("exit code of the service at SIGTERM", here.service.stop(), 0)


def short(here: Scene) -> None:
    """Each kill once or twice, with leases that end at once: what script/test has the time for."""
    here.receiver.tell(mode="faulty")
    with here.publishing(RATE) as publisher, Watch(here.service) as watch:
        faults = Faults(here.service)
        for fault in (
            faults.kill_worker,
            faults.kill_web,
            faults.drop_listeners,
            faults.quit_postgres,
            faults.kill_worker,
            faults.kill_backend,
            faults.kill_supervisor,
        ):
            _wait_for_deliveries(here.service)
            faults.do(fault)
        publisher.finish()
        here.receiver.tell(mode="honest")
        here.service.end_leases()
        wait_for("everything to be final", here.service.is_final)
    figure("kills", faults.kills.total(), 6)
    figure("violations of conservation", watch.violations, 0)
    judge(here.service, here.account())


def _late_s(service: Service, faults: Faults) -> float:
    ((last,),) = service.ask("SELECT max(settled_at) FROM routing_delivery")
    return float((last - datetime.fromtimestamp(faults.last_at, UTC)).total_seconds())


def _wait_for_deliveries(service: Service) -> None:
    def delivered() -> int:
        return int(service.ask("SELECT count(*) FROM routing_delivery WHERE state = 'DELIVERED'")[0][0])

    before = delivered()
    wait_for("deliveries", lambda: delivered() >= before + BETWEEN)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items())) or "nothing"

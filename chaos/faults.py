"""What is done to the service while it works. Each fault returns what it did, or None where it could not."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
import psycopg

from chaos.service import GONE, Service, kill

Fault = Callable[[], str | None]
EVERY_S = (1.0, 3.0)  # between two faults
PAUSE_S = (1.0, 5.0)  # for which a process is stopped; a worker is also stopped past its lease, see `stop_past_lease`
PAST_LEASE_S = 70


class Faults:
    """Picks a fault every few seconds. `kills` counts the processes that were killed, by kind."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopped: list[threading.Timer] = []
        self.kills: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.last_at = 0.0
        self._wheel: dict[Fault, int] = {
            self.kill_worker: 40,
            self.kill_web: 20,
            self.kill_supervisor: 4,
            self.kill_backend: 8,
            self.quit_postgres: 4,
            self.kill_postmaster: 3,
            self.kill_everything: 2,
            self.drop_listeners: 10,
            self.stop_for_a_moment: 9,
        }

    def storm(self, until: float) -> None:
        """Return at `until` (of time.monotonic), once everything that was stopped runs again."""
        while time.monotonic() < until:
            (fault,) = random.choices(list(self._wheel), list(self._wheel.values()))
            self.do(fault)
            time.sleep(random.uniform(*EVERY_S))
            if time.monotonic() < until - PAST_LEASE_S and not any(timer.is_alive() for timer in self._stopped):
                self.stop_past_lease()
        for timer in self._stopped:
            timer.join()
        self.last_at = time.time()

    def do(self, fault: Fault) -> None:
        with suppress(*GONE, psycopg.OperationalError):
            if kind := fault():
                counted = self.kills if fault.__name__.startswith(("kill", "quit")) else self.others
                counted[kind] += 1
        self.last_at = time.time()

    def kill_worker(self) -> str | None:
        return self._kill_one("deliver")

    def kill_web(self) -> str | None:
        return self._kill_one("web")

    def _kill_one(self, command: str) -> str | None:
        running = self._service.processes(command)
        if not running:
            return None
        kill([random.choice(running)])
        return command

    def kill_supervisor(self) -> str:
        """Its children end by themselves. Somebody, a service manager, starts it again."""
        kill(self._service.processes("serve"))
        self._service.start()
        return "serve"

    def kill_backend(self) -> str | None:
        """PostgreSQL then ends all connections and goes through its log."""
        postmaster = self._service.postmaster()
        backends = postmaster.children() if postmaster else []
        if not backends:
            return None
        kill([random.choice(backends)])
        return "a process of PostgreSQL"

    def quit_postgres(self) -> str | None:
        """pg_ctl stop -m immediate; the service starts it again."""
        postmaster = self._service.postmaster()
        if postmaster is None:
            return None
        postmaster.send_signal(signal.SIGQUIT)
        return "PostgreSQL -m immediate"

    def kill_postmaster(self) -> str | None:
        postmaster = self._service.postmaster()
        if postmaster is None:
            return None
        kill([postmaster])
        return "postmaster"

    def kill_everything(self) -> str:
        self._service.kill_everything()
        self._service.start()
        return "everything at once"

    def drop_listeners(self) -> str:
        with self._service.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
        return "hints dropped"

    def stop_for_a_moment(self) -> str | None:
        running = self._service.processes("web", "deliver")
        if not running:
            return None
        self._stop(random.choice(running), random.uniform(*PAUSE_S))
        return "stopped for seconds"

    def stop_past_lease(self) -> None:
        if running := self._service.processes("deliver"):
            self._stop(random.choice(running), PAST_LEASE_S)
            self.others["a worker stopped past its lease"] += 1

    def _stop(self, process: psutil.Process, seconds: float) -> None:
        process.suspend()
        timer = threading.Timer(seconds, _continue, [process])
        timer.start()
        self._stopped.append(timer)


def _continue(process: psutil.Process) -> None:
    with suppress(*GONE, ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)

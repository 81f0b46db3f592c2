"""The delivery worker: claim -> send -> settle. One thread talks to the database, the others send."""

import logging
import queue
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from routing import retry, webhooks
from routing.egress import Door
from routing.hints import Hints
from routing.models import Delivery
from routing.queue import LEASE_S, Job, Result, cancel_deleted, claim, settle
from routing.router import WEBHOOK_HINT

logger = logging.getLogger(__name__)

POLL_S = 1.0  # how long a delivery waits for its claim where no hint came
TICK_S = 0.02  # how long results wait for others to be settled with
SETTLE_AT = 200  # results that don't wait
PREFETCH = 400  # claimed at once: threads never wait for a claim
PER_ENDPOINT = 100  # of these for one endpoint
RECONNECT_S = 1.0
DELETED_WITHIN_S = 3600.0  # how far back to look, once the first look has seen everything
EVER_S = 1e9


class Worker:
    """Delivers until it is told to stop."""

    def __init__(self, *, threads: int) -> None:
        self._threads = [threading.Thread(target=self._send, name=f"sender-{n}") for n in range(threads)]
        self._hints = Hints(WEBHOOK_HINT, self._on_hint)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._results: deque[Result] = deque()
        self._in_flight: Counter[UUID] = Counter()  # claimed and not settled, by endpoint; of one thread
        self._outstanding = 0  # the same in all, for every thread
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._more = True  # whether a claim would find something
        self._polled_at = -POLL_S
        self._settled_at = -TICK_S
        self._swept = False
        self._clock = _DatabaseClock()

    def stop(self) -> None:
        """Claim no more; finish what is being sent, give back the rest, and let `run` return."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        self._hints.start()
        for thread in self._threads:
            thread.start()
        while not self._stopping.is_set():
            self._wait_and(self._turn)
        logger.info("Stopping: %d claimed deliveries are settled or given back first", self._outstanding)
        while self._outstanding:
            self._wait_and(self._settle)
        self._hints.stop()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in (*self._threads, self._hints):
            thread.join()
        connection.close()

    def _wait_and(self, work: Callable[[], None]) -> None:
        """Do `work` on a hint, or when it is time. Where the database does not answer, it is not done."""
        self._wake.wait(TICK_S if self._outstanding else POLL_S)
        self._wake.clear()
        try:
            work()
        except (OperationalError, InterfaceError) as error:
            logger.warning("The database does not answer, trying again in %g s: %s", RECONNECT_S, error)
            connection.close()
            self._stopping.wait(RECONNECT_S)

    def _turn(self) -> None:
        now = time.monotonic()
        if now - self._settled_at >= TICK_S or len(self._results) >= SETTLE_AT:
            self._settled_at = now
            self._settle()
        if now - self._polled_at >= POLL_S:
            self._polled_at = now
            self._more = True
            cancel_deleted(within_s=DELETED_WITHIN_S if self._swept else EVER_S)
            self._swept = True
        if self._more and self._outstanding <= PREFETCH // 2:
            self._claim()

    def _claim(self) -> None:
        limit = PREFETCH - self._outstanding
        self._more = False  # before the claim: a hint that comes meanwhile must not be forgotten
        jobs = claim(limit=limit, per_endpoint=PER_ENDPOINT, in_flight=self._in_flight)
        if len(jobs) == limit:
            self._more = True
        if jobs:
            self._clock.set(jobs[0].claimed_at)
        self._outstanding += len(jobs)
        self._in_flight.update(job.endpoint_id for job in jobs)
        for job in jobs:
            self._jobs.put(job)

    def _settle(self) -> None:
        results = list(self._results)
        if not results:
            return
        stale = len(results) - settle(results)
        if stale:
            logger.warning("%d results came after their lease and were not written", stale)
        for _ in results:
            self._results.popleft()
        self._outstanding -= len(results)
        if max(self._in_flight.values()) >= PER_ENDPOINT:
            self._more = True  # there may be more for an endpoint that was at its cap
        self._in_flight -= Counter(result.job.endpoint_id for result in results)  # drops those at zero

    def _on_hint(self) -> None:
        self._more = True
        if self._outstanding < len(self._threads):  # the others come around within a tick
            self._wake.set()

    def _send(self) -> None:
        door = Door()
        while (job := self._jobs.get()) is not None:
            self._results.append(self._attempt(job, door))
            if len(self._results) >= SETTLE_AT:
                self._wake.set()
        door.close()

    def _attempt(self, job: Job, door: Door) -> Result:
        if job.workspace_id != job.endpoint_workspace_id:
            logger.critical("Delivery %s joins two workspaces; it was not sent", job.delivery_id)
            return Result(job, Delivery.State.CANCELLED, "WORKSPACE_MISMATCH")
        now = self._clock.now()
        lease_left = LEASE_S - (now - job.claimed_at).total_seconds()
        if self._stopping.is_set() or lease_left < 2 * webhooks.DEADLINE_S:
            return Result(job, Delivery.State.PENDING, retry_after_s=0)
        try:
            outcome = webhooks.deliver(job, door, now=now)
        except Exception:  # a fault of ours must cost one attempt, not the thread and all that it would have sent
            logger.exception("Delivery %s could not be attempted", job.delivery_id)
            outcome = webhooks.Outcome(now, 0, error="INTERNAL", error_detail="The operator's log says why.")
        return _result(job, outcome)


def _result(job: Job, outcome: webhooks.Outcome) -> Result:
    if not outcome.error:
        return Result(job, Delivery.State.DELIVERED, **outcome._asdict())
    wait = retry.wait_after(job.number, chance=random.random())
    if wait is None:
        return Result(job, Delivery.State.EXHAUSTED, "ATTEMPTS_EXHAUSTED", **outcome._asdict())
    return Result(job, Delivery.State.PENDING, retry_after_s=wait.total_seconds(), **outcome._asdict())


class _DatabaseClock:
    """The database's time, told between claims by a clock that nobody sets."""

    def set(self, now: datetime) -> None:
        self._set = (now, time.monotonic())

    def now(self) -> datetime:
        then, at = self._set
        return then + timedelta(seconds=time.monotonic() - at)

"""The delivery worker: claim -> send -> settle. One thread talks to the database, the others send."""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from endpoints.about import about
from endpoints.outage import OUTAGE
from endpoints.policy import RetryPolicy
from routing import failpoints, metrics, tracing, webhooks
from routing.chores import Chores
from routing.egress import Door
from routing.hints import Hints
from routing.models import Delivery
from routing.queue import (
    DOUBT,
    LEASE_S,
    Job,
    Presence,
    Result,
    claim,
    leave,
    seconds_until_ready,
    settle,
)
from routing.queue.presence import LEASES_TOLD
from routing.router import WEBHOOK_HINT
from routing.senders import Senders
from routing.verdict import expired, verdict

logger = logging.getLogger(__name__)

POLL_S = 1.0  # how long a delivery waits for its claim where no hint came
UNSETTLED_S = 0.05  # how long results wait for others to be settled with
TICK_S = 0.02  # how long they do where there are MANY, or one has others wait; and from a claim to the next
MANY = 50
LOOK_S = 0.01  # between looks at the threads, while anything is being sent
LATE_S = 0.005  # to wait after a hint, where others were quicker last time
AGAIN_S = 0.1  # until the next claim where another worker held what this one could have taken
SETTLE_AT = 200  # results that don't wait
SETTLED_WITHIN_S = 15  # after its deadline, so that an attempt counts; of the lease
PREFETCH = 400  # claimed at once: threads never wait for a claim
PER_ENDPOINT = 100  # of these for one endpoint
NEWCOMERS = 100  # claimed beyond that, for endpoints of which there is nothing here
RECONNECT_S = 1.0
STANDS_STILL_S = 60.0  # without a turn, after which it is taken for dead


class Worker:
    """Delivers until it is told to stop."""

    def __init__(self, *, threads: int) -> None:
        self._senders = Senders(threads, self._send)
        self._door = Door()
        self._hints = Hints(WEBHOOK_HINT, self._on_hint)
        self._results: deque[Result] = deque()
        self._held: dict[tuple[UUID, UUID], datetime] = {}  # claimed and not settled, the oldest first: when it was
        self._doubt = 0  # the doubt of these
        # A signal's handler runs in the thread that waits for it, which may hold the lock of an Event just then.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._stopping = False
        self._claim_at = 0.0  # when a claim may find something
        self._hinted = False
        self._late = False  # others answered the last hint, and will the next one
        self._settled_at = self._polled_at = 0.0
        self._chores = Chores()
        self._clock = _DatabaseClock()
        self._id = uuid7()
        self._drained = False  # by an operator: it finishes what it holds
        self._turned_at = self._answered_at = time.monotonic()
        metrics.outstanding.set_function(lambda: len(self._held))
        metrics.polled.set_function(lambda: time.monotonic() - self._answered_at)

    def stop(self) -> None:
        """Claim no more; finish what is being sent, give back the rest, and let `run` return."""
        self._stopping = True
        self._wake.put(None)

    def lives(self) -> bool:
        """Tell whether it still turns. Without a database it does: to start it again would not help."""
        return time.monotonic() - self._turned_at < STANDS_STILL_S

    def run(self) -> None:
        self._hints.start()
        while not self._stopping:
            self._wait_and(self._turn)
        self._give_back(self._senders.stop())
        logger.info("Stopping: %d claimed deliveries are settled or given back first", len(self._held))
        while self._held:
            self._wait_and(self._settle)
        self._hints.stop()
        self._senders.join()
        self._hints.join()
        self._door.close()
        with suppress(*OUTAGE):  # it is forgotten after a while
            leave(self._id)
        connection.close()

    def _wait_and(self, work: Callable[[], None]) -> None:
        """Do `work` on a hint, or when it is time. Where the database does not answer, it is not done."""
        with suppress(Empty):
            self._wake.get(timeout=self._idle_s())
            while True:
                self._wake.get_nowait()
        self._turned_at = time.monotonic()
        try:
            work()
        except OUTAGE as error:
            logger.warning("The database does not answer, trying again in %g s: %s", RECONNECT_S, error)
            connection.close()
            time.sleep(RECONNECT_S)  # while it is stopping, too

    def _idle_s(self) -> float:
        until_claim = self._claim_at - time.monotonic()
        if self._held:
            return LOOK_S if until_claim <= 0 else min(LOOK_S, until_claim)
        return max(0.0, min(POLL_S, until_claim))

    def _turn(self) -> None:
        now = time.monotonic()
        self._give_back(self._senders.look_after())
        hinted = self._hinted and now >= self._claim_at
        if hinted:  # what has just come does not wait until what was sent is on the disk
            self._claim_what_is_due(now)
        if self._is_time_to_settle(now - self._settled_at):
            self._settled_at = now
            self._settle()
        if now - self._polled_at >= POLL_S:
            self._polled_at = now
            self._poll(now)
        if not hinted and now >= self._claim_at:
            self._claim_what_is_due(now)

    def _claim_what_is_due(self, now: float) -> None:
        if self._drained:
            self._claim_at = now + POLL_S
        elif self._senders.held <= PREFETCH // 2:
            self._claim(now)
        elif self._hinted:
            self._claim_for_newcomers()

    def _poll(self, now: float) -> None:
        self._claim_at = 0.0
        self._drained = self._chores.do(self._presence(), now)
        self._answered_at = time.monotonic()

    def _presence(self) -> Presence:
        name = f"{socket.gethostname()}:{os.getpid()}"
        oldest_claim_at = next(iter(self._held.values()), None)
        tokens = list(dict.fromkeys(token for _, token in islice(self._held, LEASES_TOLD)))
        held, slow = len(self._held), self._senders.slow
        return Presence(self._id, name[:100], settings.VERSION, held, slow, oldest_claim_at, tokens)

    def _claim(self, now: float) -> None:
        self._claim_at = now + POLL_S  # before the claim: a hint that comes meanwhile must not be forgotten
        hinted, self._hinted = self._hinted, False
        limit = PREFETCH - self._senders.held
        per_endpoint, rooms = self._senders.rooms(quick=PER_ENDPOINT)
        if self._late or not (hinted or self._held):  # it is enough to ask, and the claim is dearer
            wait_s = seconds_until_ready(at_most=POLL_S, per_endpoint=per_endpoint, rooms=rooms)
            if wait_s > 0:
                self._claim_at = min(self._claim_at, now + wait_s)
                return
        begun = time.time_ns()
        with metrics.claim_seconds.time():
            jobs = claim(limit=limit, per_endpoint=per_endpoint, rooms=rooms, doubt=DOUBT - self._doubt)
        self._late = hinted and not jobs
        if jobs:
            self._take(_traced(jobs, begun))
            self._claim_at = now if len(jobs) == limit else min(self._claim_at, now + TICK_S)
        else:
            wait_s = seconds_until_ready(at_most=POLL_S, per_endpoint=per_endpoint, rooms=rooms)
            self._claim_at = min(self._claim_at, now + (wait_s or AGAIN_S))

    def _claim_for_newcomers(self) -> None:
        """Claim for endpoints of which there is nothing here, though there is enough to do: theirs is no backlog."""
        self._hinted = False
        per_endpoint, rooms = self._senders.rooms(quick=PER_ENDPOINT, newcomers=True)
        begun = time.time_ns()
        self._take(_traced(claim(limit=NEWCOMERS, per_endpoint=per_endpoint, rooms=rooms, doubt=0), begun))

    def _take(self, jobs: Sequence[Job]) -> None:
        if jobs:
            failpoints.reach("K4")
            self._clock.set(jobs[0].claimed_at)
            self._held |= {(job.delivery_id, job.lease_token): job.claimed_at for job in jobs}
            metrics.claimed.inc(len(jobs))
            self._doubt += sum(job.doubt for job in jobs)
            self._senders.put(jobs)

    def _is_time_to_settle(self, waited_s: float) -> bool:
        """A settlement holds up what comes meanwhile: few results at a time would be many settlements."""
        results = list(self._results)
        if waited_s >= UNSETTLED_S or len(results) >= SETTLE_AT:
            return True
        hurries = len(results) >= MANY or any(result.job.ordering_key for result in results)
        return hurries and waited_s >= TICK_S

    def _settle(self) -> None:
        results = list(self._results)
        if not results:
            return
        stale = len(results) - settle(results)
        _count(results, stale)
        failpoints.reach("K8")
        if stale:
            logger.warning("%d results came after their lease and were not written", stale)
        for result in results:
            self._results.popleft()
            del self._held[result.job.delivery_id, result.job.lease_token]
        self._doubt -= sum(result.job.doubt for result in results)
        self._claim_at = 0.0  # there may be room now where there was none

    def _give_back(self, jobs: Sequence[Job]) -> None:
        self._results.extend(Result(job, Delivery.State.PENDING, retry_after_s=0) for job in jobs)

    def _on_hint(self) -> None:
        self._hinted = True
        self._claim_at = min(self._claim_at, time.monotonic() + LATE_S) if self._late else 0.0
        if self._senders.has_room:  # the others come around within a tick
            self._wake.put(None)

    def _send(self, job: Job) -> bool:
        with _about(job):
            result = self._attempt(job)
        failpoints.reach("K6")
        self._results.append(result)
        if len(self._results) >= SETTLE_AT:
            self._wake.put(None)
        return result.started_at is not None

    def _attempt(self, job: Job) -> Result:
        if job.workspace_id != job.target.workspace_id:
            logger.critical("Delivery %s joins two workspaces; it was not sent", job.delivery_id)
            return Result(job, Delivery.State.CANCELLED, "WORKSPACE_MISMATCH")
        now = self._clock.now()
        lease_left = LEASE_S - (now - job.claimed_at).total_seconds()
        policy = RetryPolicy.kept(job.target.retry_policy)
        if lease_left < policy.deadline_s + SETTLED_WITHIN_S:
            return Result(job, Delivery.State.PENDING, retry_after_s=0)
        if end := expired(job, now, policy):
            return end
        try:
            outcome = _delivered(job, self._door, now, policy)
        except Exception:  # a fault of ours must cost one attempt, not the thread and all that it would have sent
            logger.exception("Delivery %s could not be attempted", job.delivery_id)
            outcome = webhooks.Outcome(now, 0, error="INTERNAL", error_detail="The operator's log says why.")
        return verdict(job, outcome, policy)


def _traced(jobs: Sequence[Job], begun_ns: int) -> Sequence[Job]:
    """Return the jobs with the trace of their claim, which is linked to those of their events."""
    claim = tracing.past("claim", begun_ns, links=(job.traceparent for job in jobs)) if jobs else ""
    return [job._replace(claim=claim) for job in jobs] if claim else jobs


def _delivered(job: Job, door: Door, now: datetime, policy: RetryPolicy) -> webhooks.Outcome:
    """Send the event: where anybody traces, as a span in the trace of its publication, and linked to the claim."""
    if not tracing.is_on():
        return webhooks.deliver(job, door, now=now, deadline_s=policy.deadline_s)
    with tracing.span("attempt", parent=job.traceparent, links=[job.claim], **_ids(job)) as own, about(traceparent=own):
        outcome = webhooks.deliver(job, door, now=now, deadline_s=policy.deadline_s)
        tracing.note(http__response__status_code=outcome.status_code, error__type=outcome.error or None)
    return outcome


def _ids(job: Job) -> dict[str, Any]:
    return {
        "workspace_id": job.workspace_id,
        "event_id": job.event_id,
        "delivery_id": job.delivery_id,
        "endpoint_id": job.target.endpoint_id,
        "attempt": job.number,
    }


def _about(job: Job) -> AbstractContextManager[None]:
    return about(traceparent=job.traceparent, **_ids(job))


def _count(results: Sequence[Result], stale: int) -> None:
    for state, count in Counter(result.state for result in results).items():
        metrics.settled.labels(state).inc(count)
    metrics.stale.inc(stale)


class _DatabaseClock:
    """The database's time, told between claims by a clock that nobody sets."""

    def set(self, now: datetime) -> None:
        self._set = (now, time.monotonic())

    def now(self) -> datetime:
        then, at = self._set
        return then + timedelta(seconds=time.monotonic() - at)

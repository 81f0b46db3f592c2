"""The threads that send: endpoints take turns, and one that hangs keeps none of the threads that others need."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

from routing.queue import Job

PATIENCE_S = 0.25  # for an attempt, before its endpoint is taken to hang and its thread is replaced
SLOW_THREADS = 32  # for endpoints that hang
SLOW_PER_ENDPOINT = 2  # of these
FORGIVEN_S = 10.0  # since its last long attempt, and an endpoint is no longer taken to hang


@dataclass(slots=True)
class _Line:
    """What waits for one endpoint, in order, and how much of it is being sent."""

    waiting: deque[Job] = field(default_factory=deque)
    sending: int = 0


class Senders:
    """Calls `send` for each job, on `threads` threads for the endpoints that answer and more for those that hang."""

    def __init__(self, threads: int, send: Callable[[Job], None]) -> None:
        self._send = send
        self._wanted = threads
        self._lines: dict[UUID, _Line] = {}
        self._turns: dict[bool, deque[UUID]] = {False: deque(), True: deque()}  # whose turn it is; True: that hang
        self._hanging: dict[UUID, float] = {}  # when the last long attempt was seen
        self._running: dict[threading.Thread, tuple[UUID, float]] = {}
        self._fast: set[threading.Thread] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._wake = {False: threading.Condition(self._lock), True: threading.Condition(self._lock)}
        self._stopping = False

    @property
    def hanging(self) -> Collection[UUID]:
        return list(self._hanging)

    def start(self) -> None:
        with self._lock:
            for _ in range(self._wanted):
                self._start_thread(fast=True)

    def put(self, jobs: Collection[Job]) -> None:
        with self._lock:
            for job in jobs:
                endpoint_id = job.target.endpoint_id
                line = self._lines.setdefault(endpoint_id, _Line())
                line.waiting.append(job)
                hangs = endpoint_id in self._hanging
                if len(line.waiting) == 1:
                    self._turns[hangs].append(endpoint_id)
                self._call(hanging=hangs)

    def look_after(self) -> list[Job]:
        """Replace threads that are held up. Return what waited behind them, but for a few: others may send it."""
        now = time.monotonic()
        with self._lock:
            late = [
                (thread, endpoint_id)
                for thread, (endpoint_id, since) in self._running.items()
                if now - since > PATIENCE_S
            ]
            given_back = [job for _, endpoint_id in late for job in self._mark(endpoint_id, now)]
            for thread, _ in late:
                if thread in self._fast and self._slow < SLOW_THREADS:
                    self._fast.remove(thread)
                    self._start_thread(fast=True)
            self._forgive(now)
        return given_back

    def stop(self) -> list[Job]:
        """Start nothing more. Return what was not started."""
        with self._lock:
            self._stopping = True
            waiting = [job for line in self._lines.values() for job in line.waiting]
            self._lines.clear()
            for wake in self._wake.values():
                wake.notify_all()
        return waiting

    def join(self) -> None:
        for thread in list(self._threads):
            thread.join()

    def _mark(self, endpoint_id: UUID, now: float) -> list[Job]:
        known = endpoint_id in self._hanging
        self._hanging[endpoint_id] = now
        line = self._lines.get(endpoint_id)
        if known or line is None:
            return []
        given_back = [line.waiting.pop() for _ in range(len(line.waiting) - SLOW_PER_ENDPOINT)]
        if line.waiting:
            self._turns[False].remove(endpoint_id)
            self._turns[True].append(endpoint_id)
            self._call(hanging=True)
        return given_back

    def _forgive(self, now: float) -> None:
        for endpoint_id in [id_ for id_, since in self._hanging.items() if now - since > FORGIVEN_S]:
            del self._hanging[endpoint_id]
            if endpoint_id in self._turns[True]:
                self._turns[True].remove(endpoint_id)
                self._turns[False].append(endpoint_id)
                self._call(hanging=False)

    @property
    def _slow(self) -> int:
        return len(self._threads) - len(self._fast)

    def _call(self, *, hanging: bool) -> None:
        """Wake a thread, or start one for the endpoints that hang where all of theirs are held up."""
        if hanging and self._slow < min(SLOW_THREADS, len(self._running.keys() - self._fast) + 1):
            self._start_thread(fast=False)
        self._wake[hanging].notify()

    def _start_thread(self, *, fast: bool) -> None:
        thread = threading.Thread(target=self._run, name="sender")
        self._threads.add(thread)
        if fast:
            self._fast.add(thread)
        thread.start()

    def _run(self) -> None:
        thread = threading.current_thread()
        while (job := self._next(thread)) is not None:
            self._send(job)
            self._finish(thread, job)

    def _next(self, thread: threading.Thread) -> Job | None:
        with self._lock:
            while True:
                if self._stopping:
                    self._threads.discard(thread)
                    self._fast.discard(thread)
                    return None
                hanging = thread not in self._fast
                if (job := self._turn(hanging=hanging)) is not None:
                    self._running[thread] = (job.target.endpoint_id, time.monotonic())
                    return job
                self._wake[hanging].wait()

    def _turn(self, *, hanging: bool) -> Job | None:
        turns = self._turns[hanging]
        for _ in range(len(turns)):
            endpoint_id = turns.popleft()
            line = self._lines[endpoint_id]
            if hanging and line.sending >= SLOW_PER_ENDPOINT:
                turns.append(endpoint_id)
                continue
            job = line.waiting.popleft()
            line.sending += 1
            if line.waiting:
                turns.append(endpoint_id)
            return job
        return None

    def _finish(self, thread: threading.Thread, job: Job) -> None:
        endpoint_id = job.target.endpoint_id
        with self._lock:
            del self._running[thread]
            line = self._lines.get(endpoint_id)
            if line is not None:
                line.sending -= 1
                if not line.waiting and not line.sending:
                    del self._lines[endpoint_id]
                elif endpoint_id in self._hanging:
                    self._wake[True].notify()

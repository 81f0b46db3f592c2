"""The threads that send: endpoints take turns, and one that is slow keeps none of the threads that others need.

An endpoint is quick once its last answer came within PATIENCE_S and no other is overdue, and slow before that. Where
all threads of the quick are held up and others wait for them, there is less patience. The quick share as many threads
as were asked for. Each slow one has a few of others to itself: more with each answer, fewer when it hangs.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

from routing.queue import Job

PATIENCE_S = 0.1  # for an attempt, before its endpoint is slow and its thread is replaced
HURRY_S = 0.01  # the same where others wait and no thread has come free for as long
HANGS_S = 1.0  # and before what waits behind it is given back
SLOW_THREADS = 128  # for the slow endpoints, of which half as many may hang at once before newcomers wait
FIRST_WIDTH = 2  # of these for one of them, at first and once it hangs
WIDTH = 16  # and at most
REMEMBERED = 1_000  # endpoints; one that is forgotten counts as slow


@dataclass(slots=True)
class _Line:
    """What waits for one endpoint, in order, and how much of it is being sent."""

    waiting: deque[Job] = field(default_factory=deque)
    sending: int = 0
    overdue: int = 0  # of these, what takes longer than PATIENCE_S
    quick: bool = False
    width: int = FIRST_WIDTH  # while it is slow
    queued: bool = False  # for its turn

    @property
    def held(self) -> int:
        return len(self.waiting) + self.sending


@dataclass(slots=True)
class _Sending:
    line: _Line
    since: float
    quick: bool  # which threads it counts among
    overdue: bool = False
    hangs: bool = False


class Senders:
    """Calls `send` for each job: at once for at most `threads` jobs of quick endpoints, and SLOW_THREADS of others.

    `send` returns whether it asked the receiver at all: what it did not ask says nothing of its pace.
    """

    def __init__(
        self, threads: int, send: Callable[[Job], bool], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._clock = clock
        self._limits = {True: threads, False: SLOW_THREADS}  # of threads at work, by quick
        self._busy = {True: 0, False: 0}
        self._turns: dict[bool, deque[_Line]] = {True: deque(), False: deque()}
        self._lines: dict[UUID, _Line] = {}  # the one unused for longest comes first
        self._sending: dict[threading.Thread, _Sending] = {}
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._freed_at = 0.0  # when a thread of the quick last came free
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._stopping = False

    @property
    def has_room(self) -> bool:
        """Whether a job of a quick endpoint would be sent at once."""
        return self._busy[True] < self._limits[True]

    @property
    def held(self) -> int:
        """How many jobs of quick endpoints wait or are being sent."""
        with self._lock:
            return sum(line.held for line in self._lines.values() if line.quick)

    @property
    def slow(self) -> int:
        """How many threads of the slow are at work."""
        return self._busy[False]

    def rooms(self, *, quick: int, newcomers: bool = False) -> tuple[int, dict[UUID, int]]:
        """Return how many more jobs may be put: for an endpoint that is not known, and for each that is.

        A quick one may have `quick` in all. With `newcomers`, those that have any have enough.
        """
        with self._lock:
            slow = sum(min(line.held, 2 * line.width) for line in self._lines.values() if not line.quick)
            crowded = slow >= 2 * SLOW_THREADS
            rooms = {}
            for endpoint_id, line in self._lines.items():
                most = quick if line.quick else 0 if crowded else 2 * line.width
                rooms[endpoint_id] = 0 if newcomers and line.held else most - line.held
            return 0 if crowded else 2 * FIRST_WIDTH, rooms

    def put(self, jobs: Collection[Job]) -> None:
        with self._lock:
            for job in jobs:
                line = self._line(job.target.endpoint_id)
                line.waiting.append(job)
                self._queue(line)
            self._forget()
            self._call()

    def look_after(self) -> list[Job]:
        """Replace the threads that are held up. Return what waits behind attempts that hang: others may send it."""
        now = self._clock()
        given_back: list[Job] = []
        with self._lock:
            patience_s = HURRY_S if self._is_stuck(now) else PATIENCE_S
            for sending in self._sending.values():
                if not sending.overdue and now - sending.since > patience_s:
                    sending.overdue = True
                    sending.line.overdue += 1
                    self._judge(sending.line, quick=False)
                if sending.overdue and sending.quick and self._busy[False] < SLOW_THREADS:
                    sending.quick = False
                    self._busy[True] -= 1
                    self._busy[False] += 1
                if now - sending.since > HANGS_S and not sending.hangs:
                    sending.hangs = True
                    given_back += self._narrow(sending.line)
            self._call()
        return given_back

    def stop(self) -> list[Job]:
        """Start nothing more. Return what was not started."""
        with self._lock:
            self._stopping = True
            waiting = [job for line in self._lines.values() for job in line.waiting]
            self._lines.clear()
            self._wake.notify_all()
        return waiting

    def join(self) -> None:
        for thread in list(self._threads):
            thread.join()

    def _is_stuck(self, now: float) -> bool:
        """Return whether endpoints wait for a thread of the quick, and nothing has come of any for HURRY_S."""
        return bool(self._turns[True]) and not self.has_room and now - self._freed_at > HURRY_S

    def _line(self, endpoint_id: UUID) -> _Line:
        line = self._lines.pop(endpoint_id, None) or _Line()
        self._lines[endpoint_id] = line
        return line

    def _forget(self) -> None:
        surplus = len(self._lines) - REMEMBERED
        if surplus > 0:
            for endpoint_id in [id_ for id_, line in self._lines.items() if not line.held][:surplus]:
                del self._lines[endpoint_id]

    def _queue(self, line: _Line) -> None:
        """Let `line` wait for its turn, if there is something that it may send."""
        if not line.queued and line.waiting and (line.quick or line.sending < line.width):
            line.queued = True
            self._turns[line.quick].append(line)

    def _judge(self, line: _Line, *, quick: bool) -> None:
        """Let `line` have its turns among the others of its kind."""
        if line.quick != quick:
            if line.queued:
                self._turns[line.quick].remove(line)
            line.quick, line.queued, line.width = quick, False, FIRST_WIDTH
        self._queue(line)

    def _narrow(self, line: _Line) -> list[Job]:
        if line.quick:  # by the answers that came since
            return []
        line.width = FIRST_WIDTH
        return [line.waiting.pop() for _ in range(len(line.waiting) - FIRST_WIDTH)]

    def _call(self) -> None:
        """See that somebody comes for what can be sent now; who comes calls the next."""
        if any(self._turns[quick] and self._busy[quick] < limit for quick, limit in self._limits.items()):
            if self._idle:
                self._wake.notify()
            elif len(self._threads) < sum(self._limits.values()):
                # A worker that breaks must end, with them or without: it is started again.
                thread = threading.Thread(target=self._run, name="sender", daemon=True)
                self._threads.add(thread)
                thread.start()

    def _run(self) -> None:
        thread = threading.current_thread()
        asked = False
        while (job := self._next(thread, asked)) is not None:
            asked = self._send(job)

    def _next(self, thread: threading.Thread, asked: bool) -> Job | None:
        with self._lock:
            if thread in self._sending:
                self._finish(self._sending.pop(thread), asked)
            while not self._stopping:
                if (job := self._take(thread)) is not None:
                    self._call()
                    return job
                self._idle += 1
                self._wake.wait()
                self._idle -= 1
            self._threads.discard(thread)
            return None

    def _take(self, thread: threading.Thread) -> Job | None:
        for quick, turns in self._turns.items():
            if turns and self._busy[quick] < self._limits[quick]:
                line = turns.popleft()
                line.queued = False
                job = line.waiting.popleft()
                line.sending += 1
                self._busy[quick] += 1
                self._queue(line)
                self._sending[thread] = _Sending(line, self._clock(), quick)
                return job
        return None

    def _finish(self, sending: _Sending, asked: bool) -> None:
        line, took_s = sending.line, self._clock() - sending.since
        if sending.quick:
            self._freed_at = self._clock()
        self._busy[sending.quick] -= 1
        line.sending -= 1
        line.overdue -= sending.overdue
        if asked and took_s <= HANGS_S:
            line.width = min(line.width + 1, WIDTH)
        self._judge(line, quick=took_s <= PATIENCE_S and not line.overdue if asked else line.quick)

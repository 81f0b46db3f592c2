"""The end of an attempt at its deadline, wherever it stands."""

import socket
import threading
import time
from contextlib import suppress

from routing.egress.errors import EgressError

TICK_S = 0.05


class Attempt:
    """One exchange until its deadline. The watchdog calls `cut`, the sending thread everything else."""

    def __init__(self, deadline_s: float) -> None:
        self.ends_at = time.monotonic() + deadline_s
        self.over = False
        self._guard: socket.socket | None = None
        self._lock = threading.Lock()

    def left_s(self) -> float:
        """Return the time that is left. Raises EgressError where there is none."""
        left_s = self.ends_at - time.monotonic()
        if self.over or left_s <= 0:
            raise EgressError("TIMEOUT", "The receiver did not answer in time.")
        return left_s

    def watch(self, guard: socket.socket) -> None:
        """Have the connection of `guard` shut down at the deadline."""
        with self._lock:
            self._guard = guard
        if self.over:
            self.cut()

    def cut(self) -> None:
        with self._lock:
            self.over = True
            if self._guard:
                with suppress(OSError):  # the receiver was first
                    self._guard.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Leave the connection alone from now on: it is closed, or another attempt may use it."""
        with self._lock:
            self._guard = None


class Watchdog:
    """Cuts the attempts that are past their deadline. To be made in the process whose attempts it watches."""

    def __init__(self) -> None:
        self._attempts: set[Attempt] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def start(self, deadline_s: float) -> Attempt:
        attempt = Attempt(deadline_s)
        self._attempts.add(attempt)
        return attempt

    def finish(self, attempt: Attempt) -> None:
        self._attempts.discard(attempt)
        attempt.finish()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(TICK_S):
            now = time.monotonic()
            for attempt in list(self._attempts):  # copied in one step of the interpreter: senders need no lock
                if attempt.ends_at <= now and not attempt.over:
                    attempt.cut()

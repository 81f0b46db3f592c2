"""Hints from the database that there may be work. They are never relied on: whoever listens also looks by itself."""

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from django.db import connection

from endpoints.outage import DRIVERS_OUTAGE

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0
_LOOK_UP_S = 0.5  # how soon `stop` is noticed
_ROTATE_S = 600  # a connection that only listens does not notice when its other end is gone


class Hints(threading.Thread):
    """Calls `on_hint` when a NOTIFY comes on `channel`, on a connection and a thread of its own."""

    def __init__(self, channel: str, on_hint: Callable[[], object]) -> None:
        super().__init__(name=f"hints-{channel}", daemon=True)
        self._channel = channel
        self._on_hint = on_hint
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except DRIVERS_OUTAGE as error:
                logger.warning("Not listening for hints, trying again in %g s: %s", RECONNECT_S, error)
                self._stopping.wait(RECONNECT_S)

    def _listen(self) -> None:
        parameters = {name: value for name, value in connection.get_connection_params().items() if name != "pool"}
        until = time.monotonic() + _ROTATE_S
        with psycopg.connect(**parameters, autocommit=True) as listening:
            listening.execute(f"LISTEN {self._channel}")
            self._on_hint()  # what was hinted at before
            while not self._stopping.is_set() and time.monotonic() < until:
                for _ in listening.notifies(timeout=_LOOK_UP_S):
                    self._on_hint()

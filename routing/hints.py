"""Hints from the database that there may be work. They are never relied on: whoever listens also looks by itself."""

import logging
import threading
from collections.abc import Callable

import psycopg
from django.db import connection

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0


class Hints(threading.Thread):
    """Calls `on_hint` when a NOTIFY comes on `channel`, on a connection and a thread of its own."""

    def __init__(self, channel: str, on_hint: Callable[[], object]) -> None:
        super().__init__(name=f"hints-{channel}", daemon=True)
        self._channel = channel
        self._on_hint = on_hint

    def run(self) -> None:
        pause = threading.Event()
        while True:
            try:
                self._listen()
            except psycopg.OperationalError as error:
                logger.warning("Not listening for hints, trying again in %g s: %s", RECONNECT_S, error)
            pause.wait(RECONNECT_S)

    def _listen(self) -> None:
        parameters = {name: value for name, value in connection.get_connection_params().items() if name != "pool"}
        with psycopg.connect(**parameters, autocommit=True) as listening:
            listening.execute(f"LISTEN {self._channel}")
            self._on_hint()  # what was hinted at before
            for _ in listening.notifies():
                self._on_hint()

"""Asks every second whether what was recorded is still all there: routing_conservation."""

import threading
from contextlib import suppress

import psycopg

from chaos.database import Database

EVERY_S = 1.0
_BROKEN = """
SELECT count(*) FROM routing_conservation
WHERE recorded <> delivered + exhausted + skipped + cancelled + open + forgotten
"""


class Watch:
    """`with Watch(database) as watch:`; then `asked` and `violations`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked = self.violations = 0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            with suppress(psycopg.OperationalError), self._database.connect() as connection:
                row = connection.execute(_BROKEN).fetchone()
                self.asked += 1
                self.violations += row[0] if row else 0

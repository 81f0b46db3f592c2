"""What those who watch ask the database, over its local socket: no network that is cut stands between."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

PATIENCE_S = 120  # of every wait: longer than a lease
POLL_S = 0.02


def wait_for(what: str, holds: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Ask again until the answer is true, and return it. Raises TimeoutError, naming what was waited for."""
    end = time.monotonic() + within_s
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(POLL_S)
    return found


class Database:
    def __init__(self, sockets: Path) -> None:
        self._sockets = sockets

    def connect(self, database: str = "event_service") -> "psycopg.Connection[Any]":
        """Return a connection for those who watch: it never starts a server."""
        return psycopg.connect(
            host=str(self._sockets),
            user="postgres",
            dbname=database,
            connect_timeout=5,
            options="-c statement_timeout=30s",
            autocommit=True,
        )

    def ask(self, query: str, *parameters: Any, database: str = "event_service") -> list[tuple[Any, ...]]:
        """Return the rows of a query, asked until a database answers."""

        def answered() -> list[list[tuple[Any, ...]]]:
            with suppress(psycopg.OperationalError), self.connect(database) as connection:
                cursor = connection.execute(query.encode(), parameters)
                return [cursor.fetchall() if cursor.description else []]
            return []

        rows: list[tuple[Any, ...]] = wait_for(f"an answer to {query!r}", answered)[0]
        return rows

    def end_leases(self) -> None:
        """Let leases run out now rather than in a minute, but for those of what somebody is just settling."""
        self.ask(
            "UPDATE routing_delivery SET due_at = clock_timestamp() WHERE id IN "
            "(SELECT id FROM routing_delivery WHERE state = 'SENDING' FOR UPDATE SKIP LOCKED)"
        )

    def close_breakers(self) -> None:
        """Do what resuming an endpoint does. How long a receiver asked to be left alone stays."""
        self.ask(
            "UPDATE routing_lane SET ready_at = greatest(clock_timestamp(), paused_until), opened_at = NULL, "
            "openings = 0, window_attempts = 0, window_failures = 0 "
            "WHERE opened_at IS NOT NULL OR ready_at > clock_timestamp()"
        )

    def is_final(self) -> bool:
        return not self.ask("SELECT 1 FROM routing_delivery WHERE state IN ('PENDING', 'SENDING') LIMIT 1")

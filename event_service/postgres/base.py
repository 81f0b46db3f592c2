"""Django's PostgreSQL backend, with a pool that recovers at once when the database comes back, and a limit to what is
asked that does not outlast who set it.
"""

from contextlib import suppress
from functools import partial
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, Error
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

_AT_REST = (TransactionStatus.IDLE, TransactionStatus.INTRANS)  # neither broken nor in a transaction that failed


class DatabaseWrapper(base.DatabaseWrapper):
    _limited: Any = None  # the connection beneath that knows a limit
    _still_limited = False  # nothing has taken that back

    @property
    def pool(self) -> Any:
        pool = super().pool
        if pool and pool._check == ConnectionPool.check_connection:  # Django has no setting for another one
            pool._check = partial(_check, pool)
        return pool

    def limit_statements(self, seconds: float) -> None:
        """Have the database end each statement after so long, on the connection that there is now."""
        if self._limited is not self.connection or not self._still_limited:
            self._limited, self._still_limited = self.connection, True
            self._limited.execute(f"SET statement_timeout = {seconds * 1000:.0f}")

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]  # which its stubs leave out
        self._still_limited = False

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc]
        self._still_limited = False

    def lift_limit(self) -> None:
        """Leave the connection as it was, for whoever has it next."""
        kept, self._limited = self._limited, None
        if kept is not None and kept is self.connection and kept.info.transaction_status in _AT_REST:
            with suppress(Error):  # it broke, and the pool will see that
                kept.execute("RESET statement_timeout")

    def _close(self) -> None:
        self.lift_limit()
        super()._close()  # type: ignore[misc]  # which its stubs leave out


def _check(pool: "ConnectionPool[Connection[Any]]", connection: "Connection[Any]") -> None:
    """Check a connection that is about to be taken. When one is broken, so are those that came before it.

    By itself the pool finds them one by one, and waits 1 s, 2 s, 4 s ... after each.
    """
    try:
        ConnectionPool.check_connection(connection)
    except Exception:
        pool.drain()
        raise

"""How long one GraphQL operation may keep the database busy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus

from endpoints.errors import Limited

STATEMENT_S = 5  # of one statement
OPERATION_S = 5  # of all of them until the last begins: an operation ends within the sum of both
_AT_REST = (TransactionStatus.IDLE, TransactionStatus.INTRANS)  # neither broken nor in a transaction that failed
_MUST_RUN = ("SAVEPOINT", "RELEASE", "ROLLBACK")  # they end what has begun


@contextmanager
def time_limit() -> Iterator[None]:
    """Hold what Django's connection is asked for inside to the limits. What is over them raises Limited."""
    clock = _Clock()
    with connection.execute_wrapper(clock):
        try:
            yield
        finally:
            clock.end()


class _Clock:
    """Time on the wire to a webhook, as of testEndpoint, does not count: it has a deadline of its own."""

    def __init__(self) -> None:
        self._left_s = float(OPERATION_S)
        self._limited: Any = None  # the connection beneath Django's that knows the limit

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._left_s <= 0 and not str(sql).startswith(_MUST_RUN):
            raise _over()
        begun = time.monotonic()
        try:
            self._limit()
            return execute(sql, params, many, context)
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                raise _over() from error
            raise
        finally:
            self._left_s -= time.monotonic() - begun

    def _limit(self) -> None:
        if self._limited is not connection.connection:
            self._limited = connection.connection
            self._limited.execute(f"SET statement_timeout = {STATEMENT_S * 1000:.0f}")

    def end(self) -> None:
        """Leave the connection as it was, for whoever has it next."""
        kept = self._limited
        if kept is not None and kept is connection.connection and kept.info.transaction_status in _AT_REST:
            kept.execute("RESET statement_timeout")


def _over() -> Limited:
    return Limited(f"The operation took the database over {STATEMENT_S} s; ask for less at once.")

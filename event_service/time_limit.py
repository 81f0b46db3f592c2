"""How long one GraphQL operation may keep the database busy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled

from endpoints.errors import Limited

STATEMENT_S = 5  # of one statement
OPERATION_S = 5  # of all of them until the last begins: an operation ends within the sum of both
_MUST_RUN = ("SAVEPOINT", "RELEASE", "ROLLBACK")  # they end what has begun


@contextmanager
def time_limit() -> Iterator[None]:
    """Hold what Django's connection is asked for inside to the limits. What is over them raises Limited."""
    with connection.execute_wrapper(_Clock()):
        try:
            yield
        finally:
            connection.lift_limit()  # type: ignore[attr-defined]  # of our own backend


class _Clock:
    """Time on the wire to a webhook, as of testEndpoint, does not count: it has a deadline of its own."""

    def __init__(self) -> None:
        self._left_s = float(OPERATION_S)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._left_s <= 0 and not str(sql).startswith(_MUST_RUN):
            raise _over()
        begun = time.monotonic()
        try:
            connection.limit_statements(STATEMENT_S)  # type: ignore[attr-defined]
            return execute(sql, params, many, context)
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                raise _over() from error
            raise
        finally:
            self._left_s -= time.monotonic() - begun


def _over() -> Limited:
    return Limited(f"The operation took the database over {STATEMENT_S} s; ask for less at once.")

"""Django's PostgreSQL backend, with a pool that recovers at once when the database comes back."""

from functools import partial
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> Any:
        pool = super().pool
        if pool and pool._check == ConnectionPool.check_connection:  # Django has no setting for another one
            pool._check = partial(_check, pool)
        return pool


def _check(pool: "ConnectionPool[Connection[Any]]", connection: "Connection[Any]") -> None:
    """Check a connection that is about to be taken. When one is broken, so are those that came before it.

    By itself the pool finds them one by one, and waits 1 s, 2 s, 4 s ... after each.
    """
    try:
        ConnectionPool.check_connection(connection)
    except Exception:
        pool.drain()
        raise

"""Statements that PostgreSQL plans once a connection. To plan a claim takes it twice as long as to run one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


@contextmanager
def prepared() -> Iterator[Any]:
    """Yield a cursor that binds parameters in the database; each text is prepared when it is first run.

    Django's own cursors write parameters into the text, so that no two are alike.
    """
    connection.ensure_connection()
    connection.connection.prepare_threshold = 0
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with wrap(psycopg.Cursor(connection.connection)) as cursor:  # type: ignore[arg-type]  # any DB-API cursor will do
        yield cursor

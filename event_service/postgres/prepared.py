"""Statements that PostgreSQL plans once in a while, and not each time: planning one may take longer than running it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection

from event_service.postgres import dates

PLANS_S = 2.0  # for which plans are kept: one made while a table was small walks through all of it once it is large

_planned_at: WeakKeyDictionary[psycopg.Connection[Any], float] = WeakKeyDictionary()


@contextmanager
def prepared(*, binary: bool = False) -> Iterator[Any]:
    """Yield a cursor that binds parameters in the database; each text is prepared when it is first run.

    Django's own cursors write parameters into the text, so that no two are alike. Many rows with ids and dates are read
    sooner as `binary`.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        _renew(connection.connection)
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    driver = connection.connection
    bound = psycopg.Cursor(driver)
    bound.format = psycopg.pq.Format(binary)
    driver.prepare_threshold = 0
    try:
        with wrap(bound) as cursor:  # type: ignore[arg-type]  # any DB-API cursor will do
            dates.read_quickly(cursor)
            yield cursor
    finally:
        driver.prepare_threshold = None  # it would keep what else is said there, whole, to count how often that is


def _renew(driver: psycopg.Connection[Any]) -> None:
    now = time.monotonic()
    if driver not in _planned_at:
        _planned_at[driver] = now
    elif now - _planned_at[driver] >= PLANS_S:
        driver.execute("DISCARD PLANS")
        _planned_at[driver] = now

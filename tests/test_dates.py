"""Dates that psycopg reads by itself are those that Django reads."""

from datetime import UTC, datetime, timedelta

from django.db import connection

from event_service.postgres import dates


def test_dates_are_the_same_and_in_utc(db):
    found = []
    for prepare in (lambda cursor: None, dates.read_quickly):
        with connection.cursor() as cursor:
            prepare(cursor)
            cursor.execute("SELECT timestamptz '2026-11-26 01:30:00.123456+02'")
            found.append(cursor.fetchone()[0])

    assert found == [datetime(2026, 11, 25, 23, 30, 0, 123456, tzinfo=UTC)] * 2
    assert [date.utcoffset() for date in found] == [timedelta(0)] * 2

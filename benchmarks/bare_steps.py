"""Latency's baseline: the steps of an event on its way, bare, one after the other.

A request to an application that does nothing, under daphne as it comes; a row that is committed; a request with the
event to its receiver. Each thread has connections of its own, and does nothing else.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import requests
from django.db import connection

THREADS = 8
_HEADERS = {"content-type": "application/json"}


def steps(*, door: str, receiver: str, body: str, rate: int, seconds: float) -> None:
    """Send that many events a second, each with the time at which it was due in place of SENT_AT."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bare_steps (data text)")
    parameters = connection.get_connection_params()
    del parameters["cursor_factory"]  # Django's own
    started, started_at = time.monotonic(), time.time()

    def take_every_eighth(first: int) -> None:
        with requests.Session() as session, psycopg.connect(**parameters, autocommit=True) as database:
            for number in range(first, int(rate * seconds), THREADS):
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
                event = body.replace("SENT_AT", f"{started_at + number / rate:.6f}")
                session.post(door, data=event, headers=_HEADERS, timeout=15).raise_for_status()
                database.execute("INSERT INTO bare_steps VALUES (%s)", [event])
                session.post(receiver, data=event, headers=_HEADERS, timeout=15).raise_for_status()

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(take_every_eighth, range(THREADS)))

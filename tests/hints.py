"""What the database tells those who listen for hints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection

from routing.router import WEB_SOCKET_HINT, WEBHOOK_HINT

Hint = tuple[str, str]  # channel and payload


@contextmanager
def hearing() -> Iterator[Callable[[int], set[Hint]]]:
    """Listen; calling what is yielded waits for so many hints.

    The connection ends with the test: one that went back to the pool would hear on, and tell another test.
    """
    parameters = {name: value for name, value in connection.get_connection_params().items() if name != "pool"}
    with psycopg.connect(**parameters, autocommit=True) as listening:
        listening.execute(f"LISTEN {WEBHOOK_HINT}")
        listening.execute(f"LISTEN {WEB_SOCKET_HINT}")
        yield lambda count: {(hint.channel, hint.payload) for hint in listening.notifies(timeout=5, stop_after=count)}

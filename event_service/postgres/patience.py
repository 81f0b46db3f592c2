"""How long a migration waits for a table: whoever comes after it for the same table waits behind it."""

from typing import Any

from django.db import connections

LIMIT = "2s"  # after which it fails, is undone, and can be started again


def limit(*, using: str, **_: Any) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LIMIT])


def lift(*, using: str, **_: Any) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("RESET lock_timeout")

"""The audit log: who acts is said to the database, whose triggers write what changed, whoever changes it and however.

Who acts is a setting of PostgreSQL, for a transaction or for all that a command does. Where nothing is said, it was
somebody with SQL.
"""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psutil
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.pq import TransactionStatus

from endpoints.telling import TellingCommand
from endpoints.tenancy import transaction_with

SETTING = "event_service.actor"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and what they are about to do."""

    kind: str  # of AuditEntry.Actor
    id: str
    name: str
    operation: str
    address: str = ""

    def setting(self) -> dict[str, str]:
        return {SETTING: json.dumps(asdict(self))}


def by(actor: Actor) -> AbstractContextManager[None]:
    """Run a transaction whose changes are put down to `actor`."""
    return transaction_with(actor.setting())


def note(object_type: str, object_ids: Iterable[Any], workspace_id: UUID | None, **changes: Any) -> None:
    """Write down what was done to objects where no row tells of it: for the actor of this transaction."""
    told = json.dumps({name: {"before": None, "after": value} for name, value in changes.items()})
    ids = [str(object_id) for object_id in object_ids]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT endpoints_note(%s, id, %s, %s::jsonb, '') FROM unnest(%s::text[]) AS id",
            [object_type, workspace_id, told, ids],
        )


@contextmanager
def throughout(actor: Actor) -> Iterator[None]:
    """Put all that this process does meanwhile down to `actor`, on every connection."""

    def say(connection: BaseDatabaseWrapper, **_: Any) -> None:
        _say(connection, actor.setting()[SETTING])

    connection_created.connect(say, weak=False)
    try:
        say(connection)
        yield
    finally:
        connection_created.disconnect(say)
        if connection.connection and connection.connection.info.transaction_status != TransactionStatus.INERROR:
            _say(connection, "")


def _say(connection: BaseDatabaseWrapper, actor: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [SETTING, actor])


class AuditedCommand(TellingCommand):
    """A command whose changes are put down to who runs it on which machine."""

    def execute(self, *args: Any, **options: Any) -> Any:
        name = type(self).__module__.rpartition(".")[2]
        user = psutil.Process().username()
        with throughout(Actor("COMMAND", user, user, name, socket.gethostname())):
            return super().execute(*args, **options)

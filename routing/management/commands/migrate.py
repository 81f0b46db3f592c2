"""Django's own, but for what is left by one that is killed half way.

Django commits a migration that makes foreign keys before it notes that it did: the next one would do it again.
"""

from contextlib import nullcontext
from typing import Any

from django.core.management.commands import migrate
from django.db import transaction
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from endpoints.telling import GENERAL


class Executor(MigrationExecutor):
    def apply_migration(self, state: Any, migration: Migration, *args: Any, **kwargs: Any) -> Any:
        whole = transaction.atomic(self.connection.alias) if migration.atomic else nullcontext()
        with whole:  # with the note
            return super().apply_migration(state, migration, *args, **kwargs)


migrate.MigrationExecutor = Executor  # type: ignore[attr-defined]  # the command takes no other


class Command(migrate.Command):
    suppressed_base_arguments = GENERAL
    help = "Bring the database's tables up to this release. A migration that is killed half way leaves nothing."

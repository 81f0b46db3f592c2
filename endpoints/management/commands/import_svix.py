from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from endpoints.audit import AuditedCommand
from endpoints.errors import ServiceError
from endpoints.models import Workspace
from endpoints.svix import Listed, bring_in, read


class Command(AuditedCommand):
    help = "Make webhooks of the endpoints that Svix's API lists. A second run changes what differs, and nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", help="its id or name")
        parser.add_argument("file", type=Path, help="JSON, as GET /api/v1/app/APP/endpoint answers it")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.called(options["workspace"])
        try:
            listed = read(options["file"].read_bytes())
        except OSError as error:
            raise CommandError(f"{options['file']} can't be read: {error.strerror}.") from error
        except ServiceError as error:
            raise CommandError(f"{options['file']}: {error.message}") from error
        with transaction.atomic():  # all of the file, or nothing
            for each in listed:
                self._bring_in(each, workspace)
            if options["dry_run"]:
                transaction.set_rollback(True)
        if options["dry_run"]:
            self.tell("Nothing of this was done: --dry-run.", done=False)

    def _bring_in(self, listed: Listed, workspace: Workspace) -> None:
        try:
            brought = bring_in(listed, workspace.pk)
        except ServiceError as error:
            raise CommandError(f"{listed.known_as}: {error.message} Nothing was done.") from error
        left = f"; left out: {', '.join(listed.left)}" if listed.left else ""
        self.tell(
            f"{listed.known_as}: {brought.outcome}, {brought.id}{left}",
            endpoint=listed.known_as,
            outcome=brought.outcome,
            id=brought.id,
            leftOut=listed.left,
        )

import json
from argparse import ArgumentParser
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Q
from django.utils import timezone

from endpoints.audit import AuditedCommand
from endpoints.errors import BadInput
from endpoints.models import ApiKey, Scope, Workspace


class Command(AuditedCommand):
    help = "Make a key for a workspace. It is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", help="its id or name")
        parser.add_argument("--scope", action="append", required=True, choices=Scope.values, dest="scopes")
        parser.add_argument("--name", default="key", help="by which people recognise it")
        parser.add_argument("--expires-in-days", type=int, help="when it ends; never, when left out")
        parser.add_argument("--json", action="store_true", help='one line {"workspaceId": ..., "apiKey": ...}')

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = _workspace(options["workspace"])
        days = options["expires_in_days"]
        try:
            _, key = ApiKey.issue(
                workspace=workspace,
                name=options["name"],
                scopes=options["scopes"],
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
            )
        except BadInput as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps({"workspaceId": str(workspace.pk), "apiKey": key}))
        else:
            self.stdout.write(f"Key, shown only now: {key}")


def _workspace(id_or_name: str) -> Workspace:
    wanted = Q(name=id_or_name)
    with suppress(ValueError):  # a name it is
        wanted |= Q(pk=UUID(id_or_name))
    try:
        return Workspace.objects.get(wanted)
    except Workspace.DoesNotExist as error:
        raise CommandError(f"There is no workspace with the id or name {id_or_name!r}.") from error

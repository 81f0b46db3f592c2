import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import IntegrityError, transaction

from endpoints.audit import AuditedCommand
from endpoints.checks import checked_name
from endpoints.errors import BadInput
from endpoints.models import ApiKey, Scope, Workspace


class Command(AuditedCommand):
    help = "Make a workspace, and a key with all scopes. The key is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--json", action="store_true", help='one line {"workspaceId": ..., "apiKey": ...}')

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            workspace, key = _create(options["name"])
        except BadInput as error:
            raise CommandError(error.message) from error
        except IntegrityError as error:
            raise CommandError(f"There is a workspace {options['name']!r} already; choose another name.") from error
        if options["json"]:
            self.stdout.write(json.dumps({"workspaceId": str(workspace.pk), "apiKey": key}))
        else:
            self.stdout.write(f"Workspace {workspace.name}: {workspace.pk}\nKey, shown only now: {key}")


@transaction.atomic
def _create(name: str) -> tuple[Workspace, str]:
    workspace = Workspace.objects.create(name=checked_name(name))
    _, key = ApiKey.issue(workspace=workspace, name="first key", scopes=Scope.values)
    return workspace, key

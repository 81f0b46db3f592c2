from argparse import ArgumentParser
from typing import Any

from django.db import IntegrityError, transaction

from endpoints.audit import AuditedCommand
from endpoints.checks import checked_name
from endpoints.errors import Conflict
from endpoints.models import ApiKey, Scope, Workspace


class Command(AuditedCommand):
    help = "Make a workspace, and a key with all scopes. The key is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            workspace, key = _create(options["name"])
        except IntegrityError as error:
            raise Conflict(f"There is a workspace {options['name']!r} already; choose another name.") from error
        text = f"Workspace {workspace.name}: {workspace.pk}\nA key, shown only now, for your shell:\n\n    KEY={key}\n"
        self.tell(text, workspaceId=workspace.pk, apiKey=key)


@transaction.atomic
def _create(name: str) -> tuple[Workspace, str]:
    workspace = Workspace.objects.create(name=checked_name(name))
    _, key = ApiKey.issue(workspace=workspace, name="first key", scopes=Scope.values)
    return workspace, key

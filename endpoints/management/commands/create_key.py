from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.utils import timezone

from endpoints.audit import AuditedCommand
from endpoints.models import ApiKey, Scope, Workspace


class Command(AuditedCommand):
    help = "Make a key for a workspace. It is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", help="its id or name")
        parser.add_argument("--scope", action="append", required=True, choices=Scope.values, dest="scopes")
        parser.add_argument("--name", default="key", help="by which people recognise it")
        parser.add_argument("--expires-in-days", type=int, help="when it ends; never, when left out")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["expires_in_days"]
        key, text = ApiKey.issue(
            workspace=Workspace.called(options["workspace"]),
            name=options["name"],
            scopes=options["scopes"],
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
        )
        tell_key(self, key, text)


def tell_key(command: AuditedCommand, key: ApiKey, text: str) -> None:
    shown = f"A key, shown only now, for your shell:\n\n    KEY={text}\n"
    command.tell(shown, workspaceId=key.workspace_id, apiKey=text)

import secrets
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from endpoints.audit import AuditedCommand
from endpoints.models import ApiKey, Scope, Workspace

_WELCOME = """\
The first start made an administrator and a workspace. This is shown once: passwords and keys are not kept.

    Admin      http://{address}/admin/
               user admin, password {password}
    Workspace  demo

Its key, for your shell:

    KEY={key}

Publish an event, as soon as the service is ready:

    curl http://{address}/event-service/events \\
        -H "Authorization: Bearer $KEY" \\
        -H 'Content-Type: application/json' \\
        -d '{{"type": "order.paid", "data": {{"orderId": 1001, "total": 24.90}}}}'
"""


class Command(AuditedCommand):
    help = "In an empty database: make an administrator and a workspace with a key, and print how to use them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT, help="at which the service will be")
        parser.add_argument("--host", default=settings.HOST)

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model().objects
        if Workspace.objects.exists() or users.exists():
            return
        password = secrets.token_urlsafe(12)
        with transaction.atomic():
            users.create_superuser("admin", password=password)
            workspace = Workspace.objects.create(name="demo")
            _, key = ApiKey.issue(workspace=workspace, name="demo", scopes=Scope.values)
        address = _address(options["host"], options["port"])
        self.tell(
            _WELCOME.format(address=address, password=password, key=key),
            **{"address": address, "user": "admin", "password": password},
            **{"workspaceId": workspace.pk, "apiKey": key},
        )


def _address(host: str, port: int) -> str:
    """Return where this machine reaches the service: a server that listens everywhere is also at home."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = port or "PORT"  # a free one, which Ready: will name
    return f"[{host}]:{shown}" if ":" in host else f"{host}:{shown}"

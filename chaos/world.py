"""Who wants what in a run: made by a process of its own, `python -m chaos.world`, and known to all sides.

Each workspace has four endpoints, each of which wants three of the four types of events: every event goes to three. One
of them is ordered, by keys that each event has for itself, so that results with keys and without are settled.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("order.paid", "order.sent", "order.lost", "order.back")
FAN_OUT = len(TYPES) - 1
RETRIES = {"schedule": [1] * 4 + [2] * 16}  # a run does not wait half an hour for what failed twice


@dataclass(frozen=True)
class World:
    workspaces: dict[str, str]  # key by workspace id
    secrets: dict[str, str]  # by path, /workspace/type that is not wanted

    @classmethod
    def parse(cls, text: str) -> "World":
        return cls(**json.loads(text))

    @staticmethod
    def wanting(workspace_id: str, type: str) -> set[str]:
        """Return the paths where such an event belongs."""
        return {f"/{workspace_id}/{unwanted}" for unwanted in TYPES if unwanted != type}


def main(receiver: str, count: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
    import django

    django.setup()
    workspaces: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for n in range(count):
        made: Any = _make(f"Workspace {n}", receiver)
        workspaces |= made[0]
        secrets |= made[1]
    print(json.dumps({"workspaces": workspaces, "secrets": secrets}))


def _make(name: str, receiver: str) -> tuple[dict[str, str], dict[str, str]]:
    from django.db import transaction

    from endpoints.models import ApiKey, Endpoint, EventFilter, Scope, Workspace

    with transaction.atomic():
        workspace = Workspace.objects.create(name=name)
        _, key = ApiKey.issue(workspace=workspace, name="chaos", scopes=Scope.values)
        secrets = {}
        for unwanted in TYPES:
            path = f"/{workspace.pk}/{unwanted}"
            endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name=unwanted, url=receiver + path)
            wanted = {"in": {"eventTypes": [type for type in TYPES if type != unwanted]}}
            EventFilter.create(workspace_id=workspace.pk, name=unwanted, definition=wanted, endpoints=[endpoint])
            secrets[path] = endpoint.secret
        Endpoint.objects.filter(workspace=workspace).update(retry_policy=RETRIES)
        Endpoint.objects.filter(workspace=workspace, name=TYPES[0]).update(ordering=Endpoint.Ordering.FIFO_SKIP)
    return {str(workspace.pk): key}, secrets


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

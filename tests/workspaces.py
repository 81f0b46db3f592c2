"""One row of each kind in a workspace."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from endpoints.models import (
    ApiKey,
    AuditEntry,
    Endpoint,
    EventFilter,
    EventType,
    PortalLink,
    PortalTheme,
    Scope,
    Workspace,
)
from routing.models import Attempt, Cursor, Delivery, Event, Socket, SocketNode
from routing.replays import Selection, create


@dataclass
class Everything:
    key: str
    rows: dict[str, Any]  # by how they are called

    def ids(self) -> list[str]:
        return [str(row.pk) for row in self.rows.values()]

    def own(self) -> dict[str, str]:
        """Return an id for each name under which an operation asks for one."""
        names = {"endpointId": "websocket", "endpointIds": "websocket", "ids": "websocket", "id": "websocket"}
        names |= {"eventFiltersId": "filter", "toEndpointId": "websocket", "eventId": "event"}
        return {name: str(self.rows[kind].pk) for name, kind in names.items()}


def fill(workspace: Workspace) -> Everything:
    api_key, key = ApiKey.issue(workspace=workspace, name="everything", scopes=Scope.values)
    websocket = Endpoint.create_web_socket(workspace_id=workspace.pk, name="socket")
    webhook = Endpoint.create_webhook(workspace_id=workspace.pk, name="hook", url="https://example.com/")
    event_filter = EventFilter.create(
        workspace_id=workspace.pk, name="filter", definition={"pattern": {}}, endpoints=[webhook]
    )
    event = Event.objects.create(workspace=workspace, type="a", date=timezone.now(), data="1")
    delivery = Delivery.objects.create(
        workspace=workspace, event=event, endpoint=webhook, seq=1_000, due_at=timezone.now()
    )
    Cursor.objects.filter(endpoint=webhook).update(last_seq=1)  # by which deliveries are counted
    attempt = Attempt.objects.create(workspace=workspace, delivery=delivery, number=1, started_at=timezone.now())
    socket = Socket.objects.create(
        node=SocketNode.objects.create(), workspace=workspace, endpoint=websocket, key=api_key, address="192.0.2.1"
    )
    rows = {
        "websocket": websocket,
        "webhook": webhook,
        "filter": event_filter,
        "key": api_key,
        "event": event,
        "delivery": delivery,
        "attempt": attempt,
        "socket": socket,
        "link": PortalLink.issue(workspace=workspace, name="link", endpoint=websocket)[0],
        "theme": PortalTheme.change(workspace, name="theme"),
        "replay": create(Selection(webhook)),
        "type": EventType.named(workspace_id=workspace.pk, name="a"),
        "entry": AuditEntry.objects.filter(workspace=workspace).earliest("at"),
    }
    return Everything(key, rows)

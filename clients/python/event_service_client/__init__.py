"""Publish events to Event Service, and verify its webhooks. What needs more than httpx stands in modules of its own:
event_service_client.websocket, and event_service_client.django for producers that have an outbox."""

from event_service_client.errors import (
    EventRefused,
    EventServiceError,
    EventsRefused,
    RequestRefused,
    Unavailable,
    WebhookRefused,
)
from event_service_client.events import Event, Published, RawJson, ReceivedEvent
from event_service_client.publishing import AsyncClient, Client
from event_service_client.webhooks import Webhook

__all__ = [
    "AsyncClient",
    "Client",
    "Event",
    "EventRefused",
    "EventServiceError",
    "EventsRefused",
    "Published",
    "RawJson",
    "ReceivedEvent",
    "RequestRefused",
    "Unavailable",
    "Webhook",
    "WebhookRefused",
]

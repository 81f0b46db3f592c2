"""Which application answers what. The event door comes first, ahead of Django's middleware."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

# These need a Django that is set up.
from event_service import subscriptions  # noqa: E402
from event_service.files import Files  # noqa: E402
from routing.consumers import web_sockets  # noqa: E402
from routing.ingest import PATH, EventDoor  # noqa: E402

event_door = EventDoor()
files = Files()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] == "websocket" and scope["path"] == subscriptions.PATH:
        await subscriptions.GraphQLConsumer()(scope, receive, send)
    elif scope["type"] == "websocket":
        await web_sockets(scope, receive, send)
    elif scope["path"] == PATH:
        await event_door(scope, receive, send)
    elif scope["path"].startswith(settings.STATIC_URL):
        await files(scope, receive, send)
    else:
        await django_application(scope, receive, send)

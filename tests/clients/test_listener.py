"""The Python client's listener, against web processes that end and connections that break."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from endpoints.models import Endpoint
from event_service_client.websocket import Listener, SocketEvent
from tests.service import wait_until
from tests.web import DEADLINE_S, Web, record, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]


@pytest.fixture
def publish(workspace: Any) -> Callable[..., Any]:
    return partial(record, workspace)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("event_service_client.websocket.pause_s", lambda tries: 0.01)


def listener(web: Web, endpoint: Endpoint, key: str, **options: Any) -> Listener:
    return Listener(f"http://127.0.0.1:{web.port}", str(endpoint.pk), key, **options)


async def take(events: Listener) -> SocketEvent:
    found = await asyncio.wait_for(anext(events), DEADLINE_S)
    assert isinstance(found, SocketEvent), found
    return found


async def break_off(events: Listener) -> None:
    assert events._socket
    events._socket.transport.abort()


def wait_for_states(endpoint: Endpoint, *wanted: str) -> None:
    wait_until(lambda: [state for _, state in states(endpoint)], lambda found: found == list(wanted))

"""The whole way: an event in, a signed webhook and a websocket frame out, with nothing but real parts."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook
from websockets.sync.client import connect

from tests.browser import window
from tests.receiver import Receiver
from tests.service import Service, wait_until

CREATE_WEBHOOK = """
mutation ($name: String!, $url: String!) { createWebhookEndpoint(name: $name, url: $url) { id } }
"""
CREATE_SOCKET = 'mutation { createWebSocketEndpoint(name: "socket") { id } }'
CREATE_FILTER = """
mutation ($pattern: JSON!, $ids: [ID!]) {
  createEventFilters(name: "filter", eventFiltersInput: {pattern: $pattern}, endpointIds: $ids) { id }
}
"""
DELIVERIES = """
query ($endpoint: ID!) {
  deliveries(filters: {endpointId: {exact: $endpoint}}, order: {seq: ASC}, pagination: {limit: 200}) {
    totalCount
    collectionItems { eventId seq state reason attempts { number statusCode error } }
  }
}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


def create_webhook(service: Service, url: str, *, wants: dict[str, Any] | None = None) -> str:
    endpoint: str = service.graphql(CREATE_WEBHOOK, name="webhook", url=url)["createWebhookEndpoint"]["id"]
    if wants:
        service.graphql(CREATE_FILTER, pattern=wants, ids=[endpoint])
    return endpoint


def all_in(state: str) -> Callable[[Any], bool]:
    return lambda found: {row["state"] for row in found["deliveries"]["collectionItems"]} == {state}


def test_an_event_reaches_the_webhook_that_wants_it_signed_and_byte_for_byte(
    service: Service, receiver: Receiver
) -> None:
    wanting = create_webhook(service, f"{receiver.url}/wanting", wants={"type": ["invoice.paid"]})
    create_webhook(service, f"{receiver.url}/indifferent", wants={"type": ["user.created"]})
    data = '{"total": 1.00, "e": 1e2, "name": "Zo\\u00eb", "twice": 1, "twice": 2}'

    answer = requests.post(
        f"{service.url}/event-service/events",
        data=f'{{"type": "invoice.paid", "data": {data}, "date": "2026-11-22T10:00:00Z"}}',
        headers={"Token": service.key, "content-type": "application/json"},
        timeout=30,
    )

    (event,) = answer.json()["events"]
    request = receiver.wait_for(lambda request: request.path == "/wanting")
    assert request.body.decode() == (
        f'{{"id":"{event["id"]}","type":"invoice.paid","date":"2026-11-22T10:00:00.000000+00:00",'
        f'"workspaceId":"{service.workspace_id}","data":{data}}}'
    )
    secret = service.graphql("query ($id: ID!) { endpointSecret(id: $id) { secret } }", id=wanting)
    Webhook(secret["endpointSecret"]["secret"]).verify(request.body, request.headers)
    settled = wait_until(lambda: service.graphql(DELIVERIES, endpoint=wanting), all_in("DELIVERED"))
    assert settled["deliveries"]["collectionItems"] == [
        {
            "eventId": event["id"],
            "seq": 1,
            "state": "DELIVERED",
            "reason": "",
            "attempts": [{"number": 1, "statusCode": 200, "error": ""}],
        }
    ]
    assert [request.path for request in receiver.requests] == ["/wanting"]


def test_a_websocket_gets_what_it_missed_and_then_what_follows(service: Service) -> None:
    endpoint = service.graphql(CREATE_SOCKET)["createWebSocketEndpoint"]["id"]
    missed = service.publish({"type": "missed", "data": {"n": 1}}).json()["events"][0]["id"]
    address = f"{service.url.replace('http', 'ws')}/event-service/ws?endpoint_id={endpoint}"

    with connect(address, additional_headers={"Authorization": f"Bearer {service.key}"}) as socket:
        first = json.loads(socket.recv(30))
        live = service.publish({"type": "live"}).json()["events"][0]["id"]
        second = json.loads(socket.recv(30))

    assert (first["id"], first["type"], first["data"], first["cursor"][-2:]) == (missed, "missed", {"n": 1}, "-1")
    assert (second["id"], second["type"], second["cursor"][-2:]) == (live, "live", "-2")
    wait_until(lambda: service.graphql(DELIVERIES, endpoint=endpoint), all_in("DELIVERED"))


def test_a_browser_gets_events_with_its_key_in_the_subprotocols(service: Service) -> None:
    endpoint = service.graphql(CREATE_SOCKET)["createWebSocketEndpoint"]["id"]
    service.publish({"type": "seen", "data": {"n": 1}})
    address = f"{service.url.replace('http', 'ws')}/event-service/ws?endpoint_id={endpoint}"

    with window() as page:
        page.goto(f"{service.url}/healthz")  # a page of the same origin
        frame = page.evaluate(
            """([address, key]) => new Promise((resolve, reject) => {
                const socket = new WebSocket(address, ["event-service", "event-service.key." + key]);
                socket.onmessage = message => resolve(message.data);
                socket.onclose = end => reject(end.code + " " + end.reason);
            })""",
            [address, service.key],
        )

    assert json.loads(frame)["type"] == "seen"


@pytest.mark.parametrize("killed", [["web"], ["deliver"], ["serve", "web", "deliver"]], ids=" ".join)
def test_no_accepted_event_is_lost_when_processes_are_killed_under_load(
    tmp_path: Path, receiver: Receiver, killed: list[str]
) -> None:
    with Service(tmp_path, workers=2) as service:
        create_webhook(service, f"{receiver.url}/")
        accepted: list[str] = []
        load = threading.Thread(target=publish_until, args=[service, accepted, 300])
        load.start()
        receiver.wait_for_count(100)

        service.kill(*killed)
        load.join()
        if "serve" in killed:
            service.start()
        service.end_leases()

        assert len(accepted) >= 100
        receiver.wait_until_all_of(accepted)
        assert service.stop() == 0


def publish_until(service: Service, accepted: list[str], count: int) -> None:
    """Publish `count` events, less when the service is gone for good, and note which were accepted."""
    for n in range(count):
        try:
            answer = service.publish({"type": "load", "data": n}, timeout_s=5)
        except requests.RequestException:
            if service.supervisor.poll() is not None:
                return
        else:
            if answer.status_code == 202:
                accepted += [event["id"] for event in answer.json()["events"]]

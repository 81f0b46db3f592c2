"""Nothing secret is told where it does not belong: markers come in by every door, and all that can be read is read."""

import json
import logging
import re
import secrets
from base64 import b64encode
from functools import partial
from typing import Any

import psutil
import pytest
import requests
from cryptography.fernet import Fernet
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from endpoints.keys import new_key
from endpoints.schema.access import Caller
from event_service.logs import Discreet
from tests.operations import FIELDS, document
from tests.receiver import Receiver, answer
from tests.service import Service, wait_until
from tests.test_listen import CREATE_SOCKET

CREATE = """
mutation ($url: String!, $headers: JSON) {
  createWebhookEndpoint(name: "hook", url: $url, headers: $headers, asymmetricSignatures: true) { id }
}
"""
ROTATE = "mutation ($id: ID!, $secret: String) { rotateEndpointSecret(id: $id, secret: $secret) { secret } }"
TICKET = "mutation ($id: ID!) { createSocketTicket(endpointId: $id) { ticket } }"
ATTEMPTS = "{ attempts { collectionItems { statusCode responseBody } } }"
KEY = 'mutation { createApiKey(name: "n", scopes: [subscribe]) { key apiKey { id } } }'


def marker(name: str) -> str:
    return f"planted-{name}-{secrets.token_hex(8)}"


class Planted(dict[str, str]):
    """What is secret, by what it is."""

    def found_in(self, text: str) -> list[str]:
        return [name for name, value in self.items() if value in text]


@pytest.fixture(scope="module")
def planted() -> Planted:
    names = ["secret key", "header", "other header", "body", "query", "operation", "password", "cookie", "url token"]
    names += ["never stored", "broken", "subprotocol", "wrong token", "wrong bearer", "ticket"]
    made = Planted({name: marker(name.replace(" ", "-")) for name in names})
    made["sealing key"] = Fernet.generate_key().decode()
    made["own secret"] = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    made["unknown key"] = new_key()
    return made


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Any:
    environment = {"SECRET_KEY": planted["secret key"], "EVENT_SERVICE_SEALING_KEYS": planted["sealing key"]}
    with Service(tmp_path_factory.mktemp("service"), **environment) as service:
        planted["key"] = service.key
        yield service


def plant_configuration(service: Service, planted: Planted, receiver: Receiver) -> None:
    receiver.answer = answer(500, f"{planted['header']} {planted['other header']}".encode())
    headers = {"Authorization": f"Bearer {planted['header']}", "X-Key": planted["other header"]}
    hook = service.graphql(CREATE, url=receiver.url, headers=headers)["createWebhookEndpoint"]["id"]
    shown = service.graphql(f'{{ endpointSecret(id: "{hook}") {{ secret }} }}')
    planted["first secret"] = shown["endpointSecret"]["secret"]
    service.graphql(ROTATE, id=hook, secret=planted["own secret"])
    made = service.graphql(KEY)["createApiKey"]
    planted["revoked key"] = made["key"]
    service.graphql(f'mutation {{ revokeApiKey(id: "{made["apiKey"]["id"]}") {{ ok }} }}')
    service.publish({"type": "order.paid", "data": planted["body"]})
    receiver.wait_for_count(1)


def plant_in_requests(service: Service, planted: Planted) -> list[str]:
    """Send what opens nothing, and return what was answered."""
    door, graphql = "/event-service/events", "/event-service/graphql"
    query = {"query": "{ workspace { id } }"}
    sent: list[tuple[str, dict[str, Any]]] = []
    for wrong in ("wrong bearer", "unknown key", "revoked key"):
        headers = {"Authorization": f"Bearer {planted[wrong]}"}
        sent += [(door, {"json": {"type": "a"}, "headers": headers}), (graphql, {"json": query, "headers": headers})]
    sent += [
        (door, {"json": {}, "headers": {"Token": planted["wrong token"]}}),
        (f"{graphql}?token={planted['url token']}", {"json": query}),
        (f"{graphql}?{planted['query']}", {"data": "{", "headers": {"Content-Type": "x"}}),
        (graphql, {"json": query, "cookies": {"sessionid": planted["cookie"]}}),
        ("/admin/login/", {"data": {"username": "admin", "password": planted["password"]}}),
    ]
    answers = [requests.post(service.url + path, timeout=30, **options) for path, options in sent]
    return [f"{found.status_code} {found.headers} {found.text}" for found in answers]


def plant_in_sockets(service: Service, planted: Planted) -> list[str]:
    """Open a websocket by a ticket, and return why others were closed."""
    id_ = service.graphql(CREATE_SOCKET)["createWebSocketEndpoint"]["id"]
    planted["good ticket"] = service.graphql(TICKET, id=id_)["createSocketTicket"]["ticket"]
    where = f"{service.url.replace('http', 'ws')}/event-service/ws?endpoint_id={id_}"
    with connect(f"{where}&access={planted['good ticket']}"):
        pass
    protocols: Any = ["event-service", f"event-service.key.{planted['subprotocol']}"]
    return [why_closed(f"{where}&access={planted['ticket']}"), why_closed(where, subprotocols=protocols)]


def why_closed(where: str, **options: Any) -> str:
    with connect(where, **options) as refused, pytest.raises(ConnectionClosed) as closed:
        refused.recv(timeout=30)
    return str(closed.value)


def plant_in_faults(service: Service, planted: Planted) -> list[str]:
    """Have statements fail that have a marker in their rows or conditions, and return what was answered."""
    sql = partial(service.manage, "dbshell", "--", "-c")
    sql("ALTER TABLE routing_event ADD CONSTRAINT never CHECK (type <> 'never')")
    never = service.publish({"type": "never", "data": planted["never stored"]})
    sql("ALTER TABLE routing_event RENAME subject TO hidden")
    broken = service.publish({"type": "a", "data": planted["broken"]})
    condition = f'{{type: {{exact: "{planted["operation"]}"}}}}'
    failed = requests.post(
        f"{service.url}/event-service/graphql",
        json={"query": f"{{ events(filters: {condition}) {{ collectionItems {{ id }} }} }}"},
        headers={"Token": service.key},
        timeout=30,
    )
    sql("ALTER TABLE routing_event RENAME hidden TO subject")
    assert (never.status_code, broken.status_code, "INTERNAL" in failed.text) == (503, 503, True)
    return [never.text, broken.text, failed.text]


def processes(service: Service) -> str:
    ours = [psutil.Process(service.supervisor.pid), *psutil.Process(service.supervisor.pid).children(recursive=True)]
    return "\n".join(f"{process.name()} {' '.join(process.cmdline())}" for process in ours)


def everything_that_can_be_read(service: Service) -> str:
    """Answer every list and the workspace, with all that a key of every scope is shown."""
    names = [name for name, (kind, field) in FIELDS.items() if kind == "query" and "pagination" in field.args]
    return json.dumps([service.graphql(document(name, {})) for name in names])


def test_what_is_planted_in_every_door_is_read_nowhere(service: Service, planted: Planted) -> None:
    with Receiver() as receiver:
        plant_configuration(service, planted, receiver)
        told = [*plant_in_requests(service, planted), *plant_in_sockets(service, planted)]
        told += plant_in_faults(service, planted)
        shown = wait_until(lambda: json.dumps(service.graphql(ATTEMPTS)), lambda found: "(secret)" in found)
    logs = list(service.log.parent.glob("*.log"))
    logged = wait_until(
        lambda: "\n".join(path.read_text() for path in logs),
        lambda text: "GraphQL error" in text and "could not be stored" in text,
    )

    assert len(planted) >= 20
    assert planted.found_in("\n".join([*told, shown, logged, processes(service)])) == []
    assert planted.found_in(everything_that_can_be_read(service)) == ["body"]  # which is the event


def test_who_asks_does_not_show_what_they_presented() -> None:
    assert "planted" not in repr(Caller("Bearer planted", "planted"))


def test_the_log_leaves_out_the_rows_that_postgresql_quotes() -> None:
    try:
        try:
            raise ValueError("violates\nDETAIL:  Failing row contains (planted,\nplanted).\nHINT:  none")
        except ValueError as error:
            raise RuntimeError("failed\nDETAIL:  Key (digest)=(planted) exists.") from error
    except RuntimeError as error:
        record = logging.LogRecord("x", 40, "", 1, "said: %s", (error,), (type(error), error, error.__traceback__))
    text = Discreet("{message}", style="{").format(record)
    assert "planted" not in re.sub(r"(?s)Traceback.*?\n\w+Error", "", text)
    assert text.count("DETAIL:  (not logged)") == 3
    assert "HINT:  none" in text
    assert "RuntimeError: failed" in text

"""docs/reference is what the code says, and what the code says is what passes the doors."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
from django.core.management import CommandError, call_command
from django.urls import get_resolver
from graphql import build_schema
from openapi_spec_validator import OpenAPIV31SpecValidator

from event_service.contract import DOCUMENTS, document, schemas
from event_service.contract.openapi import CLOUD_EVENT_HEADERS, WEBHOOK_HEADERS
from event_service.execution import Call
from routing import envelope, ingest, webhooks
from routing.cloudevents import _CloudEvent
from routing.management.commands import reference
from routing.sockets import asked, frames
from routing.sockets.cursors import Cursor
from routing.submissions import Submission

OPENAPI, ASYNCAPI = json.loads(document("openapi.json")), json.loads(document("asyncapi.json"))
OFFICIAL = Path(__file__).parent / "asyncapi-3.0.0.json"  # https://www.npmjs.com/package/@asyncapi/specs, Apache-2.0
EVENT: dict[str, Any] = {
    "id": uuid4(),
    "type": "order.paid",
    "date": datetime(2026, 11, 22, tzinfo=UTC),
    "source": "shop",
    "subject": "order/1",
    "workspace_id": uuid4(),
    "extensions": '{"x":1,"y":true,"z":"€"}',
    "traceparent": f"00-{uuid4().hex}-00f067aa0ba902b7-01",
}
PAGES = {"admin/", "event-service/language", "event-service/live", "event-service/portal/", ""}  # for people


def fits(schema: str, value: bytes | str, among: dict[str, Any] = OPENAPI) -> bool:
    text = json.dumps({"$ref": f"#/components/schemas/{schema}", "components": among["components"]})
    return jsonschema_rs.validator_for(json.loads(text)).is_valid(json.loads(value))


def test_the_reference_is_what_the_code_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("reference", check=True)

    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    with pytest.raises(CommandError, match=r"Out of date in docs/reference: .*openapi\.json.*Run"):
        call_command("reference", check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_documents_are_valid_by_their_own_standards() -> None:
    OpenAPIV31SpecValidator(OPENAPI).validate()
    jsonschema_rs.validator_for(json.loads(OFFICIAL.read_text())).validate(ASYNCAPI)
    assert build_schema(document("schema.graphql")).query_type


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_service_tells_them(client: Any, settings: Any, key: str, name: str) -> None:
    path = f"/event-service/{name}"
    assert client.get(path).content.decode() == document(name)

    settings.GRAPHIQL = False
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": f"Bearer {key}"}).content.decode() == document(name)
    assert client.post(path).status_code == 405


def test_every_route_that_is_no_page_is_described() -> None:
    routes = {str(pattern.pattern) for pattern in get_resolver().url_patterns} | {ingest.PATH.lstrip("/")}

    programs = {route for route in routes - PAGES if not route.startswith(("admin/", "event-service/live/"))}
    assert {path.lstrip("/") for path in OPENAPI["paths"]} == programs


@pytest.mark.parametrize(
    ("struct", "schema"),
    [
        (Submission, schemas.SUBMISSION),
        (Call, schemas.CALL),
        (envelope._Envelope, schemas.SOCKET_EVENT),
        (envelope._CloudEvent, schemas.CLOUD_EVENT_OUT),
    ],
)
def test_a_schema_names_the_members_that_the_code_knows(struct: Any, schema: Any) -> None:
    assert set(schema["properties"]) == set(struct.__struct_encode_fields__)


def test_what_is_read_of_a_cloud_event_is_described() -> None:
    assert set(schemas.CLOUD_EVENT_IN["properties"]) == set(_CloudEvent.__struct_encode_fields__) - {"data_base64"}


def test_a_webhook_is_as_it_is_described() -> None:
    assert fits("WebhookEvent", envelope.render(**EVENT, data='{"a": 1}'))
    assert not fits("WebhookEvent", envelope.render(**EVENT, data="1", cursor="x"))
    assert fits("WebhookCloudEvent", envelope.structured(**EVENT, data="1"))
    assert set(envelope.binary_headers(**EVENT | {"extensions": ""})) == set(CLOUD_EVENT_HEADERS)


def test_a_webhook_has_the_headers_that_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "signatures", lambda *_: "v1,x")

    class job:
        event_id = delivery_id = uuid4()
        number = 1
        traceparent = ""

        class target:
            keys = ()

    always = {"accept", "accept-encoding"}
    assert set(webhooks._headers(job, b"", EVENT["date"])) - always == set(WEBHOOK_HEADERS)  # type: ignore[arg-type]


def test_the_frames_of_the_websocket_are_as_they_are_described() -> None:
    cursor, endpoint = Cursor("3f9a01bc", 7), uuid4()
    told = {
        "Ready": frames.ready(endpoint_id=endpoint, cursor=cursor, window_events=1, window_bytes=2, share="a"),
        "State": frames.state(cursor=cursor, state="EXHAUSTED", reason="GONE", attempts=2),
        "Watching": frames.ready_to_watch(endpoint_id=endpoint, cursor=cursor),
        "Event": frames.event(envelope.render(**EVENT, data="[]", cursor=str(cursor))),
        "PlainEvent": envelope.render(**EVENT, data="", cursor=str(cursor)),
        "Reset": frames.reset(reason="AHEAD", after=cursor, until=None, cursor=cursor),
        "Error": frames.error("BAD_FRAME", "It is no frame."),
    }

    assert [name for name, frame in told.items() if not fits(name, frame, ASYNCAPI)] == []
    assert set(told) | {"Ack", "Nack"} == set(ASYNCAPI["components"]["messages"])
    query = ASYNCAPI["channels"]["events"]["bindings"]["ws"]["query"]["properties"]
    assert list(query) == list(asked._PARAMETERS)


@pytest.mark.parametrize(
    ("name", "frame", "good"),
    [
        ("Ack", '{"kind": "ack", "cursor": "x-1"}', True),
        ("Ack", '{"kind": "ack"}', False),
        ("Nack", '{"kind": "nack", "cursor": "x-1", "reason": "no", "delaySeconds": 900}', True),
        ("Nack", '{"kind": "nack", "cursor": "x-1", "delaySeconds": 901}', False),
        ("Nack", '{"kind": "nack", "cursor": "x-1", "more": 1}', False),
    ],
)
def test_what_a_client_says_is_taken_where_its_schema_takes_it(name: str, frame: str, good: bool) -> None:
    assert fits(name, frame, ASYNCAPI) is good
    try:
        assert bool(frames.parse(frame)) is good
    except frames.BadFrame:
        assert not good

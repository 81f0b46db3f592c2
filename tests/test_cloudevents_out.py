"""A webhook that asks for CloudEvents 1.0, structured or binary."""

from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from cloudevents.core.bindings import http as sdk
from standardwebhooks import Webhook

from endpoints.vault import seal
from routing import cloudevents
from routing.queue import Job, Target
from routing.webhooks import deliver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT, WORKSPACE = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
STRUCTURED, BINARY = "CLOUDEVENTS_STRUCTURED", "CLOUDEVENTS_BINARY"
DATA = '{"total": 1.00, "e": 1e2, "twice": 1, "twice": 2}'


@pytest.fixture
def sent(receiver, door):
    """Send an event and return the request that arrived."""

    def send(payload_format, *, method="POST", at=NOW, **event):
        target = Target(
            endpoint_id=UUID(int=4),
            workspace_id=WORKSPACE,
            url=receiver.url,
            method=method,
            headers={},
            payload_format=payload_format,
            retry_policy={},
            ordering="UNORDERED",
            keys=[("v1", seal(b64decode(SECRET.removeprefix("whsec_"))))],
        )
        full = {"type": "order.paid", "date": NOW, "source": "shop", "subject": "order/1", "data": DATA}
        job = Job(
            target=target,
            delivery_id=UUID("01920000-0000-7000-8000-000000000003"),
            workspace_id=WORKSPACE,
            ordering_key="",
            number=1,
            first_due_at=NOW,
            event_id=EVENT,
            claimed_at=NOW,
            lease_token=UUID(int=5),
            **full,
        )
        outcome = deliver(job._replace(**event), door, now=at)
        assert outcome.error == ""
        return receiver.requests[-1]

    return send


def attributes(request):
    return {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("ce-")}


def test_a_structured_event_is_one_object_with_the_exact_data(sent):
    request = sent(STRUCTURED)

    assert request.headers["content-type"] == "application/cloudevents+json"
    assert attributes(request) == {}
    assert request.body.decode() == (
        f'{{"specversion":"1.0","id":"{EVENT}","source":"shop","type":"order.paid",'
        f'"time":"2026-11-22T10:00:00.000000+00:00","subject":"order/1","datacontenttype":"application/json",'
        f'"workspaceid":"{WORKSPACE}","data":{DATA}}}'
    )


def test_a_structured_event_leaves_out_what_is_absent_but_has_a_source(sent):
    request = sent(STRUCTURED, source="", subject="", data="")

    assert msgspec.json.decode(request.body) == {
        "specversion": "1.0",
        "id": str(EVENT),
        "source": "event-service",
        "type": "order.paid",
        "time": "2026-11-22T10:00:00.000000+00:00",
        "workspaceid": str(WORKSPACE),
    }


def test_a_binary_event_has_its_attributes_in_headers_and_the_exact_data_as_its_body(sent):
    request = sent(BINARY)

    assert (request.headers["content-type"], request.body.decode()) == ("application/json", DATA)
    assert attributes(request) == {
        "ce-specversion": "1.0",
        "ce-id": str(EVENT),
        "ce-source": "shop",
        "ce-type": "order.paid",
        "ce-time": "2026-11-22T10:00:00.000000+00:00",
        "ce-subject": "order/1",
        "ce-workspaceid": str(WORKSPACE),
    }


def test_a_binary_event_without_data_has_an_empty_body(sent):
    request = sent(BINARY, source="", subject="", data="")

    assert (request.body, request.headers["content-length"], request.headers["content-type"]) == (b"", "0", None)
    assert request.headers["ce-source"] == "event-service"
    assert request.headers["ce-subject"] is None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_request_without_a_body_has_the_attributes_of_a_binary_event(sent, method):
    request = sent(BINARY, method=method)

    assert (request.body, request.headers["content-type"], request.headers["ce-id"]) == (b"", None, str(EVENT))


def test_what_a_header_can_not_hold_is_percent_encoded(sent):
    request = sent(BINARY, type="Zoë's", source='a b"c%d', subject="€\r\nx-injected: 1\u2028😀")

    assert request.headers["ce-type"] == "Zo%C3%AB's"
    assert request.headers["ce-source"] == "a%20b%22c%25d"
    assert request.headers["ce-subject"] == "%E2%82%AC%0D%0Ax-injected:%201%E2%80%A8%F0%9F%98%80"
    assert request.headers["x-injected"] is None


@pytest.mark.parametrize("payload_format", [STRUCTURED, BINARY, "STANDARD"])
def test_the_signature_is_over_the_body_that_is_sent(sent, payload_format):
    request = sent(payload_format, at=datetime.now(UTC))

    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert request.headers["webhook-id"] == str(EVENT)


@pytest.mark.parametrize("text", ["plain", "Zoë's", 'a b"c%d', "100%25", "€ 😀\u2028", "a\tb\r\n"])
def test_what_goes_out_comes_in_as_the_same_event(sent, text):
    expected = (text, text, text, DATA)
    binary = sent(BINARY, type=text, source=text, subject=text)
    headers = {name.lower().encode(): value.encode("latin-1") for name, value in binary.headers.items()}
    structured = sent(STRUCTURED, type=text, source=text, subject=text)

    for read in (
        cloudevents.from_binary(headers, "application/json", binary.body),
        cloudevents.from_structured(structured.body),
    ):
        assert (read.type, read.source, read.subject, bytes(read.data).decode()) == expected


EXTENSIONS = {
    "comexampleext": 'a "b" c%20d €',
    "dataschema": "https://example.com/s",
    "rate": 7,
    "sampled": True,
    "workspaceid": "not ours",
}


@pytest.mark.parametrize(("payload_format", "rate", "sampled"), [(STRUCTURED, 7, True), (BINARY, "7", "true")])
def test_the_official_sdk_reads_every_attribute_and_extension(sent, payload_format, rate, sampled):
    request = sent(payload_format, extensions=msgspec.json.encode(EXTENSIONS).decode(), data='{"total": 1}')

    event = sdk.from_http_event(sdk.HTTPMessage(dict(request.headers), request.body))

    assert event.get_data() == {"total": 1}
    assert event.get_attributes() == {
        "specversion": "1.0",
        "id": str(EVENT),
        "source": "shop",
        "type": "order.paid",
        "time": NOW,
        "subject": "order/1",
        "datacontenttype": "application/json",
        "workspaceid": str(WORKSPACE),
        "comexampleext": 'a "b" c%20d €',
        "dataschema": "https://example.com/s",
        "rate": rate,
        "sampled": sampled,
    }


def test_a_standard_body_has_the_extensions_in_a_member(sent):
    request = sent("STANDARD", extensions='{"rate":7}')

    assert msgspec.json.decode(request.body)["extensions"] == {"rate": 7}


def test_the_attempts_of_a_delivery_are_spans_of_one_trace(sent):
    first, second = (sent("STANDARD", number=number).headers["traceparent"] for number in (1, 2))

    assert first == "00-01920000000070008000000000000003-8000000000000004-01"
    assert second == "00-01920000000070008000000000000003-8000000000000005-01"


def test_another_delivery_is_another_trace(sent):
    other = UUID("01920000-0000-7000-8000-00000000ffff")

    assert sent("STANDARD", delivery_id=other).headers["traceparent"].split("-")[1] == other.hex

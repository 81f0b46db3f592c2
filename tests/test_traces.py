"""Traces, from who publishes an event to who receives it: by traceparent always, by spans where they are asked for."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as django_settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from endpoints.models import Endpoint
from routing import tracing
from routing.ingest import PATH, EventDoor
from routing.models import Delivery, Event
from routing.queue import claim
from routing.sockets.reading import read_on
from routing.webhooks import content
from routing.worker import Worker
from tests.receiver import answer
from tests.service import wait_until
from tests.web import DEADLINE_S, running

committed = pytest.mark.django_db(transaction=True)
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
OTHER = f"00-{'c' * 32}-{'d' * 16}-00"


@pytest.fixture
def spans():
    """What is traced, by an exporter that keeps it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def publish(key, *requests):
    """Send requests, each of (headers, body), to a door of their own, all at once."""

    async def ask(door, headers, body):
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
        scope = {"type": "http", "method": "POST", "path": PATH, "client": ("127.0.0.1", 1)}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        asking = ApplicationCommunicator(door, scope)
        await asking.send_input({"type": "http.request", "body": json.dumps(body).encode()})
        assert (await asking.receive_output(60))["status"] == 202

    async def ask_all():
        door = EventDoor()
        await asyncio.gather(*(ask(door, *request) for request in requests))
        await door.close()

    asyncio.run(ask_all())


def deliver(until):
    worker = Worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(until, bool)
    finally:
        worker.stop()
        thread.join()


def kept():
    return dict(Event.objects.values_list("type", "traceparent"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (GIVEN, GIVEN),
        (f" {GIVEN} ", GIVEN),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", GIVEN),
        (f"{GIVEN}-and-more", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (GIVEN.upper(), ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_traceparent_is_taken_as_w3c_has_it(given, kept):
    assert tracing.accepted(given) == kept


@committed
def test_every_door_keeps_the_trace_of_who_published(key, workspace, graphql, client):
    cloud_event = {"specversion": "1.0", "id": "1", "source": "s", "type": "structured", "traceparent": OTHER}
    binary = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "s", "ce-type": "binary", "ce-traceparent": OTHER}
    publish(
        key,
        ({"traceparent": GIVEN}, [{"type": "plain"}, {"type": "own", "traceparent": OTHER}]),
        ({"traceparent": GIVEN, "content-type": "application/cloudevents+json"}, cloud_event),
        ({"traceparent": GIVEN, **binary}, {}),
        ({"traceparent": "nonsense"}, {"type": "without"}),
    )
    mutation = """mutation { publishEvents(events: [{type: "asked"}, {type: "said", traceparent: "%s"}])
                             { events { id } } }"""  # fmt: skip
    body = {"query": mutation.replace("%s", OTHER)}
    headers = {"Authorization": f"Bearer {key}", "traceparent": GIVEN}
    assert client.post("/event-service/graphql", body, "application/json", headers=headers).status_code == 200
    assert kept() == {
        "plain": GIVEN,
        "own": OTHER,
        "structured": OTHER,
        "binary": OTHER,
        "without": "",
        "asked": GIVEN,
        "said": OTHER,
    }


@committed
def test_it_goes_on_to_receivers_and_readers_with_a_span_for_each_attempt(key, workspace, receiver, web_socket):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="hook", url=receiver.url)
    cloudy = {format_: _webhook(workspace, format_) for format_ in ("CLOUDEVENTS_BINARY", "CLOUDEVENTS_STRUCTURED")}
    publish(key, ({"traceparent": GIVEN}, {"type": "t", "extensions": {"x": 1}}))
    jobs = {job.target.payload_format: job for job in claim(limit=9, per_endpoint=9, rooms={})}
    assert content(jobs["CLOUDEVENTS_BINARY"])[1]["ce-traceparent"] == GIVEN
    assert json.loads(content(jobs["CLOUDEVENTS_STRUCTURED"])[0])["traceparent"] == GIVEN
    assert "traceparent" not in json.loads(content(jobs["STANDARD"])[0])
    (row,) = read_on(web_socket.pk, "e", 0)
    assert json.loads(row.frame)["traceparent"] == GIVEN
    assert json.loads(row.frame)["extensions"] == json.loads(content(jobs["STANDARD"])[0])["extensions"] == {"x": 1}
    Endpoint.remove(list(cloudy.values()))

    publish(key, ({"traceparent": GIVEN}, {"type": "t"}))
    deliver(lambda: receiver.requests)
    version, trace_id, span_id, flags = receiver.requests[0].headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    assert span_id != PARENT


def _webhook(workspace, format_):
    return Endpoint.create_webhook(
        workspace_id=workspace.pk, name=format_, url="https://example.com/", payload_format=format_
    )


@committed
def test_one_trace_leads_from_the_door_to_the_receiver(key, workspace, receiver, spans):
    hook = Endpoint.create_webhook(workspace_id=workspace.pk, name="hook", url=receiver.url)
    receiver.answer = answer(500)
    publish(key, ({"traceparent": GIVEN}, {"type": "t"}))
    deliver(lambda: "attempt" in named(spans))

    found = named(spans)
    by_id = {span.context.span_id: name for name, span in found.items()}
    of_the_trace = {name for name, span in found.items() if f"{span.context.trace_id:032x}" == TRACE}
    parents = {name: by_id.get(found[name].parent.span_id, "the producer") for name in of_the_trace}
    assert parents == {"publish": "the producer", "record": "publish", "match": "record", "attempt": "publish"}
    assert found["publish"].parent.span_id == int(PARENT, 16)

    # Across the queue: the claim is a trace of its own, linked both ways.
    (event,) = Event.objects.all()
    assert event.traceparent == text(found["publish"])
    assert [link.context.span_id for link in found["claim"].links] == [found["publish"].context.span_id]
    assert [link.context.span_id for link in found["attempt"].links] == [found["claim"].context.span_id]

    assert receiver.requests[0].headers["traceparent"] == text(found["attempt"])
    attributes = dict(found["attempt"].attributes)
    del attributes["event_service.delivery_id"]
    assert attributes == {
        "event_service.workspace_id": str(workspace.pk),
        "event_service.event_id": str(event.pk),
        "event_service.endpoint_id": str(hook.pk),
        "event_service.attempt": 1,
        "http.response.status_code": 500,
        "error.type": "HTTP_STATUS",
    }


@committed
def test_requests_that_share_a_transaction_are_linked_to_it(key, spans):
    publish(key, *[({}, {"type": "t"})] * 4)
    everything = spans.get_finished_spans()
    publications = {span.context.span_id for span in everything if span.name == "publish"}
    records = [span for span in everything if span.name == "record"]
    led_to = {id_ for span in records for id_ in (span.parent.span_id, *(link.context.span_id for link in span.links))}
    assert len(publications) == 4 > len(records)
    assert led_to == publications


def named(spans):
    return {span.name: span for span in spans.get_finished_spans()}


def text(span):
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def test_spans_reach_a_collector(receiver, settings, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    settings.TRACING, settings.TRACED_AS = receiver.url, "events"
    tracing.start()
    try:
        with tracing.span("publish", parent=GIVEN, workspace_id="w"):
            pass
        tracing.stop()
        tracing._provider.shutdown()
    finally:
        tracing.use(None)
    (request,) = receiver.requests
    (of_resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    (span,) = of_resource.scope_spans[0].spans
    names = {each.key: each.value.string_value for each in of_resource.resource.attributes}
    assert (request.path, names["service.name"]) == ("/v1/traces", "events")
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("publish", TRACE, PARENT)


@committed
@pytest.mark.usefixtures("sockets_left")
def test_what_a_websocket_is_sent_is_traced_to_its_acknowledgement_or_loss(key, web_socket, receiver):
    publish(key, *[({"traceparent": GIVEN}, {"type": "t"})] * 2)
    with running(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="50") as web:
        with web.v1(web_socket, key, after=0) as websocket:
            frames = [json.loads(websocket.recv(timeout=DEADLINE_S)) for _ in range(3)]
            websocket.send(json.dumps({"kind": "ack", "cursor": frames[1]["cursor"]}))
            wait_until(lambda: Delivery.objects.filter(state="DELIVERED").count(), lambda count: count == 1)
        found = wait_until(lambda: received(receiver), lambda spans: len(spans) == 2)

    first, second = ({each.key: each.value.string_value for each in span.attributes} for span in found)
    assert [(span.name, span.trace_id.hex(), span.parent_span_id.hex()) for span in found] == [
        ("attempt", TRACE, PARENT)
    ] * 2
    ids = [str(delivery.pk) for delivery in Delivery.objects.order_by("seq")]
    assert [each["event_service.delivery_id"] for each in (first, second)] == ids
    assert [each.get("error.type") for each in (first, second)] == [None, "CONNECTION_LOST"]
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in found)


def received(receiver):
    """The spans that reached the collector, in the order of their ends."""
    requests = [ExportTraceServiceRequest.FromString(request.body) for request in receiver.requests]
    scopes = [scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans]
    return sorted((span for scope in scopes for span in scope.spans), key=lambda span: span.end_time_unix_nano)


IMPORTED = """
import django, sys
django.setup()
import routing.ingest, routing.worker
from routing import tracing
assert tracing.span("a") is tracing.span("b", parent="", x=1), "a span costs something"
tracing.start()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_a_collector_nothing_is_imported_and_a_span_is_nothing():
    command = [sys.executable, "-c", IMPORTED]
    found = subprocess.run(command, cwd=django_settings.BASE_DIR, check=True, text=True, stdout=subprocess.PIPE)
    assert found.stdout == "[]\n"

"""Events from a message bus: what a message says, what becomes of it, and NATS JetStream where it is installed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import deque
from itertools import repeat

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import InternalError, OperationalError, connection
from msgspec import Raw
from psycopg.errors import ReadOnlySqlTransaction

from endpoints.errors import BadInput
from endpoints.models import EventType, Workspace
from routing import rules
from routing.buses import intake, jetstream
from routing.buses.intake import Intake, record
from routing.buses.messages import Away, Message, event_of
from routing.models import DayIsFull, Delivery, Event, Recorded
from routing.submissions import Submission, check
from tests.buses.servers import WHERE, NatsServer, Sent
from tests.database import environment
from tests.service import wait_until

OWN = b'{"type": "order.paid", "data": {"total": 1.00}}'
CLOUD = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.paid"}
STRUCTURED = json.dumps({**CLOUD, "data": {"total": 1}}).encode()
CE = "application/cloudevents+json; charset=utf-8"


def message(body=OWN, media_type="", attributes=(), id="bus-1", traceparent=""):
    return Message(body, media_type, dict(attributes), id, traceparent, "orders 1", None)


# --- what a message says


@pytest.mark.parametrize(
    ("given", "type", "producer_id", "data"),
    [
        (message(), "order.paid", "bus-1", '{"total": 1.00}'),
        (message(media_type="application/json; charset=utf-8"), "order.paid", "bus-1", '{"total": 1.00}'),
        (message(b'{"type": "a", "id": "own"}'), "a", "own", ""),
        (message(id=""), "order.paid", None, '{"total": 1.00}'),
        (message(STRUCTURED, CE), "order.paid", "/shop 7", '{"total": 1}'),
        (message(STRUCTURED), "order.paid", "/shop 7", '{"total": 1}'),
        (message(b"[1]", "application/json", CLOUD), "order.paid", "/shop 7", "[1]"),
        (message(b"[1]", "", CLOUD), "order.paid", "/shop 7", "[1]"),
    ],
)
def test_a_message_is_an_event_as_the_event_door_reads_it(workspace, given, type, producer_id, data):
    event = event_of(given, workspace.pk)
    assert (event.type, event.producer_id, event.data) == (type, producer_id, data)
    assert event.workspace_id == workspace.pk


def test_a_message_s_trace_goes_on_with_its_event(workspace):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert event_of(message(traceparent=trace), workspace.pk).traceparent == trace


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (message(b"{"), "The body is not JSON: it ends too early"),
        (message(b"[]"), "This is not an event: Expected `object`, got `array`"),
        (message(b'{"typo": 1}'), "This is not an event: Object contains unknown field `typo`"),
        (message(b'{"data": 1}'), "type is missing"),
        (message(b"<a/>", "text/xml"), "Content type 'text/xml' is not read; send application/json."),
        (message(b"<a/>", "text/xml", CLOUD), "datacontenttype is 'text/xml'"),
        (message(OWN, CE), "This is not an event: Object missing required field `specversion`"),
        (message(b"1", "", {"specversion": "1.0", "id": "1"}), "the header ce-source is missing"),
        (message(id="x" * 256), "id has 256 characters"),
    ],
)
def test_a_message_that_is_no_event_is_refused_with_the_reason(workspace, given, refusal):
    with pytest.raises(BadInput) as found:
        event_of(given, workspace.pk)
    assert refusal in found.value.message


# --- what is recorded


def new(workspace, type="order.paid", **members):
    return check(Submission(type=type, **members), workspace.pk)


def test_what_a_day_has_room_for_is_recorded_and_the_rest_waits(workspace):
    Workspace.objects.filter(pk=workspace.pk).update(max_events_per_day=2)
    events = [new(workspace, id=str(number)) for number in range(3)]
    first, second, third = record(workspace.pk, events)
    assert [first, second] == [Recorded(event.id) for event in events[:2]]
    assert isinstance(third, DayIsFull)
    assert Event.objects.count() == 2


def test_events_are_judged_by_what_is_enforced_now(workspace):
    events = [new(workspace, data=Raw(b"1"))]
    assert record(workspace.pk, events) == [Recorded(events[0].id)]  # and the process keeps that nothing is enforced
    reject = EventType.Enforcement.REJECT
    EventType.objects.update_or_create(
        workspace=workspace, name="order.paid", defaults={"schema": {"type": "object"}, "enforcement": reject}
    )
    (refusal,) = record(workspace.pk, [new(workspace, data=Raw(b"1"))])
    assert isinstance(refusal, BadInput)
    assert Event.objects.count() == 1


def test_what_changed_meanwhile_is_judged_again(workspace, monkeypatch):
    reject = EventType.Enforcement.REJECT
    EventType.objects.create(workspace=workspace, name="order.paid", schema={"type": "object"}, enforcement=reject)
    monkeypatch.setattr(rules, "load", lambda _: rules.Rules(version=-1, by_type={}))
    (refusal,) = record(workspace.pk, [new(workspace, data=Raw(b"1"))])
    assert isinstance(refusal, BadInput)


class Scripted:
    """A bus that brings these messages, and asks the process to end once all of them are answered for good."""

    def __init__(self, *messages, loses=0):
        self.waiting, self.loses = deque(messages), loses
        self.answers = []

    async def connect(self):
        return self

    async def take(self, most, within_s):
        if not self.waiting:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
            return []
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    async def done(self, message):
        if self.loses:
            self.loses -= 1
            self.waiting.append(message)
            raise Away("the connection broke")
        self.answers.append((message.id, "done"))

    async def refuse(self, message, reason):
        self.answers.append((message.id, f"refused: {reason}"))

    async def postpone(self, message, delay_s):
        self.answers.append((message.id, f"in {delay_s:.0f} s"))

    async def hold(self, messages):
        self.answers += [(message.id, "held") for message in messages]

    async def aclose(self):
        pass


def take(workspace, bus, monkeypatch):
    """Take what the bus brings, without pauses, and return what it counted."""
    monkeypatch.setattr(intake, "LONGEST_PAUSE_S", 0.01)
    taking = Intake(workspace.pk, "scripted", bus.connect, batch=10)
    asyncio.run(taking.run())
    return {outcome: count for outcome, count in taking.counts.items() if count}


def test_a_message_whose_answer_was_lost_comes_again_and_is_one_event(transactional_db, workspace, monkeypatch):
    bus = Scripted(message(), loses=1)
    assert take(workspace, bus, monkeypatch) == {"repeated": 1}
    assert bus.answers == [("bus-1", "done")]
    assert Event.objects.count() == 1


def test_while_the_database_is_away_messages_are_held(transactional_db, workspace, monkeypatch):
    standby = InternalError("a standby")
    standby.__cause__ = ReadOnlySqlTransaction()
    failures = deque([OperationalError("away"), standby])

    def failing(*given):
        if failures:
            raise failures.popleft()
        return record(*given)

    monkeypatch.setattr(intake, "record", failing)
    bus = Scripted(message())
    assert take(workspace, bus, monkeypatch) == {"taken": 1}
    assert bus.answers == [("bus-1", "held"), ("bus-1", "held"), ("bus-1", "done")]


@pytest.mark.parametrize("poison", ["false", "internal_error()"])
def test_an_event_that_can_not_be_stored_holds_up_no_other(transactional_db, workspace, monkeypatch, caplog, poison):
    bus = Scripted(message(id="1"), message(b'{"type": "poison"}', id="2"), message(b"{", id="3"), message(id="4"))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION internal_error() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE internal_error; END'"
        )
        cursor.execute(f"ALTER TABLE routing_event ADD CONSTRAINT no_poison CHECK (type <> 'poison' OR {poison})")
        try:
            found = take(workspace, bus, monkeypatch)
        finally:
            cursor.execute("ALTER TABLE routing_event DROP CONSTRAINT no_poison")
            cursor.execute("DROP FUNCTION internal_error")
    assert found == {"taken": 2, "postponed": 1, "refused": 1}
    reason = "refused: The body is not JSON: it ends too early, or holds half of a surrogate pair."
    assert bus.answers == [("3", reason), ("1", "done"), ("2", "in 60 s"), ("4", "done")]
    assert "orders 1 could not be stored, and comes again in 60 s" in caplog.text


def test_the_log_says_where_data_does_not_fit_and_not_what_it_is(transactional_db, workspace, monkeypatch, caplog):
    schema = {"properties": {"card": {"type": "number"}}}
    reject = EventType.Enforcement.REJECT
    EventType.objects.create(workspace=workspace, name="order.paid", schema=schema, enforcement=reject)
    bus = Scripted(message(b'{"type": "order.paid", "data": {"card": "4000-1234"}}'))
    assert take(workspace, bus, monkeypatch) == {"refused": 1}
    assert "orders 1 is refused: data.card is not right." in caplog.text
    assert "4000-1234" not in caplog.text


# --- the command


def consume(*options):
    call_command("consume", *options)


WRONG = [
    [],
    ["amqp://u:secret@h/"],
    ["nats://u:secret@h", "http://h"],
    ["nats://u:secret/x@h"],
    ["nats://u:secret#x@h"],
    ["nats://u:12/secret@h"],
    ["nats://u:secret@:4222"],
    ["nats://u:secret@h:port"],
    ["nats://u:[secret@h"],
]


@pytest.mark.parametrize("url", WRONG, ids=str)
def test_a_stream_needs_an_address_of_nats(workspace, settings, url):
    settings.BUS_URLS = url
    with pytest.raises(CommandError, match=r"^EVENT_SERVICE_BUS_URL is not nats://USER:PASSWORD@HOST:PORT") as found:
        consume("--workspace", "Ours", "--stream", "orders")
    assert "secret" not in str(found.value)


def test_a_client_that_is_not_installed_is_named(workspace, settings, monkeypatch):
    settings.BUS_URLS = ["amqp://h/"]
    monkeypatch.setattr("routing.management.commands.consume.find_spec", lambda _: None)
    with pytest.raises(CommandError, match="--queue needs the package aio-pika: script/setup requirements-buses.txt"):
        consume("--workspace", "Ours", "--queue", "orders")


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


def started(bus, *options):
    command = [sys.executable, "manage.py", "consume", "--workspace", "Ours", *options]
    return subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env={**environment(), "EVENT_SERVICE_BUS_URL": bus.url},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_messages_of_a_stream_become_events_and_bad_ones_are_said(transactional_db, webhook, nats_server):
    nats_server.publish(
        [
            Sent(OWN, id="first"),
            Sent(b"no event"),
            Sent(STRUCTURED, CE),
            Sent(b"[1]", "application/json", {**CLOUD, "id": "8 é", "subject": "a b"}),
            Sent(b'{"type": "order.sent"}'),
            Sent(b'{"type": "order.sent", "id": "own"}'),
            Sent(b'{"type": "order.sent", "id": "own"}'),
        ]
    )
    process = started(nats_server, "--stream", WHERE, "--json")
    try:
        wait_until(lambda: Event.objects.count() == 5 and nats_server.left() == 0, bool)
    finally:
        process.terminate()
        said, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert json.loads(said) == {"taken": 5, "repeated": 1, "refused": 1}
    found = Event.objects.order_by("id").values_list("type", "subject", "data")
    assert list(found) == [
        ("order.paid", "", '{"total": 1.00}'),
        ("order.paid", "", '{"total": 1}'),
        ("order.paid", "a b", "[1]"),
        ("order.sent", "", ""),
        ("order.sent", "", ""),
    ]
    assert Delivery.objects.count() == 5
    assert "orders 2 is refused: The body is not JSON" in told
    assert f"Taking events from nats 127.0.0.1:{nats_server.port} orders" in told
    assert "pass-word" not in told


def test_a_stream_that_is_not_there_is_named(workspace, nats_server, settings):
    settings.BUS_URLS = [nats_server.url]
    with pytest.raises(CommandError, match="There is no stream 'nothing'; make it first, or name another one."):
        consume("--workspace", "Ours", "--stream", "nothing")


def test_a_consumer_that_would_lose_messages_is_not_used(workspace, nats_server, settings):
    async def make():
        async with await nats_server._client() as client:
            wanted = {"durable_name": "hasty", "ack_policy": "explicit", "max_deliver": 3}
            await client.jetstream().add_consumer(WHERE, **wanted)

    asyncio.run(make())
    settings.BUS_URLS = [nats_server.url]
    with pytest.raises(CommandError, match="'hasty' would lose messages: it gives up after 3 tries"):
        consume("--workspace", "Ours", "--stream", WHERE, "--durable", "hasty")


def test_a_consumer_that_was_there_is_not_made_anew(nats_server):
    """It would begin at the stream's beginning."""

    async def lose():
        connect = jetstream.connecting(repeat(nats_server.url), WHERE, "lost")
        await (await connect()).aclose()
        async with await nats_server._client() as client:
            await client.jetstream().delete_consumer(WHERE, "lost")
        with pytest.raises(
            BadInput, match="The consumer 'lost' of the stream 'orders' is gone. Make it where it is to"
        ):
            await connect()

    asyncio.run(lose())

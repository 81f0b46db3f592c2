"""The event door: POST /event-service/events, from the bytes of a request to its answer."""

import asyncio
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import psycopg
import pytest
from asgiref.testing import ApplicationCommunicator
from cloudevents.core.bindings import http as sdk
from cloudevents.core.v1.event import CloudEvent
from django.db import connection
from django.db.models.functions import Now

from endpoints.models import ApiKey, Endpoint, EventType, Scope, key_digest
from routing import ingest, router, rules
from routing.group_commit import Link
from routing.ingest import MAX_BODY_BYTES, MAX_EVENTS, PATH, EventDoor
from routing.models import Delivery, Event, IdempotencyRecord
from routing.plans import Tell
from routing.submissions import MAX_DATA_BYTES, check
from routing.wire import Wire
from tests.together import together

# A door lives on one event loop, as in a web process: this one runs beside the tests.
LOOP = asyncio.new_event_loop()
DOORS = [EventDoor() for _ in range(5)]
DOOR = DOORS[0]
EVENT = {"type": "order.paid"}
# The door has connections of its own, which see what is committed.
pytestmark = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


@pytest.fixture(scope="module", autouse=True)
def loop():
    thread = threading.Thread(target=LOOP.run_forever)
    thread.start()
    yield
    for door in DOORS:
        on_loop(door.close)()
    LOOP.call_soon_threadsafe(LOOP.stop)
    thread.join()
    LOOP.close()


def on_loop(work):
    return lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(work(*args, **kwargs), LOOP).result(60)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


async def ask(body, key, *, door=DOOR, method="POST", chunks=None, **headers):
    sent = {"host": "localhost", "content_type": "application/json", **headers}
    if key:
        sent["authorization"] = f"Bearer {key}"
    names = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in sent.items() if value}
    scope = {"type": "http", "method": method, "path": PATH, "headers": list(names.items())}
    communicator = ApplicationCommunicator(door, scope)
    for chunk in chunks or [body if isinstance(body, bytes) else json.dumps(body).encode()]:
        await communicator.send_input({"type": "http.request", "body": chunk, "more_body": True})
    await communicator.send_input({"type": "http.request"})
    await communicator.wait(30)
    start, end = await communicator.receive_output(), await communicator.receive_output()
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    assert answered["content-length"] == str(len(end["body"]))
    assert end["body"].endswith(b"}\n")
    return Answer(start["status"], answered, json.loads(end["body"]))


post = on_loop(ask)


@on_loop
async def post_at_once(*requests, door=DOOR):
    return await asyncio.gather(*[ask(body, key, door=door) for body, key in requests])


def accepted(answer):
    """Return the ids of an answer that accepted everything."""
    assert answer.status == 202, answer
    return [event["id"] for event in answer.body["events"]]


def refused(answer):
    """Return how everything was refused. Nothing was written, then."""
    assert not Event.objects.exists()
    assert not IdempotencyRecord.objects.exists()
    error = answer.body["error"]
    return answer.status, error["code"], error.get("field")


def told(answer):
    """Return what was said of each event: True for a duplicate, False for a new one, or code and field."""
    return [
        (item["error"]["code"], item["error"].get("field")) if "error" in item else item["duplicate"]
        for item in answer.body["events"]
    ]


@contextmanager
def trap(table, action, *, when="true"):
    """Have the database do `action` before each row that is inserted into `table`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$;"
            f"CREATE TRIGGER trap BEFORE INSERT ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION trap()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION trap() CASCADE")


@pytest.fixture
def database_down(monkeypatch, db):
    """Nobody can connect, and who was connected is not any more."""
    parameters = {name: value for name, value in connection.get_connection_params().items() if name != "pool"}
    name = parameters["dbname"]
    monkeypatch.setattr(connection.pool, "timeout", 0.2)

    @contextmanager
    def down():
        connection.close()
        with psycopg.connect(**parameters | {"dbname": "postgres"}, autocommit=True) as outside:
            outside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            outside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                outside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
                connection.close()
                connection.close_pool()  # a new one does not wait before it tries again

    return down


# --- one event


def test_an_accepted_event_is_stored_with_what_is_owed(workspace, key, webhook):
    answer = post(
        b'{"type": "order.paid", "data": {"total": 1.00}, "source": "shop", "subject": "order/1", '
        b'"orderingKey": "1", "date": "2026-11-22T12:00:00+02:00", "id": "mine"}',
        key,
    )

    event = Event.objects.get()
    assert answer == Answer(
        202,
        {"content-type": "application/json", "content-length": answer.headers["content-length"]},
        {"events": [{"id": str(event.pk), "duplicate": False}]},
    )
    assert (event.workspace_id, event.type, event.data) == (workspace.pk, "order.paid", '{"total": 1.00}')
    assert (event.source, event.subject, event.ordering_key) == ("shop", "order/1", "1")
    assert event.date.isoformat() == "2026-11-22T10:00:00+00:00"
    assert list(Delivery.objects.values_list("event", "endpoint", "state")) == [(event.pk, webhook.pk, "PENDING")]


def test_a_body_may_come_in_pieces(key):
    assert accepted(post(None, key, chunks=[b'{"ty', b"", b'pe": "a"', b"}"]))


def test_the_header_token_is_a_key_as_well(key):
    assert accepted(post(EVENT, None, token=key))


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_json_however_it_is_spelled(key, media_type):
    assert accepted(post(EVENT, key, content_type=media_type))


# --- who may not


@pytest.mark.parametrize("presented", [{}, {"authorization": "Basic dTpw"}, {"token": "es_live_unknown"}])
def test_without_a_valid_key_nothing_is_looked_at(db, presented):
    answer = post(b"not JSON", None, **presented)

    assert refused(answer) == (401, "UNAUTHENTICATED", None)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_without_the_scope_publish_is_forbidden(workspace):
    _, key = ApiKey.issue(workspace=workspace, name="reader", scopes=["read", "manage", "subscribe"])

    assert [refused(post(body, key)) for body in (EVENT, b"not JSON")] == [(403, "FORBIDDEN", None)] * 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revoked_at": Now()}, 401),
        ({"expires_at": Now() - timedelta(seconds=1)}, 401),
        ({"scopes": ["read"]}, 403),
    ],
    ids=["revoked", "expired", "descoped"],
)
def test_a_key_that_lost_its_power_is_refused_at_once_although_it_was_just_used(key, change, status):
    accepted(post(EVENT, key))
    Event.objects.all().delete()

    ApiKey.objects.update(**change)

    assert refused(post(EVENT, key))[0] == status


def test_a_key_that_lost_its_power_is_refused_within_5_seconds_where_nothing_would_be_stored(key, monkeypatch):
    assert post({}, key).status == 400
    ApiKey.objects.update(revoked_at=Now())
    assert post({}, key).status == 400

    monkeypatch.setattr(ingest, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 5))
    assert post({}, key).status == 401


def test_the_door_keeps_no_key_in_memory(key):
    accepted(post(EVENT, key))
    assert key_digest(key) in DOOR._grants
    assert key not in repr(vars(DOOR))


def test_a_key_that_lost_its_power_does_not_harm_others_who_publish_at_the_same_time(workspace, key):
    revoked, text = ApiKey.issue(workspace=workspace, name="ci", scopes=["publish"])
    accepted(post(EVENT, key))
    accepted(post(EVENT, text))
    revoked.revoke()

    answers = post_at_once(*[(EVENT, key), (EVENT, text)] * 10)

    assert [answer.status for answer in answers] == [202, 401] * 10
    assert Event.objects.count() == 2 + 10


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_events_are_posted(key, method):
    answer = post(EVENT, key, method=method)

    assert refused(answer) == (405, "BAD_USER_INPUT", None)
    assert answer.headers["allow"] == "POST"


# --- what can't be read

NO_REQUESTS = {
    "nothing": b"",
    "white space": b" \n",
    "no JSON": b"hello",
    "a byte order mark": b'\xef\xbb\xbf{"type": "a"}',
    "no UTF-8": b'{"type": "\xff"}',
    "UTF-16": '{"type": "a"}'.encode("utf-16"),
    "half a surrogate pair": b'{"type": "\\ud800"}',
    "half a surrogate pair in the data": b'{"type": "a", "data": "\\ud800"}',
    "half an object": b'{"type": "a"',
    "half an array": b'[{"type": "a"}',
    "two objects": b'{"type": "a"} {"type": "b"}',
    "one that is broken among good ones": b'[{"type": "a"}, {"type": NaN}]',
    "no events": b"[]",
    "100,000 arrays in each other": b"[" * 100_000,
    "100,000 objects in each other": b'{"data":' * 100_000,
}


@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_a_body_that_can_not_be_read_is_refused_as_a_whole(key, body):
    assert refused(post(body, key)) == (400, "BAD_USER_INPUT", None)


NO_EVENT = {
    "null": (b"null", None),
    "a number": (b"1", None),
    "a string": (b'"order.paid"', None),
    "an array in the array": (b"[[]]", None),
    "no type": (b'{"data": 1}', "type"),
    "an unknown field": (b'{"type": "a", "when": "now"}', None),
    "a type of 300 characters": (b'{"type": "' + b"x" * 300 + b'"}', "type"),
    "an empty type": (b'{"type": ""}', "type"),
    "NUL in the type": (b'{"type": "a\\u0000"}', "type"),
    "NUL in the data": (b'{"type": "a", "data": {"a": "\\u0000"}}', "data"),
    "a number beyond all range": (b'{"type": "a", "data": 1e400000}', "data"),
    "data one byte too long": (b'{"type": "a", "data": "' + b"x" * (MAX_DATA_BYTES - 1) + b'"}', "data"),
    "a date without offset": (b'{"type": "a", "date": "2026-11-22T10:00:00"}', "date"),
    "an id that is a number": (b'{"type": "a", "id": 1}', "id"),
}


@pytest.mark.parametrize(("body", "field"), NO_EVENT.values(), ids=NO_EVENT)
def test_an_event_that_can_not_be_stored_is_refused_with_its_field(key, body, field):
    answer = post(body, key)

    assert (answer.status, told(answer)) == (400, [("BAD_USER_INPUT", field)])
    assert not Event.objects.exists()


def test_after_poison_the_door_takes_events_as_before(key):
    for body in [*NO_REQUESTS.values(), *(body for body, _ in NO_EVENT.values())]:
        assert post(body, key).status == 400

    answers = [post(EVENT, key) for _ in range(20)]

    assert [answer.status for answer in answers] == [202] * 20


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(key):
    body = b'{"type": "a"}'.ljust(MAX_BODY_BYTES)

    assert refused(post(body + b" ", key)) == (413, "BAD_USER_INPUT", None)
    assert accepted(post(body, key))


def test_a_body_that_is_too_long_is_not_read_to_its_end(key):
    endless = [b" " * 1_000_000] * 20

    assert refused(post(None, key, chunks=endless))[0] == 413


def test_data_of_exactly_the_limit_is_taken(key):
    assert accepted(post(b'{"type": "a", "data": "' + b"x" * (MAX_DATA_BYTES - 2) + b'"}', key))


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_another_media_type_is_not_read(key, media_type):
    assert refused(post(EVENT, key, content_type=media_type)) == (415, "BAD_USER_INPUT", None)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity"])
def test_an_encoded_body_is_not_read(key, encoding):
    assert refused(post(EVENT, key, content_encoding=encoding)) == (415, "BAD_USER_INPUT", None)


def test_a_request_that_ends_before_its_body_stores_nothing(key):
    @on_loop
    async def hang_up():
        headers = [(b"host", b"localhost"), (b"token", key.encode()), (b"content-type", b"application/json")]
        communicator = ApplicationCommunicator(
            DOOR, {"type": "http", "method": "POST", "path": PATH, "headers": headers}
        )
        await communicator.send_input({"type": "http.request", "body": b'{"type": "a"}', "more_body": True})
        await communicator.send_input({"type": "http.disconnect"})
        return await communicator.receive_output(30)

    assert hang_up()["status"] == 400
    assert not Event.objects.exists()


# --- many events


def test_every_event_of_a_list_gets_its_answer_in_order(workspace, key):
    known = accepted(post({"type": "known", "id": "k"}, key))

    answer = post(
        [
            {"type": "a"},
            {"type": ""},
            {"type": "known", "id": "k"},
            {"type": "unknown", "id": "k"},
            {"type": "b", "id": "new"},
            {"type": "b", "id": "new"},
            {"type": "c", "id": "new"},
            {"type": "d", "date": "now"},
        ],
        key,
    )

    assert (answer.status, told(answer)) == (
        202,
        [
            False,
            ("BAD_USER_INPUT", "type"),
            True,
            ("CONFLICT", "id"),
            False,
            True,
            ("CONFLICT", "id"),
            ("BAD_USER_INPUT", "date"),
        ],
    )
    ids = [item.get("id") for item in answer.body["events"]]
    assert ids[2] == known[0]
    assert ids[4] == ids[5]
    assert [str(event.pk) for event in Event.objects.order_by("pk")] == [*known, ids[0], ids[4]]


def test_a_list_has_as_many_events_as_the_limit_and_no_more(key):
    assert refused(post([EVENT] * (MAX_EVENTS + 1), key)) == (400, "BAD_USER_INPUT", None)

    assert len(set(accepted(post([EVENT] * MAX_EVENTS, key)))) == MAX_EVENTS


def test_events_of_a_list_are_numbered_in_its_order(key, webhook):
    ids = accepted(post([EVENT] * 20, key))

    assert list(map(str, Delivery.objects.order_by("seq").values_list("event", flat=True))) == ids


# --- the producer's own id


@pytest.mark.parametrize("repeat", [{"body": {**EVENT, "id": "k"}}, {"body": EVENT, "idempotency_key": "k"}])
def test_a_repeat_is_answered_with_the_first_result(key, webhook, repeat):
    first = post({**EVENT, "id": "k"}, key)

    again = post(repeat.pop("body"), key, **repeat)

    assert (again.status, again.body) == (202, {"events": [{"id": accepted(first)[0], "duplicate": True}]})
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)


def test_the_same_id_with_other_content_is_a_conflict(key):
    post({**EVENT, "id": "k", "data": 1}, key)

    answer = post({**EVENT, "data": 2}, key, idempotency_key="k")

    assert (answer.status, told(answer)) == (409, [("CONFLICT", "id")])
    assert Event.objects.get().data == "1"


def test_the_same_id_in_another_workspace_is_another_event(key, foreign_workspace):
    _, foreign_key = ApiKey.issue(workspace=foreign_workspace, name="theirs", scopes=["publish"])

    ours, theirs = (post({**EVENT, "id": "k", "data": n}, used) for n, used in enumerate([key, foreign_key]))

    assert (told(ours), told(theirs)) == ([False], [False])
    assert accepted(ours) != accepted(theirs)


@pytest.mark.parametrize("media_type", ["application/json", "application/cloudevents+json"])
def test_an_idempotency_key_that_is_too_long_is_refused_with_any_event(key, media_type):
    event = EVENT if media_type == "application/json" else {"specversion": "1.0", "id": "1", "source": "/", "type": "a"}
    answer = post(event, key, idempotency_key="k" * 256, content_type=media_type)
    assert refused(answer) == (400, "BAD_USER_INPUT", "Idempotency-Key")


def test_an_idempotency_key_names_one_event(key):
    assert refused(post([EVENT, EVENT], key, idempotency_key="k")) == (400, "BAD_USER_INPUT", "Idempotency-Key")


def test_an_idempotency_key_and_an_id_that_differ_are_refused(key):
    assert refused(post({**EVENT, "id": "other"}, key, idempotency_key="k")) == (400, "BAD_USER_INPUT", "id")


def test_of_50_that_send_the_same_id_at_once_one_is_stored(key, webhook):
    def post_10_to(door):
        return lambda: post_at_once(*[({**EVENT, "id": "k"}, key)] * 10, door=door)

    answers = sum(together(*map(post_10_to, DOORS)), [])

    (event,) = Event.objects.all()
    assert {accepted(answer)[0] for answer in answers} == {str(event.pk)}
    assert sorted(told(answer)[0] for answer in answers) == [False] + [True] * 49
    assert Delivery.objects.count() == 1


def test_of_50_that_send_other_content_under_the_same_id_at_once_one_is_stored(key):
    def post_10_to(door, first):
        contents = [({**EVENT, "id": "k", "data": n}, key) for n in range(first, first + 10)]
        return lambda: post_at_once(*contents, door=door)

    answers = sum(together(*map(post_10_to, DOORS, range(0, 50, 10))), [])

    assert sorted(answer.status for answer in answers) == [202] + [409] * 49
    assert [answer.status for answer in answers].index(202) == int(Event.objects.get().data)


def test_events_travel_in_one_trip_until_the_configuration_changes(workspace, key, webhook, monkeypatch):
    trips, trip = [], Wire.trip

    async def counted(wire, statements):
        trips.append(len(statements))
        return await trip(wire, statements)

    post(EVENT, key)
    monkeypatch.setattr(Wire, "trip", counted)
    accepted(post(EVENT, key))
    assert len(trips) == 1

    late = Endpoint.create_webhook(workspace_id=workspace.pk, name="late", url="https://example.com/")
    (id_,) = accepted(post(EVENT, key))
    assert set(Delivery.objects.filter(event=id_).values_list("endpoint", flat=True)) == {webhook.pk, late.pk}


# --- when the database fails


def test_a_connection_that_broke_while_it_was_not_used_costs_nobody_an_answer(key):
    accepted(post(EVENT, key))
    with connection.cursor() as cursor:
        ours = "datname = current_database() AND pid <> pg_backend_pid()"
        cursor.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {ours}")

    accepted(post(EVENT, key))


def test_what_may_be_committed_already_is_not_done_again():
    begun, link = [], Link()

    def plan():
        begun.append(True)
        yield Tell("SELECT 1")

    link._wire = Mock(is_lost=False, trip=AsyncMock(side_effect=psycopg.OperationalError), close=AsyncMock())
    with pytest.raises(psycopg.OperationalError):
        asyncio.run(link.run(plan, guesses=True))
    assert len(begun) == 1


def test_a_database_that_dies_halfway_leaves_nothing_and_the_repeat_is_new(key, webhook):
    with trap("routing_delivery", "PERFORM pg_terminate_backend(pg_backend_pid())"):
        answer = post({**EVENT, "id": "k"}, key)

    assert refused(answer) == (503, "UNAVAILABLE", None)
    assert answer.headers["retry-after"] == "1"
    assert told(post({**EVENT, "id": "k"}, key)) == [False]
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)


def test_a_database_that_only_reads_is_none(key):
    with trap("routing_event", "RAISE 'as a standby' USING ERRCODE = '25006'"):
        answer = post(EVENT, key)

    assert refused(answer) == (503, "UNAVAILABLE", None)
    assert "database does not answer" in answer.body["error"]["message"]
    accepted(post(EVENT, key))


def test_without_the_database_events_are_refused_and_later_taken_again(database_down, key):
    accepted(post(EVENT, key))

    with database_down():
        answer = post({**EVENT, "id": "k"}, key)

    assert (answer.status, answer.body["error"]["code"], answer.headers["retry-after"]) == (503, "UNAVAILABLE", "1")
    assert told(post({**EVENT, "id": "k"}, key)) == [False]


def test_without_the_database_a_key_that_was_not_seen_before_is_told_to_try_again(database_down, key):
    with database_down():
        answer = post(EVENT, key)

    assert (answer.status, answer.body["error"]["code"], answer.headers["retry-after"]) == (503, "UNAVAILABLE", "1")


def test_an_event_that_can_not_be_stored_does_not_harm_those_it_was_committed_with(workspace, key):
    post(EVENT, key)  # so that the key is known and all of the next arrive together
    _, other_key = ApiKey.issue(workspace=workspace, name="other", scopes=["publish"])
    post(EVENT, other_key)
    bad = {"type": "unstorable"}

    with trap("routing_event", "RAISE 'no room'", when="NEW.type = 'unstorable'"):
        answers = post_at_once(*[(EVENT, key)] * 10, (bad, other_key), *[(EVENT, key)] * 10)

    assert [answer.status for answer in answers] == [202] * 10 + [503] + [202] * 10
    assert Event.objects.count() == 2 + 20


def test_rules_that_changed_since_an_event_was_judged_are_seen_by_it_and_harm_nobody_else(
    workspace, foreign_workspace, key
):
    _, foreign_key = ApiKey.issue(workspace=foreign_workspace, name="theirs", scopes=["publish"])
    known = [post(EVENT, used) for used in (key, foreign_key)]  # so that rules are known, and all arrive together
    EventType.named(workspace_id=workspace.pk, name="order.paid").change(
        schema={"type": "object"}, enforcement="REJECT"
    )

    requests = [(EVENT, foreign_key), (EVENT, key), ({"type": "other"}, key), (EVENT, foreign_key)]
    answers = post_at_once(*requests)

    assert [answer.status for answer in (*known, *answers)] == [202, 202, 202, 400, 202, 202]
    assert told(answers[1]) == [("BAD_USER_INPUT", "data")]
    assert Event.objects.count() == 5
    assert [answer.status for answer in post_at_once(*requests)] == [202, 400, 202, 202]


def test_of_two_that_were_judged_by_different_rules_each_is_judged_by_those_that_stand(workspace, key, monkeypatch):
    post(EVENT, key)
    old = rules.kept(workspace.pk)
    EventType.named(workspace_id=workspace.pk, name="order.paid").change(
        schema={"type": "object"}, enforcement="REJECT"
    )
    new = rules.load(workspace.pk)
    known = iter([old, new, old])
    monkeypatch.setattr(rules, "kept", lambda _: next(known))

    answers = post_at_once(*[(EVENT, key)] * 3)

    assert [answer.status for answer in answers] == [400] * 3


def test_rules_that_refuse_no_more_are_seen_by_what_would_have_been_refused(workspace, key):
    found = EventType.named(workspace_id=workspace.pk, name="order.paid")
    found.change(schema={"type": "object"}, enforcement="REJECT")
    assert post(EVENT, key).status == 400
    found.change(enforcement="OFF")

    assert post(EVENT, key).status == 202


def test_what_others_send_is_answered_while_a_request_is_held_against_its_schema(workspace, key, monkeypatch):
    """Each of 20 events takes longer than a turn: who comes meanwhile is not last."""
    EventType.named(workspace_id=workspace.pk, name="slow").change(schema={}, enforcement="WARN")
    post(EVENT, key)
    monkeypatch.setattr("routing.ingest._TURN_S", 0)
    order = []

    @on_loop
    async def both():
        async def one(name, body):
            await ask(body, key)
            order.append(name)

        await asyncio.gather(one("slow", [{"type": "slow"}] * 1_000), one("quick", EVENT))

    both()

    assert order == ["quick", "slow"]


def test_requests_that_arrive_together_get_their_own_answers(workspace, foreign_workspace, key):
    _, foreign_key = ApiKey.issue(workspace=foreign_workspace, name="theirs", scopes=Scope.values)
    ours = Endpoint.create_webhook(workspace_id=workspace.pk, name="Ours", url="https://example.com/")

    answers = post_at_once(
        *[([{"type": f"{n}"}, {"type": ""}], used) for n in range(20) for used in (key, foreign_key)]
    )

    stored = {str(event.pk): (event.type, event.workspace_id) for event in Event.objects.all()}
    assert [told(answer) for answer in answers] == [[False, ("BAD_USER_INPUT", "type")]] * 40
    assert [stored[answer.body["events"][0]["id"]] for answer in answers] == [
        (f"{n}", owner.pk) for n in range(20) for owner in (workspace, foreign_workspace)
    ]
    assert set(Delivery.objects.values_list("endpoint", "workspace")) == {(ours.pk, workspace.pk)}


def test_a_filter_that_the_router_forgot_misroutes_nothing_of_those_who_commit_together(
    workspace, foreign_workspace, key, webhook, foreign, monkeypatch
):
    _, foreign_key = ApiKey.issue(workspace=foreign_workspace, name="theirs", scopes=["publish"])
    post_at_once((EVENT, key), (EVENT, foreign_key))  # from now on their grants are known
    Endpoint.create_webhook(workspace_id=workspace.pk, name="another", url="https://example.com/")
    Endpoint.create_webhook(workspace_id=foreign_workspace.pk, name="another", url="https://example.com/")
    for name in ("_ENDPOINTS", "_LINKS"):
        forgotten = re.sub(r"(link\.)?workspace_id = %s", "%s::uuid IS NOT NULL", getattr(router, name))
        monkeypatch.setattr(router, name, forgotten)

    answers = post_at_once((EVENT, key), (EVENT, foreign_key))

    first, second = (Event.objects.get(pk=accepted(answer)[0]) for answer in answers)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT xmin::text) FROM routing_event WHERE id IN (%s, %s)", [first.pk, second.pk]
        )
        assert cursor.fetchone() == (1,)
    assert [first.deliveries.count(), second.deliveries.count()] == [2, 2]


def test_what_the_door_does_is_about_the_workspaces_of_its_keys_alone(workspace, foreign_workspace, key, monkeypatch):
    """An event that names another workspace, by a fault of ours, is not stored."""
    monkeypatch.setattr(ingest, "check", lambda submission, *_: check(submission, foreign_workspace.pk))
    assert post(EVENT, key).status == 503
    assert not Event.objects.exists()


# --- CloudEvents 1.0

CLOUD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
BINARY = {f"ce_{name}": value for name, value in CLOUD.items()}


def stored():
    (event,) = Event.objects.values("type", "source", "subject", "ordering_key", "data")
    return tuple(event.values())


def by_sdk(**attributes):
    given = {**CLOUD, "datacontenttype": "application/json", "dataschema": "https://example.com/order.json"}
    given |= {"comexampleext": 'a "b" c%20d €', "sampledrate": 7, "partitionkey": "7", "tracestate": "a=1"}
    return CloudEvent(given | attributes, {"total": 1})


def extensions():
    return [json.loads(text or "{}") for text in Event.objects.order_by("pk").values_list("extensions", flat=True)]


def test_what_the_official_sdk_sends_is_kept_with_every_attribute(key):
    structured, binary = sdk.to_structured_event(by_sdk()), sdk.to_binary_event(by_sdk(id="2"))
    many = [sdk.to_structured_event(by_sdk(id=id_)).body for id_ in ("3", "4")]

    accepted(post(structured.body, key, content_type=structured.headers["content-type"]))
    accepted(post(binary.body, key, **{name.replace("-", "_"): value for name, value in binary.headers.items()}))
    assert told(post(b"[" + b",".join(many) + b"]", key, content_type=BATCH)) == [False, False]

    typed = {
        "comexampleext": 'a "b" c%20d €',
        "dataschema": "https://example.com/order.json",
        "partitionkey": "7",
        "sampledrate": 7,
        "tracestate": "a=1",
    }
    assert extensions() == [typed, {**typed, "sampledrate": "7"}, typed, typed]
    assert set(Event.objects.values_list("source", "type", "ordering_key")) == {("/shop", "order.paid", "7")}
    assert [json.loads(data) for data in Event.objects.values_list("data", flat=True)] == [{"total": 1}] * 4


def test_extensions_are_content_whichever_way_they_are_sent(key):
    first = accepted(post({**CLOUD, "rate": 7, "sampled": True}, key, content_type=STRUCTURED))

    same = post(b"", key, **BINARY, ce_sampled="true", ce_rate="7", content_type="")
    other = post({**CLOUD, "rate": 8, "sampled": True}, key, content_type=STRUCTURED)

    assert (accepted(same), told(same)) == (first, [True])
    assert (other.status, told(other)) == (409, [("CONFLICT", "id")])


def test_plain_json_has_extensions_in_a_member(key):
    accepted(post({**EVENT, "extensions": {"b": True, "a": 1, "whole": -2.0, "none": None}}, key))
    accepted(post({**EVENT, "extensions": {"none": None}}, key))

    assert list(Event.objects.order_by("pk").values_list("extensions", flat=True)) == [
        '{"a":1,"b":true,"whole":-2}',
        "",
    ]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ([], "extensions", "give an object of names and values"),
        ({"fooBar": 1}, "extensions", "'fooBar' is no name of an extension attribute"),
        ({"x" * 65: 1}, "extensions", "it has 1 to 64 of the characters"),
        ({"time": "now"}, "extensions", "time is no extension attribute"),
        ({"x": 1.5}, "extensions.x", "x is 1.5; give a string, a boolean or an integer of 32 bits"),
        ({"x": 2**31}, "extensions.x", "x is 2147483648; give"),
        ({"x": {}}, "extensions.x", "x is {}; give"),
        ({"x": "\0"}, "extensions.x", "a NUL character"),
        ({f"x{number}": 1 for number in range(33)}, "extensions", "There are 33 extension attributes; at most 32"),
        ({"x": "y" * 4096}, "extensions", "have 4104 bytes; at most 4096"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_extensions_that_no_receiver_could_be_sent_are_refused(key, given, field, message):
    answer = post({**EVENT, "extensions": given}, key)

    assert (answer.status, told(answer)) == (400, [("BAD_USER_INPUT", field)])
    assert message in answer.body["events"][0]["error"]["message"]
    assert not Event.objects.exists()


def test_binary_data_is_refused_with_its_reason(key):
    structured = sdk.to_structured_event(CloudEvent({**CLOUD, "datacontenttype": "image/png"}, b"\0"))

    answer = post(structured.body, key, content_type=STRUCTURED)

    assert "data_base64 is not read; send JSON in data" in answer.body["events"][0]["error"]["message"]


def test_a_structured_cloud_event_is_an_event(key):
    body = b'{"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "subject": "order/1", '
    body += b'"time": "2026-11-22T10:00:00Z", "partitionkey": "7", "datacontenttype": "application/json", '
    body += b'"traceparent": "00-0-0-00", "data": {"total": 1.00}}'

    accepted(post(body, key, content_type=f"{STRUCTURED}; charset=UTF-8"))

    assert stored() == ("order.paid", "/shop", "order/1", "7", '{"total": 1.00}')
    assert Event.objects.get().date.isoformat() == "2026-11-22T10:00:00+00:00"


def test_a_binary_cloud_event_has_its_attributes_in_headers(key):
    accepted(
        post(
            b'{"total": 1.00}',
            key,
            **BINARY,
            ce_subject="Euro%20%E2%82%AC%20%F0%9F%98%80",
            ce_time="2026-11-22T10:00:00Z",
            ce_partitionkey="7",
        )
    )

    assert stored() == ("order.paid", "/shop", "Euro € 😀", "7", '{"total": 1.00}')
    assert Event.objects.get().date.isoformat() == "2026-11-22T10:00:00+00:00"


def test_a_binary_cloud_event_needs_no_data(key):
    accepted(post(b"", key, **BINARY, content_type=""))

    assert stored() == ("order.paid", "/shop", "", "", "")


def test_a_batch_of_cloud_events_is_answered_one_by_one(key):
    answer = post([CLOUD, {**CLOUD, "specversion": "0.3"}, CLOUD, {**CLOUD, "id": "2"}], key, content_type=BATCH)

    assert (answer.status, told(answer)) == (202, [False, ("BAD_USER_INPUT", None), True, False])


def test_source_and_id_together_make_a_cloud_event_the_same(key):
    bodies = [CLOUD, CLOUD, {**CLOUD, "source": "/till"}, {**CLOUD, "id": "2"}]

    answers = [post(body, key, content_type=STRUCTURED) for body in bodies]

    assert [told(answer) for answer in answers] == [[False], [True], [False], [False]]


def test_a_cloud_event_is_the_same_whichever_way_it_is_sent(key):
    structured = post({**CLOUD, "data": 1}, key, content_type=STRUCTURED)

    binary = post(b"1", key, **BINARY)

    assert (told(binary), accepted(binary)) == ([True], accepted(structured))


@pytest.mark.parametrize(
    "changed",
    [
        {"specversion": "0.3"},
        {"id": ""},
        {"source": ""},
        {"specversion": None},
        {"id": None},
        {"source": None},
        {"type": None},
        {"type": 1},
        {"data_base64": "AAEC"},
        {"datacontenttype": "text/plain"},
    ],
    ids=str,
)
def test_what_is_no_cloud_event_of_json_is_refused(key, changed):
    body = {name: value for name, value in {**CLOUD, **changed}.items() if value is not None}

    answer = post(body, key, content_type=STRUCTURED)

    assert (answer.status, told(answer)) == (400, [("BAD_USER_INPUT", None)])
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "changed",
    [{"ce_specversion": "2.0"}, {"ce_id": ""}, {"ce_source": ""}, {"ce_type": ""}, {"content_type": "text/plain"}],
    ids=str,
)
def test_a_binary_request_that_is_no_cloud_event_of_json_is_refused(key, changed):
    answer = post(b"1", key, **{**BINARY, **changed})

    assert (answer.status, told(answer)) == (400, [("BAD_USER_INPUT", None)])
    assert not Event.objects.exists()


@pytest.mark.parametrize("data", [b"{", b"NaN", b'"\\ud800"', b"\xff", b" "])
def test_the_data_of_a_binary_cloud_event_is_checked_like_any_other(key, data):
    answer = post(data, key, **BINARY)

    assert (answer.status, told(answer)) == (400, [("BAD_USER_INPUT", "data")])


def test_too_much_at_once_is_refused_with_what_would_be_right(key, web_socket, monkeypatch):
    monkeypatch.setattr(router, "MOST_OWED", 1)
    answer = post([{"type": "a"}, {"type": "b"}], key)
    assert (answer.status, answer.body["error"]["code"]) == (400, "BAD_USER_INPUT")
    assert not Event.objects.exists()
    accepted(post({"type": "a"}, key))


def test_a_media_type_may_be_written_in_any_case(key):
    accepted(post({**CLOUD, "datacontenttype": "Application/JSON; charset=UTF-8"}, key, content_type=STRUCTURED))

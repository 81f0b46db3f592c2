"""The Python client's publishing, against the service and against a server that fails in every way."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from endpoints.models import ApiKey, Scope, Workspace
from event_service_client import (
    AsyncClient,
    Client,
    Event,
    EventRefused,
    EventsRefused,
    Published,
    RawJson,
    RequestRefused,
    Unavailable,
)
from event_service_client.backoff import retry_after_s
from event_service_client.publishing import batches
from routing import models
from tests.receiver import Answer, Receiver, answer
from tests.web import Web

stored = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def client(web: Web, key: str) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{web.port}", key) as client:
        yield client


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("event_service_client.publishing.time.sleep", waited.append)
    monkeypatch.setattr("event_service_client.publishing.asyncio.sleep", note)
    return waited


def in_turn(receiver: Receiver, *answers: Answer) -> None:
    """Answer the first request with the first answer, and so on."""

    def next_one(connection: Any) -> None:
        found = answers[len(receiver.requests) - 1]
        connection.sendall(found) if isinstance(found, bytes) else found(connection)

    receiver.answer = next_one


def accepts(count: int = 1) -> bytes:
    events = [{"id": f"{n}", "duplicate": False} for n in range(count)]
    return answer(202, json.dumps({"events": events}).encode())


@stored
def test_an_event_is_stored_with_all_that_it_has_and_once(client: Client) -> None:
    event = Event(
        "order.paid",
        {"total": "24.90", "name": "Zoë"},
        id="mine",
        source="shop",
        subject="order/1",
        ordering_key="1",
        date=NOON,
        extensions={"comexampletenant": "ß", "sampledrate": 7, "urgent": True},
    )
    first, again = client.publish(event), client.publish(event)

    assert (first.duplicate, again) == (False, Published(first.id, True))
    row = models.Event.objects.get()
    assert (str(row.pk), row.type, row.source) == (first.id, "order.paid", "shop")
    assert (row.subject, row.ordering_key, row.date) == ("order/1", "1", NOON)
    assert json.loads(row.data) == {"total": "24.90", "name": "Zoë"}
    assert json.loads(row.extensions) == {"comexampletenant": "ß", "sampledrate": 7, "urgent": True}


@stored
def test_raw_json_is_kept_byte_for_byte(client: Client) -> None:
    client.publish(Event("raw", RawJson('{"a": 1.00, "a": 2}')))

    assert models.Event.objects.get().data == '{"a": 1.00, "a": 2}'


@stored
def test_any_number_is_published_in_order_with_await_too(web: Web, key: str, client: Client) -> None:
    async def publish() -> list[Published]:
        async with AsyncClient(f"http://127.0.0.1:{web.port}", key) as client:
            return await client.publish_many(Event("counted", n, extensions={"part": n}) for n in range(1_500))

    published = asyncio.run(publish())

    data = dict(models.Event.objects.values_list("id", "data"))
    found = {str(id_): text for id_, text in data.items()}
    assert [found[each.id] for each in published] == [str(n) for n in range(1_500)]
    assert models.Event.objects.get(pk=published[7].id).extensions == '{"part":7}'


@stored
def test_what_the_service_refuses_is_said_with_the_event_and_the_field(client: Client) -> None:
    client.publish(Event("a", 1, id="taken"))

    with pytest.raises(EventRefused) as conflict:
        client.publish(Event("a", 2, id="taken"))
    with pytest.raises(EventsRefused) as some:
        client.publish_many([Event("good"), Event("bad", RawJson('"\\u0000"'), id="nul"), Event("good too")])

    assert (conflict.value.code, conflict.value.event_id) == ("CONFLICT", "taken")
    assert [type(result) for result in some.value.results] == [Published, EventRefused, Published]
    assert some.value.refused[0].field == "data"
    assert str(some.value).startswith("1 of 3 events were refused. The first: Event nul was refused (BAD_USER_INPUT): ")


@stored
def test_a_key_that_may_not_is_told_at_once(web: Web, workspace: Workspace) -> None:
    reading = ApiKey.issue(workspace=workspace, name="reading", scopes=[Scope.READ])[1]
    for key, status in ((reading, 403), ("es_live_wrong", 401)):
        with pytest.raises(RequestRefused) as refused, Client(f"http://127.0.0.1:{web.port}", key) as client:
            client.publish(Event("a"))
        assert (refused.value.status, key in str(refused.value)) == (status, False)


def publish_with(client: Client | AsyncClient, event: Event) -> Published:
    if isinstance(client, Client):
        with client:
            return client.publish(event)

    async def publish() -> Published:
        async with client:
            return await client.publish(event)

    return asyncio.run(publish())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_it_tries_again_with_the_same_event_until_it_is_answered(
    receiver: Receiver, pauses: list[float], kind: type[Client | AsyncClient]
) -> None:
    hang_up = lambda connection: connection.close()  # noqa: E731
    in_turn(receiver, answer(503, b"<html>", "Retry-After: 7"), hang_up, answer(429, b"{}"), accepts())

    published = publish_with(kind(receiver.url, "key"), Event("a", 1))

    assert published == Published("0", False)
    assert len({request.body for request in receiver.requests}) == 1
    assert {request.headers["authorization"] for request in receiver.requests} == {"Bearer key"}
    assert json.loads(receiver.requests[0].body)[0]["id"]
    assert [pauses[0], 0.5 <= pauses[1] <= 1, 1 <= pauses[2] <= 2] == [7, True, True]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_it_gives_up_after_its_tries_or_where_it_is_to_wait_for_long(
    receiver: Receiver, pauses: list[float], kind: type[Client | AsyncClient]
) -> None:
    receiver.answer = answer(500)
    with pytest.raises(Unavailable, match=r"/event-service/events answered 500: ") as ended:
        publish_with(kind(receiver.url, "key", tries=3), Event("a"))
    assert (len(receiver.requests), len(pauses), ended.value.retry_after_s) == (3, 2, None)

    receiver.answer = answer(429, b'{"error": {"message": "The day is full."}}', "Retry-After: 3600")
    with pytest.raises(Unavailable, match=r"429: The day is full\.") as full:
        publish_with(kind(receiver.url, "key"), Event("a"))
    assert (len(receiver.requests), full.value.retry_after_s) == (4, 3600)


@pytest.mark.parametrize("body", [b'{"error": "not as the service says it"}', b"null", b"[]", b"<html>"])
def test_an_answer_that_is_not_the_services_own_is_judged_by_its_status(
    receiver: Receiver, pauses: list[float], body: bytes
) -> None:
    in_turn(receiver, answer(502, body), answer(404, body))

    with pytest.raises(RequestRefused) as refused, Client(receiver.url, "key") as client:
        client.publish(Event("a"))

    assert (refused.value.status, refused.value.message, len(receiver.requests)) == (404, "Reason", 2)


def test_what_is_wrong_with_the_request_is_not_tried_again(receiver: Receiver, pauses: list[float]) -> None:
    receiver.answer = answer(404, b"Not here")
    with pytest.raises(RequestRefused, match="404: "), Client(receiver.url, "key") as client:
        client.publish(Event("a"))
    assert (len(receiver.requests), pauses) == (1, [])


def test_batches_fit_a_request_and_keep_the_order() -> None:
    many = [Event("a", n) for n in range(2_001)]
    large = [Event("a", "x" * 200_000) for _ in range(30)]

    assert [len(batch) for batch in batches(many)] == [1_000, 1_000, 1]
    assert [event for batch in batches(many) for event in batch] == many
    sizes = [sum(len(event.encoded) + 1 for event in batch) + 1 for batch in batches(large)]
    assert (len(sizes), max(sizes) <= 5 * 1024 * 1024) == (2, True)


def test_retry_after_is_seconds_or_a_date() -> None:
    header = "Sun, 22 Nov 2026 12:00:30 GMT"
    assert [retry_after_s(text, NOON) for text in ("12", header, "soon", None)] == [12, 30, None, None]
    assert retry_after_s(header, NOON + timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Event(""), "type is ''; give a text of 1 to 255 characters."),
        (lambda: Event("a", id="x" * 256), "id is a text of 256 characters; give"),
        (lambda: Event("a", subject=5), "subject is 5; give"),
        (
            lambda: Event("a", {"at": NOON}),
            "can't be written as JSON: Object of type datetime is not JSON serializable",
        ),
        (lambda: Event("a", float("nan")), "data nan can't be written as JSON"),
        (lambda: Event("a", "x" * 262_145), "has 262147 bytes as JSON; at most 262144 are taken."),
        (lambda: Event("a", extensions={"x": 1.5}), "extensions has 'x': 1.5; give a text, a boolean or an integer."),
        (lambda: Event("a", extensions=["x"]), "extensions is ['x']; give a mapping"),  # type: ignore[arg-type]
        (lambda: Event("a", date=datetime(2026, 1, 1)), "give a datetime with a time zone."),  # noqa: DTZ001
        (lambda: Client("events.example.com", "key"), "url is 'events.example.com'; give the service's address"),
        (lambda: Client("https://events.example.com", ""), "key is empty or no key; give one with the scope publish"),
        (lambda: Client("https://events.example.com", "key", tries=0), "tries is 0; give 1 or more."),
    ],
)
def test_arguments_that_make_no_sense_are_named_with_what_would(make: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=".") as error:
        make()
    assert problem in str(error.value)


def test_data_that_is_changed_later_is_not_changed_in_the_event() -> None:
    data = {"n": 1}
    event = Event("a", data, id="i")
    data["n"] = 2

    assert event.encoded == b'{"type":"a","id":"i","data":{"n":1}}'

"""The Python client's listener, against web processes that end and connections that break."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from endpoints.models import Endpoint
from event_service_client.errors import ListeningEnded
from event_service_client.websocket import Listener, Reset, SocketEvent
from routing.models import Attempt, Delivery
from routing.repeats import retry
from tests.service import wait_until
from tests.web import DEADLINE_S, Web, cursor, record, running, states

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


def spied_on(events: Listener) -> list[str]:
    """Return what it will have said: the kind of each frame, and the number of the event."""
    said, say = [], events._say

    async def noted(frame: dict[str, Any]) -> None:
        said.append(f"{frame['kind']} {frame['cursor'].rpartition('-')[2]}")
        await say(frame)

    events._say = noted  # type: ignore[method-assign]
    return said


def break_off(events: Listener) -> None:
    assert events._socket
    events._socket.transport.abort()


def wait_for_states(endpoint: Endpoint, *wanted: str) -> None:
    wait_until(lambda: [state for _, state in states(endpoint)], lambda found: found == list(wanted))


def test_events_are_taken_acknowledged_and_refused(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any]
) -> None:
    publish(b'{"n":1}', b"2", b"3")

    async def listen() -> list[Any]:
        async with listener(web, web_socket, key) as events:
            first, second, third = [await take(events) for _ in range(3)]
            await second.nack("the printer is out of paper")
            await third.ack()
            again = await take(events)
            assert (again.id, events.cursor) == (second.id, None)  # not all up to the third is taken
            await again.ack()
            assert events.cursor == third.cursor
            return [first.data, second.data, third.data]

    assert asyncio.run(listen()) == [{"n": 1}, 2, 3]
    wait_for_states(web_socket, "DELIVERED", "DELIVERED", "DELIVERED")
    (refused,) = Attempt.objects.exclude(error="").values_list("error", "error_detail")
    assert refused == ("REFUSED", "the printer is out of paper")


def test_an_acknowledgement_stands_for_nothing_that_came_again_behind_its_event(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any]
) -> None:
    publish(b"1", b"2", b"3")

    async def listen() -> None:
        async with listener(web, web_socket, key) as events:
            _, second, third = [await take(events) for _ in range(3)]
            await second.nack()
            again = await take(events)
            await third.ack()
            assert events.cursor is None
            await again.ack()
            assert events.cursor == third.cursor

    asyncio.run(listen())
    wait_for_states(web_socket, "DELIVERED", "DELIVERED", "DELIVERED")


def test_nothing_is_missing_and_only_what_was_not_acknowledged_comes_again_over_breaks(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any], at_once: None
) -> None:
    """Connections break with an event unanswered, with one refused, and just as an acknowledgement is said."""
    publish(*[b"%d" % n for n in range(1, 9)])

    async def listen() -> list[int]:
        seen: list[int] = []
        async with listener(web, web_socket, key, window_events=1) as events:
            while seen[-1:] != [8]:
                event = await take(events)
                seen.append(event.data)
                if seen == [1, 2, 3]:
                    break_off(events)  # without an answer
                elif event.data == 5 and seen.count(5) == 1:
                    await event.nack()
                    break_off(events)
                elif event.data == 6:
                    break_off(events)
                    await event.ack()  # to nobody
                else:
                    await event.ack()
        return seen

    assert asyncio.run(listen()) == [1, 2, 3, 3, 4, 5, 5, 6, 7, 8]
    wait_for_states(web_socket, *["DELIVERED"] * 8)


def test_who_began_at_a_time_comes_back_without_taking_what_lies_before_it(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any], at_once: None
) -> None:
    publish(b"1", b"2")
    Delivery.objects.update(creation_date=timezone.now() - timedelta(days=1))
    publish(b"3", b"4")

    def publish_in_thread() -> None:
        publish(b"5")
        connection.close()  # this thread's

    async def listen() -> list[int]:
        async with listener(web, web_socket, key, since=timezone.now() - timedelta(hours=1)) as events:
            said = spied_on(events)
            third, fourth = await take(events), await take(events)
            await third.ack()
            await fourth.nack(delay_s=900)
            break_off(events)
            again = await take(events)
            await again.ack()
            break_off(events)
            await sync_to_async(publish_in_thread)()
            fifth = await take(events)
            await fifth.ack()
            assert said == ["ack 3", "nack 4", "ack 4", "ack 5"]  # nothing came that was taken
            return [event.data for event in (third, fourth, again, fifth)]

    assert asyncio.run(listen()) == [3, 4, 4, 5]
    wait_for_states(web_socket, *["PENDING"] * 2, *["DELIVERED"] * 3)


def test_what_is_open_or_refused_is_not_passed_by_a_gap() -> None:
    async def cursors() -> list[str | None]:
        events, seen = Listener("http://x", "e", "k", after="a-0"), list[str | None]()
        one, two, three = [await events._read(frame_of("a", seq)) for seq in (1, 2, 3)]
        gap = {"kind": "reset", "reason": "HISTORY_GONE", "missing": {"after": "a-3", "until": "a-9"}, "cursor": "a-9"}
        for step in (events._read(gap), one.ack(), two.nack(), three.ack()):  # type: ignore[union-attr]
            await step
            seen.append(events.cursor)
        again = await events._read(frame_of("a", 2))
        await again.ack()  # type: ignore[union-attr]
        return [*seen, events.cursor]

    assert asyncio.run(cursors()) == ["a-0", "a-0", "a-0", "a-0", "a-9"]


def test_an_answer_to_what_came_before_the_connection_broke_is_one_to_what_came_again() -> None:
    async def said() -> list[str]:
        events = Listener("http://x", "e", "k")
        noted = spied_on(events)
        old = [await events._read(frame_of("a", seq)) for seq in (1, 2, 3)]
        events._open.clear()  # as it connects again
        new = [await events._read(frame_of("a", seq)) for seq in (1, 2, 3)]
        await old[0].ack()  # type: ignore[union-attr]
        await old[2].nack("it comes again anyway")  # type: ignore[union-attr]
        for event in new[1:]:
            await event.ack()  # type: ignore[union-attr]
        return noted

    assert asyncio.run(said()) == ["ack 1", "ack 2", "ack 3"]


def test_an_old_answer_takes_nothing_that_was_refused_and_refuses_nothing_that_was_taken() -> None:
    async def said() -> tuple[list[str], str | None, dict[str, int]]:
        events = Listener("http://x", "e", "k")
        noted = spied_on(events)
        old = [await events._read(frame_of("a", seq)) for seq in (1, 2, 3)]
        await old[0].ack()  # type: ignore[union-attr]
        await old[1].nack()  # type: ignore[union-attr]
        events._open.clear()  # as it connects again
        two, three = [await events._read(frame_of("a", seq)) for seq in (2, 3)]
        await old[2].ack()  # type: ignore[union-attr]
        await two.nack()  # type: ignore[union-attr]
        await three.ack()  # type: ignore[union-attr]
        again = await events._read(frame_of("a", 2))
        await again.ack()  # type: ignore[union-attr]
        await old[0].nack()  # type: ignore[union-attr]
        return noted, events.cursor, events._refused

    said_all = ["ack 1", "nack 2", "nack 2", "ack 3", "ack 2"]
    assert asyncio.run(said()) == (said_all, "a-3", {})


def test_a_service_that_counts_anew_is_asked_for_nothing_of_before() -> None:
    async def cursors() -> list[str | None]:
        events, seen = Listener("http://x", "e", "k"), list[str | None]()
        for epoch in ("a", "b", "c"):
            await events._read({"kind": "ready", "cursor": f"{epoch}-0"})
            seen.append(events.cursor)
            one, two = [await events._read(frame_of(epoch, seq)) for seq in (1, 2)]
            await (one.nack() if epoch == "a" else one.ack())  # type: ignore[union-attr]
            await (two.ack() if epoch == "c" else two.nack())  # type: ignore[union-attr]
            seen.append(events.cursor)
        return seen

    assert asyncio.run(cursors()) == [None, None, None, "b-1", None, "c-2"]


def frame_of(epoch: str, seq: int) -> dict[str, Any]:
    named = {"id": f"{epoch}{seq}", "type": "t", "workspaceId": "w", "date": "2026-01-01T00:00:00Z", "data": seq}
    return {"kind": "event", "cursor": f"{epoch}-{seq}", **named}


def test_what_is_delivered_again_at_somebody_s_wish_is_handed_out_again(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any]
) -> None:
    def deliver_again() -> None:
        wait_for_states(web_socket, "DELIVERED")
        retry(list(Delivery.objects.all()))
        connection.close()  # this thread's

    async def listen() -> list[str]:
        async with listener(web, web_socket, key) as events:
            first = await take(events)
            await first.ack()
            await sync_to_async(deliver_again)()
            second = await take(events)
            await second.ack()
            return [first.id, second.id]

    publish(b"1")
    first, second = asyncio.run(listen())
    assert first == second
    wait_for_states(web_socket, "DELIVERED", "DELIVERED")


def test_what_was_refused_for_the_last_time_is_waited_for_no_longer(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any]
) -> None:
    async def listen() -> tuple[str | None, str]:
        async with listener(web, web_socket, key) as events:
            for _ in range(10):
                event = await take(events)
                await event.nack("never")
            return events.cursor, event.cursor

    publish(b"1")
    behind, refused = asyncio.run(listen())
    assert behind == refused
    wait_for_states(web_socket, "EXHAUSTED")


def test_it_goes_on_when_the_service_restarts(
    web: Web,
    web_socket: Endpoint,
    key: str,
    publish: Callable[..., Any],
    at_once: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def publish_in_thread(data: bytes) -> None:
        publish(data)
        connection.close()  # this thread's

    async def listen(first: Web) -> list[Any]:
        async with listener(first, web_socket, key) as events:
            taken = [await take(events)]
            await taken[0].ack()
            first.drain()
            events._url = events._url.replace(str(first.port), str(web.port))
            await sync_to_async(publish_in_thread)(b"2")
            taken.append(await take(events))
            await taken[1].ack()
            return [event.data for event in taken]

    publish(b"1")
    with running() as first, caplog.at_level(logging.WARNING, "event_service_client"):
        assert asyncio.run(listen(first)) == [1, 2]
        wait_for_states(web_socket, "DELIVERED", "DELIVERED")
    assert "The websocket ended (1012: " in caplog.text


def test_a_reset_is_handed_out_and_it_goes_on_behind_it(
    web: Web, web_socket: Endpoint, key: str, publish: Callable[..., Any]
) -> None:
    publish(*[b"1"] * 5)
    Delivery.objects.filter(seq__lte=3).delete()
    first, third = cursor(web_socket, 1), cursor(web_socket, 3)

    async def listen() -> Any:
        async with listener(web, web_socket, key, after=first) as events:
            reset = await asyncio.wait_for(anext(events), DEADLINE_S)
            return reset, events.cursor, (await take(events)).cursor

    reset, behind, following = asyncio.run(listen())
    assert reset == Reset("HISTORY_GONE", first, third, third)
    assert (behind, following) == (third, cursor(web_socket, 4))


def test_it_ends_where_coming_back_is_of_no_use(web: Web, web_socket: Endpoint, key: str) -> None:
    async def ended(*, key: str, endpoint: Any, **options: Any) -> tuple[int, str]:
        async with Listener(f"http://127.0.0.1:{web.port}", str(endpoint), key, **options) as events:
            with pytest.raises(ListeningEnded) as error:
                await asyncio.wait_for(anext(events), DEADLINE_S)
            return error.value.code, error.value.reason

    async def each() -> list[tuple[int, str]]:
        return [
            await ended(key="es_live_wrong", endpoint=web_socket.pk),
            await ended(key=key, endpoint="00000000-0000-0000-0000-000000000000"),
            await ended(key=key, endpoint=web_socket.pk, window_events=0),
        ]

    (wrong_key, no_endpoint, window) = asyncio.run(each())
    assert (wrong_key[0], no_endpoint[0], window[0]) == (1008, 4404, 1008)
    assert window[1].startswith("window_events is '0'; ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"url": "events.example.com"}, "url is 'events.example.com'; give the service's address"),
        ({"since": datetime(2026, 1, 1)}, "since is datetime"),  # noqa: DTZ001
        ({"after": "0", "share": "team"}, "after does not go with share"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Listener(**{"url": "https://events.example.com", "endpoint_id": "e", "key": "k", **arguments})

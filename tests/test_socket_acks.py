"""The subprotocol event-service.v1: a window, acknowledgements, refusals, and resuming where history is gone."""

import json
import threading
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from endpoints.models import ApiKey, Endpoint
from routing.consumers import EventsConsumer
from routing.models import Attempt, Delivery
from routing.sockets.cursors import Cursor
from routing.sockets.reading import Owed, position_at
from routing.sockets.settling import MOST_REFUSALS
from routing.sockets.window import Flight, Window
from tests.service import wait_until
from tests.traffic import end, forget_payloads, of
from tests.web import DEADLINE_S, assert_quiet, closed, cursor, number, record, running, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


def frame(websocket):
    return json.loads(websocket.recv(timeout=DEADLINE_S))


def begun(websocket):
    """Read the frame that comes first, and return the websocket."""
    assert frame(websocket)["kind"] == "ready"
    return websocket


def events(websocket, count):
    """Return the numbers of the next frames, which are events."""
    frames = [frame(websocket) for _ in range(count)]
    assert {found["kind"] for found in frames} == {"event"}, frames
    return [number(found) for found in frames]


def say(websocket, kind, cursor, **more):
    websocket.send(json.dumps({"kind": kind, "cursor": cursor, **more}))


def ack(websocket, endpoint, seq):
    say(websocket, "ack", cursor(endpoint, seq))


def nack(websocket, endpoint, seq, **more):
    say(websocket, "nack", cursor(endpoint, seq), **more)


def wait_for_states(endpoint, *wanted):
    wait_until(lambda: [state for _, state in states(endpoint)], lambda found: found == list(wanted))


# --- the window


def test_the_first_frame_says_where_it_begins_and_what_the_window_is(web, web_socket, key, publish):
    publish(b"1")
    with web.v1(web_socket, key) as websocket:
        assert frame(websocket) == {
            "kind": "ready",
            "endpointId": str(web_socket.pk),
            "cursor": cursor(web_socket, 0),
            "windowEvents": 256,
            "windowBytes": 4 * 1024 * 1024,
        }
        assert websocket.subprotocol == "event-service.v1"


def test_an_event_is_what_a_plain_socket_gets_and_its_kind(web, web_socket, key, publish):
    publish(b'{"n": 1.00}', subject="order/1")
    asking = {"after": 0}
    with web.listen(web_socket, key, asking=asking) as plain, web.v1(web_socket, key, **asking) as websocket:
        text = begun(websocket).recv(timeout=DEADLINE_S)
        assert text == '{"kind":"event",' + plain.recv(timeout=DEADLINE_S)[1:]
        assert '"data":{"n": 1.00}' in text


def test_no_more_is_sent_than_the_window_holds(web, web_socket, key, publish):
    publish(*[b"1"] * 5)
    with web.v1(web_socket, key, window_events=2) as websocket:
        assert events(begun(websocket), 2) == [1, 2]
        assert_quiet(websocket)
        ack(websocket, web_socket, 1)
        assert events(websocket, 1) == [3]
        ack(websocket, web_socket, 3)
        assert events(websocket, 2) == [4, 5]


def test_the_window_is_of_bytes_too_and_one_event_alone_always_fits(web, web_socket, key, publish):
    publish(*[b'"' + b"x" * 1_000 + b'"'] * 3)
    with web.v1(web_socket, key, window_bytes=1_000) as websocket:
        assert events(begun(websocket), 1) == [1]
        assert_quiet(websocket)
        ack(websocket, web_socket, 1)
        assert events(websocket, 1) == [2]


@pytest.mark.parametrize(
    ("asking", "problem"),
    [
        ({"window_events": 0}, "window_events is '0'; give a number from 1 to 10000."),
        ({"window_events": 10_001}, "window_events is '10001'; give a number from 1 to 10000."),
        ({"window_bytes": "x"}, "window_bytes is 'x'; give a number from 1 to 16777216."),
        ({"share": ""}, "share is ''; give 1 to 64 letters, digits, dots, _ or -."),
        ({"share": "a b"}, "share is 'a b'; give 1 to 64 letters, digits, dots, _ or -."),
        ({"share": "g", "after": "0"}, "after does not go with share; give one of them."),
        ({"from": "yesterday"}, "from is 'yesterday'; give a time such as 2026-11-22T10:00:00Z."),
        ({"from": "2026-01-01T00:00:00"}, "from is '2026-01-01T00:00:00'; give a time such as 2026-11-22T10:00:00Z."),
        ({"windows": 1}, "'windows' is no parameter; there are endpoint_id, access, after, from, share,"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(web, web_socket, key, asking, problem):
    with web.v1(web_socket, key, **asking) as websocket:
        code, reason = closed(websocket)
    assert code == 1008
    assert reason.startswith(problem)


def test_a_window_is_for_who_acknowledges(web, web_socket, key):
    with web.listen(web_socket, key, asking={"window_events": 5}) as plain:
        assert closed(plain) == (1008, "window_events goes with the subprotocol event-service.v1.")


# --- acknowledging


def test_what_is_acknowledged_is_delivered_and_the_attempt_says_to_whom(web, web_socket, key, publish):
    since = timezone.now()
    publish(*[b"1"] * 3)
    with web.v1(web_socket, key) as websocket:
        assert events(begun(websocket), 3) == [1, 2, 3]
        assert [state for _, state in states(web_socket)] == ["PENDING"] * 3
        ack(websocket, web_socket, 2)
        wait_for_states(web_socket, "DELIVERED", "DELIVERED", "PENDING")
        attempts = Attempt.objects.order_by("delivery__seq").values_list("delivery__seq", "number", "error")
        assert list(attempts) == [(1, 1, ""), (2, 1, "")]
    attempt = Attempt.objects.get(delivery__seq=1)
    assert f"key {ApiKey.objects.get().pk}, 127.0.0.1" in attempt.peer
    assert since < attempt.started_at
    assert attempt.duration_ms > 0


def test_what_a_socket_did_not_acknowledge_goes_to_the_next(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 3)
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED", "PENDING", "PENDING")
    lost = partial(Attempt.objects.filter, error="CONNECTION_LOST")
    wait_until(lambda: list(lost().order_by("delivery__seq").values_list("delivery__seq", flat=True)), [2, 3].__eq__)
    with web.v1(web_socket, key) as websocket:
        assert events(begun(websocket), 2) == [2, 3]
        ack(websocket, web_socket, 3)
        wait_for_states(web_socket, *["DELIVERED"] * 3)
    assert Delivery.objects.get(seq=3).attempts_made == 2


def test_a_process_that_is_killed_leaves_what_was_not_acknowledged_to_others(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    with running() as doomed, doomed.v1(web_socket, key) as websocket:
        events(begun(websocket), 3)
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED", "PENDING", "PENDING")
        doomed.process.kill()
    with web.v1(web_socket, key) as websocket:
        assert events(begun(websocket), 2) == [2, 3]


def test_every_socket_gets_every_event_and_the_first_acknowledgement_delivers(web, other_web, web_socket, key, publish):
    with web.v1(web_socket, key) as first, other_web.v1(web_socket, key) as second:
        begun(first), begun(second)
        publish(*[b"1"] * 2)
        assert events(first, 2) == events(second, 2) == [1, 2]
        ack(first, web_socket, 2)
        wait_for_states(web_socket, "DELIVERED", "DELIVERED")
        ack(second, web_socket, 2)
        publish(b"1")
        assert events(first, 1) == events(second, 1) == [3]
    assert Attempt.objects.filter(delivery__seq__lte=2).count() == 2


def test_who_joins_late_does_not_get_what_was_delivered_before(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 3)
        nack(websocket, web_socket, 1, delaySeconds=900)
        ack(websocket, web_socket, 3)
        wait_for_states(web_socket, "PENDING", "DELIVERED", "DELIVERED")
        with web.v1(web_socket, key) as late:
            assert events(begun(late), 1) == [1]
            publish(b"1")
            assert events(late, 1) == [4]


def test_who_resumes_with_a_cursor_has_all_up_to_there(web, web_socket, key, publish):
    publish(*[b"1"] * 4)
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 4)
    with web.v1(web_socket, key, after=cursor(web_socket, 3)) as websocket:
        assert events(begun(websocket), 1) == [4]
        wait_for_states(web_socket, *["DELIVERED"] * 3, "PENDING")


def test_who_looks_at_history_acknowledges_nothing_by_it(web, web_socket, key, publish):
    publish(*[b"1"] * 2)
    since = timezone.now()
    publish(b"1")
    with web.v1(web_socket, key, **{"from": since.isoformat()}) as websocket:
        assert events(begun(websocket), 1) == [3]
    assert states(web_socket) == [(1, "PENDING"), (2, "PENDING"), (3, "PENDING")]


# --- refusing


def test_what_is_refused_comes_again_and_the_attempt_says_why(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 2)
        nack(websocket, web_socket, 1, reason="not today")
        assert events(websocket, 1) == [1]
        ack(websocket, web_socket, 2)
        wait_for_states(web_socket, "PENDING", "DELIVERED")
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED", "DELIVERED")
    attempts = Attempt.objects.filter(delivery__seq=1).order_by("number").values_list("number", "error", "error_detail")
    assert list(attempts) == [(1, "REFUSED", "not today"), (2, "", "")]


def test_an_acknowledgement_stands_for_nothing_that_was_sent_behind_its_event():
    """That was still on its way to who sent it."""
    window, owed = Window(), {seq: Owed(uuid4(), seq, "PENDING") for seq in range(1, 9)}

    def send(*numbers, at):
        for seq in numbers:
            window.add(Flight(owed[seq], 10, (timezone.now(), at)))

    def acknowledge(seq):
        return [flight.owed.seq for flight in window.take_up_to(seq)]

    send(1, 2, 3, 4, 5, at=1)
    window.take(2), window.take(3)  # refused
    send(3, at=2)
    send(2, 6, 7, at=3)
    assert acknowledge(4) == [1, 4]
    assert acknowledge(5) == [5]
    assert acknowledge(5) == []
    assert acknowledge(3) == [3]  # and not 2, which came behind it
    assert acknowledge(6) == [2, 6]
    window.take(7)
    send(8, at=4)
    send(7, at=5)
    assert acknowledge(7) == [7]
    assert [flight.owed.seq for flight in window.take_all()] == [8]
    assert window.room == (256, 4 << 20)


def test_an_acknowledgement_leaves_out_what_was_refused(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 2)
        nack(websocket, web_socket, 1, delaySeconds=900)
        ack(websocket, web_socket, 2)
        wait_for_states(web_socket, "PENDING", "DELIVERED")


def test_an_acknowledgement_alone_is_taken_at_once_and_only_where_nothing_waits_before_it():
    taken, ack = [], b'{"kind": "ack", "cursor": "00000000-3"}'
    consumer = EventsConsumer()
    assert not consumer._hear(ack)  # nothing was sent yet
    consumer._reader = SimpleNamespace(cursor=Cursor("0" * 8, 5), acknowledge=taken.append)
    endpoint = SimpleNamespace(workspace_id=UUID(int=1))
    consumer._admission = SimpleNamespace(key_id=None, standing=SimpleNamespace(endpoint=endpoint))

    assert consumer._hear(ack)
    assert taken == [3]
    for other in (ack.replace(b"ack", b"nack"), ack.replace(b"-3", b"-6"), b"{}"):
        assert not consumer._hear(other)
    consumer._hears = True
    assert not consumer._hear(ack)
    assert taken == [3]


def test_a_delay_is_waited_for_while_others_go_on(web, web_socket, key, publish):
    publish(b"1")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 1)
        asked_at = timezone.now()
        nack(websocket, web_socket, 1, delaySeconds=2)
        publish(b"2")
        assert events(websocket, 2) == [2, 1]
        assert timezone.now() - asked_at > timedelta(seconds=2)


def test_what_is_refused_again_and_again_is_given_up_for_a_reason(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 2)
        for count in range(MOST_REFUSALS):
            nack(websocket, web_socket, 1, reason=f"{count}")
            if count < MOST_REFUSALS - 1:
                assert events(websocket, 1) == [1]
        wait_for_states(web_socket, "EXHAUSTED", "PENDING")
        assert_quiet(websocket)
    assert Delivery.objects.get(seq=1).reason == "REFUSED"


def test_what_was_refused_keeps_its_place_in_the_window(web, web_socket, key, publish):
    publish(*[b"1"] * 4)
    with web.v1(web_socket, key, window_events=2) as websocket:
        events(begun(websocket), 2)
        nack(websocket, web_socket, 1, delaySeconds=900)
        ack(websocket, web_socket, 2)
        assert events(websocket, 1) == [3]
        assert_quiet(websocket)


def test_what_was_refused_comes_again_though_the_window_is_full(web, web_socket, key, publish):
    publish(*[b"1"] * 6)
    with web.v1(web_socket, key, window_events=3) as websocket:
        events(begun(websocket), 3)
        nack(websocket, web_socket, 2)
        assert events(websocket, 1) == [2]
        assert_quiet(websocket)


# --- frames that can't be read


@pytest.mark.parametrize(
    "said",
    [
        "",
        "hello",
        "[]",
        "null",
        "[" * 100_000,
        '{"kind": "websocket.disconnect"}',
        '{"kind": "_x", "cursor": "0"}',
        '{"type": "websocket.disconnect"}',
        '{"kind": "ack"}',
        '{"kind": "ack", "cursor": 1}',
        '{"kind": "ack", "cursor": "1"}',
        '{"kind": "ack", "cursor": "0"}',
        '{"kind": "ack", "cursor": "00000000-1"}',
        '{"kind": "ack", "cursor": "x", "x": 1}',
        b"\x00\xff",
        "\ufffe",
    ],
    ids=lambda said: repr(said[:20]),
)
def test_what_cannot_be_read_is_answered_and_changes_nothing(web, web_socket, key, publish, said):
    publish(b"1")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 1)
        websocket.send(said)
        answer = frame(websocket)
        assert (answer["kind"], answer["code"]) == ("error", "BAD_FRAME")
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED")


def test_a_cursor_that_was_not_sent_is_not_acknowledged(web, web_socket, key, publish):
    publish(b"1", b"2", b"3")
    with web.v1(web_socket, key, window_events=2) as websocket:
        events(begun(websocket), 2)
        ack(websocket, web_socket, 3)
        assert frame(websocket)["message"].endswith(f"the last that was is {cursor(web_socket, 2)}.")
        nack(websocket, web_socket, 3)
        assert frame(websocket)["kind"] == "error"
        ack(websocket, web_socket, 1)
        events(websocket, 1)
        nack(websocket, web_socket, 1)
        assert "waits for an acknowledgement" in frame(websocket)["message"]


def test_delays_and_reasons_have_bounds(web, web_socket, key, publish):
    publish(b"1")
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 1)
        for more in (
            {"delaySeconds": -1},
            {"delaySeconds": 901},
            {"reason": "x" * 201},
            {"reason": 1},
            {"reason": "\0"},
        ):
            nack(websocket, web_socket, 1, **more)
            assert frame(websocket)["kind"] == "error", more


def test_who_sends_nothing_but_nonsense_is_closed(web, web_socket, key):
    with web.v1(web_socket, key) as websocket:
        begun(websocket)
        for _ in range(100):
            websocket.send("?")
        assert [frame(websocket)["kind"] for _ in range(99)] == ["error"] * 99
        assert closed(websocket) == (1008, "100 frames could not be read.")


# --- resuming


def test_from_begins_with_what_was_recorded_at_that_time(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    Delivery.objects.update(creation_date=F("creation_date") - timedelta(days=1) + timedelta(hours=1) * F("seq"))
    for since, wanted in ((0, [1, 2, 3]), (2, [2, 3]), (2.5, [3])):
        time = Delivery.objects.get(seq=1).creation_date + timedelta(hours=since - 1)
        with web.listen(web_socket, key, asking={"from": time.isoformat()}) as websocket:
            assert [number(frame(websocket)) for _ in wanted] == wanted
    with web.listen(web_socket, key, asking={"from": timezone.now().isoformat()}) as websocket:
        publish(b"1")
        assert number(frame(websocket)) == 4


def test_who_began_at_a_time_comes_back_without_taking_what_lies_before_it(web, web_socket, key, publish):
    publish(*[b"1"] * 5)
    Delivery.objects.update(creation_date=F("creation_date") - timedelta(days=1) + timedelta(hours=1) * F("seq"))
    since = Delivery.objects.get(seq=3).creation_date.isoformat()
    for after, wanted in ((1, [3, 4, 5]), (4, [5])):
        with web.v1(web_socket, key, **{"from": since, "after": cursor(web_socket, after)}) as websocket:
            assert events(begun(websocket), len(wanted)) == wanted
    wait_for_states(web_socket, "PENDING", "PENDING", "DELIVERED", "DELIVERED", "PENDING")


def test_from_finds_its_place_in_a_long_history(web_socket, publish):
    for _ in range(5):
        publish(*[b"1"] * 1_000)
    Delivery.objects.update(creation_date=F("creation_date") - timedelta(days=365) + timedelta(minutes=1) * F("seq"))
    first = Delivery.objects.get(seq=1).creation_date
    for position in (0, 1, 999, 1_000, 2_345, 4_999):
        assert position_at(web_socket.pk, first + timedelta(minutes=position), 5_000) == position
    assert position_at(web_socket.pk, first - timedelta(days=1), 5_000) == 0
    assert position_at(web_socket.pk, first + timedelta(days=9), 5_000) == 5_000


def test_history_that_is_gone_is_said_and_what_is_left_follows(web, web_socket, key, publish):
    publish(*[b"1"] * 5)
    Delivery.objects.filter(seq__lte=3).delete()
    gone = {
        "kind": "reset",
        "reason": "HISTORY_GONE",
        "missing": {"after": cursor(web_socket, 1), "until": cursor(web_socket, 3)},
        "cursor": cursor(web_socket, 3),
    }
    with web.v1(web_socket, key, after=cursor(web_socket, 1)) as websocket:
        assert frame(begun(websocket)) == gone
        assert events(websocket, 2) == [4, 5]
    with web.listen(web_socket, key, asking={"after": cursor(web_socket, 1)}) as plain:
        assert frame(plain) == gone
        assert [number(frame(plain)), number(frame(plain))] == [4, 5]


def test_each_hole_in_history_is_said_in_its_place_whether_events_are_gone_or_their_payloads(
    web, web_socket, key, publish
):
    publish(*[b"1"] * 8)
    end(of(web_socket, seq__lte=7), "DELIVERED")
    of(web_socket, seq=2).delete()
    forget_payloads(*of(web_socket, seq__in=[4, 5, 7]).values_list("event_id", flat=True))

    def holes(websocket):
        found = [frame(websocket) for _ in range(7)]
        return [
            (told["missing"]["after"], told["missing"]["until"]) if "missing" in told else number(told)
            for told in found
        ]

    at = partial(cursor, web_socket)
    wanted = [1, (at(1), at(2)), 3, (at(3), at(5)), 6, (at(6), at(7)), 8]
    with web.v1(web_socket, key, after="0") as websocket:
        assert holes(begun(websocket)) == wanted
    with web.v1(web_socket, key, window_events=4) as websocket:  # who does not ask for what others had lacks nothing
        assert events(begun(websocket), 1) == [8]
        ack(websocket, web_socket, 8)
        wait_for_states(web_socket, *["DELIVERED"] * 7)
    forget_payloads(*of(web_socket, seq=8).values_list("event_id", flat=True))
    with web.listen(web_socket, key, asking={"after": at(6)}) as plain:  # nothing comes behind it
        told = frame(plain)
        assert (told["reason"], told["missing"], told["cursor"]) == (
            "HISTORY_GONE",
            {"after": at(6), "until": at(8)},
            at(8),
        )
        publish(b"1")
        assert number(frame(plain)) == 9


def test_who_does_not_ask_for_history_is_not_told_of_what_others_had_and_is_deleted_since(
    web, web_socket, key, publish
):
    publish(*[b"1"] * 5)
    end(of(web_socket, seq__in=[2, 3, 4]), "DELIVERED")
    Delivery.objects.filter(seq__in=[3, 4]).delete()
    with web.v1(web_socket, key) as websocket:
        assert events(begun(websocket), 2) == [1, 5]


def test_what_is_refused_in_history_comes_again_too_as_often_as_any_other(web, web_socket, key, publish):
    publish(*[b"1"] * 2)
    end(of(web_socket, seq=1), "DELIVERED")
    end(of(web_socket, seq=2))
    with web.v1(web_socket, key, after="0") as websocket:
        assert events(begun(websocket), 2) == [1, 2]
        for seq in (1, 2):
            for _ in range(MOST_REFUSALS - 1):
                nack(websocket, web_socket, seq)
                assert events(websocket, 1) == [seq]
            nack(websocket, web_socket, seq)
        assert_quiet(websocket)


def test_who_comes_back_with_both_is_told_what_is_missing_between(web, web_socket, key, publish):
    publish(*[b"1"] * 6)
    Delivery.objects.update(creation_date=F("creation_date") - timedelta(days=1) + timedelta(hours=1) * F("seq"))
    since = Delivery.objects.get(seq=3).creation_date.isoformat()
    Delivery.objects.filter(seq__in=[3, 4]).delete()
    with web.v1(web_socket, key, **{"from": since, "after": cursor(web_socket, 1)}) as websocket:
        assert frame(begun(websocket))["missing"] == {"after": cursor(web_socket, 2), "until": cursor(web_socket, 4)}
        assert events(websocket, 2) == [5, 6]


def test_history_that_goes_while_a_socket_reads_is_said(web, web_socket, key, publish):
    publish(*[b"1"] * 2)
    with web.v1(web_socket, key, window_events=2) as websocket:
        events(begun(websocket), 2)
        Endpoint.change_state([web_socket], Endpoint.State.PAUSED)  # so that nothing is read before it is gone
        publish(*[b"1"] * 3)
        Delivery.objects.filter(seq__in=[3, 4]).delete()
        Endpoint.change_state([web_socket], Endpoint.State.ACTIVE)
        ack(websocket, web_socket, 2)
        assert frame(websocket)["missing"] == {"after": cursor(web_socket, 2), "until": cursor(web_socket, 4)}
        assert events(websocket, 1) == [5]


def test_a_cursor_of_another_epoch_is_answered_by_a_reset(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    with web.v1(web_socket, key) as websocket:
        events(begun(websocket), 3)
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED", "PENDING", "PENDING")
    with web.v1(web_socket, key, after="00000000-7") as websocket:
        assert frame(begun(websocket)) == {
            "kind": "reset",
            "reason": "EPOCH_CHANGED",
            "missing": {"after": "00000000-7", "until": None},
            "cursor": cursor(web_socket, 1),
        }
        assert events(websocket, 2) == [2, 3]


def test_a_cursor_beyond_the_last_is_answered_by_a_reset(web, web_socket, key, publish):
    publish(b"1")
    with web.v1(web_socket, key, after=cursor(web_socket, 9)) as websocket:
        answer = frame(begun(websocket))
        assert (answer["kind"], answer["reason"]) == ("reset", "AHEAD")
        assert events(websocket, 1) == [1]
    assert states(web_socket) == [(1, "PENDING")]


def test_sockets_are_told_to_come_back_when_their_endpoint_is_numbered_anew(web, web_socket, key, publish):
    with web.v1(web_socket, key) as websocket:
        begun(websocket)
        call_command("new_epoch")
        assert closed(websocket) == (1012, "The endpoint's events were numbered anew; connect again.")


# --- many breaks


def test_nothing_is_missing_or_out_of_order_over_many_breaks(web, other_web, web_socket, key, publish):
    total, seen, position = 1_000, [], None

    def produce():
        for _ in range(total // 10):
            publish(*[b"1"] * 10)
        connection.close()

    producer = threading.Thread(target=produce)
    producer.start()
    place = 0
    while len(seen) < total:
        place += 1
        asking = {"after": position} if position else {}
        with (web, other_web)[place % 2].v1(web_socket, key, window_events=16, **asking) as websocket:
            begun(websocket)
            for count in range(40):
                found = frame(websocket)
                seen.append(number(found))
                position = found["cursor"]
                if count % 3 == 0:
                    say(websocket, "ack", position)
                if len(seen) == total or count == place % 40:
                    break
    producer.join()
    assert seen == list(range(1, total + 1))
    with web.v1(web_socket, key, after=position) as websocket:
        begun(websocket)
        wait_for_states(web_socket, *["DELIVERED"] * total)
    assert Attempt.objects.filter(error="").count() == total

"""Groups: members on any process divide an endpoint's events, in order within an ordering key."""

import asyncio
import json
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from unittest.mock import Mock

import pytest
from django.db import connection, transaction
from django.utils import timezone

from routing import partitions, retention, router
from routing.models import Attempt, Delivery, SharedDelivery, ShareGroup, Socket
from routing.sockets.admission import admit
from routing.sockets.hub import Hub
from routing.sockets.registry import leave, open_node
from routing.sockets.settling import MOST_REFUSALS
from routing.sockets.sharing import join, take
from routing.sockets.threads import in_thread
from routing.sockets.window import Window
from tests.service import wait_until
from tests.test_socket_acks import ack, begun, events, frame, nack, wait_for_states
from tests.together import together
from tests.traffic import end, forget_payloads, of
from tests.web import DEADLINE_S, asked, assert_quiet, closed, cursor, number, record, running, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]

SOON_DEAD = ("routing.sockets.registry.DEAD_AFTER_S=1", "routing.sockets.hub.RENEW_S=0.2")


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


def members(websockets, count):
    """Let the members take and acknowledge until `count` events came; return who got which, in the order of coming."""
    got = defaultdict(list)

    def run(place):
        websocket = websockets[place]
        while sum(map(len, got.values())) < count:
            try:
                found = json.loads(websocket.recv(timeout=0.1))
            except TimeoutError:
                continue
            got[place].append((found["data"], number(found)))
            websocket.send(json.dumps({"kind": "ack", "cursor": found["cursor"]}))

    with ThreadPoolExecutor(len(websockets)) as readers:
        list(readers.map(run, range(len(websockets))))
    return got


def test_members_on_two_processes_divide_the_events(web, other_web, web_socket, key, publish):
    with (
        web.v1(web_socket, key, share="g", window_events=8) as first,
        web.v1(web_socket, key, share="g", window_events=8) as second,
        other_web.v1(web_socket, key, share="g", window_events=8) as third,
    ):
        websockets = [begun(first), begun(second), begun(third)]
        publish(*[b"1"] * 300)
        got = members(websockets, 300)
        wait_for_states(web_socket, *["DELIVERED"] * 300)
    numbers = [seq for found in got.values() for _, seq in found]
    assert sorted(numbers) == list(range(1, 301))
    assert len(got) == 3
    assert not SharedDelivery.objects.exists()


def test_a_group_is_done_with_what_others_had_before_it(web, web_socket, key, publish):
    with web.v1(web_socket, key, share="g", window_events=1) as member, web.v1(web_socket, key) as alone:
        begun(member), begun(alone)
        publish(b"1", b"2")
        assert (events(member, 1), events(alone, 2)) == ([1], [1, 2])
        ack(alone, web_socket, 2)
        wait_for_states(web_socket, "DELIVERED", "DELIVERED")
        ack(member, web_socket, 1)
        assert events(member, 1) == [2]
        ack(member, web_socket, 2)
        wait_until(SharedDelivery.objects.count, lambda left: left == 0)


def test_ready_names_the_group(web, web_socket, key):
    with web.v1(web_socket, key, share="billing") as websocket:
        assert frame(websocket)["share"] == "billing"


def test_groups_and_others_get_every_event_each(web, web_socket, key, publish):
    with (
        web.v1(web_socket, key, share="a") as a,
        web.v1(web_socket, key, share="b") as b,
        web.v1(web_socket, key) as alone,
    ):
        begun(a), begun(b), begun(alone)
        publish(b"1", b"2")
        assert events(a, 2) == events(b, 2) == events(alone, 2) == [1, 2]


def test_the_events_of_a_key_are_with_one_member_at_a_time_and_in_order(web, other_web, web_socket, key, workspace):
    with (
        web.v1(web_socket, key, share="g", window_events=4) as first,
        other_web.v1(web_socket, key, share="g", window_events=4) as second,
        other_web.v1(web_socket, key, share="g", window_events=4) as third,
    ):
        websockets = [begun(first), begun(second), begun(third)]
        for n in range(60):
            for name in "abcde":
                record(workspace, json.dumps([name, n]).encode(), ordering_key=name)
        got = members(websockets, 300)
    of_key = defaultdict(list)
    for found in got.values():
        for (name, n), _ in found:
            of_key[name].append(n)
    assert {name: sorted(ns) for name, ns in of_key.items()} == {name: list(range(60)) for name in "abcde"}
    for found in got.values():  # each member saw each key in its order
        for name in "abcde":
            seen = [n for (of, n), _ in found if of == name]
            assert seen == sorted(seen)


def test_what_has_the_key_of_another_member_waits_until_that_is_done(web, web_socket, key, workspace):
    with web.v1(web_socket, key, share="g", window_events=1) as first:
        begun(first)
        record(workspace, b"1", ordering_key="k")
        assert events(first, 1) == [1]
        with web.v1(web_socket, key, share="g") as second:
            begun(second)
            record(workspace, b"2", ordering_key="k")
            record(workspace, b"3", ordering_key="other")
            assert events(second, 1) == [3]
            assert_quiet(second)
            ack(first, web_socket, 1)
            got = members([first, second], 1)
            assert [seq for found in got.values() for _, seq in found] == [2]


def test_what_a_member_had_goes_to_others_when_it_leaves(web, other_web, web_socket, key, publish):
    with web.v1(web_socket, key, share="g") as first:
        begun(first)
        publish(*[b"1"] * 3)
        assert events(first, 3) == [1, 2, 3]
        with other_web.v1(web_socket, key, share="g") as second:
            begun(second)
            ack(first, web_socket, 1)
            wait_for_states(web_socket, "DELIVERED", "PENDING", "PENDING")
            first.close()
            assert events(second, 2) == [2, 3]
            ack(second, web_socket, 3)
            wait_for_states(web_socket, *["DELIVERED"] * 3)
    lost = Attempt.objects.filter(error="CONNECTION_LOST").values_list("delivery__seq", flat=True)
    assert sorted(lost) == [2, 3]


def test_what_a_killed_process_had_goes_to_others(web_socket, key, publish):
    with running(*SOON_DEAD) as doomed, running(*SOON_DEAD) as other, doomed.v1(web_socket, key, share="g") as first:
        begun(first)
        publish(b"1", b"2")
        assert events(first, 2) == [1, 2]
        with other.v1(web_socket, key, share="g") as second:
            begun(second)
            doomed.process.kill()
            assert events(second, 2) == [1, 2]
    attempt = Attempt.objects.get(error="CONNECTION_LOST", delivery__seq=1, number=1)  # the second one loses it too
    assert attempt.error_detail == "The process ended, and the websocket with it."
    assert attempt.peer.startswith("socket ")


def test_a_process_that_was_taken_for_dead_ends_its_sockets(web_socket, key, publish):
    with running(*SOON_DEAD) as paused, running(*SOON_DEAD) as other, paused.v1(web_socket, key, share="g") as first:
        begun(first)
        with other.v1(web_socket, key, share="g") as second:
            begun(second)
            paused.process.send_signal(signal.SIGSTOP)
            wait_until(Socket.objects.count, (1).__eq__)
            paused.process.send_signal(signal.SIGCONT)
            assert closed(first) == (1012, "This process stood still for too long; connect again.")


def test_what_is_refused_may_go_to_another_member(web, web_socket, key, publish):
    with web.v1(web_socket, key, share="g") as first:
        begun(first)
        publish(b"1")
        events(first, 1)
        nack(first, web_socket, 1, reason="busy")
        found = frame(first)
        assert number(found) == 1
        nack(first, web_socket, 1, delaySeconds=1)
        asked_at = timezone.now()
        assert events(first, 1) == [1]
        assert timezone.now() - asked_at > timedelta(seconds=1)


def test_what_is_refused_again_and_again_is_given_up_for_the_group_too(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.v1(web_socket, key, share="a") as websocket:
        events(begun(websocket), 2)
        for count in range(MOST_REFUSALS):
            nack(websocket, web_socket, 1)
            if count < MOST_REFUSALS - 1:
                assert events(websocket, 1) == [1]
        wait_for_states(web_socket, "EXHAUSTED", "PENDING")
        assert_quiet(websocket)
    assert not SharedDelivery.objects.filter(seq=1).exists()


def test_what_was_given_up_costs_a_group_no_time(web_socket, key, publish):
    publish(*[b"1"] * 6)
    cancelled = {"state": "CANCELLED", "reason": "CANCELLED_BY_REQUEST", "settled_at": timezone.now()}

    async def first():
        asks = asked(web_socket, key, "event-service.v1", share="a", window_events=1)
        admission = await in_thread(admit, asks)
        async with Hub().reader(admission, end=Mock()) as reader:
            await in_thread(Delivery.objects.filter(seq__lt=6).update, **cancelled)
            helping = await reader.source.read(Window(events=1))
            return [row.seq for row in helping.rows]

    assert asyncio.run(first()) == [6]


def test_what_is_refused_for_a_while_holds_up_its_key_and_no_other(web, web_socket, key, workspace):
    with web.v1(web_socket, key, share="g") as first:
        begun(first)
        record(workspace, b"1", ordering_key="k")
        events(first, 1)
        nack(first, web_socket, 1, delaySeconds=2)
        wait_until(lambda: SharedDelivery.objects.filter(socket=None).count(), (1).__eq__)
        record(workspace, b"2", ordering_key="k")
        record(workspace, b"3", ordering_key="l")
        assert events(first, 3) == [3, 1, 2]


def test_a_group_keeps_its_place_while_it_has_no_members(web, web_socket, key, publish):
    publish(b"1")
    with web.v1(web_socket, key, share="g") as websocket:
        assert events(begun(websocket), 1) == [1]
        ack(websocket, web_socket, 1)
        wait_for_states(web_socket, "DELIVERED")
    publish(b"2")
    with web.listen(web_socket, key) as plain:
        plain.recv(timeout=DEADLINE_S)
        wait_for_states(web_socket, "DELIVERED", "DELIVERED")
    with web.v1(web_socket, key, share="g") as websocket:
        assert events(begun(websocket), 1) == [2]


def test_history_that_a_group_never_got_is_said(web, web_socket, key, publish):
    with web.v1(web_socket, key, share="g") as websocket:
        begun(websocket)
    publish(*[b"1"] * 3)
    Delivery.objects.filter(seq__lte=2).delete()
    with web.v1(web_socket, key, share="g") as websocket:
        found = frame(begun(websocket))
        assert found["missing"] == {"after": cursor(web_socket, 0), "until": cursor(web_socket, 2)}
        assert events(websocket, 1) == [3]


def test_holes_in_history_are_said_to_a_group_each_in_its_place(web_socket, publish):
    group_id, at = join(web_socket.pk, "g", 0), partial(of, web_socket)
    publish(*[b"1"] * 7)
    end(at(), "DELIVERED")
    at(seq=2).delete()
    forget_payloads(*at(seq__in=[4, 5, 7]).values_list("event_id", flat=True))
    socket = Socket.objects.create(
        node_id=open_node(), workspace_id=web_socket.workspace_id, endpoint=web_socket, share="g"
    )

    def taken():
        helping = take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000)
        return [row.seq for row in helping.rows], helping.gap

    assert [taken() for _ in range(6)] == [
        ([1], None),
        ([3], (1, 2)),
        ([], (3, 5)),
        ([6], None),
        ([], (6, 7)),
        ([], None),
    ]
    forget_payloads(*at(seq=6).values_list("event_id", flat=True))
    SharedDelivery.objects.filter(seq=6).update(socket=None)  # given back
    assert [taken(), taken()] == [([], (5, 6)), ([], None)]
    assert list(SharedDelivery.objects.values_list("seq", flat=True)) == [1, 3]


def test_what_is_given_back_and_was_forgotten_meanwhile_is_said_and_nothing_that_comes(web_socket, publish):
    group_id, at = join(web_socket.pk, "g", 0), partial(of, web_socket)
    socket = Socket.objects.create(
        node_id=open_node(), workspace_id=web_socket.workspace_id, endpoint=web_socket, share="g"
    )

    def taken():
        helping = take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000)
        return [row.seq for row in helping.rows], helping.gap

    publish(*[b"1"] * 9)
    assert taken() == ([*range(1, 10)], None)
    end(at(), "DELIVERED")
    forget_payloads(*at(seq__in=[2, 3, 5, 7, 9]).values_list("event_id", flat=True))
    SharedDelivery.objects.filter(seq=8).delete()  # acknowledged
    SharedDelivery.objects.update(socket=None)
    assert [taken() for _ in range(6)] == [
        ([1], None),
        ([4], (1, 3)),
        ([6], (4, 5)),
        ([], (6, 7)),
        ([], (8, 9)),
        ([], None),
    ]
    assert list(SharedDelivery.objects.filter(socket=socket).values_list("seq", flat=True)) == [1, 4, 6]


def test_what_had_waited_and_is_gone_takes_no_member_back(web, web_socket, key, publish):
    publish(*[b"1"] * 3)
    with web.v1(web_socket, key, share="g") as websocket:
        begun(websocket)
        assert events(websocket, 3) == [1, 2, 3]
        end(of(web_socket), "DELIVERED")
        forget_payloads(*of(web_socket, seq=1).values_list("event_id", flat=True))
        SharedDelivery.objects.filter(seq=1).update(socket=None)  # given back
        publish(b"1")
        gone = frame(websocket)
        assert (gone["kind"], number(gone)) == ("reset", 3)
        assert events(websocket, 1) == [4]
        ack(websocket, web_socket, 3)
        wait_until(SharedDelivery.objects.count, lambda left: left == 1)


def test_without_hints_the_poll_finds_everything(web, web_socket, key, publish, monkeypatch):
    monkeypatch.setattr(router, "WEB_SOCKET_HINT", "nobody_listens_here")
    with web.v1(web_socket, key, share="g") as websocket:
        begun(websocket)
        for seq in (1, 2):
            publish(b"1")
            assert events(websocket, 1) == [seq]


def test_a_member_takes_no_more_than_its_window(web, web_socket, key, publish):
    publish(*[b'"' + b"x" * 1_000 + b'"'] * 10)
    with (
        web.v1(web_socket, key, share="g", window_events=2) as few,
        web.v1(web_socket, key, share="g", window_bytes=3_000) as small,
    ):
        assert len(events(begun(few), 2)) == 2
        assert_quiet(few)
        assert len(events(begun(small), 2)) == 2
        assert_quiet(small)


def test_a_busy_group_costs_no_more_for_a_long_history(web_socket, publish, django_assert_num_queries):
    publish(*[b"1"] * 20)
    group_id = join(web_socket.pk, "g", 0)
    socket = Socket.objects.create(
        node_id=open_node(), workspace_id=web_socket.workspace_id, endpoint=web_socket, share="g"
    )
    with django_assert_num_queries(6):  # with the two of a savepoint
        helping = take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000)
    assert [row.seq for row in helping.rows] == list(range(1, 11))
    assert ShareGroup.objects.get().scanned_to == 10


def test_a_member_that_ends_while_it_takes_gives_back_what_it_took(web_socket, publish):
    publish(*[b"1"] * 3)
    group_id = join(web_socket.pk, "g", 0)
    socket = Socket.objects.create(
        node_id=open_node(), workspace_id=web_socket.workspace_id, endpoint=web_socket, share="g"
    )

    with ThreadPoolExecutor(1) as others:
        with transaction.atomic():
            assert len(take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000).rows) == 3
            ending = others.submit(together, partial(leave, socket.pk))
            wait_until(somebody_waits_for_us, bool)
        ending.result(DEADLINE_S)

    assert list(SharedDelivery.objects.values_list("socket", flat=True)) == [None] * 3
    assert take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000).rows == ()


def somebody_waits_for_us():
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return bool(cursor.fetchall())


def test_what_a_member_takes_while_it_is_pruned_is_not_left_behind(web_socket, publish, settings, monkeypatch):
    settings.KEEP_DAYS = 1
    monkeypatch.setattr(partitions, "older_than", lambda *_, **__: [])
    group_id = join(web_socket.pk, "g", 0)
    publish(*[b"1"] * 3)
    end(of(web_socket), "DELIVERED")
    socket = Socket.objects.create(
        node_id=open_node(), workspace_id=web_socket.workspace_id, endpoint=web_socket, share="g"
    )

    with ThreadPoolExecutor(1) as others:
        with transaction.atomic():
            assert len(take(group_id, socket.pk, "epoch", most=10, most_bytes=10_000).rows) == 3
            pruning = others.submit(together, lambda: [*retention.prune(now=timezone.now() + timedelta(days=3))])
            wait_until(lambda: pruning.done() or somebody_waits_for_us(), bool)
        pruning.result(DEADLINE_S)

    assert (Delivery.objects.count(), SharedDelivery.objects.count()) == (0, 0)


def test_the_view_of_states_stays_whole(web, web_socket, key, publish):
    with web.v1(web_socket, key, share="g") as websocket:
        begun(websocket)
        publish(*[b"1"] * 5)
        events(websocket, 5)
        ack(websocket, web_socket, 5)
        wait_for_states(web_socket, *["DELIVERED"] * 5)
    assert states(web_socket) == [(seq, "DELIVERED") for seq in range(1, 6)]
    assert set(Delivery.objects.values_list("attempts_made", flat=True)) == {1}

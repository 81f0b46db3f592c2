"""Websockets: real server processes, and a client that shares no code with them."""

import asyncio
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import partial
from itertools import count, islice
from unittest.mock import Mock
from uuid import uuid4

import msgspec
import pytest
from django.db import IntegrityError, InterfaceError, InternalError, OperationalError, connection, transaction
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from endpoints.models import ApiKey, Endpoint, EventFilter
from routing import consumers, partitions, router
from routing.models import Attempt, Delivery, Event, Socket
from routing.sockets import feed as feed_module
from routing.sockets import hub as hub_module
from routing.sockets import reader as reader_module
from routing.sockets import reading, registry, settling, threads
from routing.sockets.admission import admit, keys_that_may_read, standings
from routing.sockets.feed import Feed
from routing.sockets.hub import Hub
from routing.sockets.reader import now
from routing.sockets.reading import read_on
from routing.sockets.refusals import FAILURE, SWEPT, Refusal
from routing.sockets.threads import in_thread
from routing.sockets.window import Window
from routing.submissions import Submission, check
from tests.service import wait_until
from tests.web import DEADLINE_S, asked, assert_quiet, closed, cursor, cursors, record, running, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]

NEVER_S = 3600


@pytest.fixture
def own_web(db):
    """A process that the test may stop. It gives up soon on a client that does not answer a close."""
    with running("event_service.server.server._CLOSE_S=1") as found:
        yield found


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


# --- which events come


def test_a_frame_is_the_event_with_its_cursor(web, web_socket, key, workspace):
    submission = Submission(type="order.paid", data=msgspec.Raw(b'{"n": 1}'), source="shop", subject="order/1")
    [recorded] = Event.record_all([check(submission, workspace.pk)])
    date = Event.objects.get().date.astimezone(UTC)
    with web.listen(web_socket, key) as websocket:
        assert json.loads(websocket.recv(timeout=DEADLINE_S)) == {
            "id": str(recorded.id),
            "type": "order.paid",
            "date": date.isoformat(timespec="microseconds"),
            "source": "shop",
            "subject": "order/1",
            "workspaceId": str(workspace.pk),
            "data": {"n": 1},
            "cursor": cursor(web_socket, 1),
        }


def test_data_arrives_byte_for_byte(web, web_socket, key, publish):
    texts = ["1.00", "1e2", '{"a": 1,  "a":2}', '"\\u00e9\\ud83d\\ude00"', '"é😀"', "[ ]", "12345678901234567890"]
    publish(*[text.encode() for text in texts])
    with web.listen(web_socket, key) as websocket:
        for seq, text in enumerate(texts, start=1):
            end = f',"data":{text},"cursor":"{cursor(web_socket, seq)}"}}'
            assert websocket.recv(timeout=DEADLINE_S).endswith(end)


def test_what_nobody_read_waits_for_the_next_socket(web, web_socket, key, publish):
    publish(b"1", b"2", b"3")
    with web.listen(web_socket, key) as websocket:
        assert cursors(websocket, 3) == [1, 2, 3]


def test_a_backlog_longer_than_one_read_comes_whole(web, web_socket, key, publish):
    publish(*[b"1"] * 950)
    with web.listen(web_socket, key) as websocket:
        assert cursors(websocket, 500) == list(range(1, 501))
        publish(*[b"2"] * 50)
        assert cursors(websocket, 500) == list(range(501, 1001))


def test_events_with_much_data_come_whole(web, web_socket, key, publish):
    publish(*[b'"' + b"x" * 200_000 + b'"'] * 8)
    with web.listen(web_socket, key) as websocket:
        assert cursors(websocket, 8) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_endpoint_gets_only_what_its_filter_wants(web, web_socket, key, publish, workspace):
    EventFilter.create(
        workspace_id=workspace.pk, name="f", definition={"in": {"eventTypes": ["other"]}}, endpoints=[web_socket]
    )
    publish(b"1")
    Event.record_all([check(Submission(type="other"), workspace.pk)])
    with web.listen(web_socket, key) as websocket:
        assert json.loads(websocket.recv(timeout=DEADLINE_S))["type"] == "other"


def test_every_socket_on_every_process_gets_every_event(web, other_web, web_socket, key, publish):
    def here():
        return web.listen(web_socket, key)

    with here() as first, here() as second, other_web.listen(web_socket, key) as elsewhere:
        for seq in range(1, 21):
            publish(b"1")
            assert [cursors(websocket, 1) for websocket in (first, second, elsewhere)] == [[seq]] * 3


def test_concurrent_publishers_leave_no_gap_and_no_disorder(web, other_web, web_socket, key, publish):
    def publish_many(_):
        try:
            for size in range(1, 20):
                publish(*[b"1"] * size)
        finally:
            connection.close()

    with (
        web.listen(web_socket, key) as here,
        other_web.listen(web_socket, key) as elsewhere,
        ThreadPoolExecutor(max_workers=4) as publishers,
    ):
        done = publishers.map(publish_many, range(4))
        assert cursors(here, 760) == list(range(1, 761))
        assert cursors(elsewhere, 760) == list(range(1, 761))
        list(done)


def test_a_socket_that_does_not_read_holds_up_no_other(web, web_socket, key, publish):
    with web.listen(web_socket, key, max_queue=1) as slow, web.listen(web_socket, key) as fast:
        for seq in range(1, 121):
            publish(b'"' + b"x" * 200_000 + b'"')  # in all more than the kernel takes for a client that does not read
            assert cursors(fast, 1) == [seq]
        assert cursors(slow, 120) == list(range(1, 121))


def test_who_joins_ahead_of_a_socket_that_does_not_read_gets_what_comes_next(web, web_socket, key, publish):
    with web.listen(web_socket, key, max_queue=1, close_timeout=0):
        publish(*[b'"' + b"x" * 200_000 + b'"'] * 60)
        with web.listen(web_socket, key, asking={"after": cursor(web_socket, 60)}) as ahead:
            publish(b"61")
            assert cursors(ahead, 1) == [61]


def test_what_a_client_says_is_ignored(web, web_socket, key, publish):
    with web.listen(web_socket, key) as websocket:
        for said in ("", "hello", '{"type": "websocket.disconnect"}', b"\x00\xff", "[" * 100_000):
            websocket.send(said)
        publish(b"1")
        assert cursors(websocket, 1) == [1]


# --- replay


def test_after_replays_what_was_delivered_and_goes_on(web, web_socket, key, publish):
    publish(*[b"1"] * 5)
    with web.listen(web_socket, key) as websocket:
        cursors(websocket, 5)
    with web.listen(web_socket, key, asking={"after": cursor(web_socket, 2)}) as websocket:
        assert cursors(websocket, 3) == [3, 4, 5]
        publish(b"1")
        assert cursors(websocket, 1) == [6]


def test_what_was_skipped_comes_only_to_those_who_ask_for_it(web, web_socket, key, publish):
    publish(b"1")
    Endpoint.change_state([web_socket], Endpoint.State.DISABLED, "for the test")
    publish(b"2")
    Endpoint.change_state([web_socket], Endpoint.State.ACTIVE)
    publish(b"3")
    with web.listen(web_socket, key) as plain, web.listen(web_socket, key, asking={"after": 0}) as replaying:
        assert cursors(plain, 2) == [1, 3]
        assert cursors(replaying, 3) == [1, 2, 3]
    assert (2, "SKIPPED") in states(web_socket)


def test_after_that_is_no_cursor_is_refused(web, web_socket, key):
    for after in ("-1", "", "1.5", "x", "1", "\u0661", "9" * 5000, "0123456a-01", "0123456A-1", "0123456a-" + "9" * 19):
        with web.listen(web_socket, key, asking={"after": after}) as websocket:
            code, reason = closed(websocket)
        assert code == 1008, after
        assert "give the cursor of an event, or 0" in reason


# --- what is recorded


def test_sending_is_delivering_once_however_many_sockets_there_are(own_web, web, web_socket, key, publish):
    since = timezone.now()
    with own_web.listen(web_socket, key) as first, own_web.listen(web_socket, key) as second:
        with web.listen(web_socket, key) as elsewhere:
            publish(*[b"1"] * 250)
            for websocket in (first, second, elsewhere):
                cursors(websocket, 250)
        own_web.drain()
        assert [closed(first)[0], closed(second)[0]] == [1012, 1012]
    assert own_web.process.wait(DEADLINE_S) == 0
    assert states(web_socket) == [(seq, "DELIVERED") for seq in range(1, 251)]
    assert set(Delivery.objects.values_list("attempts_made", "due_at", "reason")) == {(1, None, "")}
    attempts = Attempt.objects.select_related("delivery").order_by("delivery__seq")
    assert [attempt.delivery.seq for attempt in attempts] == list(range(1, 251))
    for attempt in attempts:
        assert attempt.number == 1
        assert attempt.error == ""
        assert attempt.workspace_id == web_socket.workspace_id
        assert since < attempt.started_at < attempt.delivery.settled_at
        assert 0 < attempt.duration_ms < DEADLINE_S * 1000


def test_who_leaves_in_the_middle_settles_what_was_sent(web_socket, key, publish):
    async def send_one_of_two():
        admission = await in_thread(admit, asked(web_socket, key))
        async with Hub().reader(admission, end=pytest.fail) as reader:
            begun = now()
            reader.sent([await reader.next()], begun)

    publish(b"1", b"2")
    asyncio.run(send_one_of_two())
    assert states(web_socket) == [(1, "DELIVERED"), (2, "PENDING")]


def test_a_replay_of_what_was_delivered_is_no_new_attempt(own_web, web_socket, key, publish):
    publish(b"1")
    for _ in range(2):
        with own_web.listen(web_socket, key, asking={"after": 0}) as websocket:
            cursors(websocket, 1)
    own_web.drain()
    own_web.process.wait(DEADLINE_S)
    assert Attempt.objects.count() == 1


def test_what_comes_when_the_socket_is_closing_stays_owed(own_web, web_socket, key, publish):
    with (
        own_web.listen(web_socket, key, max_queue=1) as unreading,
        own_web.listen(web_socket, key) as reading,
    ):
        publish(*[b'"' + b"x" * 100_000 + b'"'] * 5)
        cursors(reading, 5)
        own_web.drain()
        assert closed(reading)[0] == 1012
        publish(b"6")
        assert own_web.process.wait(DEADLINE_S) == 0
        del unreading
    assert states(web_socket)[5] == (6, "PENDING")


def test_a_client_that_vanishes_is_no_error_and_is_owed_what_did_not_go_out(web_socket, key, publish, monkeypatch):
    async def vanish():
        inbox = asyncio.Queue()
        inbox.put_nowait({"type": "websocket.connect"})

        async def send(message):
            if message["type"] == "websocket.send":
                inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})
                raise ConnectionResetError

        scope = {"type": "websocket", "path": consumers.PATH, **asked(web_socket, key)}
        await asyncio.wait_for(consumers.web_sockets(scope, inbox.get, send), DEADLINE_S)

    monkeypatch.setattr(consumers, "hub", Hub())
    publish(b"1")
    asyncio.run(vanish())
    assert states(web_socket) == [(1, "PENDING")]


# --- hints are hints


def test_without_hints_the_poll_finds_everything(web, web_socket, key, publish, monkeypatch):
    monkeypatch.setattr(router, "WEB_SOCKET_HINT", "nobody_listens_here")
    with web.listen(web_socket, key) as websocket:
        for seq in (1, 2):
            publish(b"1")
            assert cursors(websocket, 1) == [seq]


def test_hints_come_again_after_the_listener_lost_its_connection(web_socket, key, publish):
    with running(f"routing.sockets.hub.POLL_S={NEVER_S}") as web, web.listen(web_socket, key) as websocket:
        publish_until_received(publish, websocket)
        terminate_connections()
        publish_until_received(publish, websocket)


def publish_until_received(publish, websocket):
    for _ in range(DEADLINE_S * 10):
        publish(b"1")
        try:
            return websocket.recv(timeout=0.1)
        except TimeoutError:
            pass
    raise AssertionError("No hint was heard")


def test_nothing_is_missing_when_the_database_drops_its_connections(web, web_socket, key, publish):
    with web.listen(web_socket, key) as first, web.listen(web_socket, key) as second:
        wait_until(Socket.objects.count, (2).__eq__)  # until they are in, a database that is away turns them down
        for start in range(0, 40, 20):
            publish(*[b"1"] * 10)
            terminate_connections()
            publish(*[b"1"] * 10)
            assert cursors(first, 20) == list(range(start + 1, start + 21))
        assert cursors(second, 40) == list(range(1, 41))


def test_database_work_is_tried_until_it_succeeds(monkeypatch):
    answers = iter([OperationalError("starting up"), InterfaceError("closed"), InternalError("stood still"), None])

    def work():
        if problem := next(answers):
            raise problem
        return "done"

    monkeypatch.setattr(threads, "RETRY_S", 0)
    assert asyncio.run(threads.insist(work)) == "done"


def terminate_connections():
    """End every connection to the database but this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.pool.check()  # this process's own; it would find its broken connections one by one, and ever slower


def test_the_poll_asks_as_much_for_many_as_for_one(django_assert_num_queries, workspace):
    many = {Endpoint.create_web_socket(workspace_id=workspace.pk, name="s").pk for _ in range(5)}
    keys = {ApiKey.issue(workspace=workspace, name="k", scopes=["subscribe"])[0].pk for _ in range(5)}
    with django_assert_num_queries(3):
        assert standings(many).keys() == many
        assert keys_that_may_read(keys) == keys


# --- who may read


def test_a_key_may_come_in_the_token_header(web, web_socket, key, publish):
    path = f"/event-service/ws?endpoint_id={web_socket.pk}"
    publish(b"1")
    with web.connect(path, additional_headers={"Token": key}) as websocket:
        assert cursors(websocket, 1) == [1]


def test_a_browser_gives_its_key_as_a_protocol_which_is_not_echoed(web, web_socket, key, publish):
    publish(b"1")
    with web.listen(web_socket, subprotocols=["event-service", f"event-service.key.{key}"]) as websocket:
        assert cursors(websocket, 1) == [1]
        assert websocket.subprotocol == "event-service"
        assert key not in str(websocket.response.headers)


def test_a_key_alone_among_the_protocols_is_not_echoed_either(web, web_socket, key, publish):
    publish(b"1")
    with web.listen(web_socket, subprotocols=[f"event-service.key.{key}"]) as websocket:
        assert cursors(websocket, 1) == [1]
        assert websocket.subprotocol is None


def test_an_unknown_id_names_no_endpoint(web, key):
    for given in ("", "not-an-id", str(uuid4()), "\0", "é" * 200):
        with web.listen(given, key) as websocket:
            code, reason = closed(websocket)
        assert code == 4404, given
        assert reason.startswith("endpoint_id ")


def test_a_foreign_endpoint_answers_as_one_that_does_not_exist_and_a_webhook_is_named_so(
    web, webhook, foreign_workspace, key
):
    foreign = Endpoint.create_web_socket(workspace_id=foreign_workspace.pk, name="theirs")
    their_webhook = Endpoint.create_webhook(workspace_id=foreign_workspace.pk, name="t", url="https://example.com/")
    with web.listen(webhook, key) as websocket:
        code, reason = closed(websocket)
    assert (code, "is a webhook; give the id of a websocket" in reason) == (4404, True)
    for endpoint in (foreign, their_webhook, Endpoint(pk=uuid4())):
        with web.listen(endpoint, key) as websocket:
            assert closed(websocket) == (4404, f"endpoint_id {str(endpoint.pk)!r} names no websocket endpoint.")


def test_without_a_key_nothing_is_told(web, web_socket):
    for endpoint in (web_socket, uuid4(), "not-an-id"):
        with web.listen(endpoint) as websocket:
            code, reason = closed(websocket)
        assert code == 1008
        assert reason.startswith("No key: ")


def test_a_wrong_key_is_refused(web, web_socket):
    with web.listen(web_socket, "es_live_wrong") as websocket:
        assert closed(websocket) == (1008, "This key is unknown, revoked or expired.")


def test_a_key_needs_the_scope_subscribe(web, web_socket, workspace):
    _, key = ApiKey.issue(workspace=workspace, name="k", scopes=["publish", "read", "manage"])
    with web.listen(web_socket, key) as websocket:
        code, reason = closed(websocket)
    assert code == 1008
    assert "needs 'subscribe'" in reason


def test_an_open_endpoint_needs_no_key_for_as_long_as_it_is_open(web, web_socket, publish):
    Endpoint.objects.update(open_access=True)
    with web.listen(web_socket) as websocket:
        publish(b"1")
        assert cursors(websocket, 1) == [1]
        Endpoint.objects.update(open_access=False)
        code, reason = closed(websocket)
    assert code == 1008
    assert reason.startswith("No key: ")


def test_an_installation_may_open_all_endpoints(web_socket, publish):
    publish(b"1")
    with running(EVENT_SERVICE_OPEN_WEBSOCKETS="1") as web:
        with web.listen(web_socket) as websocket:
            assert cursors(websocket, 1) == [1]
        with web.listen(uuid4()) as websocket:
            assert closed(websocket)[0] == 4404


def test_other_paths_are_refused(web):
    for path in ("/", "/event-service/ws/", "/event-service/graphql/", "/event-service/ws%00"):
        with pytest.raises(InvalidStatus) as refusal:
            web.connect(path)
        assert refusal.value.response.status_code == 403, path


# --- what changes while a socket is open


def test_a_revoked_key_ends_its_sockets_and_no_others(web, web_socket, workspace, key, publish):
    lost, text = ApiKey.issue(workspace=workspace, name="lost", scopes=["subscribe"])
    with web.listen(web_socket, text) as losing, web.listen(web_socket, key) as keeping:
        lost.revoke()
        code, reason = closed(losing)
        publish(b"1")
        assert cursors(keeping, 1) == [1]
    assert code == 1008
    assert "The key was revoked" in reason


def test_a_key_that_expires_ends_its_sockets(web, web_socket, workspace):
    expiring, text = ApiKey.issue(workspace=workspace, name="expiring", scopes=["subscribe"])
    with web.listen(web_socket, text) as websocket:
        ApiKey.objects.filter(pk=expiring.pk).update(expires_at=timezone.now())
        assert closed(websocket)[0] == 1008


def test_a_key_that_loses_its_scope_ends_its_sockets(web, web_socket, key):
    with web.listen(web_socket, key) as websocket:
        ApiKey.objects.update(scopes=["read"])
        assert closed(websocket)[0] == 1008


def test_a_revoked_key_ends_also_a_socket_that_does_not_read(web, web_socket, workspace, publish):
    lost, text = ApiKey.issue(workspace=workspace, name="lost", scopes=["subscribe"])
    with web.listen(web_socket, text, max_queue=1) as unreading, web.listen(web_socket, text) as reading:
        publish(*[b'"' + b"x" * 200_000 + b'"'] * 60)
        cursors(reading, 60)
        lost.revoke()
        assert closed(reading)[0] == 1008
        code, received = read_to_the_end(unreading)
    assert code == 1008
    assert received < 60


def read_to_the_end(websocket):
    received = 0
    try:
        while True:
            websocket.recv(timeout=DEADLINE_S)
            received += 1
    except ConnectionClosed as error:
        return error.rcvd.code, received


def test_a_deleted_endpoint_ends_its_sockets_and_is_gone(web, web_socket, key):
    gone = (4410, f"The endpoint {web_socket.pk} was deleted.")
    with web.listen(web_socket, key) as websocket:
        Endpoint.remove([web_socket])
        assert closed(websocket) == gone
    with web.listen(web_socket, key) as websocket:
        assert closed(websocket) == gone


def test_a_disabled_endpoint_ends_its_sockets_and_refuses_others(web, web_socket, key):
    disabled = (1008, "The endpoint is DISABLED: by hand")
    with web.listen(web_socket, key) as websocket:
        Endpoint.change_state([web_socket], Endpoint.State.DISABLED, "by hand")
        assert closed(websocket) == disabled
    with web.listen(web_socket, key) as websocket:
        assert closed(websocket) == disabled


def test_a_paused_endpoint_is_silent_until_it_is_resumed(web, web_socket, key, publish):
    with web.listen(web_socket, key) as websocket:
        Endpoint.change_state([web_socket], Endpoint.State.PAUSED)
        publish(b"1", b"2")
        assert_quiet(websocket)
        assert states(web_socket) == [(1, "PENDING"), (2, "PENDING")]
        Endpoint.change_state([web_socket], Endpoint.State.ACTIVE)
        assert cursors(websocket, 2) == [1, 2]


def test_who_joins_a_paused_endpoint_gets_its_events_when_it_is_resumed(web, web_socket, key, publish):
    Endpoint.change_state([web_socket], Endpoint.State.PAUSED)
    publish(b"1")
    with web.listen(web_socket, key) as websocket:
        Endpoint.change_state([web_socket], Endpoint.State.ACTIVE)
        assert cursors(websocket, 1) == [1]


def test_a_filter_that_a_socket_forgot_reads_nothing_of_another_workspace(web_socket, key, foreign_workspace, publish):
    """The feed reads by the endpoint's id alone: here it names a foreign one."""
    theirs = Endpoint.create_web_socket(workspace_id=foreign_workspace.pk, name="theirs")
    record(foreign_workspace, b"1")

    async def read():
        feed = Feed((await in_thread(admit, asked(web_socket, key))).standing)
        ours = await feed.after(0, since=0)
        feed.endpoint_id = theirs.pk
        return ours, await feed.after(0, since=time.monotonic()), await in_thread(read_on, theirs.pk, "", 0)

    publish(b"1")
    ours, foreign, unguarded = asyncio.run(read())
    assert (len(ours), len(foreign), len(unguarded)) == (1, 0, 1)


def test_no_socket_hangs_on_a_hub_that_failed(web_socket, key, monkeypatch):
    async def fail(hub):
        raise ZeroDivisionError

    async def how_it_ends():
        refusal = asyncio.get_running_loop().create_future()
        admission = await in_thread(admit, asked(web_socket, key))
        async with Hub().reader(admission, end=refusal.set_result):
            return await asyncio.wait_for(refusal, DEADLINE_S)

    monkeypatch.setattr(Hub, "_poll", fail)
    assert asyncio.run(how_it_ends()).code == 1011


@pytest.mark.parametrize("protocols", [[], ["event-service.v1"]])
def test_what_was_sent_and_is_not_settled_is_bounded(web_socket, key, publish, monkeypatch, protocols):
    """Where the database takes long, a socket is not sent ever more that it may be sent again."""
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    monkeypatch.setattr(reader_module, "MOST_UNSETTLED", 6)
    publish(*[b"1"] * 20)

    async def sent_while_nothing_is_settled():
        admission = await in_thread(admit, asked(web_socket, key, *protocols))
        hub, sent = Hub(), []
        hub._settler.add = lambda reports: asyncio.Event()
        async with hub.reader(admission, end=Mock()) as reader:

            async def send_all():
                while True:
                    rows = await reader.next_some()
                    sent.extend(rows)
                    if protocols:
                        reader.acknowledge(rows[-1].seq)
                    else:
                        reader.sent(rows, now())

            sending = asyncio.create_task(send_all())
            try:
                async with asyncio.timeout(DEADLINE_S):
                    while reader._unsettled_size <= 6:
                        await asyncio.sleep(0)
                for _ in range(20):
                    await in_thread(read_on, web_socket.pk, "", 0)  # if it read on, that would be done before
            finally:
                sending.cancel()
                reader._settled.set()
        return len(sent)

    assert asyncio.run(sent_while_nothing_is_settled()) == 8


@pytest.mark.parametrize("deliveries", [100_000, 100_000_000])
@pytest.mark.parametrize("planned", ["force_custom_plan", "force_generic_plan"])
def test_a_long_backlog_is_read_in_its_order_and_not_sorted_however_little_is_known_of_it(
    workspace, web_socket, planned, deliveries
):
    """Nothing but their size is known of tables, until PostgreSQL has looked through them."""
    record(workspace, b"1")
    feed = Feed(standings({web_socket.pk})[web_socket.pk])

    def plan():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('plan_cache_mode', %s, true)", [planned])
            cursor.execute(f"PREPARE reading AS {reading._READ_ON % ('$1', '$2', '$3', '$4')}")
            values = [web_socket.pk, 1_000, reading.MAX_ROWS, reading.MAX_BYTES]
            cursor.execute("EXPLAIN EXECUTE reading (%s, %s, %s, %s)", values)
            lines = [line for (line,) in cursor.fetchall()]
            cursor.execute("DEALLOCATE reading")
            return "\n".join(lines)

    with transaction.atomic(), connection.cursor() as cursor:
        told = "UPDATE pg_class SET reltuples = %s, relpages = 1 WHERE relname = 'routing_delivery'"
        cursor.execute(told, [deliveries])
        found = feed.inside(plan)()
        transaction.set_rollback(True)
    assert "delivery_seq_once" in found
    assert "Sort" not in found


def test_what_sockets_read_and_settle_again_and_again_is_not_planned_each_time(web_socket, publish):
    def runs():
        """Return how often each prepared statement was run, by its beginning."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements")
            return Counter({statement[:20]: times for statement, times in cursor.fetchall()})

    publish(b"1", b"2", b"3")
    before = runs()
    for row in read_on(web_socket.pk, "e", 0):
        settling.settle([settling.Report([row.owed.delivery_id], timezone.now(), 1.5, "peer")])
    assert runs() - before == {reading._READ_ON[:20]: 1, settling._DELIVER[:20]: 3}


def test_what_its_reader_says_that_it_had_is_taken_in_parts(web_socket, key, publish, monkeypatch):
    """Others have their turn between these, however much it is."""
    monkeypatch.setattr(settling, "_MAX_SETTLED", 2)
    publish(*[b"1"] * 6)
    assert settling.adopt(web_socket.pk, 0, 3, "peer")
    assert not settling.adopt(web_socket.pk, 0, 3, "peer")
    assert not settling.adopt(web_socket.pk, 0, 3, "peer")

    asks = asked(web_socket, key, "event-service.v1", after=cursor(web_socket, 6))

    async def come_back():
        async with Hub().reader(await in_thread(admit, asks), end=Mock()):
            pass

    asyncio.run(come_back())
    assert states(web_socket) == [(seq, "DELIVERED") for seq in range(1, 7)]


def test_what_was_refused_comes_again_after_a_pause(web_socket, key, publish):
    publish(b"1")

    async def comes_again():
        admission = await in_thread(admit, asked(web_socket, key, "event-service.v1"))
        async with Hub().reader(admission, end=Mock()) as reader:
            await reader.next_some()
            await in_thread(Endpoint.change_state, [web_socket], Endpoint.State.PAUSED)
            reader.source._feed.active = False
            reader.refuse(1, "", 0)
            coming = asyncio.create_task(reader.next_some())
            await reader._settled.wait()
            for _ in range(20):
                await in_thread(read_on, web_socket.pk, "", 0)  # if it looked for it, that would be done before
            assert not coming.done()
            await in_thread(Endpoint.change_state, [web_socket], Endpoint.State.ACTIVE)
            reader.source._feed.active = True
            reader.wake()
            return [row.seq for row in await asyncio.wait_for(coming, DEADLINE_S)]

    assert asyncio.run(comes_again()) == [1]


def test_what_was_sent_is_settled_though_a_pause_keeps_the_rest(web_socket, key, publish, monkeypatch):
    monkeypatch.setattr(reader_module, "SENT_AT_ONCE", 1)  # an event at a time
    publish(b"1", b"2")

    async def settled():
        admission = await in_thread(admit, asked(web_socket, key))
        async with Hub().reader(admission, end=Mock()) as reader, asyncio.timeout(DEADLINE_S):
            begun = now()
            reader.sent(await reader.next_some(), begun)
            reader.source._feed.active = False
            waiting = asyncio.create_task(reader.next_some())
            while not reader._unsettled:
                await asyncio.sleep(0)
            await reader._settled.wait()
            waiting.cancel()
            return await in_thread(states, web_socket)

    assert asyncio.run(settled()) == [(1, "DELIVERED"), (2, "PENDING")]


def test_what_was_refused_is_not_looked_for_during_a_pause(web_socket, key, publish):
    publish(b"1")

    async def timer():
        admission = await in_thread(admit, asked(web_socket, key, "event-service.v1"))
        async with Hub().reader(admission, end=Mock()) as reader:
            await reader.next_some()
            reader.source._feed.active = False
            reader.refuse(1, "", 0)
            waiting = asyncio.create_task(reader.next_some())
            await reader._settled.wait()
            await asyncio.sleep(0)
            found = reader._timer
            waiting.cancel()
            return found

    assert asyncio.run(timer()) is None


def test_who_leaves_takes_along_what_was_to_come_again(web_socket, key, publish):
    publish(b"1")

    async def timers():
        admission = await in_thread(admit, asked(web_socket, key, "event-service.v1"))
        async with Hub().reader(admission, end=Mock()) as reader:
            await reader.next_some()
            reader.refuse(1, "", 900)
            waiting = asyncio.create_task(reader.next_some())
            while reader._timer is None:
                await asyncio.sleep(0)
            timer = reader._timer
            waiting.cancel()
        return reader._timer, timer.cancelled()

    assert asyncio.run(timers()) == (None, True)


def test_who_comes_while_its_process_is_taken_for_dead_does_not_stay(web_socket, key, monkeypatch):
    hub, swept = Hub(), []

    def join_late(*_):
        swept.append(hub._node_id)
        hub._lose(hub._node_id)

    async def come():
        admission = await in_thread(admit, asked(web_socket, key, "event-service.v1", share="g"))
        async with hub.reader(admission, end=Mock()):
            pass

    monkeypatch.setattr(hub_module, "join", join_late)
    with pytest.raises(Refusal) as refusal:
        asyncio.run(come())
    assert refusal.value is SWEPT
    assert (len(swept), Socket.objects.count()) == (1, 0)


def test_what_was_read_is_not_kept_for_long(web_socket, key, publish, monkeypatch):
    monkeypatch.setattr(feed_module, "KEPT_S", 0)
    publish(b"1")

    async def kept():
        admission = await in_thread(admit, asked(web_socket, key))
        async with Hub().reader(admission, end=Mock()) as reader, asyncio.timeout(DEADLINE_S):
            await reader.next_some()
            while reader.source._feed._chunks:
                await asyncio.sleep(0)

    asyncio.run(kept())


def test_what_is_reported_twice_is_settled_once(web_socket, publish):
    publish(b"1")
    peer = 'socket "1", \\ {é}'
    report = settling.Report([Delivery.objects.get().pk], timezone.now(), 1.5, peer)
    settling.settle([report, report])
    settling.settle([report])

    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.duration_ms, attempt.started_at) == (1, 1.5, report.started_at)
    assert attempt.peer == peer
    assert states(web_socket) == [(1, "DELIVERED")]


def test_what_was_delivered_does_not_wait_for_the_disk_and_what_was_refused_does(web_socket, publish):
    publish(b"1", b"2")
    taken, refused = Delivery.objects.order_by("seq").values_list("pk", flat=True)
    reports = {
        "off": settling.Report([taken], timezone.now(), 1.5, "peer"),
        "on": settling.Report([refused], timezone.now(), 1.5, "peer", state="PENDING", error="REFUSED"),
    }
    for waits, report in reports.items():
        with transaction.atomic(), connection.cursor() as cursor:
            settling.settle([report])
            cursor.execute("SHOW synchronous_commit")
            assert cursor.fetchone() == (waits,)
    assert states(web_socket) == [(1, "DELIVERED"), (2, "PENDING")]


def test_what_waits_to_be_settled_shares_statements_of_bounded_size_and_is_settled_in_its_order(monkeypatch):
    written, numbers = [], count()

    def report(size):
        return settling.Report(list(islice(numbers, size)), timezone.now(), 1.5, "peer")

    async def written_down(_work, reports):
        written.append([report.delivery_ids for report in reports])

    async def settle_all():
        settler = settling.Settler()
        events = [settler.add(list(map(report, sizes))) for sizes in ((1, 1), (1,), (4, 2, 1), (5,), (1,))]
        running = asyncio.create_task(settler.run())
        for event in events:
            await asyncio.wait_for(event.wait(), DEADLINE_S)
        running.cancel()
        return settler.wanted

    monkeypatch.setattr(settling, "insist", written_down)
    monkeypatch.setattr(settling, "_MAX_SETTLED", 4)
    assert asyncio.run(settle_all()) is False
    assert written == [[[0], [1], [2]], [[3, 4, 5, 6]], [[7, 8], [9]], [[10, 11, 12, 13, 14]], [[15]]]


def test_nobody_waits_for_what_can_not_be_settled(web_socket, monkeypatch):
    hub, events = Hub(), []
    first, second = (settling.Report([uuid4()], timezone.now(), 1.5, "peer") for _ in range(2))

    async def fail_with_the_first(work, reports):
        if reports == [first]:
            events.append(hub._settler.add([second]))
            raise IntegrityError

    async def settle_two():
        events.append(hub._settler.add([first]))
        hub._begin()
        while waiting := [event for event in events if not event.is_set()]:
            await asyncio.wait_for(waiting[0].wait(), DEADLINE_S)
        return len(events)

    monkeypatch.setattr(settling, "insist", fail_with_the_first)
    assert asyncio.run(settle_two()) == 2


def test_who_is_ended_from_several_sides_cleans_up_in_peace():
    cleaned = []

    async def serve():
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.append(True)

    async def end_thrice():
        consumer = consumers.EventsConsumer()
        consumer._serving = asyncio.create_task(serve())
        for _ in range(2):
            await asyncio.sleep(0)
            consumer._end(FAILURE)
        await consumer.disconnect(1006)

    asyncio.run(end_thrice())
    assert cleaned == [True]


@pytest.mark.parametrize("when", ["entering", "leaving"])
def test_whoever_is_broken_off_leaves_no_row_behind(web_socket, key, monkeypatch, when):
    """A thread can't be broken off: what it writes is there, whether somebody waits for it or not."""
    reached, goes_on = threading.Event(), threading.Event()
    work = {"entering": registry.enter, "leaving": registry.leave}[when]

    def held(*args):
        reached.set()
        goes_on.wait(DEADLINE_S)
        return work(*args)

    async def come_and_go(hub, admission):
        async with hub.reader(admission, end=Mock()):
            if when == "entering":
                await asyncio.Event().wait()

    async def break_off():
        hub = Hub()
        visit = asyncio.create_task(come_and_go(hub, await in_thread(admit, asked(web_socket, key))))
        await asyncio.to_thread(reached.wait, DEADLINE_S)
        for _ in range(2):
            visit.cancel()
            await asyncio.sleep(0)
        goes_on.set()
        await asyncio.wait([visit, *hub._leaving])
        await asyncio.gather(*hub._leaving)
        all_threads = threading.Barrier(threads._threads._max_workers)  # that all are free: what was begun is done
        await asyncio.gather(*(in_thread(all_threads.wait, DEADLINE_S) for _ in range(all_threads.parties)))

    monkeypatch.setattr(registry, {"entering": "enter", "leaving": "leave"}[when], held)
    asyncio.run(break_off())
    assert Socket.objects.count() == 0


def test_its_client_is_gone_and_so_is_the_server_s_patience():
    """Daphne cancels, again and again, what is not done some seconds after its client."""
    cleaned, goes_on = [], asyncio.Event()

    async def serve():
        try:
            await asyncio.Event().wait()
        finally:
            await goes_on.wait()
            cleaned.append(True)

    async def end():
        consumer = consumers.EventsConsumer()
        consumer._serving = asyncio.create_task(serve())
        await asyncio.sleep(0)
        ending = asyncio.create_task(consumer.disconnect(1006))
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending])
        goes_on.set()
        await asyncio.wait([consumer._serving])

    asyncio.run(end())
    assert cleaned == [True]


def test_who_leaves_with_what_it_took_makes_the_day_that_has_no_partition(web_socket, key, publish):
    def drop_today():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {partitions.name_of(timezone.now().astimezone(UTC).date())}")

    async def take_and_leave():
        admission = await in_thread(admit, asked(web_socket, key, "event-service.v1", share="g"))
        async with Hub().reader(admission, end=pytest.fail) as reader:
            await reader.source.read(Window())
            await in_thread(drop_today)

    publish(b"1")
    try:
        asyncio.run(take_and_leave())
        assert Attempt.objects.get().error == "CONNECTION_LOST"
        assert partitions.missing() == []
    finally:
        partitions.make_ahead()

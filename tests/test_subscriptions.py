"""GraphQL subscriptions: by gql's own transport, and by a bare websocket that may break the protocol's rules."""

import asyncio
import json
import re
from contextlib import ExitStack, aclosing, contextmanager, suppress
from datetime import timedelta
from functools import partial
from threading import Thread
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone
from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

from endpoints.models import ApiKey, Endpoint, Scope
from event_service import subscriptions
from event_service.graphql import SUBPROTOCOL
from event_service.server.websocket import ClientGone
from routing.cancelling import cancel_all
from routing.models import Delivery, DeliveryChange, Socket, SocketNode
from routing.queue import Result, claim, settle
from routing.sockets import watching as watching_module
from routing.sockets.watching import Changes, Position, Watcher, Watching
from tests.service import ROOT, wait_until
from tests.test_foreign_ids import ABSENT
from tests.test_graphql_limits import EXPENSIVE
from tests.test_graphql_tenancy import SUBSCRIPTIONS
from tests.web import DEADLINE_S, QUIET_S, closed, cursor, record, running, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]

PATH = "/event-service/graphql"
EVENTS = """subscription($id: ID!, $after: String) {
    eventReceived(endpointId: $id, after: $after) { cursor event { type dataText } reset { reason after until } }
}"""
DELIVERIES = "subscription($id: ID!) { deliveryUpdated(endpointId: $id) { seq state attemptsMade } }"
NEVER_S = 3600


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


class Gone:
    """A connection whose client is gone when it is answered."""

    def __init__(self, *said):
        self.said = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in said)]
        self.said.append({"type": "websocket.disconnect", "code": 1006})

    async def receive(self):
        return self.said.pop(0) if self.said else await asyncio.Event().wait()

    async def send(self, message):
        if message["type"] != "websocket.accept":
            raise ClientGone


@pytest.mark.parametrize("said", ['{"type": "ping"}', '{"type": "connection_init"}', "nonsense", '{"type": "pong"}'])
def test_who_is_gone_before_it_is_answered_is_not_counted_any_more(said, key):
    scope = {
        **{"type": "websocket", "path": PATH, "query_string": b"", "subprotocols": [SUBPROTOCOL]},
        **{"headers": [(b"token", key.encode())], "client": ["127.0.0.1", 1]},
    }
    gone = Gone(said)
    asyncio.run(subscriptions.GraphQLConsumer()(scope, gone.receive, gone.send))
    assert subscriptions._open == {}
    assert gone.said == []


def test_what_is_raised_again_and_again_keeps_nothing_of_who_said_what():
    """A refusal with a name keeps the frames that it was raised through."""
    bare = re.compile(r"raise [A-Z_]{4,}( from None)?$", re.MULTILINE)
    sources = [path for folder in ("routing", "event_service", "endpoints") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    assert [path.name for path in sources if bare.search(path.read_text())] == []


def test_who_is_broken_off_is_not_counted_any_more():
    async def break_off():
        gone = Gone()
        gone.said.pop()
        serving = asyncio.create_task(
            subscriptions.GraphQLConsumer()(
                {"type": "websocket", "path": PATH, "subprotocols": [SUBPROTOCOL], "headers": []},
                gone.receive,
                gone.send,
            )
        )
        while not subscriptions._open:
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(break_off())
    assert subscriptions._open == {}


class Apollo:
    """A client of graphql-transport-ws that says what it is told to say."""

    def __init__(self, websocket):
        self.websocket = websocket

    def say(self, type, id=None, payload=None):
        message = {"type": type, "id": id, "payload": payload}
        self.websocket.send(json.dumps({name: value for name, value in message.items() if value is not None}))

    def ask(self, query, id="1", **variables):
        self.say("subscribe", id, {"query": query, "variables": variables})

    def follow(self, query, endpoint, *, id="1", **more):
        self.say("subscribe", id, {"query": query, "variables": {"id": str(endpoint.pk), **more}})

    def hear(self, timeout=DEADLINE_S):
        return json.loads(self.websocket.recv(timeout=timeout))

    def next(self, id="1"):
        """Return the one field of the next message, which is a result of that operation."""
        message = self.hear()
        assert (message["type"], message.get("id")) == ("next", id), message
        assert "errors" not in message["payload"], message
        (value,) = message["payload"]["data"].values()
        return value

    def error(self, id="1"):
        message = self.hear()
        assert (message["type"], message.get("id")) == ("error", id), message
        (error,) = message["payload"]
        return error


@contextmanager
def raw(web, *, subprotocols=("graphql-transport-ws",), **options):
    with web.connect(PATH, subprotocols=list(subprotocols) or None, **options) as websocket:
        yield Apollo(websocket)


@contextmanager
def apollo(web, key):
    with raw(web) as client:
        client.say("connection_init", payload={"Authorization": f"Bearer {key}"})
        assert client.hear() == {"type": "connection_ack"}
        yield client


@contextmanager
def watching(web, key, *endpoints):
    """Subscribe to deliveryUpdated of each endpoint, and wait until that has begun."""
    with apollo(web, key) as client:
        for id, endpoint in enumerate(endpoints, 1):
            client.follow(DELIVERIES, endpoint, id=str(id))
        wait_until(Socket.objects.filter(watches=True).count, len(endpoints).__eq__)
        yield client


def asking(query, endpoint):
    return GraphQLRequest(query, variable_values={"id": str(endpoint.pk)})


def session(web, **options):
    return Client(transport=WebsocketsTransport(f"ws://127.0.0.1:{web.port}{PATH}", **options))


def numbers(client, endpoint, count, id="1"):
    """Read that many events and return their numbers."""
    epoch = cursor(endpoint, "")
    return [int(client.next(id)["cursor"].removeprefix(epoch)) for _ in range(count)]


def assert_nothing_comes(client):
    with pytest.raises(TimeoutError):
        client.hear(timeout=QUIET_S)


# --- eventReceived


def test_gql_receives_events_as_they_are_published(web, web_socket, key, publish):
    publish(b'{"n": 1.00}', b"2")

    async def three():
        found = []
        async with (
            session(web, init_payload={"Token": key}) as client,
            aclosing(client.subscribe(asking(EVENTS, web_socket))) as answers,
        ):
            async for answer in answers:
                found.append(answer["eventReceived"])
                if len(found) == 2:
                    await asyncio.to_thread(in_thread, publish, b"3")
                if len(found) == 3:
                    break
        return found

    assert asyncio.run(three()) == [
        {"cursor": cursor(web_socket, seq), "event": {"type": "test", "dataText": text}, "reset": None}
        for seq, text in [(1, '{"n": 1.00}'), (2, "2"), (3, "3")]
    ]
    wait_until(lambda: states(web_socket)[:2], [(1, "DELIVERED"), (2, "DELIVERED")].__eq__)


@pytest.mark.parametrize(
    ("beyond", "scopes", "told"),
    [
        ("event { deliveries { id } }", [Scope.SUBSCRIBE], False),
        ("event { deliveries { id } }", [Scope.SUBSCRIBE, Scope.READ], True),
        ("event { id dataText matched }", [Scope.SUBSCRIBE], True),
    ],
)
def test_a_key_that_may_only_listen_hears_of_nothing_beyond(web, workspace, web_socket, publish, beyond, scopes, told):
    _, key = ApiKey.issue(workspace=workspace, name="listener", scopes=scopes)
    publish(b"1")
    with apollo(web, key) as client:
        client.follow(f"subscription($id: ID!) {{ eventReceived(endpointId: $id) {{ {beyond} }} }}", web_socket)
        errors = client.hear()["payload"].get("errors", [])
    assert [error["extensions"]["code"] for error in errors] == ([] if told else ["FORBIDDEN"])


def in_thread(work, *args):
    try:
        work(*args)
    finally:
        connection.close()


def test_gql_asks_and_changes_over_the_same_socket(web, key):
    async def ask():
        async with session(web, headers={"Authorization": f"Bearer {key}"}) as client:
            made = await client.execute(gql('mutation { createWebSocketEndpoint(name: "n") { name } }'))
            asked = await client.execute(gql("{ workspace { name } endpoints { totalCount } }"))
            with pytest.raises(TransportQueryError) as error:
                await client.execute(gql("{ endpoints(pagination: {limit: 201}) { totalCount } }"))
            return made, asked, error.value.errors[0]["extensions"]

    made, asked, refused = asyncio.run(ask())
    assert made == {"createWebSocketEndpoint": {"name": "n"}}
    assert asked == {"workspace": {"name": "Ours"}, "endpoints": {"totalCount": 1}}
    assert refused == {"code": "BAD_USER_INPUT", "field": "pagination.limit"}


def test_a_subscription_goes_on_after_a_cursor_without_gap_or_repeat(web, web_socket, key, publish):
    publish(*[b"1"] * 250)
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket)
        assert numbers(client, web_socket, 120) == list(range(1, 121))
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket, after=cursor(web_socket, 120))
        publish(*[b"1"] * 10)
        assert numbers(client, web_socket, 140) == list(range(121, 261))
    wait_until(lambda: {state for _, state in states(web_socket)[:-1]}, {"DELIVERED"}.__eq__)
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket, after="0")
        assert numbers(client, web_socket, 260) == list(range(1, 261))


def test_what_was_not_sent_is_still_owed_after_complete(web, web_socket, key, publish):
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket)
        publish(b"1")
        assert numbers(client, web_socket, 1) == [1]
        client.say("complete", "1")
        wait_until(Socket.objects.count, (0).__eq__)
        publish(b"2")
        assert_nothing_comes(client)
        client.follow(EVENTS, web_socket)  # the id is free again
        assert numbers(client, web_socket, 1) == [2]
    assert states(web_socket)[0] == (1, "DELIVERED")


def test_a_reset_says_what_can_not_be_had(web, web_socket, key, publish):
    publish(*[b"1"] * 5)
    Delivery.objects.filter(seq__in=[2, 3]).delete()
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket, after=cursor(web_socket, 1))
        reset = {"reason": "HISTORY_GONE", "after": cursor(web_socket, 1), "until": cursor(web_socket, 3)}
        assert client.next() == {"cursor": cursor(web_socket, 3), "event": None, "reset": reset}
        assert numbers(client, web_socket, 2) == [4, 5]
        client.follow(EVENTS, web_socket, id="2", after="00000000-7")
        assert client.next("2")["reset"] == {"reason": "EPOCH_CHANGED", "after": "00000000-7", "until": None}


@pytest.mark.parametrize("after", ["", "1", "x-1", "3f9a01bc-01"])
def test_after_is_a_cursor(web, web_socket, key, after):
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket, after=after)
        assert client.error()["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}


def test_events_are_of_websockets(web, webhook, key):
    with apollo(web, key) as client:
        client.follow(EVENTS, webhook)
        assert client.error()["extensions"] == {"code": "BAD_USER_INPUT", "field": "endpointId"}


def test_an_event_that_could_not_be_shown_is_not_delivered(web_socket, key, publish):
    publish(b"1")
    with renamed("ordering_key", "hidden"), running() as web, apollo(web, key) as client:
        client.follow(EVENTS, web_socket)
        assert client.error()["extensions"] == {"code": "INTERNAL"}
        assert "ordering_key does not exist" in web.log()
        web.errors.truncate(0)
    assert states(web_socket) == [(1, "PENDING")]


@contextmanager
def renamed(column, to):
    with connection.cursor() as sql:
        sql.execute(f"ALTER TABLE routing_event RENAME {column} TO {to}")
    try:
        yield
    finally:
        with connection.cursor() as sql:
            sql.execute(f"ALTER TABLE routing_event RENAME {to} TO {column}")


# --- deliveryUpdated


def test_a_webhooks_delivery_is_told_of_from_pending_to_its_end(web, webhook, key, publish):
    with watching(web, key, webhook) as client:
        publish(b"1")
        assert client.next() == {"seq": 1, "state": "PENDING", "attemptsMade": 0}
        (job,) = claim(limit=9, per_endpoint=9, rooms={})
        assert client.next() == {"seq": 1, "state": "SENDING", "attemptsMade": 1}
        settle([Result(job, "DELIVERED", started_at=timezone.now(), status_code=200)])
        assert client.next() == {"seq": 1, "state": "DELIVERED", "attemptsMade": 1}


def test_gql_follows_deliveries(web, webhook, key, publish):
    async def first():
        async with (
            session(web, init_payload={"Authorization": f"Bearer {key}"}) as client,
            aclosing(client.subscribe(asking(DELIVERIES, webhook))) as told,
        ):
            coming = asyncio.ensure_future(anext(told))
            await asyncio.to_thread(in_thread, wait_until, Socket.objects.filter(watches=True).count, (1).__eq__)
            await asyncio.to_thread(in_thread, publish, b"1")
            return await coming

    assert asyncio.run(first()) == {"deliveryUpdated": {"seq": 1, "state": "PENDING", "attemptsMade": 0}}


def test_what_is_cancelled_is_told_of(web, webhook, web_socket, key, publish):
    publish(b"1", b"2")
    with watching(web, key, webhook) as client:
        cancel_all(web_socket)
        cancel_all(webhook)
        told = [(found["seq"], found["state"]) for found in (client.next(), client.next())]
        assert sorted(told) == [(1, "CANCELLED"), (2, "CANCELLED")]
        assert_nothing_comes(client)  # of the other endpoint


def test_what_a_websocket_was_sent_is_told_of(web, web_socket, key, publish):
    publish(b"1")
    with watching(web, key, web_socket) as client, web.listen(web_socket, key) as websocket:
        websocket.recv(timeout=DEADLINE_S)
        assert client.next() == {"seq": 1, "state": "DELIVERED", "attemptsMade": 1}


def test_a_transaction_that_commits_late_is_not_missed(web, webhook, key, publish):
    publish(b"1", b"2")
    with watching(web, key, webhook) as client:
        with transaction.atomic():
            Delivery.objects.filter(seq=1).update(attempts_made=7)
            later = Thread(target=in_thread, args=(partial(Delivery.objects.filter(seq=2).update, attempts_made=8),))
            later.start()
            assert client.next() == {"seq": 2, "state": "PENDING", "attemptsMade": 8}
            later.join()
        assert client.next() == {"seq": 1, "state": "PENDING", "attemptsMade": 7}


def test_who_begins_to_watch_while_others_look_misses_nothing(monkeypatch):
    """The look that was under way did not ask for its endpoint."""
    first, second = uuid4(), uuid4()
    watching, reads, late = Watching(), [], ExitStack()

    async def read(_work, _node, endpoints, before):
        if not reads:
            late.enter_context(watching.watched(Watcher(second, None, pytest.fail)))
        reads.append((set(endpoints), before))
        return Changes(Position("2:2:", timezone.now()), timezone.now(), {})

    async def look():
        with late, watching.watched(Watcher(first, None, pytest.fail)):
            watching._position = began = Position("1:1:", timezone.now())
            for _ in range(3):
                await watching.look(uuid4())
            return began

    monkeypatch.setattr(watching_module, "insist", read)
    began = asyncio.run(look())
    assert [endpoints for endpoints, _ in reads] == [{first}, {first, second}, {first, second}]
    assert [before is began for _, before in reads] == [True, True, False]


def test_without_hints_the_poll_finds_every_change(web, webhook, key, publish):
    with without_hints(), watching(web, key, webhook) as client:
        for seq in (1, 2, 3):
            publish(b"1")
            assert client.next() == {"seq": seq, "state": "PENDING", "attemptsMade": 0}


@contextmanager
def without_hints():
    with connection.cursor() as sql:
        sql.execute("SELECT pg_get_functiondef('routing_note_changes'::regproc)")
        (definition,) = sql.fetchone()
        sql.execute(definition.replace("event_service_changes", "nobody_listens_here"))
    try:
        yield
    finally:
        with connection.cursor() as sql:
            sql.execute(definition)


def test_a_hint_is_quicker_than_the_poll(webhook, key, publish):
    with running(f"routing.sockets.hub.POLL_S={NEVER_S}") as web, watching(web, key, webhook) as client:
        assert publish_until_told(publish, client)["type"] == "next"


def publish_until_told(publish, client):
    """The first hints may come before somebody listens."""
    for _ in range(DEADLINE_S * 10):
        publish(b"1")
        with suppress(TimeoutError):
            return client.hear(timeout=0.1)
    raise AssertionError("No hint was heard")


def test_nothing_is_noted_where_nobody_watches(web, web_socket, webhook, key, publish):
    publish(b"1")
    assert not DeliveryChange.objects.exists()
    with watching(web, key, webhook):
        publish(b"2")
        assert set(DeliveryChange.objects.values_list("endpoint", flat=True)) == {webhook.pk}


def test_nothing_is_noted_for_a_process_that_died(workspace, webhook, publish):
    node = SocketNode.objects.create(seen_at=timezone.now() - timedelta(minutes=2))
    Socket.objects.create(node=node, workspace=workspace, endpoint=webhook, watches=True)
    publish(b"1")
    assert not DeliveryChange.objects.exists()
    SocketNode.objects.update(seen_at=timezone.now())
    publish(b"1")
    assert DeliveryChange.objects.count() == 1
    Socket.objects.all().delete()


def test_a_process_that_stood_still_says_so():
    now = timezone.now()
    before, late = Position("1:1:", now), Position("1:1:", now + timedelta(seconds=31))
    assert Changes(Position("1:1:", now), seen_at=now, changed={}).follow(before)
    assert not Changes(late, seen_at=late.at, changed={}).follow(before)
    assert not Changes(late, seen_at=now, changed={}).follow(late)
    assert not Changes(before, seen_at=None, changed={}).follow(before)


def test_who_is_sent_too_slowly_is_told(webhook, key, publish):
    with running("routing.sockets.watching.MOST_WAITING=3") as web, watching(web, key, webhook) as client:
        publish(*[b"1"] * 9)
        assert client.error()["extensions"] == {"code": "UNAVAILABLE"}


# --- who may, and for how long


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_subscription_needs_its_scope_and_no_other(web, workspace, web_socket, name):
    query = f"subscription {{ {name}{SUBSCRIPTIONS[name]} }}".replace("ID", str(web_socket.pk))
    lacking = ApiKey.issue(workspace=workspace, name="lacking", scopes=set(Scope.values) - {"subscribe"})[1]
    with apollo(web, lacking) as client:
        client.ask(query)
        assert client.error()["extensions"] == {"code": "FORBIDDEN"}
    sufficient = ApiKey.issue(workspace=workspace, name="sufficient", scopes=["subscribe"])[1]
    with apollo(web, sufficient) as client:
        client.ask(query)
        wait_until(Socket.objects.count, (1).__eq__)


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_an_endpoint_of_another_workspace_is_as_good_as_none(web, key, foreign_workspace, name):
    foreign = Endpoint.create_web_socket(workspace_id=foreign_workspace.pk, name="theirs")
    query = f"subscription {{ {name}{SUBSCRIPTIONS[name]} }}"
    with apollo(web, key) as client:
        client.ask(query.replace("ID", ABSENT))
        absent = client.error()
        client.ask(query.replace("ID", str(foreign.pk)))
        error = client.error()
    assert absent["extensions"] == {"code": "NOT_FOUND", "field": "endpointId"}
    assert json.dumps(error).replace(str(foreign.pk), ABSENT) == json.dumps(absent)


@pytest.mark.parametrize("query", [EVENTS, DELIVERIES], ids=["events", "deliveries"])
def test_a_revoked_key_ends_a_subscription(web, web_socket, key, query):
    with apollo(web, key) as client:
        client.follow(query, web_socket)
        wait_until(Socket.objects.count, (1).__eq__)
        ApiKey.objects.update(revoked_at=timezone.now())
        error = json.loads(client.websocket.recv(timeout=5))["payload"][0]
        assert error["extensions"] == {"code": "FORBIDDEN"}
        client.ask("{ workspace { name } }")
        assert client.hear()["payload"]["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


@pytest.mark.parametrize("query", [EVENTS, DELIVERIES], ids=["events", "deliveries"])
def test_a_deleted_endpoint_ends_a_subscription(web, web_socket, key, query):
    with apollo(web, key) as client:
        client.follow(query, web_socket)
        wait_until(Socket.objects.count, (1).__eq__)
        Endpoint.objects.update(deleted_at=timezone.now())
        error = json.loads(client.websocket.recv(timeout=5))["payload"][0]
        assert error["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize("of", ["KEY", "WORKSPACE", "PROCESS"])
def test_as_many_subscriptions_are_open_as_the_operator_lets(web_socket, key, of):
    most = "2" if of == "PROCESS" else "1"
    with running(**{f"EVENT_SERVICE_SOCKETS_PER_{of}": most}) as web, apollo(web, key) as client:
        for id in range(int(most)):
            client.follow(EVENTS, web_socket, id=str(id))
        wait_until(Socket.objects.count, int(most).__eq__)
        for query in (EVENTS, DELIVERIES):
            client.follow(query, web_socket, id="more")
            code = "UNAVAILABLE" if of == "PROCESS" else "FORBIDDEN"
            assert client.error("more")["extensions"] == {"code": code}


@pytest.mark.parametrize(("of", "code"), [("KEY", 1008), ("PROCESS", 1013)])
def test_as_many_sockets_are_open_as_the_operator_lets(key, of, code):
    with running(**{f"EVENT_SERVICE_SOCKETS_PER_{of}": "1"}) as web:
        with apollo(web, key):
            assert outcome(web, key) == code
        wait_until(partial(outcome, web, key), lambda found: found == "connection_ack")  # there is room again


def outcome(web, key):
    """Return what a client gets that begins: a message's type, or a close code."""
    with raw(web) as client:
        try:
            client.say("connection_init", payload={"Token": key})
            return client.hear()["type"]
        except ConnectionClosed as close:
            return close.rcvd.code


# --- the protocol


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_key_comes_with_connection_init(web, key, name):
    with raw(web) as client:
        client.say("connection_init", payload={name: f"Bearer {key}"})
        assert client.hear() == {"type": "connection_ack"}


def test_a_key_comes_in_a_header_or_a_subprotocol(web, key):
    in_headers = {"additional_headers": {"Token": key}}
    in_protocols = {"subprotocols": ["graphql-transport-ws", f"event-service.key.{key}"]}
    for options in (in_headers, in_protocols):
        with raw(web, **options) as client:
            assert client.websocket.subprotocol == "graphql-transport-ws"
            client.say("connection_init")
            assert client.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize("payload", [None, {}, {"Token": "es_live_no"}, {"Authorization": "Basic eDp5"}, {"Token": 5}])
def test_without_a_key_nobody_gets_in(web, key, payload):
    with raw(web) as client:
        client.say("connection_init", payload=payload)
        assert closed(client.websocket)[0] == 4401


def test_who_subscribes_before_the_acknowledgement_is_not_let_in(web, key):
    with raw(web) as client:
        client.ask("{ workspace { name } }")
        assert closed(client.websocket) == (4401, "Unauthorized")


def test_who_does_not_begin_is_closed(key):
    with running("event_service.subscriptions.INIT_S=0.5") as web:
        with raw(web) as client:
            client.say("ping")
            assert client.hear() == {"type": "pong"}
            assert closed(client.websocket) == (4408, "Connection initialisation timeout")
        with apollo(web, key) as client:
            assert_nothing_comes(client)


def test_one_begins_once(web, key):
    with apollo(web, key) as client:
        client.say("connection_init")
        assert closed(client.websocket) == (4429, "Too many initialisation requests")


def test_an_id_stands_for_one_operation_at_a_time(web, web_socket, key):
    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket)
        client.follow(EVENTS, web_socket)
        assert closed(client.websocket) == (4409, "Subscriber for 1 already exists")


@pytest.mark.parametrize("subprotocols", [[], ["graphql-ws"], ["event-service.v1"]])
def test_another_subprotocol_is_refused(web, subprotocols):
    with raw(web, subprotocols=subprotocols) as client:
        assert closed(client.websocket) == (4406, "Subprotocol not acceptable")


def test_a_foreign_page_is_refused(web):
    with raw(web, origin="https://evil.example") as client:
        assert closed(client.websocket)[0] == 1008


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        "{}",
        '{"type": "nope"}',
        '{"type": 1}',
        '{"type": "subscribe", "payload": {"query": "{ __typename }"}}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{ __typename }"}}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": []}}',
        '{"type": "complete"}',
        '{"type": "connection_ack"}',
        '{"type": "ping", "payload": ' + "[" * 100_000,
        b'{"type": "ping"}',
        b"\xff\x00",
    ],
    ids=lambda message: str(message)[:60],
)
def test_what_is_no_message_closes_the_socket_and_nothing_else(web, key, message):
    with apollo(web, key) as other, apollo(web, key) as client:
        client.websocket.send(message)
        code, reason = closed(client.websocket)
        assert (code, reason[:17]) == (4400, "Invalid message: ")
        other.say("ping", payload={"a": 1})
        assert other.hear() == {"type": "pong"}
    assert "Traceback" not in web.log()


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nope }",
        "subscription { nope }",
        "subscription { deliveryUpdated { id } }",
        'subscription { deliveryUpdated(endpointId: "x") { id } }',
        'subscription { a: deliveryUpdated(endpointId: "x") { id } b: deliveryUpdated(endpointId: "x") { id } }',
        "subscription($id: ID!) { deliveryUpdated(endpointId: $id) { id } }",
        "query A { __typename } query B { __typename }",
        *EXPENSIVE.values(),
    ],
    ids=lambda query: query[:60],
)
def test_the_limits_are_those_of_requests(web, key, query):
    with apollo(web, key) as client:
        client.ask(query)
        message = client.hear()
        assert message["type"] == "error"
        assert {error["extensions"]["code"] for error in message["payload"]} == {"BAD_USER_INPUT"}
        client.say("ping")
        assert client.hear() == {"type": "pong"}
    assert "Traceback" not in web.log()


def test_a_deep_subscription_is_refused(web, web_socket, key):
    deep = "event { deliveries { " * 4 + "id" + " } }" * 4
    with apollo(web, key) as client:
        client.ask(f'subscription {{ deliveryUpdated(endpointId: "{web_socket.pk}") {{ {deep} }} }}')
        assert {error["extensions"]["code"] for error in client.hear()["payload"]} == {"BAD_USER_INPUT"}
        assert not Socket.objects.exists()


def test_one_socket_runs_twenty_operations(web, web_socket, key):
    with apollo(web, key) as client:
        for id in range(21):
            client.follow(DELIVERIES, web_socket, id=str(id))
        assert client.error("20")["extensions"] == {"code": "LIMITED"}
        wait_until(Socket.objects.count, (20).__eq__)
        client.say("complete", "0")
        wait_until(Socket.objects.count, (19).__eq__)
        client.ask("{ workspace { name } }", id="20")
        assert client.next("20") == {"name": "Ours"}
        assert client.hear() == {"type": "complete", "id": "20"}

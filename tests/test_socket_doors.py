"""Who gets in: tickets, origins, and how many at once."""

import asyncio
from functools import partial
from uuid import UUID

import pytest
from django.utils import timezone

from endpoints.models import ApiKey, Endpoint
from routing.models import Socket, SocketTicket
from routing.sockets.admission import admit
from routing.sockets.budget import PER_KEY, PER_PROCESS, PER_WORKSPACE, Budget, Budgets
from routing.sockets.refusals import Refusal
from tests.service import wait_until
from tests.web import asked, closed, cursors, record, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]

TICKET = "mutation($id: ID!, $address: String) { createSocketTicket(endpointId: $id, address: $address) { ticket } }"
UNUSABLE = (1008, "This ticket is unknown, used, expired, or for another endpoint or address.")


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


@pytest.fixture
def ticket(graphql, web_socket):
    def make(**options):
        return graphql(TICKET, id=str(web_socket.pk), **options)["data"]["createSocketTicket"]["ticket"]

    return make


# --- tickets


def test_a_ticket_opens_one_websocket_once(web, web_socket, ticket, publish):
    publish(b"1")
    access = ticket()
    with web.listen(web_socket, asking={"access": access}) as websocket:
        assert cursors(websocket, 1) == [1]
    with web.listen(web_socket, asking={"access": access}) as again:
        assert closed(again) == UNUSABLE


@pytest.mark.parametrize("address", ["example.com", "192.0.2.0/24", "1" * 65, "\0"])
def test_a_ticket_is_for_an_address_and_nothing_else(graphql, web_socket, address):
    (error,) = graphql(TICKET, id=str(web_socket.pk), address=address)["errors"]
    assert error["message"].startswith("address is ")
    assert not SocketTicket.objects.exists()


def test_two_who_come_at_once_with_one_ticket_are_not_both_admitted(web, other_web, web_socket, ticket, publish):
    publish(b"1")
    asking = {"access": ticket()}
    with web.listen(web_socket, asking=asking) as first, other_web.listen(web_socket, asking=asking) as second:
        ends = []
        for websocket in (first, second):
            try:
                cursors(websocket, 1)
            except Exception as error:
                ends.append(error.rcvd.code)
    assert ends == [1008]


def test_an_expired_ticket_is_refused(web, web_socket, ticket):
    access = ticket()
    SocketTicket.objects.update(expires_at=timezone.now())
    with web.listen(web_socket, asking={"access": access}) as websocket:
        assert closed(websocket) == UNUSABLE


def test_a_ticket_is_for_one_endpoint_and_is_used_up_at_another(web, web_socket, workspace, ticket):
    other = Endpoint.create_web_socket(workspace_id=workspace.pk, name="other")
    access = ticket()
    for endpoint in (other, web_socket):
        with web.listen(endpoint, asking={"access": access}) as websocket:
            assert closed(websocket) == UNUSABLE


@pytest.mark.parametrize("ours", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_ticket_may_be_for_one_address(web, web_socket, ticket, publish, ours):
    publish(b"1")
    with web.listen(web_socket, asking={"access": ticket(address="192.0.2.1")}) as websocket:
        assert closed(websocket) == UNUSABLE
    with web.listen(web_socket, asking={"access": ticket(address=ours)}) as websocket:
        assert cursors(websocket, 1) == [1]


def test_a_ticket_that_nobody_made_is_refused_and_not_repeated(web, web_socket):
    for access in ("", "evt_x", "é" * 100):
        with web.listen(web_socket, asking={"access": access}) as websocket:
            code, reason = closed(websocket)
        assert code == 1008
        assert "evt_" not in reason


def test_a_key_that_is_revoked_takes_its_tickets_and_their_sockets_along(web, web_socket, ticket):
    unused = ticket()
    with web.listen(web_socket, asking={"access": ticket()}) as websocket:
        ApiKey.objects.get().revoke()
        assert closed(websocket)[0] == 1008
    with web.listen(web_socket, asking={"access": unused}) as websocket:
        assert closed(websocket) == UNUSABLE


def test_tickets_are_for_websockets_of_the_own_workspace(graphql, webhook, foreign_workspace):
    theirs = Endpoint.create_web_socket(workspace_id=foreign_workspace.pk, name="theirs")
    refusals = [graphql(TICKET, id=str(endpoint.pk))["errors"][0]["extensions"] for endpoint in (webhook, theirs)]
    assert [refusal["code"] for refusal in refusals] == ["BAD_USER_INPUT", "NOT_FOUND"]
    assert not SocketTicket.objects.exists()


def test_a_ticket_is_not_kept_in_the_clear_and_old_ones_are_cleared_away(ticket):
    access = ticket()
    assert access.encode() not in bytes(SocketTicket.objects.get().digest)
    SocketTicket.objects.update(expires_at=timezone.now() - timezone.timedelta(minutes=1))
    ticket()
    assert SocketTicket.objects.count() == 1


# --- origins


APP = "https://app.example.com"
FOREIGN = [
    "null",
    "https://app.example.com.evil.com",
    "https://evil.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://app.example.com/",
    "https://APP.example.com",
    "https://аpp.example.com".encode().decode("latin-1"),  # a Cyrillic letter
    "file://",
    "https://app.example.com, https://evil.com",
    "https://sub.app.example.com",
    "https://app.example.com@evil.com",
    "//app.example.com",
]


@pytest.fixture(scope="module")
def guarded(django_db_setup):
    with running(EVENT_SERVICE_ORIGINS=f"{APP},https://other.example.com") as found:
        yield found


def test_pages_of_the_listed_origins_may_connect_and_so_may_programs(guarded, web_socket, key, publish):
    publish(b"1")
    for origin in (APP, "https://other.example.com", None):
        with guarded.listen(web_socket, key, asking={"after": 0}, origin=origin) as websocket:
            assert cursors(websocket, 1) == [1], origin


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_pages_may_not(guarded, web_socket, key, origin):
    with guarded.listen(web_socket, key, additional=[("Origin", origin)]) as websocket:
        code, reason = closed(websocket)
    assert code == 1008
    assert "may not open websockets" in reason


def test_where_none_is_listed_pages_of_our_own_address_may(web, web_socket, key, publish):
    publish(b"1")
    own = f"http://127.0.0.1:{web.port}"
    with web.listen(web_socket, key, origin=own) as websocket:
        assert cursors(websocket, 1) == [1]
    for origin in ("http://127.0.0.1", "http://localhost", "https://example.com", f"{own}/"):
        with web.listen(web_socket, key, origin=origin) as websocket:
            assert closed(websocket)[0] == 1008, origin


def test_a_name_that_leads_here_is_not_our_address(web_socket, key):
    scope = asked(web_socket, key)
    evil = [(b"host", b"evil.example"), (b"origin", b"http://evil.example")]
    with pytest.raises(Refusal, match="may not open websockets"):
        admit({**scope, "headers": [*scope["headers"], *evil]})


# --- how many


def test_a_key_and_a_workspace_have_so_many_sockets_over_all_processes(web_socket, key, workspace):
    _, other = ApiKey.issue(workspace=workspace, name="other", scopes=["subscribe"])
    limits = {"EVENT_SERVICE_SOCKETS_PER_KEY": "2", "EVENT_SERVICE_SOCKETS_PER_WORKSPACE": "3"}
    with (
        running(**limits) as here,
        running(**limits) as there,
        here.v1(web_socket, key) as first,
        there.v1(web_socket, key) as second,
        here.v1(web_socket, other) as third,
    ):
        for websocket in (first, second, third):
            websocket.recv(timeout=10)
        with here.listen(web_socket, key) as surplus:
            assert closed(surplus) == (1008, "This key has 2 websockets open; at most 2 are.")
        with there.listen(web_socket, other) as surplus:
            assert closed(surplus) == (1008, "This workspace has 3 websockets open; at most 3 are.")
        first.close()
        wait_until(Socket.objects.count, (2).__eq__)
        with there.v1(web_socket, key) as next_one:
            next_one.recv(timeout=10)


def test_a_process_has_so_many_sockets(web_socket, key):
    with running(EVENT_SERVICE_SOCKETS_PER_PROCESS="1") as web, web.v1(web_socket, key) as first:
        first.recv(timeout=10)
        with web.listen(web_socket, key) as surplus:
            assert closed(surplus) == (1013, "This process has 1 websockets open; connect again.")


def test_who_says_too_much_is_late_by_what_was_too_much():
    budget = Budget(frames=10, size=1_000)
    now = budget._at
    assert [budget.spend(1, now) for _ in range(100)] == [0] * 100  # ten seconds' worth
    assert budget.spend(1, now) == pytest.approx(0.1)
    assert budget.spend(1, now + 1) == 0
    assert Budget(frames=10, size=1_000).spend(15_000, now) == pytest.approx(5, abs=0.1)


def test_what_one_says_too_much_of_is_no_debt_of_others():
    async def says_too_much(budgets, size):
        gone = asyncio.Event()
        gone.set()
        await budgets.spend(UUID(int=1), UUID(int=2), size, {"client_gone": gone})

    budgets = Budgets()
    asyncio.run(says_too_much(budgets, 1 << 30))
    assert budgets._of("process", PER_PROCESS).has(PER_PROCESS[1] * 10)
    assert budgets._of(UUID(int=1), PER_WORKSPACE).has(PER_WORKSPACE[1] * 10)


def test_nobody_spends_at_once_what_is_not_left():
    budgets, whose = Budgets(), (UUID(int=1), UUID(int=2))
    assert budgets.spend_at_once(*whose, 1)
    of_workspace = budgets._of(whose[0], PER_KEY)
    for index in range(2):
        left = budgets._of(whose, PER_KEY)._left
        left[index], saved, before = 0.5, left[index], of_workspace._left[0]
        assert not budgets.spend_at_once(*whose, 1)
        assert of_workspace._left[0] == before
        left[index] = saved


def test_who_has_said_too_much_and_gone_is_waited_for_no_longer():
    """Nor is what was said kept, up to a megabyte of it, until it is paid for."""

    async def says_too_much():
        gone = asyncio.Event()
        spent = asyncio.create_task(Budgets().spend(UUID(int=1), UUID(int=2), 1 << 30, {"client_gone": gone}))
        await asyncio.sleep(0)
        assert not spent.done()
        gone.set()
        await asyncio.wait_for(spent, 20)

    asyncio.run(says_too_much())


def test_open_sockets_are_listed(web, web_socket, key, graphql):
    query = "{ sockets { totalCount collectionItems { endpointId keyId address share } } }"
    with web.v1(web_socket, key, share="g") as websocket:
        websocket.recv(timeout=10)
        assert graphql(query)["data"]["sockets"] == {
            "totalCount": 1,
            "collectionItems": [
                {
                    "endpointId": str(web_socket.pk),
                    "keyId": str(ApiKey.objects.get().pk),
                    "address": "127.0.0.1",
                    "share": "g",
                }
            ],
        }
    wait_until(lambda: graphql(query)["data"]["sockets"]["totalCount"], (0).__eq__)

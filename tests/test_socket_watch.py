"""Looking on (watch=1): a websocket that gets events and delivers none; with a key, or as an operator."""

import json
from functools import partial

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, transaction

from endpoints.models import Endpoint, StaffBinding
from routing.models import Attempt, Cursor, Delivery, Socket, SocketTicket
from routing.sockets import tickets
from routing.sockets.operators import looks_that_are_allowed
from tests.service import wait_until
from tests.traffic import end
from tests.web import DEADLINE_S, assert_quiet, closed, cursor, cursors, number, record, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]


@pytest.fixture
def publish(workspace):
    return partial(record, workspace)


@pytest.fixture
def operator(workspace):
    operator = User.objects.create_user("looker", is_staff=True)
    operator.user_permissions.add(Permission.objects.get(codename="view_event", content_type__app_label="routing"))
    StaffBinding.objects.create(user=operator, workspace=workspace)
    return operator


def ready(websocket):
    return json.loads(websocket.recv(timeout=DEADLINE_S))


def test_who_looks_on_gets_what_comes_from_now_on_and_delivers_nothing(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.listen(web_socket, key, asking={"watch": "1"}) as websocket:
        assert ready(websocket) == {
            "kind": "ready",
            "endpointId": str(web_socket.pk),
            "cursor": cursor(web_socket, 2),
        }
        publish(b"3", b"4")
        assert cursors(websocket, 2) == [3, 4]
        websocket.send(json.dumps({"kind": "ack", "cursor": cursor(web_socket, 4)}))  # is ignored
        publish(b"5")
        assert cursors(websocket, 1) == [5]
    assert states(web_socket) == [(seq, "PENDING") for seq in range(1, 6)]
    assert not Attempt.objects.exists()


def test_who_looks_on_is_none_that_a_delivery_waits_for(web, web_socket, key, publish):
    left_at = Cursor.objects.filter(pk=web_socket.pk).values_list("last_socket_left_at", flat=True).get
    with web.listen(web_socket, key, asking={"watch": "1"}) as websocket:
        ready(websocket)
        assert Socket.objects.get().looks_on
    wait_until(Socket.objects.exists, lambda open: not open)
    assert left_at() is None
    with web.v1(web_socket, key) as websocket:
        ready(websocket)
    wait_until(left_at, lambda at: at is not None)


def test_who_looks_on_takes_nothing_from_who_reads(web, web_socket, key, publish):
    with web.listen(web_socket, key, asking={"watch": "1"}) as watching:
        ready(watching)
        publish(b"1", b"2", b"3")
        assert cursors(watching, 3) == [1, 2, 3]
        with web.listen(web_socket, key) as reading:
            assert cursors(reading, 3) == [1, 2, 3]
            publish(b"4")
            assert cursors(watching, 1) == cursors(reading, 1) == [4]
            wait_until(lambda: states(web_socket), [(seq, "DELIVERED") for seq in range(1, 5)].__eq__)


@pytest.mark.parametrize("asking", [{"after": 1}, {"after": 0}, {"from": "2020-01-01T00:00:00Z"}], ids=str)
def test_it_replays_from_where_it_is_asked_to(web, web_socket, key, publish, asking):
    publish(b"1", b"2", b"3")
    if asking.get("after"):
        asking = {"after": cursor(web_socket, asking["after"])}
    first = 2 if asking.get("after") else 1
    with web.listen(web_socket, key, asking={"watch": "1", **asking}) as websocket:
        assert ready(websocket)["cursor"] == cursor(web_socket, first - 1)
        assert cursors(websocket, 4 - first) == list(range(first, 4))
    assert states(web_socket) == [(seq, "PENDING") for seq in (1, 2, 3)]


def test_a_cursor_of_another_numbering_is_a_reset_to_the_live_end(web, web_socket, key, publish):
    publish(b"1", b"2")
    with web.listen(web_socket, key, asking={"watch": "1", "after": "00000000-1"}) as websocket:
        assert ready(websocket)["kind"] == "ready"
        assert json.loads(websocket.recv(timeout=DEADLINE_S)) == {
            "kind": "reset",
            "reason": "EPOCH_CHANGED",
            "missing": {"after": "00000000-1", "until": None},
            "cursor": cursor(web_socket, 2),
        }
        publish(b"3")
        assert cursors(websocket, 1) == [3]


@pytest.mark.parametrize(
    ("asking", "protocols", "problem"),
    [
        ({"watch": "yes"}, [], "watch is 'yes'; give 1, or leave it out."),
        ({"watch": "1"}, ["event-service.v1"], "watch does not go with event-service.v1: "),
        ({"watch": "1", "share": "team"}, [], "share goes with the subprotocol event-service.v1."),
    ],
)
def test_what_does_not_go_with_looking_on_is_refused(web, web_socket, key, asking, protocols, problem):
    with web.listen(web_socket, key, asking=asking, subprotocols=protocols or None) as websocket:
        code, reason = closed(websocket)
    assert (code, reason[: len(problem)]) == (1008, problem)


# --- operators


def test_an_operators_ticket_opens_one_socket_to_look_on(web, web_socket, operator, publish):
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(web_socket, asking={"access": access, "watch": "1"}) as websocket:
        ready(websocket)
        assert Socket.objects.count() == 1  # and no other to be told of deliveries, which it may not see
        publish(b"1")
        assert cursors(websocket, 1) == [1]
    assert states(web_socket) == [(1, "PENDING")]
    with web.listen(web_socket, asking={"access": access, "watch": "1"}) as again:
        assert closed(again)[0] == 1008


@pytest.mark.parametrize("protocols", [None, ["event-service.v1"]], ids=["plain", "v1"])
def test_an_operators_ticket_is_for_nothing_but_looking_on(web, web_socket, operator, publish, protocols):
    publish(b"1")
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(web_socket, asking={"access": access}, subprotocols=protocols) as websocket:
        assert closed(websocket) == (1008, "An operator's ticket is for looking on: it goes with watch=1.")
    assert states(web_socket) == [(1, "PENDING")]


def test_an_operators_ticket_is_for_one_endpoint(web, web_socket, workspace, operator):
    other = Endpoint.create_web_socket(workspace_id=workspace.pk, name="other")
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(other, asking={"access": access, "watch": "1"}) as websocket:
        assert closed(websocket)[0] == 1008


def grant(operator, codename):
    operator.user_permissions.add(Permission.objects.get(codename=codename))


def told(websocket, endpoint, count):
    """Return the next frames: events by number, states with it."""
    frames = [json.loads(websocket.recv(timeout=DEADLINE_S)) for _ in range(count)]
    assert all(frame["cursor"] == cursor(endpoint, number(frame)) for frame in frames)
    return [(number(frame), frame.get("state"), frame.get("reason")) for frame in frames]


def test_who_may_see_deliveries_is_told_what_becomes_of_them(web, web_socket, operator, publish):
    grant(operator, "view_delivery")
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(web_socket, asking={"access": access, "watch": "1"}) as websocket:
        ready(websocket)
        publish(b"1")
        said = []
        while said[-2:] != [(1, None, None), (1, "PENDING", "")]:  # behind its event, perhaps before it as well
            said += told(websocket, web_socket, 1)
        end(Delivery.objects.filter(endpoint=web_socket))
        wait_until(lambda: told(websocket, web_socket, 1), [(1, "EXHAUSTED", "test")].__eq__)


def test_who_comes_back_is_told_what_became_of_deliveries_meanwhile(web, web_socket, operator, publish):
    grant(operator, "view_delivery")
    publish(b"1", b"2")
    end(Delivery.objects.filter(endpoint=web_socket))
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    asking = {"access": access, "watch": "1", "after": cursor(web_socket, 2)}
    with web.listen(web_socket, asking=asking) as websocket:
        ready(websocket)
        assert told(websocket, web_socket, 2) == [(1, "EXHAUSTED", "test"), (2, "EXHAUSTED", "test")]
        operator.user_permissions.remove(Permission.objects.get(codename="view_delivery"))
        publish(b"3")
        assert told(websocket, web_socket, 1) == [(3, None, None)]
        assert_quiet(websocket)


LOST = [{"is_staff": False}, {"is_active": False}]


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_who_is_no_active_staff_any_more_sees_no_more(web, web_socket, operator, lost):
    used, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    unused, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(web_socket, asking={"access": used, "watch": "1"}) as websocket:
        ready(websocket)
        User.objects.filter(pk=operator.pk).update(**lost)
        assert closed(websocket) == (
            1008,
            "The operator is no member of staff any more, has lost routing.view_event, or does not see the workspace.",
        )
    with web.listen(web_socket, asking={"access": unused, "watch": "1"}) as websocket:
        assert closed(websocket)[0] == 1008


@pytest.mark.parametrize("lost", ["permission", "workspace"])
def test_who_may_not_any_more_sees_no_more(web, web_socket, operator, lost):
    access, _ = tickets.issue(endpoint=web_socket, user_id=operator.pk)
    with web.listen(web_socket, asking={"access": access, "watch": "1"}) as websocket:
        ready(websocket)
        if lost == "permission":
            operator.user_permissions.clear()
        else:
            operator.staff_bindings.all().delete()
        assert closed(websocket)[0] == 1008


def test_superusers_may_look_and_others_need_the_permission_and_the_workspace(operator, web_socket, foreign):
    superuser = User.objects.create_superuser("super")
    without = User.objects.create_user("without", is_staff=True)
    visitor = User.objects.create_user("visitor")
    asked = {(user.pk, each.pk) for user in (operator, superuser, without, visitor) for each in (web_socket, foreign)}
    allowed = {(operator.pk, web_socket.pk), (superuser.pk, web_socket.pk), (superuser.pk, foreign.pk)}
    assert looks_that_are_allowed(asked) == allowed


def test_a_ticket_is_of_a_key_or_of_an_operator(web_socket, operator):
    for holder in ({}, {"user_id": operator.pk, "key_id": web_socket.pk}):
        with pytest.raises(IntegrityError, match="socket_ticket_of_key_or_user"), transaction.atomic():
            tickets.issue(endpoint=web_socket, **holder)
    assert not SocketTicket.objects.exists()

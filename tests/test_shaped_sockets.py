"""Payload shapes on every kind of websocket, and over the subscription that shows what these get."""

import json
from functools import partial

import pytest

from tests.test_socket_acks import begun
from tests.test_subscriptions import EVENTS, apollo
from tests.web import DEADLINE_S, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sockets_left")]

DATA = b'{"customer": {"id": 1.00, "name": "x"}, "total": 2}'
SENT = '"data":{"customer":{"id":1.00}}'


@pytest.fixture
def publish(workspace, web_socket):
    web_socket.change(payload_shape={"paths": ["customer.id"]})
    return partial(record, workspace)


def test_a_plain_socket_gets_the_shaped_data(web, web_socket, key, publish):
    publish(DATA)

    with web.listen(web_socket, key) as websocket:
        assert SENT in websocket.recv(timeout=DEADLINE_S)


@pytest.mark.parametrize("asking", [{}, {"share": "g"}], ids=["alone", "shared"])
def test_a_socket_that_acknowledges_gets_it_and_again_when_it_refuses_it(web, web_socket, key, publish, asking):
    publish(DATA)

    with web.v1(web_socket, key, **asking) as websocket:
        begun(websocket)
        first = websocket.recv(timeout=DEADLINE_S)
        websocket.send(json.dumps({"kind": "nack", "cursor": json.loads(first)["cursor"]}))
        assert websocket.recv(timeout=DEADLINE_S) == first
    assert SENT in first


def test_an_event_of_which_nothing_is_sent_comes_without_data(web, web_socket, key, publish):
    publish(b'{"total": 2}')

    with web.listen(web_socket, key) as websocket:
        assert json.loads(websocket.recv(timeout=DEADLINE_S)).keys() == {"id", "type", "date", "workspaceId", "cursor"}


def test_a_subscription_shows_what_sockets_get(web, web_socket, key, publish):
    publish(DATA, b'{"total": 2}')

    with apollo(web, key) as client:
        client.follow(EVENTS, web_socket)
        received = [client.next()["event"] for _ in range(2)]

    assert received == [{"type": "test", "dataText": '{"customer":{"id":1.00}}'}, {"type": "test", "dataText": None}]


def test_a_change_of_the_shape_decides_the_next_event(web, web_socket, key, publish):
    with web.listen(web_socket, key) as websocket:
        for shape, sent in (({"paths": ["total"]}, '{"total":2}'), (None, DATA.decode())):
            web_socket.change(payload_shape=shape)
            publish(DATA)
            assert f'"data":{sent},' in websocket.recv(timeout=DEADLINE_S)

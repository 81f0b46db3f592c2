"""Requests of the usual kind are read and answered without Twisted's; nobody can tell but by the time that it takes."""

import re
import socket
from types import SimpleNamespace

import pytest

from event_service.server import exchange
from event_service.server.edge import Edge
from tests.test_server import DEADLINE_S, drain, own, running, status  # noqa: F401  # own is a fixture

ODD = b"X_Odd: 1\r\n"  # with it, a request is Twisted's


def post(path="/size", body=b"", headers=b""):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nA: b\r\nA:\tc \r\nContent-Length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


@pytest.fixture(scope="module")
def shared():
    with running() as found:
        yield found


LAST = b"GET /204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def answers(running, *pieces):
    """Return all that is answered to these, before the answer to one more."""
    client = running.raw()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        client.sendall(piece)
    client.sendall(LAST)
    with client.makefile("rb") as reader:
        said, last, _ = reader.read().rpartition(b"HTTP/1.1 204")
    assert last
    return re.sub(rb"(?m)^[\w-]+:", lambda name: name[0].lower(), said)  # Twisted writes some with capitals


class Channel:
    """What an exchange asks of one before it begins."""

    def __init__(self):
        self.factory = SimpleNamespace(
            server=SimpleNamespace(edge=Edge(hosts=["x"]), protocol_connected=lambda _: None)
        )


def test_what_follows_a_refusal_is_no_request_before_its_body_is_whole(own):  # noqa: F811
    refused = b"GET / HTTP/1.1\r\n\r\n"
    inner = post("/inner")
    head = f"PUT /size HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    client = own.raw(refused + head)
    assert b" 400 " in client.makefile("rb").readline()
    client.sendall(inner + LAST)
    with client.makefile("rb") as reader:
        said = reader.read()
    assert (said.count(b"HTTP/1.1 "), said.count(b"HTTP/1.1 204")) == (2, 1)


@pytest.mark.parametrize("data", [post(), post("/a?b=c", b"{}"), post(headers=b"Connection: Keep-Alive\r\n")])
def test_the_usual_is_read_here(data):
    found, rest = exchange.begun(Channel(), data)
    assert found.take(rest + b"next") == b"next"
    assert found.whole


@pytest.mark.parametrize(
    "data",
    [
        post().replace(b"POST", b"GET"),
        post().replace(b"HTTP/1.1", b"HTTP/1.0"),
        post()[:-1],
        post().replace(b"Host: x", b"Host: elsewhere"),
        post().replace(b"Host: x\r\n", b""),
        post(headers=b"Host: y\r\n"),
        post(headers=b"Content-Length: 0\r\n"),
        post().replace(b"Content-Length: 0\r\n", b""),
        post().replace(b"Content-Length: 0", b"Content-Length: +0"),
        post().replace(b"Content-Length: 0", b"Content-Length: 65537"),
        post(headers=b"Transfer-Encoding: chunked\r\n"),
        post(headers=b"Expect: 100-continue\r\n"),
        post(headers=b"Connection: close\r\n"),
        post(headers=b"Upgrade: websocket\r\n"),
        post(headers=b"Daphne-Root-Path: /x\r\n"),
        post(headers=ODD),
        post(headers=b" folded\r\n"),
        post(headers=b"A : b\r\n"),
        post(headers=b"A: b\rc\r\n"),
        post(headers=b"A: \0\r\n"),
        post(headers=b"A: b\n"),
        post(headers=b"A: b\r\n" * exchange.MOST_HEADERS),
        post(headers=b"A: " + b"b" * exchange.LONGEST_HEAD + b"\r\n"),
        post("/\x7f"),
        post("http://x/"),
        b"\r\n" + post(),
    ],
)
def test_whatever_is_out_of_the_ordinary_is_twisteds_to_read(data):
    assert exchange.begun(Channel(), data) is None


@pytest.mark.parametrize("path", ["/seen", "/seen?a=%20b", "/s%65en", "/stream", "/204", "/fail"])
def test_both_ways_are_answered_alike(shared, path):
    def said(headers):
        data = post(path, b'{"a": 1}', headers)
        head, _, body = answers(shared, data).partition(b"\r\n\r\n")
        return sorted(head.split(b"\r\n")), body

    assert said(b"") == said(ODD)


def test_a_request_may_come_in_any_two_pieces(shared):
    whole = post(body=b"abc")
    expected = answers(shared, whole)
    assert expected.endswith(b"\r\n\r\n3")
    for at in range(1, len(whole)):
        assert answers(shared, whole[:at], whole[at:]) == expected


def test_requests_that_come_at_once_are_answered_in_their_order(shared):
    kinds = [post(body=b"a"), post(body=b"bb", headers=ODD), post(body=b"ccc"), post("/stream")]
    requests = [*kinds, b"GET /size HTTP/1.1\r\nHost: x\r\n\r\n", *kinds]
    bodies = re.findall(rb"\r\n\r\n(\d)", answers(shared, b"".join(requests)))
    assert bodies == [b"1", b"2", b"3", b"3", b"0", b"1", b"2", b"3", b"3"]  # the stream's is a chunk of 3


def test_so_many_at_once_are_no_recursion(shared):
    assert answers(shared, post("/204") * 3_000).count(b"HTTP/1.1 204") == 3_000


def test_an_application_that_answers_nothing_is_said_to_have_failed(shared):
    assert status(shared.raw(post("/silent"))) == 500


def test_an_answer_that_breaks_off_does_not_look_whole(shared):
    with shared.raw(post("/break-off")).makefile("rb") as reader, pytest.raises(ConnectionResetError):
        reader.read()


def test_the_application_hears_that_its_client_has_left(own):  # noqa: F811
    with own.raw(post("/left")):
        assert own.line() == "in left"
    assert own.line() == "http.disconnect"


def test_what_is_over_is_forgotten(own):  # noqa: F811
    own.raw(post(body=b"half")[:-1]).close()
    connection = own.connection()
    before = int(own.ask("/held", connection=connection, method="POST")[1])
    for _ in range(50):
        own.ask("/size", connection=connection, method="POST")
    assert int(own.ask("/held", connection=connection, method="POST")[1]) <= before


def test_on_sigterm_a_body_that_is_still_arriving_is_taken(own):  # noqa: F811
    half = own.raw(post(body=b"abc")[:-1])
    own.ask("/size")  # the server has read the half by then
    drain(own)
    half.sendall(b"c")

    with half.makefile("rb") as reader:
        answer = reader.read()
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert answer.endswith(b"3")
    assert own.process.wait(DEADLINE_S) == 0


def test_a_body_that_does_not_come_to_its_end_ends_the_connection():
    with running("channel.BODY_S=0.3") as server:
        client = server.raw(post(body=b"abc")[:-1])
        with pytest.raises(ConnectionResetError):
            client.recv(1)

"""What every request meets before any door, on the real server: hosts, proxies, headers, ends."""

import http.client
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from event_service.server import Edge, channel
from tests import test_server
from tests.service import wait_until
from tests.test_server import DEADLINE_S, status, upgrade
from tests.web import running

ROOT = Path(__file__).resolve().parent.parent
PATHS = [
    "/event-service/events",
    "/event-service/graphql",
    "/event-service/live",
    "/event-service/static/routing/event-socket.js",
    "/admin/login/",
    "/healthz",
    "/readyz",
    "/",
    "/nowhere",
]
SOCKETS = ["/event-service/ws?endpoint_id=x", "/event-service/graphql", "/nowhere"]
SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def answered(web, request):
    """Send bytes; return the status and the headers of the answer."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=DEADLINE_S) as client:
        client.sendall(request)
        with closing(http.client.HTTPResponse(client)) as answer:
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def lets_in(web):
    try:
        return answered(web, get("/healthz"))[0] == 200
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return False


def get(path, *headers, host="Host: localhost"):
    return "\r\n".join([f"GET {path} HTTP/1.1", *([host] if host else []), *headers, "", ""]).encode()


# --- hosts

FOREIGN = [
    "Host: evil.com",
    "Host: localhost.evil.com",
    "Host: localhost@evil.com",
    "Host: localhost:x",
    "Host:",
    "",
    "Host: localhost\r\nHost: localhost",
    "Host: localhost\r\nHost: evil.com",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_host_that_is_not_ours_is_refused_on_every_path(web, host):
    shakes = [upgrade(path).decode().replace("Host: 127.0.0.1", host).encode() for path in SOCKETS]
    asked = [*(get(path, host=host) for path in PATHS), *(shake.replace(b"\r\n\r\nUp", b"\r\nUp") for shake in shakes)]
    assert [answered(web, request)[0] for request in asked] == [400] * len(asked)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "LocalHost", "127.0.0.1", "[::1]:8000"])
def test_a_host_that_is_ours_is_served(web, host):
    assert answered(web, get("/healthz", host=f"Host: {host}"))[0] == 200


# --- headers

ANSWERS = {
    **{path: get(path) for path in PATHS},
    "a door's refusal": b"POST /event-service/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    "a foreign host": get("/", host="Host: evil.com"),
    "no request": b"nonsense\r\n\r\n",
    "bad bytes in the path": get("/").replace(b"GET /", b"GET /\xff"),
    "a body too large": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n",
    "an open websocket": upgrade("/event-service/graphql"),
    "a websocket that leads nowhere": upgrade("/nowhere"),
    "a websocket that is none": upgrade("/event-service/ws").replace(b"Version: 13", b"Version: 12"),
}


@pytest.mark.parametrize("request_", ANSWERS.values(), ids=ANSWERS)
def test_every_answer_says_what_keeps_browsers_safe(web, request_):
    _, headers = answered(web, request_)
    assert {name: headers.get(name) for name in SAFE} == SAFE
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers.get("server", "event-service") == "event-service"
    assert "strict-transport-security" not in headers


def test_the_servers_own_refusals_are_json_and_tell_nothing_of_it(web):
    with socket.create_connection(("127.0.0.1", web.port), timeout=DEADLINE_S) as client:
        client.sendall(get("/", host="Host: evil.com"))
        with closing(http.client.HTTPResponse(client)) as answer:
            answer.begin()
            error = json.loads(answer.read())["error"]
    message = "Host 'evil.com' is not served here; ALLOWED_HOSTS names those that are."
    assert error == {"code": "BAD_USER_INPUT", "message": message}


# --- proxies

OURS = Edge(proxies=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def seen(peer, *forwarded, proto=None, edge=OURS):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if proto:
        headers.append((b"x-forwarded-proto", proto.encode()))
    scope = edge.seen({"type": "http", "client": [peer, 1], "scheme": "http", "headers": headers})
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.9, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.9", "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["", "unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, <script>"], "10.0.0.1"),
        ("192.0.2.7", ["192.0.2.1"], "192.0.2.7"),
        ("192.0.2.7", ["10.0.0.1"], "192.0.2.7"),
        ("::ffff:192.0.2.7", [], "192.0.2.7"),  # as a socket for both families shows it
        ("::ffff:10.0.0.1", ["192.0.2.9, 192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
    ],
)
def test_a_client_is_the_last_that_no_proxy_of_ours_is(peer, forwarded, client):
    assert seen(peer, *forwarded)[0] == client


def test_a_scheme_is_what_a_proxy_of_ours_says_last():
    assert [seen("10.0.0.1", proto=proto)[1] for proto in ("https", "http", "http, https", "https, http")] == [
        "https",
        "http",
        "https",
        "http",
    ]
    assert seen("192.0.2.7", proto="https")[1] == "http"
    assert seen("10.0.0.1", "192.0.2.1", proto="https", edge=Edge()) == ("10.0.0.1", "http")


@pytest.mark.parametrize(("proxies", "address"), [("127.0.0.1/32", "192.0.2.1"), ("", "127.0.0.1")])
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_where_a_socket_comes_from_is_what_a_trusted_proxy_says(web_socket, key, graphql, proxies, address):
    forwarded = [("X-Forwarded-For", "192.0.2.1"), ("X_Forwarded_For", "192.0.2.2")]
    with running(EVENT_SERVICE_TRUSTED_PROXIES=proxies) as web:
        query = f"/event-service/ws?endpoint_id={web_socket.pk}"
        headers = [("Token", key), *forwarded]
        with web.connect(query, additional_headers=headers, subprotocols=["event-service.v1"]) as websocket:
            websocket.recv(timeout=DEADLINE_S)
            sockets = graphql("{ sockets { collectionItems { address } } }")["data"]["sockets"]["collectionItems"]
    assert sockets == [{"address": address}]


# --- ends


def drip(client):
    """Send a byte whenever nothing came for a moment, until the server has had enough."""
    client.settimeout(0.05)
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            with suppress(TimeoutError):
                if not client.recv(100):
                    return
            client.sendall(b"a")
        except (ConnectionResetError, BrokenPipeError):
            return
    pytest.fail("The server was patient.")


def read_to_reset(client):
    with suppress(ConnectionResetError):
        while client.recv(100):
            pass
        pytest.fail("The connection was closed in peace.")


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("constant", "begun"),
    [
        ("HEADERS_S", b""),
        ("HEADERS_S", GET + b"A: "),
        ("HEADERS_S", GET + b"\r\n" + GET + b"A: "),
        ("BODY_S", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"),
        ("BODY_S", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"),
        ("BODY_S", b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"),
    ],
)
def test_a_client_that_drips_is_hung_up_on(constant, begun):
    with test_server.running(f"channel.{constant}=0.5") as own:
        drip(own.raw(begun))
        assert own.ask("/")[0] == 200
        assert own.stderr() == ""


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first():
    with test_server.running("channel.HEADERS_S=0.5") as own:
        client = own.raw(GET + b"\r\n")
        assert status(client) == 200
        assert client.recv(100) == b"done"
        drip(client)


@pytest.mark.parametrize("headers", [b"\r\n", b"Connection: close\r\n\r\n"])
def test_a_client_that_does_not_take_its_answer_is_hung_up_on(headers):
    with test_server.running("channel.IDLE_S=0.5") as own:
        client = own.raw(GET.replace(b"/ ", b"/big?20000000 ") + headers)
        poll = select.poll()
        poll.register(client, select.POLLHUP | select.POLLERR)
        assert poll.poll(DEADLINE_S * 1000)


def test_a_connection_that_rests_ends():
    with test_server.running("channel.IDLE_S=0.5") as own:
        client = own.raw(GET + b"\r\n")
        assert status(client) == 200
        read_to_reset(client)


def test_an_application_that_thinks_has_the_time_it_takes():
    constants = [f"channel.{name}=0.2" for name in ("HEADERS_S", "BODY_S", "IDLE_S")]
    with test_server.running(*constants) as own:
        held = own.connection()
        held.request("GET", "/async")
        assert own.line() == "in async"
        kept = own.raw(GET + b"\r\n")
        read_to_reset(kept)  # by then a connection that rests has ended
        own.ask("/open")
        assert held.getresponse().status == 200


# --- how many


def test_an_address_is_one_however_the_listener_sees_it(monkeypatch):
    looks = []
    loop = SimpleNamespace(call_later=lambda _, look: looks.append(look), time=lambda: 0)
    monkeypatch.setattr(channel.asyncio, "get_running_loop", lambda: loop)
    crowd = channel.Crowd(Edge(connections_per_address=1))
    assert crowd.has_room(SimpleNamespace(host="::ffff:192.0.2.1"))
    for _ in range(3):  # one look is under way, whoever comes and goes
        visitor = Mock(address="192.0.2.1", due_at=None)
        crowd.enter(visitor)
        assert not crowd.has_room(SimpleNamespace(host="::ffff:192.0.2.1"))
        crowd.leave(visitor)
    assert len(looks) == 1
    looks.pop()()
    assert looks == []
    crowd.enter(visitor)
    assert len(looks) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_an_address_has_so_many_connections_at_once_and_websockets_are_others(web_socket, key):
    with running(EVENT_SERVICE_CONNECTIONS_PER_ADDRESS="2") as web, web.listen(web_socket, key):
        held = [http.client.HTTPConnection("127.0.0.1", web.port, timeout=DEADLINE_S) for _ in range(2)]
        for connection in held:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            answered(web, get("/healthz"))
        for connection in held:
            connection.close()
        wait_until(partial(lets_in, web), bool)
        with web.listen(web_socket, key):
            pass


def test_a_process_has_so_many_and_a_trusted_proxy_may_have_them_all():
    limits = {"EVENT_SERVICE_CONNECTIONS_PER_ADDRESS": "1", "EVENT_SERVICE_CONNECTIONS_PER_PROCESS": "3"}
    with running(EVENT_SERVICE_TRUSTED_PROXIES="127.0.0.0/8", **limits) as web:
        held = [socket.create_connection(("127.0.0.1", web.port), timeout=DEADLINE_S) for _ in range(3)]
        for client in held:
            client.sendall(get("/healthz"))
            assert status(client) == 200
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            answered(web, get("/healthz"))
        for client in held:
            client.close()


# --- production


def documented():
    """Return the settings that the docs name for production."""
    section = (ROOT / "docs/operations.md").read_text().partition("## In production")[2].partition("\n## ")[0]
    return dict(re.findall(r"^    ([A-Z_]+)=(\S+)", section, re.MULTILINE))


def manage(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        text=True,
        capture_output=True,
    )


def test_the_documented_settings_pass_djangos_checks_for_deployment():
    assert {"EVENT_SERVICE_HTTPS", "EVENT_SERVICE_TRUSTED_PROXIES", "ALLOWED_HOSTS", "SECRET_KEY"} <= set(documented())
    done = manage("check", "--deploy", "--fail-level", "WARNING", **documented())
    assert (done.returncode, done.stderr) == (0, "")


def test_without_them_djangos_checks_fail():
    assert manage("check", "--deploy", "--fail-level", "WARNING", SECRET_KEY="short").returncode == 1


def test_https_without_a_proxy_that_speaks_it_is_refused():
    assert "Name the proxy" in manage("check", EVENT_SERVICE_HTTPS="1").stderr


def test_in_production_plain_http_is_sent_to_https_and_the_editor_is_gone():
    with running(EVENT_SERVICE_HTTPS="1", EVENT_SERVICE_TRUSTED_PROXIES="127.0.0.1/32") as web:
        code, headers = answered(web, get("/admin/login/"))
        assert (code, headers["location"]) == (301, "https://localhost/admin/login/")
        code, headers = answered(web, get("/admin/login/", "X-Forwarded-Proto: https"))
        assert (code, headers["strict-transport-security"]) == (200, "max-age=31536000; includeSubDomains")
        assert "Secure" in headers["set-cookie"]
        assert answered(web, get("/healthz"))[0] == 200
        assert answered(web, get("/event-service/graphql", "X-Forwarded-Proto: https", "Accept: text/html"))[0] == 405
        assert answered(web, get("/event-service/static/", "X-Forwarded-Proto: https"))[0] == 404

"""Whom webhooks trust: certificates, and the installation's own proxy."""

import socket
import ssl
import threading
from contextlib import suppress

import pytest
from django.core.exceptions import ImproperlyConfigured

from routing.egress import Door, EgressError
from tests.certificates import DAY, Authority, TLSReceiver, tls_server
from tests.doors import refusal, resolver, send
from tests.receiver import Receiver

NAME = "hook.example"


@pytest.fixture
def authority(tmp_path, settings, receiver):
    """An authority that the door trusts, while webhooks may reach loopback."""
    authority = Authority(tmp_path)
    settings.EGRESS_CA = str(authority.pem)
    return authority


@pytest.fixture
def trusting(authority):
    door = Door()
    yield door
    door.close()


def at_name(monkeypatch, receiver):
    """Let `NAME` lead to `receiver`, and return its URL by that name."""
    resolver(monkeypatch, *[["127.0.0.1"]] * 9)
    return f"https://{NAME}:{receiver.port}/"


# --- certificates


def test_the_right_name_is_asked_for_and_trusted_though_an_address_is_dialled(monkeypatch, trusting, authority):
    names = []
    context = tls_server(authority.issue(NAME))
    context.sni_callback = lambda _, name, __: names.append(name)
    with TLSReceiver(context) as receiver:
        assert send(trusting, at_name(monkeypatch, receiver)).status_code == 200

        assert (names, receiver.requests[0].headers["host"]) == ([NAME], f"{NAME}:{receiver.port}")


def test_an_address_is_trusted_by_a_certificate_for_the_address(trusting, authority):
    with TLSReceiver(tls_server(authority.issue("127.0.0.1"))) as receiver:
        assert send(trusting, receiver.url).status_code == 200


@pytest.mark.parametrize("issued", [("other.example", DAY), ("127.0.0.1", DAY), (NAME, -DAY)], ids=str)
def test_a_certificate_for_another_name_or_another_time_is_refused(monkeypatch, trusting, authority, issued):
    name, valid_for = issued
    with TLSReceiver(tls_server(authority.issue(name, valid_for=valid_for))) as receiver:
        assert refusal(trusting, at_name(monkeypatch, receiver)) == "TLS_FAILED"

        assert receiver.requests == []


def test_an_authority_that_nobody_trusts_is_refused(monkeypatch, trusting, tmp_path):
    stranger = Authority(tmp_path, "Stranger")
    with TLSReceiver(tls_server(stranger.issue(NAME))) as receiver:
        assert refusal(trusting, at_name(monkeypatch, receiver)) == "TLS_FAILED"

        assert receiver.requests == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_makes_nobody_trusted(monkeypatch, trusting, tmp_path, variable):
    stranger = Authority(tmp_path, "Stranger")
    monkeypatch.setenv(variable, str(stranger.pem))
    door = Door()
    with TLSReceiver(tls_server(stranger.issue(NAME))) as receiver:
        assert refusal(door, at_name(monkeypatch, receiver)) == "TLS_FAILED"
    door.close()


def test_a_handshake_that_does_not_end_is_left_at_the_deadline(trusting):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(EgressError) as refused:
            send(trusting, f"https://127.0.0.1:{silent.getsockname()[1]}/", deadline_s=0.3)

        assert refused.value.code == "TIMEOUT"


def test_a_receiver_that_asks_for_a_certificate_is_shown_the_installations(trusting, authority, settings):
    context = tls_server(authority.issue("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.pem)
    with TLSReceiver(context) as receiver:
        assert refusal(trusting, receiver.url) in ("TLS_FAILED", "CONNECTION_LOST")

        settings.EGRESS_CLIENT_CERT = str(authority.issue("event-service.example"))
        door = Door()
        assert send(door, receiver.url).status_code == 200
        door.close()


def test_tls_connections_are_used_again(trusting, authority):
    with TLSReceiver(tls_server(authority.issue("127.0.0.1"))) as receiver:
        for _ in range(3):
            send(trusting, receiver.url)

        assert (len(receiver.requests), receiver.connections) == (3, 1)


@pytest.mark.parametrize("setting", ["EGRESS_CA", "EGRESS_CLIENT_CERT"])
def test_a_file_that_is_not_there_is_told_at_the_start(settings, tmp_path, setting):
    setattr(settings, setting, str(tmp_path / "absent.pem"))

    with pytest.raises(ImproperlyConfigured, match=f"EVENT_SERVICE_{setting}"):
        Door()


# --- a proxy


class Proxy:
    """Answers CONNECT with `answer`, and connects to `receiver` whatever address it was asked for."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.asked: list[str] = []
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://us:secret@127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.receiver.port)) as there:
            self.asked.append(client.recv(4096).decode())
            client.sendall(self.answer)
            backward = threading.Thread(target=_copy, args=[there, client])
            backward.start()
            _copy(client, there)
            backward.join()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(receiver, settings):
    settings.EGRESS_ALLOW = []  # the proxy is the installation's own: nobody judges it
    proxy = Proxy(receiver)
    settings.EGRESS_PROXY = proxy.url
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(proxy):
    door = Door()
    yield door
    door.close()


def test_a_proxy_is_given_the_judged_address_and_the_receiver_its_name(monkeypatch, proxied, proxy, receiver):
    resolver(monkeypatch, ["93.184.216.34"])

    assert send(proxied, "http://hook.example/path").status_code == 200

    assert proxy.asked == [
        "CONNECT 93.184.216.34:80 HTTP/1.1\r\nHost: 93.184.216.34:80\r\nProxy-Authorization: Basic dXM6c2VjcmV0\r\n\r\n"
    ]
    (request,) = receiver.requests
    assert (request.path, request.headers["host"], request.headers["proxy-authorization"]) == (
        "/path",
        "hook.example",
        None,
    )


def test_through_a_proxy_the_certificate_is_the_receivers(monkeypatch, tmp_path, settings, proxy):
    authority = Authority(tmp_path)
    settings.EGRESS_CA = str(authority.pem)
    resolver(monkeypatch, ["93.184.216.34"], ["93.184.216.34"])
    door = Door()
    with TLSReceiver(tls_server(authority.issue(NAME))) as proxy.receiver:
        assert send(door, f"https://{NAME}/").status_code == 200
        assert refusal(door, "https://other.example/") == "TLS_FAILED"
    door.close()


def test_a_proxy_hears_nothing_of_an_address_that_is_refused(proxied, proxy):
    assert refusal(proxied, "http://10.0.0.5/") == "ADDRESS_REFUSED"
    assert proxy.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nspoken out of turn",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 20_000,
    ],
    ids=["refused", "more than an answer", "no HTTP", "endless"],
)
def test_a_proxy_that_does_not_connect_is_a_failure(proxied, proxy, receiver, answer):
    proxy.answer = answer

    assert refusal(proxied, "http://93.184.216.34/") == "PROXY_FAILED"
    assert receiver.requests == []


def test_a_silent_proxy_is_left_at_the_deadline(proxied, proxy):
    proxy.answer = b""

    with pytest.raises(EgressError) as refused:
        send(proxied, "http://93.184.216.34/", deadline_s=0.3)

    assert refused.value.code == "TIMEOUT"


@pytest.mark.parametrize("url", ["proxy:3128", "https://proxy:3128", "http://proxy"])
def test_a_proxy_that_can_not_be_used_is_told_at_the_start(settings, url):
    settings.EGRESS_PROXY = url

    with pytest.raises(ImproperlyConfigured, match="http://HOST:PORT"):
        Door()

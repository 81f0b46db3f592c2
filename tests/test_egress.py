"""The door to the outside: which addresses may be dialled, and one bounded exchange with what answers there."""

import gzip
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from ipaddress import ip_network
from types import SimpleNamespace
from uuid import UUID

import psutil
import pytest

from routing.egress import BODY_LIMIT, EgressError, addresses, connections, dialling, judge
from routing.egress.addresses import refusal as refusal_of
from routing.egress.targets import target_of
from tests.doors import WORKSPACE, refusal, resolver, send
from tests.receiver import Receiver, answer

DENIED = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "::/3",
    "4000::/2",
    "8000::/1",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
]
DENIED_BY_NAME = [
    "169.254.169.254",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.5",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "64:ff9c::1",
    "2001::1",
    "2002:7f00:1::",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]
ALLOWED = [
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2000::1",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe:ffff::1",
    "3fff:1000::1",
]
# 127.0.0.1 in the spellings of the outside world; the port is that of a receiver that must not hear of it.
LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "127.0.0.1.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]


@pytest.fixture
def nothing_allowed(settings):
    settings.EGRESS_ALLOW = []
    judge.cache_clear()
    addresses._own_addresses.cache_clear()
    yield
    judge.cache_clear()
    addresses._own_addresses.cache_clear()


@pytest.fixture
def internal(nothing_allowed):
    """A receiver on an address that webhooks may not reach."""
    with Receiver() as receiver:
        yield receiver


# --- which addresses


@pytest.mark.parametrize("network", DENIED)
def test_a_denied_network_is_denied_from_its_first_address_to_its_last(nothing_allowed, network):
    addresses = ip_network(network)

    assert [judge(str(addresses[0])), judge(str(addresses[-1]))] == [False, False]


@pytest.mark.parametrize("address", DENIED_BY_NAME)
def test_an_address_that_is_internal_in_disguise_is_denied(nothing_allowed, address):
    assert judge(address) is False


@pytest.mark.parametrize("address", ALLOWED)
def test_the_other_side_of_each_boundary_is_allowed(nothing_allowed, address):
    assert judge(address) is True


def test_what_the_operator_allows_is_allowed_and_nothing_beside_it(settings, nothing_allowed):
    settings.EGRESS_ALLOW = [ip_network("10.1.0.0/16"), ip_network("fd00::/64")]

    judged = {
        address: judge(address)
        for address in (
            "10.1.0.0",
            "10.1.255.255",
            "::ffff:10.1.2.3",
            "fd00::1",
            "10.0.255.255",
            "10.2.0.0",
            "fd00:1::",
        )
    }

    assert judged == {
        "10.1.0.0": True,
        "10.1.255.255": True,
        "::ffff:10.1.2.3": True,
        "fd00::1": True,
        "10.0.255.255": False,
        "10.2.0.0": False,
        "fd00:1::": False,
    }


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_not_dialled_however_it_is_spelled(door, internal, host):
    assert refusal(door, f"http://{host}:{internal.port}/") in ("ADDRESS_REFUSED", "DNS_FAILED")
    assert internal.connections == 0


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.0.0.5", "192.168.0.1", "[fd00:ec2::254]", "[64:ff9b::7f00:1]"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_internal_address_is_refused_before_it_is_dialled(door, nothing_allowed, scheme, address):
    assert refusal(door, f"{scheme}://{address}/") == "ADDRESS_REFUSED"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@example.com/",
        "http://127.0.0.1:{port}#@example.com/",
        "http://127.0.0.1:{port}?@example.com/",
    ],
)
def test_the_host_that_is_judged_is_the_host_that_is_dialled(door, internal, url):
    assert refusal(door, url.format(port=internal.port)) in ("ADDRESS_REFUSED", "DNS_FAILED", "BAD_URL")
    assert internal.connections == 0


@pytest.mark.parametrize("addresses", [["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"]])
def test_a_name_with_one_internal_record_is_refused_whatever_the_order(
    monkeypatch, settings, door, internal, addresses
):
    settings.EGRESS_PORTS = [internal.port]
    resolver(monkeypatch, addresses)

    assert refusal(door, f"http://both.example:{internal.port}/") == "ADDRESS_REFUSED"
    assert internal.connections == 0


def test_a_name_that_turns_internal_is_asked_once_and_not_dialled(monkeypatch, door, receiver, settings):
    settings.EGRESS_ALLOW = [ip_network("127.0.0.1/32")]
    asked = resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])

    send(door, f"http://turning.example:{receiver.port}/")

    assert (asked, len(receiver.requests)) == (["turning.example"], 1)


def test_a_name_with_a_hundred_records_is_refused_for_the_one_that_is_internal(monkeypatch, door, nothing_allowed):
    resolver(monkeypatch, [f"93.184.216.{n}" for n in range(99)] + ["10.0.0.5"])

    assert refusal(door, "http://many.example/") == "ADDRESS_REFUSED"


def test_a_connection_that_leads_elsewhere_than_it_was_dialled_is_refused(settings, door, internal):
    settings.EGRESS_ALLOW = [ip_network("0.0.0.0/32")]  # which leads to 127.0.0.1

    assert refusal(door, f"http://0.0.0.0:{internal.port}/") == "ADDRESS_REFUSED"
    assert internal.requests == []


def test_an_address_of_this_host_is_refused_unless_it_is_allowed(monkeypatch, settings, nothing_allowed):
    def interfaces():
        return {"lo": [address("93.184.216.1")], "eth0": [address("93.184.216.2"), address("2606:4700::2%eth0")]}

    def address(text):
        return SimpleNamespace(family=socket.AF_INET6 if ":" in text else socket.AF_INET, address=text)

    monkeypatch.setattr(psutil, "net_if_addrs", interfaces)
    monkeypatch.setattr(
        psutil,
        "net_if_stats",
        lambda: {"lo": SimpleNamespace(flags="up,loopback"), "eth0": SimpleNamespace(flags="up")},
    )
    asked = ["93.184.216.1", "93.184.216.2", "::ffff:93.184.216.2", "2606:4700::2", "93.184.216.3"]

    refused = "ADDRESS_REFUSED"
    assert [refusal_of(address, 443) for address in asked] == ["", refused, refused, refused, ""]

    settings.EGRESS_ALLOW = [ip_network("93.184.216.2/32")]
    assert refusal_of("93.184.216.2", 443) == ""


@pytest.mark.parametrize("host", ["93.184.216.7", "other.example,database.example"])
def test_the_address_of_the_database_is_refused(monkeypatch, settings, nothing_allowed, host):
    monkeypatch.setitem(settings.DATABASES, "default", settings.DATABASES["default"] | {"HOST": host})
    resolver(monkeypatch, ["93.184.216.6"], ["93.184.216.7"])

    assert refusal_of("93.184.216.7", 443) == "ADDRESS_REFUSED"


def test_ports_are_listed_but_for_networks_that_are_allowed(settings, nothing_allowed):
    settings.EGRESS_ALLOW = [ip_network("10.1.0.0/16")]
    ports = [80, 443, 8080, 8443, 22, 25, 5432, 6379, 11211]

    assert [port for port in ports if refusal_of("93.184.216.34", port) == ""] == [80, 443, 8080, 8443]
    assert [port for port in ports if refusal_of("10.1.0.5", port) == ""] == ports
    assert {refusal_of("93.184.216.34", port) for port in ports} == {"", "PORT_REFUSED"}


def test_the_tenant_can_not_tell_what_is_blocked_from_what_is_not_there(monkeypatch, settings, door, nothing_allowed):
    settings.EGRESS_ALLOW = [ip_network("127.0.0.2/32")]
    settings.EGRESS_PORTS = [80]
    with socket.create_server(("127.0.0.2", 0)) as gone:
        closed = gone.getsockname()[1]
    resolver(monkeypatch, ["127.0.0.2"], ["10.0.0.5"], [], ["93.184.216.34"])

    told = []
    for port in (closed, 80, 80, 81):
        with pytest.raises(EgressError) as failed:
            send(door, f"http://x.example:{port}/")
        told.append((failed.value.code, failed.value.public, failed.value.cause))

    assert [code for code, _, _ in told] == ["CONNECT_FAILED", "ADDRESS_REFUSED", "DNS_FAILED", "PORT_REFUSED"]
    assert len({public for _, public, _ in told}) == 1
    assert [code in cause for code, _, cause in told] == [True] * 4  # for operators


# --- URLs


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\.internal/",
        "http://example.com/a b",
        "http://example.com/\r\nX: 1",
        "http://example.com/\0",
        "http://example.com:0x50/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://[fe80::1%25lo]/",
        "http://[fe80::1%lo]/",
        "http://[::1/",
        "http://*.example.com/",
        "http://a%2fexample/",
        "http://①②⑦.0.0.1/",
        "http://exa\u200bmple.com\u2028/",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(monkeypatch, door, url):
    asked = resolver(monkeypatch)

    assert refusal(door, url) == "BAD_URL"
    assert asked == []


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", ("http", "example.com", 80, "/", "example.com")),
        ("HTTPS://EXAMPLE.com:8443/a?b=c#d", ("https", "example.com", 8443, "/a?b=c", "example.com:8443")),
        ("http://example.com?x", ("http", "example.com", 80, "/?x", "example.com")),
        (
            "https://bücher.example/ü?ü",
            ("https", "xn--bcher-kva.example", 443, "/%C3%BC?%C3%BC", "xn--bcher-kva.example"),
        ),
        ("http://[2606:4700::1]/", ("http", "2606:4700::1", 80, "/", "[2606:4700::1]")),
        ("http://example.com./", ("http", "example.com.", 80, "/", "example.com")),
        ("http://a_b.example/%2F%20", ("http", "a_b.example", 80, "/%2F%20", "a_b.example")),
    ],
)
def test_a_url_is_taken_apart(url, target):
    assert target_of(url) == target


# --- what the environment must not change


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_used(monkeypatch, door, receiver, variable):
    with Receiver() as proxy:
        monkeypatch.setenv(variable, proxy.url)

        send(door, f"{receiver.url}/direct")

        assert ([request.path for request in receiver.requests], proxy.connections) == (["/direct"], 0)


def test_a_netrc_of_the_environment_is_not_used(monkeypatch, tmp_path, door, receiver):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login us password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    send(door, receiver.url)

    assert "authorization" not in receiver.requests[0].headers


def test_a_cookie_is_never_sent_back(door, receiver):
    receiver.answer = answer(200, b"", "Set-Cookie: session=1; Path=/")

    send(door, receiver.url)
    send(door, receiver.url)

    assert [request.headers["cookie"] for request in receiver.requests] == [None, None]


def test_the_certificate_is_checked_against_the_systems_authorities_alone(monkeypatch, tmp_path, door, receiver):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))

    assert refusal(door, receiver.url.replace("http", "https")) == "TLS_FAILED"


# --- what is read of an answer


@pytest.mark.parametrize("size", [0, 1, BODY_LIMIT])
def test_a_body_up_to_16_kib_is_read_whole(door, receiver, size):
    receiver.answer = answer(200, b"x" * size)

    assert send(door, receiver.url).body == b"x" * size


@pytest.mark.parametrize(
    "head",
    ["Content-Length: 10000000000", "Transfer-Encoding: chunked", "Connection: close"],
    ids=lambda head: head[:14],
)
def test_of_an_endless_body_16_kib_are_read_and_the_connection_is_closed(door, receiver, head):
    hung_up = threading.Event()

    def endless(connection):
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n" if "chunked" in head else b"x" * 0x1000
        with suppress(ConnectionError):
            while True:
                connection.sendall(chunk)
        hung_up.set()

    receiver.answer = endless

    answered = send(door, receiver.url)

    assert (answered.status_code, answered.body) == (200, b"x" * BODY_LIMIT)
    assert hung_up.wait(5)


@pytest.mark.parametrize(
    "encoding",
    [
        *("gzip", "deflate", "br", "zstd", "gzip, gzip"),
        pytest.param(
            ", ".join(["gzip"] * 50),
            id="50 times",
        ),
    ],
)
def test_an_encoded_body_is_kept_as_it_came(door, receiver, encoding):
    bomb = gzip.compress(b"\0" * 2_000_000, 1)
    receiver.answer = answer(200, bomb, f"Content-Encoding: {encoding}")

    assert send(door, receiver.url).body == bomb[:BODY_LIMIT]


def test_a_chunked_answer_is_read_without_its_framing(door, receiver):
    receiver.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n"

    assert send(door, receiver.url).body == b"abcde"


# --- which connections are used again

CLEAN = {
    "a body": (answer(200, b"x" * BODY_LIMIT), "POST"),
    "no body": (answer(200), "POST"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "POST"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "POST"),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "GET"),
    "an error": (answer(500, b"why"), "POST"),
}
UNCLEAN = {
    "more than is read": answer(200, b"x" * 2 * BODY_LIMIT),
    "connection: close": answer(200, b"", "Connection: close"),
    "an early hint": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "garbage": b"garbage\r\n\r\n",
    "two ways to tell the end": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "headers that are none": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno header\r\n\r\n",
}


@pytest.mark.parametrize(("clean", "method"), CLEAN.values(), ids=CLEAN)
def test_a_connection_is_used_again_after_a_clean_and_complete_answer(door, receiver, clean, method):
    receiver.answer = clean

    for _ in range(3):
        send(door, receiver.url, method=method)

    assert (len(receiver.requests), receiver.connections) == (3, 1)


@pytest.mark.parametrize("unclean", UNCLEAN.values(), ids=UNCLEAN)
def test_a_connection_is_not_used_again_after_any_other_answer(door, receiver, unclean):
    receiver.answer = unclean
    with suppress(EgressError):  # some of these answers are refused, others are cut
        send(door, receiver.url)
    receiver.answer = answer(202)

    assert send(door, receiver.url).status_code == 202
    assert receiver.connections == 2


HEADS = {
    "in one piece": b"Content-Length: 2\r\nX-One:1\r\nX-Two:\t two \r\n",
    "plain": b"Content-Length: 2\r\nX-One:1\r\nx-one:  two\t\r\n",
    "empty": b"",
    "folded": b"X: one\r\n two\r\nContent-Length: 2\r\n",
    "a bare return": b"X: one\rContent-Length: 2\r\n",
    "no colon": b"X: one\r\nno field\r\nY: two\r\n",
    "a space before the colon": b"Content-Length : 2\r\n",
    "latin": "X: \xe9\r\n".encode("latin-1"),
    "lines that end short": b"X: one\nContent-Length: 2\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_headers_are_read_as_by_the_standard_library(door, receiver, head):
    receiver.answer = lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nok")

    headers = send(door, receiver.url).headers

    known = http.client.parse_headers(BytesIO(head + b"\r\n")).items()
    assert headers == {name.lower(): value.strip() for name, value in known}


@pytest.mark.parametrize("length", ["-1", "+2", "2_0", "\xb2", "0x2", "9" * 19])
def test_a_length_that_is_no_length_is_none(door, receiver, length):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode("latin-1")
    receiver.answer = lambda connection: connection.sendall(head + b"ok")

    assert send(door, receiver.url).body == b"ok"


@pytest.mark.parametrize("value", ["a\r\nwebhook-id: b", "a\nb", "a\rb", "a\0b"])
def test_a_header_that_would_be_two_is_not_sent(door, receiver, value):
    with pytest.raises(EgressError) as refused:
        door.send("POST", receiver.url, {"x-a": value}, b"", workspace_id=WORKSPACE, deadline_s=5)

    assert (refused.value.code, receiver.requests) == ("BAD_HEADER", [])


def test_a_request_goes_out_in_one_piece(door, receiver, monkeypatch):
    pieces, send_all = [], socket.socket.sendall
    monkeypatch.setattr(socket.socket, "sendall", lambda self, piece: pieces.append(piece) or send_all(self, piece))

    send(door, receiver.url, body=b'{"a": 1}')

    assert [piece[-8:] for piece in pieces if piece.startswith(b"POST")] == [b'{"a": 1}']


@pytest.mark.parametrize("rest", [answer(500), b"HTTP/1.1 50"], ids=["an answer", "half a line"])
def test_what_follows_an_answer_is_not_taken_for_the_next_one(door, receiver, rest):
    receiver.answer = answer(200) + rest
    send(door, receiver.url)
    receiver.answer = answer(202)

    assert send(door, receiver.url).status_code == 202
    assert receiver.connections == 2


def test_a_connection_whose_answer_goes_on_is_not_used_again(door, receiver):
    over = threading.Event()
    receiver.answer = lambda connection: (
        connection.sendall(answer(200, b"x" * BODY_LIMIT + b"rest")[:-4]),
        over.wait(5),
    )
    send(door, receiver.url)
    receiver.answer = answer(202)

    assert send(door, receiver.url).status_code == 202
    assert receiver.connections == 2
    over.set()


def test_what_comes_while_nobody_asks_is_not_taken_for_the_next_answer(door, receiver):
    asked, came = threading.Event(), threading.Event()
    receiver.answer = lambda connection: (
        connection.sendall(answer(200)),
        asked.wait(5),
        connection.sendall(answer(500)),
        came.set(),
    )
    send(door, receiver.url)
    asked.set()
    assert came.wait(5)
    receiver.answer = answer(202)

    assert send(door, receiver.url).status_code == 202


def test_a_connection_that_the_receiver_closed_meanwhile_is_replaced(door, receiver):
    closed = threading.Event()
    receiver.answer = lambda connection: (
        connection.sendall(answer(200)),
        connection.shutdown(socket.SHUT_RDWR),
        closed.set(),
    )

    send(door, receiver.url)
    assert closed.wait(5)
    send(door, receiver.url)

    assert (len(receiver.requests), receiver.connections) == (2, 2)


def test_two_receivers_on_one_host_share_no_connection(door, receiver):
    with Receiver() as other:
        for url in (receiver.url, other.url, receiver.url):
            send(door, url)

        assert (len(receiver.requests), len(other.requests)) == (2, 1)


def test_two_workspaces_share_no_connection(door, receiver):
    for workspace in (WORKSPACE, UUID(int=2), WORKSPACE, UUID(int=2)):
        send(door, receiver.url, workspace_id=workspace)

    first, second, third, fourth = [request.connection for request in receiver.requests]
    assert (first, second) == (third, fourth)
    assert first != second


def test_threads_share_a_door_and_each_gets_its_own_answer(door, receiver):
    with ThreadPoolExecutor(8) as threads:
        bodies = [f"{n}".encode() for n in range(200)]
        answers = list(threads.map(lambda body: send(door, receiver.url, body=body).status_code, bodies))

    assert answers == [200] * 200
    assert sorted(request.body for request in receiver.requests) == sorted(bodies)


def test_an_idle_connection_is_closed_after_a_while(monkeypatch, door, receiver):
    send(door, receiver.url)
    monkeypatch.setattr(connections, "KEPT_FOR_S", 0)
    with Receiver() as other:
        send(door, other.url)

    send(door, receiver.url)

    assert receiver.connections == 2


def test_no_more_connections_are_kept_than_a_process_can_afford(monkeypatch, door, receiver):
    monkeypatch.setattr(connections, "KEPT", 2)
    for n in (1, 2, 3, 3, 2, 1):
        send(door, receiver.url, workspace_id=UUID(int=n))

    assert receiver.connections == 4


def test_a_connection_that_is_over_takes_no_other_ones_place(monkeypatch, door, receiver):
    monkeypatch.setattr(connections, "KEPT", 1)
    with Receiver() as closing:
        closing.answer = answer(200, b"", "Connection: close")
        for url in (receiver.url, closing.url, receiver.url):
            send(door, url)

    assert receiver.connections == 1


def test_a_deadline_that_comes_after_the_answer_does_not_cut_who_has_the_connection_next(monkeypatch, door, receiver):
    give = door.pool.give

    def cut_and_give(*args):
        for attempt in list(door.watchdog._attempts):
            attempt.cut()
        give(*args)

    monkeypatch.setattr(door.pool, "give", cut_and_give)
    for _ in range(2):
        send(door, receiver.url)

    assert receiver.connections == 1


# --- deadlines


def test_a_name_server_that_does_not_answer_is_left_at_the_deadline(monkeypatch, door):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])

    with pytest.raises(EgressError) as failed:
        send(door, "http://slow.example/", deadline_s=0.2)
    answered.set()

    assert failed.value.code == "TIMEOUT"


@pytest.mark.parametrize(("limit_s", "deadline_s", "code"), [(5, 0.2, "TIMEOUT"), (0.2, 5, "CONNECT_FAILED")])
def test_an_address_that_does_not_answer_is_left_at_the_connect_limit_or_the_deadline(
    monkeypatch, door, receiver, limit_s, deadline_s, code
):
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_S", limit_s)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())  # the backlog is full: further SYNs are dropped
        started = time.monotonic()
        with pytest.raises(EgressError) as failed:
            send(door, f"http://127.0.0.1:{full.getsockname()[1]}/", deadline_s=deadline_s)

    assert failed.value.code == code
    assert time.monotonic() - started < 0.2 + 0.5


def test_the_addresses_of_a_name_share_the_time(monkeypatch, door, receiver):
    with socket.create_server(("127.0.0.2", receiver.port), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())
        resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])

        assert send(door, f"http://both.example:{receiver.port}/", deadline_s=0.4).status_code == 200

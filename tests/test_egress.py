"""The door to the outside: which addresses may be dialled, and one bounded exchange with what answers there."""

import gzip
import socket
import threading
from contextlib import suppress
from ipaddress import ip_network
from uuid import UUID

import pytest

from routing.egress import BODY_LIMIT, EgressError, judge
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
WORKSPACE = UUID(int=1)
DEADLINE_S = 5
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
    yield
    judge.cache_clear()


@pytest.fixture
def internal(nothing_allowed):
    """A receiver on an address that webhooks may not reach."""
    with Receiver() as receiver:
        yield receiver


def send(door, url, method="POST", headers=None, body=b"{}"):
    return door.send(
        method, url, headers or {"Content-Length": str(len(body))}, body, workspace_id=WORKSPACE, deadline_s=DEADLINE_S
    )


def refusal(door, url):
    with pytest.raises(EgressError) as refused:
        send(door, url)
    return refused.value.code


def resolver(monkeypatch, *answers):
    """Answer questions for .example with `answers`, one after the other, and return what was asked."""
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if not host.endswith(".example"):
            return real(host, port, *args, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answers[len(asked) - 1]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


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


def test_what_follows_an_answer_is_not_taken_for_the_next_one(door, receiver):
    receiver.answer = answer(200) + answer(500)
    send(door, receiver.url)
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

"""Receivers that mean harm: each attempt ends in time, in one class of outcome, and leaves nothing behind."""

import gzip
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import suppress

import pytest

from routing.egress import BODY_LIMIT, EgressError
from tests.doors import send
from tests.receiver import answer

DEADLINE_S = 0.4
HONEST_S = 5
MARGIN_S = 0.5
MEMORY_LIMIT = 1024 * 1024  # of one exchange; a gzip bomb inflated would take 400 times that


def spoken(raw):
    """Say `raw` and hang up."""
    return lambda connection: (connection.sendall(raw), connection.shutdown(socket.SHUT_RDWR))


def dripping(head, drop=b"x"):
    """Say `head`, and then `drop` every 20 ms for as long as anybody listens."""

    def drip(connection):
        connection.sendall(head)
        connection.settimeout(0.02)
        with suppress(ConnectionError):
            while True:
                connection.sendall(drop)
                with suppress(TimeoutError):
                    if not connection.recv(1):
                        return

    return drip


def endless(head, piece):
    """Say `head`, and then `piece` as fast as it is taken."""

    def speak(connection):
        connection.sendall(head)
        with suppress(ConnectionError):
            while True:
                connection.sendall(piece)

    return speak


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# What is recorded: a status, or a class of error.
HOSTILE = {
    "a status that drips": (dripping(b"HTTP/1.1 200 "), "TIMEOUT"),
    "headers that drip": (dripping(b"HTTP/1.1 200 OK\r\nX: "), "TIMEOUT"),
    "header lines that drip": (dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "TIMEOUT"),
    "100 Continue that drips": (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "TIMEOUT"),
    "silence": (lambda connection: connection.recv(1), "TIMEOUT"),
    "a body that drips": (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), 200),
    "a body without end that drips": (dripping(b"HTTP/1.1 500 Oh\r\n\r\n"), 500),
    "chunks that drip": (dripping(CHUNKED, b"1\r\nx\r\n"), 200),
    "a chunk's extension that drips": (dripping(CHUNKED + b"1;"), 200),
    "trailers that drip": (dripping(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n"), 200),
    "100 Continue without end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "HEADERS_TOO_LARGE"),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100), "HEADERS_TOO_LARGE"),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000), "HEADERS_TOO_LARGE"),
    "a body without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000), 200),
    "10 GB": (endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 10_000), 200),
    "chunks without end": (endless(CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n"), 200),
    "a chunk's extension without end": (endless(CHUNKED + b"1;", b"x" * 10_000), 200),
    "trailers without end": (endless(CHUNKED + b"0\r\n", b"X: y\r\n" * 100), 200),
    "a gzip bomb": (spoken(answer(200, gzip.compress(b"\0" * 50_000_000, 1), "Content-Encoding: gzip")), 200),
    "50 encodings": (spoken(answer(200, b"x", "Content-Encoding: " + ", ".join(["gzip"] * 50))), 200),
    "another encoding than it says": (spoken(answer(200, b"no zstd", "Content-Encoding: zstd")), 200),
    "a reset": (reset, "CONNECTION_LOST"),
    "nothing": (spoken(b""), "CONNECTION_LOST"),
    "half a status line": (spoken(b"HTTP/1.1 20"), "CONNECTION_LOST"),
    "a status line alone": (spoken(b"HTTP/1.1 200 OK\r\n"), "CONNECTION_LOST"),
    "half a header": (spoken(b"HTTP/1.1 200 OK\r\nX: "), "CONNECTION_LOST"),
    "a body cut short": (spoken(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), 200),
    "a chunk cut short": (spoken(CHUNKED + b"5\r\nab"), 200),
    "a chunk of no length": (spoken(CHUNKED + b"x\r\nab\r\n"), 200),
    "a chunk of negative length": (spoken(CHUNKED + b"-5\r\nab\r\n"), 200),
    "a chunk beyond all lengths": (spoken(CHUNKED + b"f" * 10_000 + b"\r\nab\r\n"), 200),
    "two lengths": (spoken(answer(200, b"xy", "Content-Length: 1")), "AMBIGUOUS_LENGTH"),
    "one length twice": (spoken(answer(200, b"xy", "Content-Length: 2")), "AMBIGUOUS_LENGTH"),
    "a length that is no number": (spoken(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 200),
    "a length beyond all numbers": (spoken(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"), 200),
    "500 headers": (spoken(answer(200, b"", *[f"X-{n}: {n}" for n in range(500)])), "HEADERS_TOO_LARGE"),
    "a header of 70 kB": (spoken(answer(200, b"", "X: " + "x" * 70_000)), "HEADERS_TOO_LARGE"),
    "90 headers of 60 kB": (spoken(answer(200, b"", *["X: " + "x" * 60_000] * 90)), "HEADERS_TOO_LARGE"),
    "garbage": (spoken(bytes(range(256)) * 100), "NOT_HTTP"),
    "lines of garbage": (spoken(b"\n" * 10_000), "NOT_HTTP"),
    "HTTP/0.9": (spoken(b"<html>hello</html>"), "NOT_HTTP"),
    "HTTP/2": (spoken(b"HTTP/2.0 200 OK\r\n\r\n"), "NOT_HTTP"),
    "status 099": (spoken(b"HTTP/1.1 099 Low\r\n\r\n"), "BAD_STATUS"),
    "status 600": (spoken(answer(600)), "BAD_STATUS"),
    "status 999": (spoken(answer(999)), "BAD_STATUS"),
    "a status of 5000 digits": (spoken(b"HTTP/1.1 " + b"2" * 5000 + b" High\r\n\r\n"), "BAD_STATUS"),
    "101": (spoken(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "INFORMATIONAL_STATUS"),
    "102 and 200": (spoken(b"HTTP/1.1 102 Processing\r\n\r\n" + answer(200)), "INFORMATIONAL_STATUS"),
    "103 and 200": (spoken(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(200)), "INFORMATIONAL_STATUS"),
    "headers that are none": (spoken(b"HTTP/1.1 200 OK\r\nno header at all\r\n: x\r\n\xff\0\r\n\r\n"), 200),
    "a NUL and terminal escapes": (spoken(answer(200, b"\0\x1b[2J", "X: \0\x1b[2J\xff")), 200),
}


@pytest.fixture
def attempt(door, receiver):
    """Send one request. Returns the status, or the class of the error; nothing else may come of it."""

    def once(answer, deadline_s=DEADLINE_S):
        receiver.answer = answer
        try:
            return send(door, receiver.url, deadline_s=deadline_s).status_code
        except EgressError as error:
            return error.code

    return once


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(("hostile", "outcome"), HOSTILE.values(), ids=HOSTILE)
def test_an_attempt_ends_in_time_in_its_class_and_takes_little_memory(attempt, traced, hostile, outcome):
    started = time.monotonic()

    assert attempt(hostile) == outcome

    assert time.monotonic() - started < DEADLINE_S + MARGIN_S
    assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT


@pytest.mark.parametrize("hostile", [hostile for hostile, _ in HOSTILE.values()], ids=HOSTILE)
def test_the_next_attempt_gets_its_own_answer(attempt, hostile):
    attempt(hostile)

    assert attempt(answer(202), HONEST_S) == 202


def test_a_kept_connection_is_left_at_the_deadline_too(attempt, receiver):
    attempt(answer(200), HONEST_S)
    started = time.monotonic()

    assert attempt(dripping(b"HTTP/1.1 200 OK\r\nX: ")) == "TIMEOUT"

    assert time.monotonic() - started < DEADLINE_S + MARGIN_S
    assert receiver.connections == 1


def test_what_was_read_of_a_body_until_the_deadline_is_kept(door, receiver):
    receiver.answer = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nbegin")

    assert send(door, receiver.url, deadline_s=DEADLINE_S).body.startswith(b"begin")


@pytest.mark.parametrize("first", [b"HTTP/1.1 103 Early Hints\r\n\r\n", answer(200), answer(200, b"x" * 20_000)])
def test_a_late_second_answer_is_nobodys(attempt, first):
    """100 times: one that stays on the connection would be taken for the next request's."""
    hostile = [attempt(first + answer(500), HONEST_S) for _ in range(100)]
    honest = [attempt(answer(202), HONEST_S) for _ in range(100)]

    assert len(set(hostile)) == 1
    assert hostile[0] in ("INFORMATIONAL_STATUS", 200)
    assert honest == [202] * 100


def test_a_connection_that_breaks_before_an_answer_is_replaced_once(attempt, receiver):
    attempt(answer(200), HONEST_S)

    assert attempt(reset, HONEST_S) == "CONNECTION_LOST"
    assert (len(receiver.requests), receiver.connections) == (3, 2)


def test_an_answer_that_comes_before_the_request_is_read_counts(door, receiver):
    def refuse(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            connection.sendall(answer(413))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=[listener]).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        assert send(door, url, body=b"x" * 20_000_000).status_code == 413


def test_no_thread_and_no_connection_is_left_behind(attempt):
    released = threading.Event()
    before = threading.active_count()

    assert attempt(lambda connection: (connection.recv(1), released.set())) == "TIMEOUT"

    assert released.wait(5)
    assert threading.active_count() <= before + 1  # the receiver's own


def test_16_kib_of_a_large_answer_are_kept(door, receiver):
    receiver.answer = endless(CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n")

    assert send(door, receiver.url).body == b"x" * BODY_LIMIT

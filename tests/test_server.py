"""The web server: real processes on loopback, and clients that share no code with them."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from event_service.server import request, server, websocket

DEADLINE_S = 20  # for every step that waits; a test that comes here fails
MAX = request.MAX_BODY
CLOSE, PING = 8, 9  # opcodes


class Running:
    """A server process and its clients; killed at a deadline, so that no read waits for longer."""

    def __init__(self, errors, *constants):
        self.clients = ExitStack()
        self.errors = errors
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            ready, writable = os.pipe()
            fds = [listener.fileno(), writable]
            options = ["--listener", str(fds[0]), "--ready", str(fds[1]), *constants]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.server_app", *options],
                stdout=subprocess.PIPE,
                stderr=self.errors,
                pass_fds=fds,
                text=True,
            )
        os.close(writable)
        self.watchdog = threading.Timer(2 * DEADLINE_S, self.process.kill)
        self.watchdog.start()
        with open(ready, "rb") as pipe:
            assert pipe.read(1) == b".", self.stderr()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        return self.clients.enter_context(closing(connection))

    def ask(self, path, *, connection=None, method="GET", **request):
        """Return (status, body, what the header Connection says)."""
        connection = connection or self.connection()
        connection.request(method, path, **request)
        return answer_on(connection)

    def websocket(self, path="/echo", **options):
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    def raw(self, data=b""):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        self.clients.enter_context(client)
        client.sendall(data)
        return client

    def raw_websocket(self, path):
        """Return a websocket that answers nothing by itself."""
        client = self.raw(upgrade(path))
        assert status(client) == 101
        return client

    def stop(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()
        self.clients.close()


@contextmanager
def running(*constants):
    with tempfile.TemporaryFile() as errors:
        found = Running(errors, *constants)
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture
def own():
    """A server that the test may stop."""
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def shared():
    with running() as found:
        yield found


@pytest.fixture
def background():
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def answer_on(connection):
    with connection.getresponse() as response:
        return response.status, response.read(), response.getheader("connection")


def closed(websocket):
    """Return the close code and reason that a websocket gets next."""
    with pytest.raises(ConnectionClosed) as error:
        websocket.recv(timeout=DEADLINE_S)
    return error.value.rcvd.code, error.value.rcvd.reason


def drain(running):
    """Send SIGTERM; return the close code of a websocket, and so when the server acts on it."""
    with running.websocket() as websocket:
        running.process.send_signal(signal.SIGTERM)
        return closed(websocket)[0]


def upgrade(path):
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def status(client):
    """Read the head of a response; return its status."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1) or pytest.fail(f"the end came after {head!r}")
    return int(head.split()[1])


def frames(client):
    """Yield (opcode, payload) up to a close frame or the end."""
    with client.makefile("rb") as reader:
        opcode = None
        while opcode != CLOSE and (head := reader.read(2)):
            opcode, size = head[0] & 0x0F, head[1]
            if size > 125:
                size = int.from_bytes(reader.read(2 if size == 126 else 8))
            yield opcode, reader.read(size)


def read_to_close(client):
    """Return the close code, and the number of bytes in the messages before it."""
    *messages, (opcode, last) = frames(client)
    assert opcode == CLOSE
    return int.from_bytes(last[:2]), sum(len(payload) for _, payload in messages)


# --- drain


def test_on_sigterm_running_requests_are_answered(own, background):
    kept = own.connection()
    own.ask("/", connection=kept)
    held = [background(own.ask, path) for path in ("/async", "/sync")]
    assert sorted([own.line(), own.line()]) == ["in async", "in sync"]
    drain(own)

    assert own.ask("/open", connection=kept) == (200, b"done", "close")
    assert [answer.result(DEADLINE_S) for answer in held] == [(200, b"done", "close")] * 2
    assert own.process.wait(DEADLINE_S) == 0
    assert own.stderr() == ""


def test_on_sigterm_a_kept_connection_closes_after_its_answer(own, background):
    background(own.ask, "/async")
    assert own.line() == "in async"
    opening, kept = own.connection(), own.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    own.ask("/", connection=opening)
    drain(own)
    kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    with kept.makefile("rb") as answers:
        assert answers.read().count(b"done") == 2
    assert own.process.poll() is None
    own.ask("/open", connection=opening)


def test_on_sigterm_new_connections_are_refused(own, background):
    kept = own.connection()
    own.ask("/", connection=kept)
    held = background(own.ask, "/async")
    assert own.line() == "in async"
    drain(own)

    with pytest.raises(ConnectionRefusedError):
        own.raw()

    own.ask("/open", connection=kept)
    assert held.result(DEADLINE_S)[0] == 200


def test_on_sigterm_a_slow_reader_gets_the_whole_answer(own):
    reader = own.connection()
    reader.request("GET", "/big?20000000")
    with reader.getresponse() as response:
        drain(own)
        assert len(response.read()) == 20_000_000
    assert own.process.wait(DEADLINE_S) == 0


def test_on_sigterm_a_request_that_is_still_arriving_is_served(own):
    client = own.raw(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf-")
    own.ask("/")  # the server has read what came before
    drain(own)
    client.sendall(b"hello")

    assert status(client) == 200
    assert own.process.wait(DEADLINE_S) == 0
    assert own.stderr() == ""


def test_on_sigterm_websockets_are_told_to_come_back(own):
    assert drain(own) == 1012
    assert own.line() == "gone 1012"
    assert own.process.wait(DEADLINE_S) == 0


def test_on_sigterm_many_websockets_are_closed_one_by_one():
    with running("server.SPREAD_EACH_S=0.05") as own, ExitStack() as opened:
        websockets = [opened.enter_context(own.websocket()) for _ in range(20)]
        own.process.send_signal(signal.SIGTERM)
        ends = []
        for websocket in websockets:
            assert closed(websocket)[0] == 1012
            ends.append(time.monotonic())
    assert ends[-1] - ends[0] > 0.5  # not all at once: of a second's spread, nineteen twentieths


def test_on_sigterm_a_websocket_that_nobody_accepted_yet_is_refused(own):
    handshake = own.raw(upgrade("/undecided"))
    assert own.line() == "undecided"
    drain(own)

    assert status(handshake) == 503
    assert own.process.wait(DEADLINE_S) == 0


def test_during_the_drain_no_websocket_opens(own, background):
    kept = own.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(kept) == 200
    held = background(own.ask, "/async")
    assert own.line() == "in async"
    opening = own.connection()
    own.ask("/", connection=opening)
    drain(own)
    assert kept.recv(100) == b"done"
    kept.sendall(upgrade("/echo"))

    assert status(kept) == 503
    own.ask("/open", connection=opening)
    assert held.result(DEADLINE_S)[0] == 200


def test_what_outlasts_the_drain_is_cut_off_and_said(background):
    with running("server.DRAIN_S=0.5") as own:
        cut = [background(own.ask, "/never"), background(own.ask, "/patient")]
        assert sorted([own.line(), own.line()]) == ["in never", "in patient"]
        own.process.send_signal(signal.SIGTERM)

        assert own.process.wait(DEADLINE_S) == 0
        assert [type(answer.exception(DEADLINE_S)) for answer in cut] == [http.client.RemoteDisconnected] * 2
        assert own.line() == "patient cleaned up"
        assert own.stderr() == "Cut off 2 connections, 0.5 s after the signal to stop\n"


# --- websockets


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1012, 1013, 4404, 4410])
def test_a_websocket_closes_with_the_code_and_reason_that_the_application_gives(shared, code):
    with shared.websocket(f"/close?{code}") as websocket:
        assert closed(websocket) == (code, "because")


def test_sending_waits_for_the_client_and_gives_up_with_1013():
    with running("websocket.STALL_S=0.5") as own:
        client = own.raw_websocket("/flood")
        grew = own.line()

        assert int(grew.removeprefix("grew ")) < 20
        assert read_to_close(client)[0] == 1013


def test_sending_to_a_client_that_left_fails_and_is_not_logged(own):
    with own.websocket():
        pass

    assert [own.line(), own.line()] == ["gone 1000", "The websocket is closed."]
    drain(own)
    assert own.process.wait(DEADLINE_S) == 0
    assert own.stderr() == ""


def test_a_client_that_reads_gets_everything(shared):
    with shared.websocket("/flood", max_size=None) as websocket:
        received = sum(len(websocket.recv(timeout=DEADLINE_S)) for _ in range(3200))
    assert received == 3200 * 65536


def test_senders_that_do_not_wait_are_held_to_a_bound(shared):
    code, received = read_to_close(shared.raw_websocket("/burst"))

    assert code == 1013
    assert received < 20 << 20  # of 25 MiB: 4 are the bound, some went straight to the kernel's buffers


def test_a_message_may_have_a_mebibyte_and_no_more(shared):
    with shared.websocket() as websocket:
        websocket.send("a" * (1 << 20))
        assert websocket.recv(timeout=DEADLINE_S) == "got 1048576"
        websocket.send("a" * ((1 << 20) + 1))
        assert closed(websocket)[0] == 1009


@pytest.mark.parametrize("step", [1, 7, 8, 1_000])
def test_messages_come_whole_however_they_are_cut(shared, step):
    key = b"\xe1\xe0aa"
    looks_like_a_text = b"\x81\xfe\0\x80" + key + b"\x81\x80\0\0" + bytes(ord("x") ^ byte for byte in key) * 31
    in_fragments = b"\x01\x81" + bytes(4) + b"y" + b"\x80\x81" + bytes(4) + b"z"
    said = looks_like_a_text + b"".join(map(text_frame, (0, 1, 125, 126))) + in_fragments + text_frame(3)
    client = shared.raw_websocket("/echo")
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(said), step):
        client.sendall(said[start : start + step])

    heard = frames(client)
    assert [next(heard)[1] for _ in range(7)] == [b"got %d" % size for size in (128, 0, 1, 125, 126, 2, 3)]


def text_frame(size):
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    return b"\x81" + length + b"abcd" + bytes(ord("x") ^ b"abcd"[at % 4] for at in range(size))


@pytest.mark.parametrize(
    "otherwise",
    [
        {"data": b"\x81\x82" + bytes(4) + b"a"},  # not there yet
        {"data": b"\x81\x80" + bytes(3)},
        {"data": b"\x81\x02" + bytes(6)},  # no mask
        {"data": b"\x81\x82" + bytes(4) + b"a\xff"},
        {"current_frame": object()},
        {"inside_message": True},
        {"state": websocket.WebSocket.STATE_CLOSING},
    ],
)
def test_what_is_no_short_text_in_its_place_is_left_to_others(otherwise):
    protocol = websocket.WebSocket()
    for name, value in {"state": protocol.STATE_OPEN, "current_frame": None, "inside_message": False}.items():
        setattr(protocol, name, value)
    protocol.data = b"\x81\x82" + bytes(4) + b"ab"
    assert protocol._short_text() == b"ab"
    for name, value in otherwise.items():
        setattr(protocol, name, value)
    assert protocol._short_text() is None


def test_what_waits_in_the_queue_is_overtaken_by_nothing():
    protocol, heard = websocket.WebSocket(), []
    protocol.application_queue, protocol.muted, protocol.client_addr = asyncio.Queue(), False, None
    protocol.transport = SimpleNamespace(resumeProducing=lambda: None)
    protocol.hear = lambda text: not heard.append(text)
    protocol.onMessage(b"1", False)
    protocol.onMessage(b"2", True)
    protocol.onMessage(b"3", False)

    assert heard == [b"1"]
    assert [protocol.application_queue.get_nowait() for _ in range(2)] == [
        {"type": "websocket.receive", "bytes": b"2"},
        {"type": "websocket.receive", "text": "3"},
    ]


def test_many_messages_that_nobody_hears_are_looked_at_together(monkeypatch):
    later = []
    loop = SimpleNamespace(call_later=lambda _, look: later.append(look))
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    protocol, said = websocket.WebSocket(), []
    protocol.application_queue, protocol.muted, protocol.client_addr = asyncio.Queue(), False, None
    protocol.autoPingTimeoutCall = None
    protocol.transport = SimpleNamespace(
        resumeProducing=lambda: said.append("resume"), pauseProducing=lambda: said.append("pause")
    )
    for _ in range(websocket.MAX_UNREAD + 1_000):
        protocol.onMessage(b"", False)
    assert (len(later), set(said[websocket.MAX_UNREAD - 1 :])) == (1, {"pause"})
    while not protocol.application_queue.empty():
        protocol.application_queue.get_nowait()
    protocol.deaf = True
    later.pop()()
    assert said[-1] == "pause"
    protocol.deaf = False
    protocol._read_when_heard()
    assert (said[-1], later) == ("resume", [])


@pytest.mark.parametrize("size", [0, 1, 4, 7, 125])
def test_a_mask_is_taken_off(size):
    text, key = os.urandom(size), os.urandom(4)
    assert websocket._unmasked(bytes(byte ^ key[at % 4] for at, byte in enumerate(text)), key) == text


def test_what_a_client_began_to_say_goes_with_it(own):
    def memory_mib():
        return psutil.Process(own.process.pid).memory_info().rss >> 20

    def begin():
        client = own.raw_websocket("/echo")
        client.sendall(b"\x01\xff" + (1 << 20).to_bytes(8) + bytes(4) + bytes(1 << 20) + b"\x89\x80\0\0\0\0")
        assert next(frames(client)) == (10, b"")
        client.close()

    begin()
    before = memory_mib()
    for _ in range(100):
        begin()
    assert memory_mib() - before < 20


@pytest.mark.parametrize(("size", "count"), [(65536, 1600), (1 << 19, 60)])
def test_a_client_that_sends_faster_than_it_is_heard_is_read_no_further(shared, size, count):
    client = shared.raw_websocket("/deaf")
    client.settimeout(1)  # for each of them

    with pytest.raises(TimeoutError):
        send_messages(client, size=size, count=count)


def send_messages(client, *, size, count):
    for _ in range(count):
        client.sendall(b"\x82\xff" + size.to_bytes(8) + bytes(4) + bytes(size))


def test_a_client_that_is_gone_without_a_word_is_noticed():
    with running("server._PING_S=0.1", "server._PONG_S=0.2") as own:
        client = own.raw_websocket("/echo")

        assert next(frames(client))[0] == PING
        assert own.line().startswith("gone")
    checked_every_s = 2
    assert server._PING_S + checked_every_s + server._PONG_S <= 60


@pytest.mark.parametrize(
    "frame", [b"\x89\x80" + bytes(4), b"\x8a\x80" + bytes(4), b"\x00\x80" + bytes(4)], ids=["ping", "pong", "fragment"]
)
def test_who_floods_with_frames_that_no_application_hears_of_is_closed(shared, frame):
    client = shared.raw_websocket("/echo")
    if frame[0] == 0:
        client.sendall(b"\x01\x80" + bytes(4))  # the message that the fragments belong to
    client.sendall(frame * 1_500)

    assert read_to_close(client)[0] == 1008


def test_a_connection_that_does_not_get_to_the_end_of_its_headers_ends():
    with running("channel.HEADERS_S=0.5") as own:
        kept = own.connection()
        own.ask("/", connection=kept)
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
            with pytest.raises(ConnectionResetError):
                own.raw(begun).recv(100)
        assert own.ask("/", connection=kept)[0] == 200  # one that has asked may rest


# --- the edge


def test_a_body_may_have_the_limit(shared):
    assert shared.ask("/size", method="POST", body=b"a" * MAX)[:2] == (200, str(MAX).encode())


def test_a_larger_declared_body_is_refused_before_it_is_sent(shared):
    head = f"POST /size HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {MAX + 1}\r\n\r\n"
    client = shared.raw(head.encode())

    assert status(client) == 413
    with client.makefile("rb") as rest:
        assert json.load(rest)["error"]["message"] == (
            "The body has 8388609 bytes or more; a request may have 8388608."
        )


def test_a_client_that_sends_all_before_it_listens_reads_the_refusal(shared):
    assert shared.ask("/size", method="POST", body=b"a" * 3 * MAX)[0] == 413


def test_a_chunked_body_is_refused_when_it_grows_too_large(own):
    chunks = (b"a" * 65536 for _ in range(2 * MAX // 65536))
    assert own.ask("/size", method="POST", body=chunks)[0] == 413

    drain(own)
    assert own.process.wait(DEADLINE_S) == 0
    assert own.stderr() == ""


def test_bodies_over_the_limit_take_no_memory(own):
    """What Linux says was its most, so that nothing is missed between two looks."""
    process, size = psutil.Process(own.process.pid), 12 * MAX

    def most():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]) << 10

    assert own.ask("/size", method="POST", body=b"a" * MAX)[0] == 200
    before = most()
    for _ in range(3):
        assert own.ask("/size", method="POST", body=(b"a" * 65536 for _ in range(size // 65536)))[0] == 413
        with socket.create_connection(("127.0.0.1", own.port), timeout=DEADLINE_S) as connection:
            connection.sendall(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\na" % size)
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
            while connection.recv(1000):  # until it is closed
                pass
    assert most() - before <= 20 << 20


def test_a_client_cannot_set_what_only_a_proxy_knows(shared):
    headers = {"Daphne-Root-Path": "/evil", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}

    assert shared.ask("/scope", headers=headers)[1] == b"('', '127.0.0.1', 'http')"
    with shared.websocket("/scope", additional_headers=headers) as websocket:
        assert websocket.recv(timeout=DEADLINE_S) == "('', '127.0.0.1', 'ws')"


def test_answers_name_the_service(shared):
    connection = shared.connection()
    connection.request("GET", "/")
    with connection.getresponse() as response:
        assert response.getheader("server") == "event-service"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        upgrade("/echo").replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \xff\r\n\r\n"),
    ],
)
def test_what_is_no_request_is_answered_and_not_logged(shared, garbage):
    assert 400 <= status(shared.raw(garbage)) < 500
    assert shared.stderr() == ""


@pytest.mark.parametrize(
    ("no_frame", "code"),
    [
        (b"\xff\xff", 1002),
        (b"\x81\x01aaaaaa", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),  # a text within another one
    ],
)
def test_what_is_no_frame_closes_the_websocket_and_is_not_logged(shared, no_frame, code):
    client = shared.raw_websocket("/echo")
    client.sendall(no_frame)

    assert read_to_close(client) == (code, 0)
    assert shared.stderr() == ""


def test_a_finished_request_is_forgotten_at_once(shared):
    connection = shared.connection()
    before = int(shared.ask("/held", connection=connection)[1])
    for _ in range(50):
        shared.ask("/", connection=connection)
    # One more at most: the request before, whose task ends after its answer was sent.
    assert int(shared.ask("/held", connection=connection)[1]) <= before + 1

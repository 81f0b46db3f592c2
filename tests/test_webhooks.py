"""One request to a webhook, as a real receiver gets it, and what becomes of every answer."""

import json
import socket
import struct
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from select import select
from uuid import UUID

import pytest
from django.conf import settings as project
from standardwebhooks import Webhook

from endpoints.vault import seal
from routing.egress import BODY_LIMIT
from routing.queue import Job, Target
from routing.signing import signature
from routing.submissions import MAX_DATA_BYTES
from routing.webhooks import deliver
from tests.receiver import answer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT, WORKSPACE = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


TARGET = Target(
    endpoint_id=UUID(int=4),
    workspace_id=WORKSPACE,
    url="",
    method="POST",
    headers={},
    payload_format="STANDARD",
    retry_policy={},
    ordering="UNORDERED",
    keys=[("v1", seal(b64decode(SECRET.removeprefix("whsec_"))))],
)


def job(url, method="POST", **changes):
    return Job(
        target=TARGET._replace(url=url, method=method),
        delivery_id=UUID(int=3),
        workspace_id=WORKSPACE,
        ordering_key="",
        number=1,
        first_due_at=NOW,
        event_id=EVENT,
        type="order.paid",
        date=NOW,
        source="",
        subject="",
        data="",
        claimed_at=NOW,
        lease_token=UUID(int=5),
    )._replace(**changes)


def send(receiver, door, **changes):
    return deliver(job(f"{receiver.url}/hook?a=b", **changes), door, now=NOW)


def told(outcome):
    return outcome.status_code, outcome.error


def closing(raw):
    return lambda connection: (connection.sendall(raw), connection.shutdown(socket.SHUT_RDWR))


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(connection):
    connection.recv(1)  # until the sender hangs up


def dripping(connection):
    """A byte every 50 ms, until the sender hangs up."""
    for n in range(200):
        connection.sendall(answer(200, b"late")[n : n + 1] or b".")
        if select([connection], [], [], 0.05)[0]:
            return


# --- the request


def test_the_signature_is_that_of_standard_webhooks():
    signed = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_body_is_the_event_and_leaves_out_what_is_absent(receiver, door):
    send(receiver, door)

    (request,) = receiver.requests
    assert request.body == (
        f'{{"id":"{EVENT}","type":"order.paid","date":"2026-11-22T10:00:00.000000+00:00",'
        f'"workspaceId":"{WORKSPACE}"}}'.encode()
    )


def test_the_body_holds_all_members_of_a_full_event_in_their_order(receiver, door):
    send(receiver, door, source="shop", subject="order/1", data='{"total": 1.00}')

    (request,) = receiver.requests
    assert request.body == (
        f'{{"id":"{EVENT}","type":"order.paid","date":"2026-11-22T10:00:00.000000+00:00","source":"shop",'
        f'"subject":"order/1","workspaceId":"{WORKSPACE}","data":{{"total": 1.00}}}}'.encode()
    )


def test_the_headers_are_these_and_no_others(receiver, door):
    send(receiver, door)

    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/hook?a=b")
    assert {name.lower(): value for name, value in request.headers.items()} == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": str(len(request.body)),
        "content-type": "application/json",
        "traceparent": "00-00000000000000000000000000000003-0000000000000004-01",
        "user-agent": f"event-service/{project.VERSION}",
        "webhook-id": str(EVENT),
        "webhook-timestamp": "1795341600",
        "webhook-signature": signature(SECRET, str(EVENT), 1795341600, request.body),
    }


@pytest.mark.parametrize(
    "data",
    [
        "",
        "null",
        '{"a": 1e2, "b": 1.00, "c": -0.0}',
        '{"b": 1, "a": 2, "b": 3}',
        '{ "a" :\n\t[ 1 ,2 ] }',
        '"\\u00e9 é 😀 \u2028 <script>"',
        '"' + "x" * (MAX_DATA_BYTES - 2) + '"',
    ],
    ids=["none", "null", "numbers", "duplicate keys", "white space", "unicode", "as much as fits"],
)
def test_an_independent_library_verifies_what_arrives(receiver, door, data):
    now = datetime.now(UTC)  # the library refuses what is older than five minutes

    deliver(job(receiver.url, data=data), door, now=now)

    (request,) = receiver.requests
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert request.body.decode().endswith(f',"data":{data}}}' if data else f'"{WORKSPACE}"}}')


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_methods_with_a_body(receiver, door, method):
    assert told(send(receiver, door, method=method)) == (200, "")

    (request,) = receiver.requests
    assert (request.method, json.loads(request.body)["id"]) == (method, str(EVENT))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_methods_without_a_body_sign_the_empty_body(receiver, door, method):
    assert told(send(receiver, door, method=method)) == (200, "")

    (request,) = receiver.requests
    assert (request.method, request.body) == (method, b"")
    assert request.headers["webhook-signature"] == signature(SECRET, str(EVENT), 1795341600, b"")
    assert [request.headers[name] for name in ("content-type", "content-length", "transfer-encoding")] == [None] * 3


def test_a_retry_sends_the_same_body_and_id_with_a_new_timestamp_and_signature(receiver, door):
    for later in (timedelta(0), timedelta(seconds=5)):
        deliver(job(receiver.url, data="1.0"), door, now=NOW + later)

    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [request.headers["webhook-timestamp"] for request in (first, second)] == ["1795341600", "1795341605"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


# --- the answer


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_a_2xx_delivers(receiver, door, status):
    receiver.answer = answer(status)

    assert told(send(receiver, door)) == (status, "")


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 429, 500, 503, 599])
def test_any_other_status_fails(receiver, door, status):
    receiver.answer = answer(status, b"why")

    outcome = send(receiver, door)

    assert (*told(outcome), outcome.error_detail, outcome.response_body) == (
        status,
        "HTTP_STATUS",
        f"The receiver answered {status}.",
        "" if status == 304 else "why",
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/again", "http://169.254.169.254/", "file:///etc/passwd"])
def test_a_redirect_is_a_failure_and_is_not_followed(receiver, door, status, location):
    receiver.answer = answer(status, b"", f"Location: {location}")

    assert told(send(receiver, door)) == (status, "HTTP_STATUS")
    assert len(receiver.requests) == 1


BAD_ANSWERS = {
    "nothing at all": (closing(b""), "CONNECTION_LOST"),
    "a reset": (reset, "CONNECTION_LOST"),
    "garbage": (closing(b"garbage\r\n\r\n"), "NOT_HTTP"),
    "HTTP/0.9": (closing(b"<html>hello</html>"), "NOT_HTTP"),
    "bytes from another protocol": (closing(bytes(range(256)) * 4), "NOT_HTTP"),
    "half a status line": (closing(b"HTTP/1.1 20"), "CONNECTION_LOST"),
    "status 099": (closing(b"HTTP/1.1 099 Low\r\n\r\n"), "BAD_STATUS"),
    "a status of four digits": (closing(b"HTTP/1.1 2000 High\r\n\r\n"), "BAD_STATUS"),
    "a status that is no number": (closing(b"HTTP/1.1 OK 200\r\n\r\n"), "BAD_STATUS"),
    "an endless status line": (closing(b"HTTP/1.1 200 " + b"x" * 70_000), "HEADERS_TOO_LARGE"),
    "a header of 70 kB": (closing(answer(200, b"", "X: " + "x" * 70_000)), "HEADERS_TOO_LARGE"),
    "500 headers": (closing(answer(200, b"", *[f"X-{n}: {n}" for n in range(500)])), "HEADERS_TOO_LARGE"),
    "102 and then 200": (closing(b"HTTP/1.1 102 Processing\r\n\r\n" + answer(200)), "INFORMATIONAL_STATUS"),
    "103 and then 200": (
        closing(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + answer(200)),
        "INFORMATIONAL_STATUS",
    ),
}


@pytest.mark.parametrize(("bad", "error"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_is_none_fails_with_a_class_of_its_own(receiver, door, bad, error):
    receiver.answer = bad

    assert told(send(receiver, door)) == (None, error)


@pytest.mark.parametrize("bad", [bad for bad, _ in BAD_ANSWERS.values()], ids=BAD_ANSWERS)
def test_after_a_bad_answer_the_next_delivery_gets_its_own(receiver, door, bad):
    receiver.answer = bad
    send(receiver, door)
    receiver.answer = answer(202)

    assert told(send(receiver, door)) == (202, "")


def test_100_continue_is_waited_through(receiver, door):
    receiver.answer = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer(202)

    assert told(send(receiver, door)) == (202, "")


def test_a_200_cut_short_is_delivered_because_status_and_headers_decide(receiver, door):
    receiver.answer = closing(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    assert told(send(receiver, door)) == (200, "")


def test_what_was_answered_is_kept_as_text_that_can_be_stored(receiver, door):
    receiver.answer = answer(500, "é \0 \x1b[31m <script>".encode() + b"\xff")

    assert send(receiver, door).response_body == "é \ufffd \x1b[31m <script>\ufffd"


def test_what_sends_the_headers_back_does_not_have_them_kept(receiver, door):
    secrets = {"Authorization": "Bearer planted-token", "X-Key": "planted-key", "Accept-Language": "en"}
    sealed = {name: seal(value.encode()).decode() for name, value in secrets.items()}
    receiver.answer = answer(500, b"Bearer planted-token; planted-token planted-key en")
    target = TARGET._replace(url=receiver.url, headers=sealed)
    assert send(receiver, door, target=target).response_body == "(secret); (secret) (secret) en"


def test_no_more_than_16_kib_of_an_answer_are_kept(receiver, door):
    receiver.answer = answer(500, b"x" * (BODY_LIMIT + 1))

    assert send(receiver, door).response_body == "x" * 16_384


# --- no answer


def test_a_refused_connection_fails_and_the_operator_alone_is_told_so(door, receiver, caplog):
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    outcome = deliver(job(f"http://127.0.0.1:{port}/"), door, now=NOW)

    assert told(outcome) == (None, "UNREACHABLE")
    assert (outcome.cause[:16], "refused" in outcome.error_detail) == ("CONNECT_FAILED: ", False)
    assert f"to endpoint {job('').target.endpoint_id} of workspace" in caplog.text
    assert outcome.cause in caplog.text


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 64 + ".example", "a..b"])
def test_a_name_that_does_not_resolve_fails(door, host):
    assert told(deliver(job(f"http://{host}/"), door, now=NOW)) == (None, "UNREACHABLE")


@pytest.mark.parametrize(
    "url",
    [
        "http://*.example.com/",
        "http://.example.com/",
        "http://①②⑦.0.0.1/",
        "http://xn--/",
        "http://ü..example/",
    ],
)
def test_a_url_that_can_not_be_dialled_fails_like_any_other(door, url):
    assert deliver(job(url), door, now=NOW).error in ("BAD_URL", "UNREACHABLE")


def test_an_address_that_may_not_be_reached_fails(door):
    outcome = deliver(job("http://10.0.0.1/"), door, now=NOW)

    assert told(outcome) == (None, "UNREACHABLE")


def test_plain_text_where_tls_is_expected_fails(receiver, door):
    outcome = deliver(job(receiver.url.replace("http", "https")), door, now=NOW)

    assert told(outcome) == (None, "TLS_FAILED")


@pytest.mark.parametrize("slow", [silent, dripping])
def test_a_receiver_that_takes_too_long_is_left_at_the_deadline(receiver, door, slow):
    receiver.answer = slow

    outcome = deliver(job(receiver.url), door, now=NOW, deadline_s=0.3)

    assert told(outcome) == (None, "TIMEOUT")
    assert 300 <= outcome.duration_ms < 800


def test_the_outcome_says_when_it_started(receiver, door):
    assert send(receiver, door).started_at == NOW

"""What becomes of a delivery, and of its endpoint, by every way a receiver can answer."""

import time
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils.http import http_date

from endpoints.models import Endpoint
from routing import health
from routing.models import Attempt, Delivery, Event, Lane
from routing.queue import claim, settle
from routing.submissions import Submission, check
from routing.verdict import DISABLED_PAUSE_S, LONGEST_PAUSE_S, PAUSE_S
from routing.worker import Worker
from tests.receiver import answer

TRIED_AGAIN = ("PENDING", "")
DELIVERED = ("DELIVERED", "")


@pytest.fixture
def target(workspace, receiver):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="target", url=receiver.url)


@pytest.fixture
def attempted(workspace, target):
    """Record an event and make its next attempt as a worker does; return the delivery."""
    worker = Worker(threads=0)

    def attempt():
        if not Delivery.objects.exists():
            Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
        Delivery.objects.filter(state="PENDING").update(due_at=F("creation_date"))
        Lane.objects.update(ready_at=F("tokens_at"))
        (job,) = claim(limit=1, per_endpoint=1, rooms={})
        worker._clock.set(job.claimed_at)
        settle([worker._attempt(job)])
        return Delivery.objects.get()

    yield attempt
    worker._door.close()


def end(delivery):
    return delivery.state, delivery.reason


def wait_s(delivery):
    return (delivery.due_at - Attempt.objects.latest("number").started_at) / timedelta(seconds=1)


def paused_s(delivery):
    return (Lane.objects.get().ready_at - Attempt.objects.latest("number").started_at) / timedelta(seconds=1)


def hang_up(connection):
    connection.close()


def cut_in_the_head(connection):
    connection.sendall(answer(200)[:20])
    connection.close()


def cut_in_the_body(connection):
    connection.sendall(answer(200, b"a long body")[:-4])
    connection.close()


def informational(status):
    return lambda connection: connection.sendall(f"HTTP/1.1 {status} Reason\r\n\r\n".encode() + answer(200))


# --- the table of statuses


@pytest.mark.parametrize(
    ("says", "status", "error", "becomes", "endpoint"),
    [
        (answer(200), 200, "", DELIVERED, "ACTIVE"),
        (answer(204), 204, "", DELIVERED, "ACTIVE"),
        (answer(206, b"part"), 206, "", DELIVERED, "ACTIVE"),
        (answer(301, b"", "Location: /"), 301, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(307, b"", "Location: /"), 307, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(400), 400, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(401), 401, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(404), 404, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(410), 410, "HTTP_STATUS", ("EXHAUSTED", "GONE"), "DISABLED"),
        (answer(429), 429, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(500), 500, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (answer(503), 503, "HTTP_STATUS", TRIED_AGAIN, "ACTIVE"),
        (informational(100), 200, "", DELIVERED, "ACTIVE"),
        (informational(103), None, "INFORMATIONAL_STATUS", TRIED_AGAIN, "ACTIVE"),
        (hang_up, None, "CONNECTION_LOST", TRIED_AGAIN, "ACTIVE"),
        (cut_in_the_head, None, "CONNECTION_LOST", TRIED_AGAIN, "ACTIVE"),
        (cut_in_the_body, 200, "", DELIVERED, "ACTIVE"),
    ],
    ids=["200", "204", "206", "301", "307", "400", "401", "404", "410", "429", "500", "503", "100", "103"]
    + ["no answer", "cut in the head", "cut in the body"],
)
def test_the_table_of_statuses(attempted, receiver, target, says, status, error, becomes, endpoint):
    receiver.answer = says

    delivery = attempted()
    health.watch()

    attempt = Attempt.objects.get()
    target.refresh_from_db()
    assert (attempt.status_code, attempt.error, end(delivery), target.state) == (status, error, becomes, endpoint)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 499])
def test_a_status_that_the_endpoint_calls_final_is_not_tried_again(attempted, receiver, target, status):
    target.change(retry_policy={"finalStatuses": [status]})
    receiver.answer = answer(status)

    assert end(attempted()) == ("EXHAUSTED", "FINAL_STATUS")


# --- what a receiver may ask for


@pytest.mark.parametrize(
    ("status", "header", "becomes", "endpoint"),
    [
        (500, "abort-message", ("CANCELLED", "ABORTED_BY_RECEIVER"), "ACTIVE"),
        (500, "disable", ("EXHAUSTED", "DISABLED_BY_RECEIVER"), "DISABLED"),
        (200, "disable", DELIVERED, "DISABLED"),
        (200, "abort-message", DELIVERED, "ACTIVE"),
        (500, " Disable , abort-message", ("CANCELLED", "ABORTED_BY_RECEIVER"), "DISABLED"),
        (500, "later", TRIED_AGAIN, "ACTIVE"),
    ],
)
def test_a_receiver_may_end_the_delivery_or_the_endpoint(
    attempted, receiver, target, status, header, becomes, endpoint
):
    receiver.answer = answer(status, b"", f"Webhook-Delivery: {header}")

    delivery = attempted()
    health.watch()

    target.refresh_from_db()
    assert (end(delivery), target.state) == (becomes, endpoint)


def test_a_receiver_that_wants_nothing_more_gets_nothing_until_it_is_disabled(attempted, receiver):
    receiver.answer = answer(410)

    assert paused_s(attempted()) == pytest.approx(DISABLED_PAUSE_S, abs=2)


@pytest.mark.parametrize("status", [301, 400, 429, 500, 503])
@pytest.mark.parametrize(("asked", "wait"), [("0", 100), ("99", 100), ("150", 150), ("999999999", 200)])
def test_retry_after_lengthens_a_wait_whatever_the_status(attempted, receiver, target, status, asked, wait):
    target.change(retry_policy={"schedule": [100], "jitter": 0})
    receiver.answer = answer(status, b"", f"Retry-After: {asked}")

    assert wait_s(attempted()) == pytest.approx(wait, abs=2)


@pytest.mark.parametrize(
    "nonsense",
    ["NaN", "-1", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "", "1e9", "²", "1, 2", "Sun, 99 Nov 1994 08:49:37 GMT"],
)
def test_a_retry_after_that_makes_no_sense_is_the_schedules_wait(attempted, receiver, target, nonsense):
    target.change(retry_policy={"schedule": [100], "jitter": 0})
    receiver.answer = answer(503, b"").replace(b"\r\n\r\n", b"\r\nRetry-After: " + nonsense.encode() + b"\r\n\r\n")

    delivery = attempted()

    assert wait_s(delivery) == pytest.approx(100, abs=2)
    assert paused_s(delivery) < 1


def test_retry_after_may_be_a_date(attempted, receiver, target):
    target.change(retry_policy={"schedule": [100], "jitter": 0})
    receiver.answer = answer(503, b"", f"Retry-After: {http_date(time.time() + 150)}")

    delivery = attempted()

    assert (wait_s(delivery), paused_s(delivery)) == (pytest.approx(150, abs=3), pytest.approx(150, abs=3))


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [(429, "30", 30), (503, "30", 30), (429, None, PAUSE_S), (503, None, 0), (429, "9" * 500, LONGEST_PAUSE_S)]
    + [(500, "30", 0), (400, "30", 0)],
)
def test_429_and_503_hold_up_all_that_the_endpoint_is_owed(attempted, receiver, status, asked, pause):
    receiver.answer = answer(status, b"", *([f"Retry-After: {asked}"] if asked else []))

    assert paused_s(attempted()) == pytest.approx(pause, abs=2)


def test_429_holds_up_no_other_endpoint(attempted, workspace, receiver, target):
    receiver.answer = answer(429)
    attempted()
    other = Endpoint.create_webhook(workspace_id=workspace.pk, name="other", url=receiver.url)

    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])

    assert [job.target.endpoint_id for job in claim(limit=9, per_endpoint=9, rooms={})] == [other.pk]


# --- the endpoint's policy


def test_a_delivery_is_tried_by_its_schedule_and_then_given_up(attempted, receiver, target):
    target.change(retry_policy={"schedule": [7, 70], "jitter": 0})
    receiver.answer = answer(500)

    waits = [wait_s(attempted()), wait_s(attempted())]

    assert waits == [pytest.approx(7, abs=2), pytest.approx(70, abs=2)]
    assert end(attempted()) == ("EXHAUSTED", "ATTEMPTS_EXHAUSTED")
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_delivery_that_would_be_too_old_for_its_next_attempt_is_given_up(attempted, receiver, target):
    target.change(retry_policy={"schedule": [30, 40], "jitter": 0, "maxAgeSeconds": 35})
    receiver.answer = answer(500)

    assert end(attempted()) == TRIED_AGAIN
    assert end(attempted()) == ("EXHAUSTED", "MAX_AGE")


def test_a_delivery_that_waited_until_it_was_too_old_is_not_sent(attempted, workspace, receiver, target):
    target.change(retry_policy={"maxAgeSeconds": 35})
    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
    Delivery.objects.update(creation_date=F("creation_date") - timedelta(seconds=36))

    assert end(attempted()) == ("EXHAUSTED", "MAX_AGE")
    assert receiver.requests == []
    assert Lane.objects.get().in_flight == 0


def test_an_attempt_ends_at_the_endpoints_own_deadline(attempted, receiver, target):
    target.change(retry_policy={"deadlineSeconds": 1})
    receiver.answer = lambda connection: connection.recv(1)

    attempted()

    attempt = Attempt.objects.get()
    assert attempt.error == "TIMEOUT"
    assert 1000 <= attempt.duration_ms < 1500


def test_an_attempt_with_the_longest_deadline_is_made(attempted, receiver, target):
    target.change(retry_policy={"deadlineSeconds": 30})

    assert end(attempted()) == DELIVERED


# --- what receivers say in their defence


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"HTTP/1.1 2\x000 \x1b[2J\r\n\r\n", "HTTP/1.1 2\ufffd0 \ufffd[2J\ufffd\ufffd"),
        (b"\0garbage\r\n\r\n", "\ufffdgarbage\ufffd\ufffd"),
    ],
)
def test_what_a_receiver_garbles_is_kept_as_it_can_be_stored_and_shown(attempted, receiver, said, detail):
    receiver.answer = lambda connection: (connection.sendall(said), connection.close())

    assert end(attempted()) == TRIED_AGAIN
    assert Attempt.objects.get().error_detail == detail

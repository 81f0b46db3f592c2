import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from socket import socket
from unittest.mock import patch
from uuid import UUID

import msgspec
import psycopg
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from standardwebhooks import Webhook, WebhookVerificationError

from endpoints.models import Endpoint, Workspace
from endpoints.policy import SCHEDULE_S
from event_service.postgres import prepared
from routing import partitions, queue, webhooks, worker
from routing.hints import Hints
from routing.models import Attempt, Delivery, Event, Recorded, WorkerNode
from routing.submissions import Submission, check
from routing.worker import Worker
from tests.database import environment
from tests.receiver import DEADLINE_S, Receiver, Request, answer
from tests.service import wait_until

SPACES, ENDPOINTS, EVENTS = 5, 4, 10
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def target(workspace: Workspace, receiver: Receiver) -> Endpoint:
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="target", url=receiver.url)


@contextmanager
def working(threads: int = 2) -> Iterator[Worker]:
    running = Worker(threads=threads)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join()


def record(workspace: Workspace, count: int = 1) -> list[UUID]:
    submissions = [Submission(type="order.paid", data=msgspec.Raw(b"%d" % n)) for n in range(count)]
    answers = Event.record_all([check(submission, workspace.pk) for submission in submissions])
    return [answer.id for answer in answers if isinstance(answer, Recorded)]


def outcome(delivery: Delivery) -> tuple[str, str, int]:
    delivery.refresh_from_db()
    return delivery.state, delivery.reason, delivery.attempts_made


def test_a_due_delivery_is_sent_and_settled_with_its_attempt(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    (event_id,) = record(workspace)

    with working():
        receiver.wait_for_count(1)

    delivery = Delivery.objects.get()
    assert outcome(delivery) == ("DELIVERED", "", 1)
    assert list(Attempt.objects.values_list("delivery_id", "number", "status_code", "error")) == [
        (delivery.pk, 1, 200, "")
    ]
    assert [request.headers["webhook-id"] for request in receiver.requests] == [str(event_id)]


def test_a_failed_delivery_waits_for_its_turn_in_the_schedule(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    receiver.answer = answer(500, b"no way")
    record(workspace)

    with working():
        receiver.wait_for_count(1)

    delivery, attempt = Delivery.objects.get(), Attempt.objects.get()
    assert outcome(delivery) == ("PENDING", "", 1)
    assert (attempt.status_code, attempt.error, attempt.response_body) == (500, "HTTP_STATUS", "no way")
    assert delivery.due_at is not None
    wait = delivery.due_at - attempt.started_at
    assert timedelta(seconds=4) <= wait <= timedelta(seconds=7)


def test_the_last_failure_of_the_schedule_exhausts_a_delivery(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    receiver.answer = answer(500)
    record(workspace)
    Delivery.objects.update(attempts_made=len(SCHEDULE_S))

    with working():
        receiver.wait_for_count(1)

    assert outcome(Delivery.objects.get()) == ("EXHAUSTED", "ATTEMPTS_EXHAUSTED", 1 + len(SCHEDULE_S))


def test_deliveries_start_without_any_hint(
    workspace: Workspace, target: Endpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "run", lambda self: None)

    with working():
        record(workspace)
        receiver.wait_for_count(1)

    assert outcome(Delivery.objects.get()) == ("DELIVERED", "", 1)


def test_a_worker_goes_on_after_the_database_dropped_its_connections(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    with working():
        record(workspace)
        receiver.wait_for_count(1)
        with psycopg.connect(**psycopg_parameters(), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        connection.close()
        record(workspace)
        receiver.wait_for_count(2)

    assert set(Delivery.objects.values_list("state", flat=True)) == {"DELIVERED"}


def psycopg_parameters() -> dict[str, object]:
    return {name: value for name, value in connection.get_connection_params().items() if name != "pool"}


def test_a_fault_of_ours_costs_one_attempt_and_not_the_thread(
    workspace: Workspace, target: Endpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, faulty = webhooks.deliver, record(workspace)[0]

    def deliver(job: worker.Job, *args: object, **kwargs: object) -> webhooks.Outcome:
        if job.event_id == faulty:
            raise ZeroDivisionError
        return sound(job, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(webhooks, "deliver", deliver)
    record(workspace)

    with working(threads=1):
        receiver.wait_for_count(1)

    assert list(Delivery.objects.order_by("seq").values_list("state", "attempts__error")) == [
        ("PENDING", "INTERNAL"),
        ("DELIVERED", ""),
    ]


def test_a_job_that_joins_two_workspaces_is_not_sent(
    workspace: Workspace, foreign_workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    record(workspace)
    (job,) = worker.claim(limit=1, per_endpoint=1, rooms={})
    foreign_target = job.target._replace(workspace_id=foreign_workspace.pk)

    result = Worker(threads=0)._attempt(job._replace(target=foreign_target))

    assert (result.state, result.reason) == ("CANCELLED", "WORKSPACE_MISMATCH")
    assert receiver.requests == []


def test_what_many_workspaces_are_owed_comes_to_each_under_its_own_secret(receiver: Receiver) -> None:
    """Each event says whose it is, each endpoint has a path of its own, and two workers send at once."""
    secrets: dict[str, str] = {}
    for n in range(SPACES):
        workspace = Workspace.objects.create(name=f"{n}")
        for m in range(ENDPOINTS):
            path = f"/{workspace.pk}/{m}"
            endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name=path, url=receiver.url + path)
            secrets[path] = endpoint.secret
        data = msgspec.Raw(b'"%s"' % str(workspace.pk).encode())
        Event.record_all([check(Submission(type="t", data=data), workspace.pk) for _ in range(EVENTS)])

    with working(), working():
        receiver.wait_for_count(SPACES * ENDPOINTS * EVENTS)

    assert len(set(secrets.values())) == SPACES * ENDPOINTS
    for request in receiver.requests:
        body = json.loads(request.body)
        assert body["workspaceId"] == body["data"] == request.path.split("/")[1]
        verified = [path for path, secret in secrets.items() if is_signed(request, secret)]
        assert verified == [request.path]
    came = Counter((request.path, request.headers["webhook-id"]) for request in receiver.requests)
    assert set(came.values()) == {1}
    assert len(came) == SPACES * ENDPOINTS * EVENTS


def is_signed(request: Request, secret: str) -> bool:
    try:
        Webhook(secret).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


def test_without_the_database_it_tries_again_now_and_then_while_it_is_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", waits.append)

    def fails() -> None:
        raise OperationalError

    stopping = Worker(threads=0)
    stopping.stop()
    stopping._wait_and(fails)

    assert waits == [worker.RECONNECT_S]


def test_what_a_deleted_endpoint_was_owed_is_cancelled(
    workspace: Workspace, target: Endpoint, web_socket: Endpoint, receiver: Receiver
) -> None:
    record(workspace)
    Endpoint.remove([target, web_socket])
    other = Endpoint.create_webhook(workspace_id=workspace.pk, name="other", url=receiver.url)

    with working():
        record(workspace)
        receiver.wait_for_count(1)

    ends = {(end.endpoint_id, end.state, end.reason) for end in Delivery.objects.all()}
    assert ends == {
        (target.pk, "CANCELLED", "ENDPOINT_DELETED"),
        (web_socket.pk, "CANCELLED", "ENDPOINT_DELETED"),
        (other.pk, "DELIVERED", ""),
    }


def test_sigterm_lets_running_requests_finish_and_gives_back_the_rest(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    go_on = threading.Event()
    receiver.answer = lambda client: (go_on.wait(DEADLINE_S), client.sendall(answer(200)))
    record(workspace, count=10)
    command = [sys.executable, "manage.py", "deliver", "--threads", "1"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        receiver.wait_for_count(2)

        process.terminate()
        assert process.stderr is not None
        assert any("Stopping" in line for line in process.stderr)
        go_on.set()
        process.stderr.read()

    assert process.returncode == 0
    assert len(receiver.requests) == 2
    assert sorted(Delivery.objects.values_list("state", "attempts_made")) == [
        *[("DELIVERED", 1)] * 2,
        *[("PENDING", 0)] * 8,
    ]


def test_several_processes_are_kept_running_and_end_together(target: Endpoint) -> None:
    command = [sys.executable, "manage.py", "deliver", "--processes", "2"]
    with subprocess.Popen(command, env=environment()) as supervisor:
        wait_until(WorkerNode.objects.count, lambda count: count == 2)
        supervisor.terminate()
    assert supervisor.returncode == 0
    assert not WorkerNode.objects.exists()


def test_a_drained_worker_finishes_what_it_holds_claims_nothing_more_and_is_resumed(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    let_go = threading.Event()

    def hold(connection: socket) -> None:
        let_go.wait(DEADLINE_S)
        connection.sendall(answer(204, b"", "Connection: close"))

    receiver.answer = hold
    with working():
        record(workspace)
        receiver.wait_for_count(1)
        wait_until(lambda: WorkerNode.objects.values_list("held", flat=True).first(), lambda held: held == 1)
        WorkerNode.objects.update(drained=True)
        seen_at = WorkerNode.objects.get().seen_at
        wait_until(lambda: WorkerNode.objects.get().seen_at, lambda at: at > seen_at)
        let_go.set()
        wait_until(
            lambda: set(Delivery.objects.values_list("state", flat=True)), lambda states: states == {"DELIVERED"}
        )
        record(workspace)
        seen_at = WorkerNode.objects.get().seen_at
        wait_until(lambda: WorkerNode.objects.get().seen_at, lambda at: at > seen_at)
        assert sorted(Delivery.objects.values_list("state", flat=True)) == ["DELIVERED", "PENDING"]
        WorkerNode.objects.update(drained=False)
        receiver.wait_for_count(2)
    assert not WorkerNode.objects.exists()


def test_a_worker_makes_partitions_and_forgets_what_is_old_before_it_sends(
    workspace: Workspace, target: Endpoint, receiver: Receiver
) -> None:
    *_, last = partitions.days()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {partitions.name_of(last)}")
    long_ago = datetime.now(UTC) - timedelta(days=9)
    old = replace(check(Submission(type="old"), workspace.pk), id=UUID(int=partitions.id_at(long_ago).int + 1))
    Event.record_all([old])
    Event.objects.update(creation_date=long_ago)
    Delivery.objects.update(state="DELIVERED", due_at=None, settled_at=long_ago)
    Workspace.objects.update(keep_days=5)
    (event_id,) = record(workspace)

    with working():
        receiver.wait_for_count(1)

    assert partitions.days()[-1] == last
    assert list(Event.objects.values_list("pk", flat=True)) == [event_id]


def test_a_worker_at_rest_asks_two_questions_a_second(db):
    worker = Worker(threads=1)
    worker._turn()
    worker._polled_at = 0.0  # a second later

    with CaptureQueriesContext(connection) as asked:
        worker._turn()

    assert len(asked) == 2, [each["sql"] for each in asked]


def test_where_others_were_quicker_it_is_asked_next_time_whether_there_is_anything_left(target: Endpoint) -> None:
    late = Worker(threads=1)
    late._turn()

    def claims_at_a_hint() -> int:
        late._on_hint()
        late._claim_at = 0.0  # the time that it waits longer is over
        with patch.object(worker, "claim", wraps=worker.claim) as claim:
            late._turn()
        return claim.call_count

    assert claims_at_a_hint() == 1
    assert claims_at_a_hint() == 0
    record(target.workspace)
    assert claims_at_a_hint() == 1
    assert not late._late
    late._senders.stop()
    late._senders.join()
    late._door.close()


def test_what_has_just_come_is_claimed_before_what_was_sent_is_settled(target: Endpoint) -> None:
    busy, done = Worker(threads=1), []
    record(target.workspace)
    (job,) = queue.claim(limit=1, per_endpoint=1, rooms={})
    busy._held[job.delivery_id, job.lease_token] = job.claimed_at
    busy._results.append(queue.Result(job, "PENDING", retry_after_s=0))
    busy._on_hint()
    with (
        patch.object(worker, "claim", side_effect=lambda **_: done.append("claim") or []),
        patch.object(worker, "settle", side_effect=lambda results: done.append("settle") or len(results)),
    ):
        busy._turn()

    assert done == ["claim", "settle"]
    busy._senders.stop()
    busy._senders.join()


@pytest.mark.parametrize(
    ("waited_s", "count", "ordering_key", "is_time"),
    [
        (0.01, 199, "a", False),
        (0.01, 200, "", True),
        (0.03, 49, "", False),
        (0.03, 50, "", True),
        (0.03, 1, "a", True),
        (0.05, 1, "", True),
    ],
)
def test_few_results_that_nobody_waits_for_wait_for_others(
    target: Endpoint, waited_s: float, count: int, ordering_key: str, is_time: bool
) -> None:
    record(target.workspace)
    (job,) = queue.claim(limit=1, per_endpoint=1, rooms={})
    some = Worker(threads=1)
    some._results.extend([queue.Result(job._replace(ordering_key=ordering_key), "PENDING", retry_after_s=0)] * count)

    assert some._is_time_to_settle(waited_s) == is_time
    some._senders.stop()
    some._senders.join()


def test_only_what_is_to_be_prepared_is_remembered(db: None) -> None:
    """All else is written with its values, whole payloads among them."""
    queue.seconds_until_ready(at_most=1.0, per_endpoint=1, rooms={})
    assert connection.connection.prepare_threshold is None


def test_plans_of_statements_are_renewed_in_time(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def generic_plans() -> int:
        for _ in range(6):  # the first five are planned for their own values
            queue.seconds_until_ready(at_most=1.0, per_endpoint=1, rooms={})
        with connection.cursor() as cursor:
            cursor.execute("SELECT max(generic_plans) FROM pg_prepared_statements WHERE statement LIKE '%again_hop%'")
            (plans,) = cursor.fetchone()
        return int(plans)

    assert generic_plans() > 0
    monkeypatch.setattr(prepared, "PLANS_S", 0.0)
    with patch.object(psycopg.Connection, "execute") as said:
        generic_plans()
    said.assert_called_with("DISCARD PLANS")

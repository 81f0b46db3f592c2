"""The delivery queue: who may claim what, for how long, and whose results count."""

from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import uuid4

import msgspec
import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.models import Endpoint
from routing import partitions
from routing.models import Attempt, Delivery, Event, Lane
from routing.queue import LEASE_S, Job, Result, Target, cancel_deleted, claim, reap, seconds_until_ready, settle, upkeep
from routing.submissions import Submission, check
from tests.together import together

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


def record(workspace, count=1):
    submission = Submission(type="order.paid", data=msgspec.Raw(b"1.0"), source="shop", subject="order/1")
    return [recorded.id for recorded in Event.record_all([check(submission, workspace.pk) for _ in range(count)])]


def claimed(limit=100, per_endpoint=100, rooms=None):
    return claim(limit=limit, per_endpoint=per_endpoint, rooms=rooms or {})


def result(job, state="DELIVERED", **fields):
    return Result(job, state, started_at=timezone.now(), duration_ms=1.5, **fields)


def lose_leases():
    """Let the leases of all workers end now."""
    Delivery.objects.filter(state="SENDING").update(due_at=Now() - timedelta(seconds=1))


def states():
    return list(Delivery.objects.order_by("seq").values_list("state", "reason", "attempts_made"))


def attempts():
    return list(Attempt.objects.order_by("delivery__seq", "number").values_list("number", "status_code", "error"))


def make_webhook(workspace, name):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name=name, url="https://example.com/hook")


# --- what a claim takes


def test_a_claim_gives_all_that_a_request_is_made_of(workspace, webhook):
    (event_id,) = record(workspace)
    event, delivery = Event.objects.get(pk=event_id), Delivery.objects.get()

    (job,) = claimed()

    assert job == Job(
        target=Target(
            endpoint_id=webhook.pk,
            workspace_id=workspace.pk,
            url="https://example.com/hook",
            method="POST",
            headers={},
            payload_format="STANDARD",
            retry_policy={},
            ordering="UNORDERED",
            keys=[("v1", bytes(webhook.signing_keys.get().sealed))],
        ),
        delivery_id=delivery.pk,
        workspace_id=workspace.pk,
        ordering_key="",
        number=1,
        first_due_at=delivery.creation_date,
        event_id=event_id,
        type="order.paid",
        date=event.date,
        source="shop",
        subject="order/1",
        data="1.0",
        claimed_at=job.claimed_at,
        lease_token=job.lease_token,
    )


def test_a_claim_leases_the_row_by_the_databases_clock(workspace, webhook):
    record(workspace)

    (job,) = claimed()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.lease_token, delivery.attempts_made) == ("SENDING", job.lease_token, 1)
    lease = delivery.due_at - job.claimed_at
    assert timedelta(seconds=LEASE_S - 1) < lease <= timedelta(seconds=LEASE_S)


@committed
def test_a_claim_does_not_wait_for_the_disk_and_what_comes_after_it_does(workspace, webhook):
    def waits() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return cursor.fetchone()[0]

    record(workspace)
    with transaction.atomic():
        assert claimed()
        assert waits() == "off"
    assert waits() == "on"


def test_what_is_leased_is_not_claimed_again(workspace, webhook):
    record(workspace)
    claimed()

    assert claimed() == []


def test_what_is_not_due_again_is_not_claimed(workspace, webhook):
    record(workspace)
    Delivery.objects.update(attempts_made=1, due_at=Now() + timedelta(seconds=30))

    assert claimed() == []


def test_a_first_attempt_does_not_wait_for_a_clock_that_was_set_back(workspace, webhook):
    record(workspace, 2)
    Delivery.objects.update(due_at=Now() + timedelta(hours=1))

    assert [job.number for job in claimed()] == [1, 1]
    assert seconds_until_ready(at_most=5, per_endpoint=100, rooms={}) == 5


def test_who_is_made_ready_before_its_rate_has_room_waits_for_that_and_is_not_asked_meanwhile(workspace, webhook):
    webhook.change(rate_limit={"count": 1, "period_seconds": 3600})
    record(workspace, 2)
    Lane.objects.update(tokens=1, tokens_at=Now())
    assert len(claimed()) == 1
    Lane.objects.update(ready_at=Now())  # as whoever resumes it, or changes its rate

    assert seconds_until_ready(at_most=9_999, per_endpoint=100, rooms={}) <= 0
    assert claimed() == []
    assert 3_500 < seconds_until_ready(at_most=9_999, per_endpoint=100, rooms={}) <= 3_600


def test_what_came_first_is_claimed_first(workspace, webhook):
    events = record(workspace, 3)

    assert [claimed(limit=1)[0].event_id for _ in range(3)] == events


def test_of_what_is_tried_again_the_first_due_is_claimed_first(workspace, webhook):
    first, second, third = record(workspace, 3)
    Delivery.objects.update(attempts_made=1)
    Delivery.objects.filter(event_id=third).update(due_at=F("due_at") - timedelta(seconds=1))

    assert [claimed(limit=1)[0].event_id for _ in range(3)] == [third, first, second]


def test_first_attempts_go_ahead_of_what_is_tried_again(workspace, webhook):
    again, first = record(workspace, 2)
    Delivery.objects.filter(event_id=again).update(attempts_made=1, due_at=F("due_at") - timedelta(days=1))

    assert [claimed(limit=1)[0].event_id for _ in range(2)] == [first, again]


def test_a_claim_takes_no_more_than_its_limit(workspace, webhook):
    record(workspace, 5)

    assert [len(claimed(limit=3)) for _ in range(3)] == [3, 2, 0]


def test_an_endpoint_gets_no_more_than_there_is_room_for_in_the_process(workspace, webhook):
    record(workspace, 10)

    assert len(claimed(per_endpoint=4)) == 4
    assert len(claimed(per_endpoint=4, rooms={webhook.pk: 1})) == 1
    assert claimed(per_endpoint=4, rooms={webhook.pk: 0}) == []


def test_a_backlog_of_one_endpoint_does_not_keep_the_others_out(workspace, webhook):
    record(workspace, 50)
    others = {make_webhook(workspace, f"Other {n}").pk for n in range(3)}
    record(workspace)

    jobs = claimed(limit=8, per_endpoint=5)

    assert {job.target.endpoint_id for job in jobs} == {webhook.pk, *others}


def test_a_claim_takes_from_every_endpoint_before_more_from_any_and_is_full(workspace, webhook):
    record(workspace, 50)
    others = {make_webhook(workspace, f"Other {n}").pk for n in range(9)}
    record(workspace)
    Lane.objects.filter(pk__in=others).update(in_flight=1)  # the backlog is first in turn

    jobs = claimed(limit=30)

    assert Counter(job.target.endpoint_id for job in jobs) == {webhook.pk: 21, **dict.fromkeys(others, 1)}
    assert dict(Lane.objects.values_list("pk", "in_flight")) == {webhook.pk: 21, **dict.fromkeys(others, 2)}


@pytest.mark.parametrize("state", ["PAUSED", "DISABLED"])
def test_what_is_owed_to_an_endpoint_that_is_not_active_waits(workspace, webhook, state):
    record(workspace)
    Endpoint.change_state([webhook], state, "by hand")

    assert claimed() == []

    Endpoint.change_state([webhook], Endpoint.State.ACTIVE)
    assert len(claimed()) == 1


def test_what_is_owed_to_a_deleted_endpoint_is_not_claimed(workspace, webhook):
    record(workspace)
    Endpoint.remove([webhook])

    assert claimed() == []


def test_what_a_websocket_is_owed_is_not_claimed(workspace, web_socket):
    record(workspace)

    assert (claimed(), states()) == ([], [("PENDING", "", 0)])


@pytest.mark.parametrize("state", ["DELIVERED", "EXHAUSTED", "CANCELLED", "SKIPPED"])
def test_what_has_ended_is_not_claimed(workspace, webhook, state):
    record(workspace)
    Delivery.objects.update(state=state, reason="by hand", due_at=None, settled_at=Now())

    assert claimed() == []


# --- leases and fences


def test_a_lease_that_ran_out_is_claimed_again_and_the_lost_attempt_is_recorded(workspace, webhook):
    record(workspace)
    (lost,) = claimed()
    lose_leases()

    assert [reap(), reap()] == [1, 0]
    (found,) = claimed()

    assert (found.delivery_id, found.number) == (lost.delivery_id, 2)
    assert found.lease_token != lost.lease_token
    assert (states(), attempts()) == ([("SENDING", "", 2)], [(1, None, "WORKER_LOST")])


def test_a_lease_that_stands_is_taken_from_nobody(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert (reap(), claimed()) == (0, [])
    assert settle([result(job, status_code=200)]) == 1
    assert (states(), attempts()) == ([("DELIVERED", "", 1)], [(1, 200, "")])


def test_a_result_that_comes_after_another_claim_is_refused(workspace, webhook):
    record(workspace)
    (late,) = claimed()
    lose_leases()
    reap()
    (current,) = claimed()

    assert settle([result(late, status_code=200)]) == 0
    assert (states(), attempts()) == ([("SENDING", "", 2)], [(1, None, "WORKER_LOST")])

    assert settle([result(current, status_code=200)]) == 1
    assert (states(), attempts()) == ([("DELIVERED", "", 2)], [(1, None, "WORKER_LOST"), (2, 200, "")])


def test_a_result_that_comes_after_its_lease_was_reaped_is_refused(workspace, webhook):
    record(workspace)
    (late,) = claimed()
    lose_leases()
    reap()

    assert settle([result(late, status_code=200)]) == 0
    assert (states(), attempts()) == ([("PENDING", "", 1)], [(1, None, "WORKER_LOST")])


def test_a_late_result_counts_as_long_as_its_lease_was_not_reaped(workspace, webhook):
    record(workspace)
    (job,) = claimed()
    lose_leases()

    assert settle([result(job, status_code=200)]) == 1
    assert (states(), attempts()) == ([("DELIVERED", "", 1)], [(1, 200, "")])


def test_a_token_that_was_never_given_out_settles_nothing(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert settle([result(job._replace(lease_token=uuid4()), status_code=200)]) == 0
    assert (states(), attempts()) == ([("SENDING", "", 1)], [])


def test_a_result_is_written_once(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert [settle([result(job, status_code=200)]), settle([result(job, "PENDING", retry_after_s=0)])] == [1, 0]
    assert (states(), attempts()) == ([("DELIVERED", "", 1)], [(1, 200, "")])


def test_a_batch_that_has_a_lease_twice_writes_one_attempt_of_its_number(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert settle([result(job, status_code=200), result(job, status_code=200)]) == 1
    assert attempts() == [(1, 200, "")]


def test_a_stale_result_does_not_hold_up_the_others(workspace, webhook):
    record(workspace, 3)
    first, stale, last = sorted(claimed(), key=lambda job: job.delivery_id)
    stale = stale._replace(lease_token=uuid4())

    assert settle([result(job, status_code=200) for job in (first, stale, last)]) == 2
    assert states() == [("DELIVERED", "", 1), ("SENDING", "", 1), ("DELIVERED", "", 1)]


# --- what a settlement writes


def test_a_success_is_settled_with_its_attempt(workspace, webhook):
    record(workspace)
    (job,) = claimed()
    started_at = timezone.now()

    settle(
        [
            Result(
                job,
                "DELIVERED",
                started_at=started_at,
                duration_ms=12.5,
                status_code=201,
                response_body="ok",
                cause="door",
            )
        ]
    )

    delivery, attempt = Delivery.objects.get(), Attempt.objects.values().get()
    assert (delivery.state, delivery.due_at, delivery.lease_token) == ("DELIVERED", None, None)
    assert delivery.settled_at >= started_at
    assert attempt == {
        "id": attempt["id"],
        "workspace_id": workspace.pk,
        "delivery_id": delivery.pk,
        "number": 1,
        "started_at": started_at,
        "duration_ms": 12.5,
        "status_code": 201,
        "error": "",
        "error_detail": "",
        "cause": "door",
        "response_body": "ok",
        "peer": "",
    }
    assert attempt["id"].version == 7


def test_a_failure_is_tried_again_after_its_wait(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    before = timezone.now()
    settle([result(job, "PENDING", retry_after_s=300, error="TIMEOUT", error_detail="The receiver did not answer.")])
    after = timezone.now()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.lease_token, delivery.settled_at) == ("PENDING", None, None)
    assert before <= delivery.due_at - timedelta(seconds=300) <= after
    assert (states(), attempts()) == ([("PENDING", "", 1)], [(1, None, "TIMEOUT")])


def test_the_last_failure_ends_the_delivery_with_a_reason(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    settle([result(job, "EXHAUSTED", reason="ATTEMPTS_EXHAUSTED", status_code=500, error="HTTP_STATUS")])

    assert (states(), attempts()) == ([("EXHAUSTED", "ATTEMPTS_EXHAUSTED", 1)], [(1, 500, "HTTP_STATUS")])


def test_attempt_and_state_are_written_together_or_not_at_all(workspace, webhook, monkeypatch):
    monkeypatch.setattr(partitions, "make_ahead", lambda: 0)
    record(workspace)
    (job,) = claimed()
    with connection.cursor() as cursor:
        for day in partitions.days():
            cursor.execute(f"DROP TABLE {partitions.name_of(day)}")

    with pytest.raises(partitions.NoPartition), transaction.atomic():
        settle([result(job._replace(ordering_key="a"), status_code=200)])  # which takes several statements

    assert (states(), attempts()) == ([("SENDING", "", 1)], [])


def test_a_claim_that_is_given_back_untried_is_undone(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert settle([Result(job, "PENDING", retry_after_s=0)]) == 1

    assert (states(), attempts()) == ([("PENDING", "", 0)], [])
    assert [job.number for job in claimed()] == [1]


# --- deleted endpoints


def test_what_is_owed_to_a_deleted_endpoint_is_cancelled_with_a_reason(workspace, webhook, web_socket):
    remaining = make_webhook(workspace, "Remaining")
    record(workspace, 2)
    Endpoint.remove([webhook, web_socket])

    assert [cancel_deleted(within_s=60), cancel_deleted(within_s=60)] == [4, 0]

    owed = Delivery.objects.order_by("endpoint", "seq").values_list("endpoint", "state", "reason")
    assert sorted(owed) == sorted(
        [(endpoint.pk, "CANCELLED", "ENDPOINT_DELETED") for endpoint in (webhook, web_socket)] * 2
        + [(remaining.pk, "PENDING", "")] * 2
    )


def test_much_that_is_owed_to_a_deleted_endpoint_is_cancelled_in_parts(workspace, webhook, monkeypatch):
    """Others have their turn between these."""
    monkeypatch.setattr(upkeep, "MOST_CANCELLED", 2)
    record(workspace, 5)
    Endpoint.remove([webhook])

    assert [cancel_deleted(within_s=60) for _ in range(4)] == [2, 2, 1, 0]


def test_what_a_deleted_endpoint_was_owed_never_goes_to_one_that_takes_its_place(workspace, webhook):
    record(workspace, 3)
    Endpoint.remove([webhook])
    successor = Endpoint.create_webhook(workspace_id=workspace.pk, name=webhook.name, url=webhook.url)
    cancel_deleted(within_s=60)

    assert claimed() == []
    assert not Delivery.objects.filter(endpoint=successor).exists()
    assert states() == [("CANCELLED", "ENDPOINT_DELETED", 0)] * 3


def test_what_is_being_sent_when_its_endpoint_is_deleted_is_left_to_its_worker(workspace, webhook):
    record(workspace)
    (job,) = claimed()
    Endpoint.remove([webhook])

    assert cancel_deleted(within_s=60) == 0
    assert settle([result(job, status_code=200)]) == 1
    assert states() == [("DELIVERED", "", 1)]


def test_what_a_dead_worker_was_sending_to_a_deleted_endpoint_is_cancelled(workspace, webhook):
    record(workspace)
    (job,) = claimed()
    Endpoint.remove([webhook])
    lose_leases()

    reap()
    assert cancel_deleted(within_s=60) == 1
    assert settle([result(job, status_code=200)]) == 0
    assert states() == [("CANCELLED", "ENDPOINT_DELETED", 1)]


def test_old_deletions_are_looked_at_only_when_asked(workspace, webhook):
    record(workspace)
    Endpoint.remove([webhook])
    Endpoint.objects.update(deleted_at=Now() - timedelta(hours=2))

    assert [cancel_deleted(within_s=3600), cancel_deleted(within_s=1e9)] == [0, 1]


# --- several workers


@committed
def test_a_claim_steps_over_the_lanes_that_another_is_claiming_from(workspace, webhook):
    record(workspace)
    other = make_webhook(workspace, "Other")
    record(workspace)

    def impatiently():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            return [job.target.endpoint_id for job in claimed()]

    with transaction.atomic():
        mine = [job.target.endpoint_id for job in claimed(rooms={other.pk: 0})]
        (theirs,) = together(impatiently)

    assert (mine, theirs) == ([webhook.pk] * 2, [other.pk])


@committed
def test_workers_that_claim_at_once_never_claim_the_same_row(workspace, webhook):
    others = [make_webhook(workspace, f"Other {n}") for n in range(4)]
    record(workspace, 60)

    def claim_until_empty():
        jobs = []
        while Delivery.objects.filter(state="PENDING").exists():
            jobs += claimed(limit=7, per_endpoint=3)
        return jobs

    jobs = sum(together(*[claim_until_empty] * 8), [])

    assert len(jobs) == len({job.delivery_id for job in jobs}) == 60 * (1 + len(others))
    assert {job.number for job in jobs} == {1}


@committed
def test_of_two_results_for_one_lease_one_counts(workspace, webhook):
    record(workspace, 20)
    jobs = claimed()

    written = together(*[partial(settle, [result(job, status_code=200) for job in jobs])] * 4)

    assert sorted(written) == [0, 0, 0, 20]
    assert (states(), attempts()) == ([("DELIVERED", "", 1)] * 20, [(1, 200, "")] * 20)


@committed
def test_what_a_worker_claimed_is_lost_to_nobody_while_results_and_claims_cross(workspace, webhook):
    record(workspace, 40)

    def work():
        while Delivery.objects.exclude(state="DELIVERED").exists():
            settle([result(job, status_code=200) for job in claimed(limit=3)])

    together(*[work] * 6)

    assert (states(), attempts()) == ([("DELIVERED", "", 1)] * 40, [(1, 200, "")] * 40)

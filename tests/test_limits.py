"""What holds a claim back: caps, rates, the breaker. Time passes by the times of the lane being set back."""

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from endpoints.models import Endpoint
from routing.models import Delivery, Lane
from routing.queue import Result, claim, reap, settle
from routing.queue.claim import ENDPOINT_IN_FLIGHT
from routing.queue.settle import BREAKER_ATTEMPTS, BREAKER_LONGEST_S, BREAKER_PAUSE_S
from tests.together import together
from tests.traffic import record

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


def claimed(limit=400, per_endpoint=400, rooms=None):
    return claim(limit=limit, per_endpoint=per_endpoint, rooms=rooms or {})


def fail(jobs, error="HTTP_STATUS"):
    now = timezone.now()
    settle([Result(job, "PENDING", retry_after_s=0, started_at=now, duration_ms=1, error=error) for job in jobs])


def succeed(jobs):
    now = timezone.now()
    settle([Result(job, "DELIVERED", started_at=now, duration_ms=1, status_code=200) for job in jobs])


def passes(seconds):
    by = timedelta(seconds=seconds)
    times = (
        "ready_at",
        "paused_until",
        "tokens_at",
        "window_started_at",
        "opened_at",
        "failing_since",
        "last_failed_at",
    )
    Lane.objects.update(**{name: F(name) - by for name in times})


def change(endpoint, **settings):
    endpoint.change(**settings)


# --- caps


def test_an_endpoint_has_no_more_on_its_way_than_it_may(workspace, webhook):
    change(webhook, max_in_flight=3)
    record(workspace, 10)

    first, second = claimed(), claimed()
    succeed(first[:1])

    assert (len(first), len(second), len(claimed())) == (3, 0, 1)


def test_an_endpoint_that_does_not_say_has_a_hundred(workspace, webhook):
    record(workspace, ENDPOINT_IN_FLIGHT + 1)

    assert len(claimed()) == ENDPOINT_IN_FLIGHT


def test_what_a_lost_worker_had_on_its_way_gives_its_room_back(workspace, webhook):
    change(webhook, max_in_flight=3)
    record(workspace, 10)
    claimed()
    Delivery.objects.filter(state="SENDING").update(due_at=timezone.now() - timedelta(seconds=1))
    reap()

    assert (Lane.objects.get().in_flight, len(claimed())) == (0, 3)


def test_the_endpoints_of_a_workspace_share_its_room_and_others_have_their_own(
    workspace, foreign_workspace, foreign, monkeypatch
):
    monkeypatch.setitem(claim.__globals__, "WORKSPACE_IN_FLIGHT", 6)
    for n in range(3):
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"{n}", url="https://example.com/")
    record(workspace, 10)
    record(foreign_workspace, 10)

    jobs = claimed()

    of_endpoints = [
        sum(job.target.endpoint_id == id_ for job in jobs) for id_ in {job.target.endpoint_id for job in jobs}
    ]
    assert sorted(of_endpoints) == [2, 2, 2, 6]
    assert claimed() == []


# --- the rate


@pytest.mark.parametrize(("count", "often", "at_most"), [(1, 10, 1), (10, 10, 10), (100, 3, 103)])
def test_no_more_than_its_rate_goes_to_an_endpoint_in_any_period(workspace, webhook, count, often, at_most):
    """Claims come so `often` for one that is allowed; each day that begins in the first of two is looked at."""
    day_s = 86_400
    change(webhook, rate_limit={"count": count, "period_seconds": day_s})
    record(workspace, 3 * count)
    passes(2 * day_s)
    taken = []
    for _ in range(2 * often * count):
        passes(day_s / count / often)
        jobs = claimed()
        taken.append(len(jobs))
        succeed(jobs)

    assert max(sum(taken[start : start + often * count]) for start in range(often * count + 1)) <= at_most
    assert sum(taken) >= 2 * count - 1


def test_after_a_rest_an_endpoint_gets_no_burst(workspace, webhook):
    change(webhook, rate_limit={"count": 100, "period_seconds": 1})
    passes(3600)
    record(workspace, 50)

    assert len(claimed()) == 4


def test_what_was_claimed_and_not_tried_does_not_count(workspace, webhook):
    change(webhook, rate_limit={"count": 1, "period_seconds": 60})
    passes(60)
    record(workspace, 2)
    settle([Result(job, "PENDING", retry_after_s=0) for job in claimed()])
    Lane.objects.update(ready_at=F("tokens_at"))

    assert len(claimed()) == 1


def test_an_endpoint_does_not_wait_for_a_rate_that_it_no_longer_has(workspace, webhook):
    change(webhook, rate_limit={"count": 1, "period_seconds": 86_400})
    passes(86_400)
    record(workspace, 10)
    assert (len(claimed()), len(claimed())) == (1, 0)

    change(webhook, rate_limit={"count": 100, "period_seconds": 1})
    passes(1)
    faster = len(claimed())
    change(webhook, rate_limit=None)

    assert (faster, len(claimed())) == (4, 5)


def test_a_change_of_rate_closes_no_breaker(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS + 1)
    fail(claimed(limit=BREAKER_ATTEMPTS))

    change(webhook, rate_limit={"count": 100, "period_seconds": 1})

    assert claimed() == []


@committed
def test_a_rate_holds_for_all_workers_together(workspace, webhook):
    change(webhook, rate_limit={"count": 1000, "period_seconds": 60})
    record(workspace, 300)
    passes(60)

    def work():
        return sum(len(claimed()) for _ in range(20))

    assert 31 <= sum(together(*[work] * 4)) < 31 + 1000 / 6  # what 10 s bring: no claim takes that long


# --- the breaker


def lane():
    return Lane.objects.get()


def test_an_endpoint_that_fails_ten_times_is_left_alone_for_a_while(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS + 5)
    fail(claimed(limit=BREAKER_ATTEMPTS - 1))
    before = lane().opened_at
    fail(claimed(limit=1))

    assert (before, claimed()) == (None, [])
    assert (lane().ready_at - lane().opened_at) / timedelta(seconds=1) == pytest.approx(BREAKER_PAUSE_S, abs=1)
    assert Delivery.objects.filter(state="PENDING").count() == BREAKER_ATTEMPTS + 5


def test_an_endpoint_most_of_whose_attempts_go_well_is_not_left_alone(workspace, webhook):
    record(workspace, 20)
    jobs = claimed()
    succeed(jobs[:11])
    fail(jobs[11:])

    assert lane().opened_at is None


def test_failures_of_another_time_do_not_count(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS)
    fail(claimed(limit=BREAKER_ATTEMPTS - 1))
    passes(61)
    fail(claimed(limit=1))

    assert lane().opened_at is None


def test_one_probe_at_a_time_is_sent_and_each_that_fails_doubles_the_wait(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS + 20)
    fail(claimed(limit=BREAKER_ATTEMPTS))
    waits = []
    for _ in range(7):
        passes(BREAKER_LONGEST_S)
        probe = claimed()
        assert (len(probe), claimed()) == (1, [])
        at = timezone.now()
        fail(probe)
        waits.append(round((lane().ready_at - at) / timedelta(seconds=1)))

    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_a_probe_that_is_lost_with_its_worker_is_followed_by_another(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS + 5)
    fail(claimed(limit=BREAKER_ATTEMPTS))
    passes(BREAKER_LONGEST_S)
    assert len(claimed()) == 1
    Delivery.objects.filter(state="SENDING").update(due_at=timezone.now() - timedelta(seconds=1))
    reap()

    assert len(claimed()) == 1


def test_what_was_claimed_before_the_breaker_opened_neither_closes_nor_holds_it(workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS + 5)
    early = claimed(limit=2)
    fail(claimed(limit=BREAKER_ATTEMPTS))
    opened = lane()
    succeed(early[:1])
    fail(early[1:])

    now = lane()
    assert (now.opened_at, now.openings, now.ready_at) == (opened.opened_at, 1, opened.ready_at)


def test_an_endpoint_that_comes_back_gets_its_backlog_little_by_little(workspace, webhook):
    record(workspace, 200)
    fail(claimed(limit=BREAKER_ATTEMPTS))
    passes(BREAKER_LONGEST_S)
    taken = []
    for _ in range(6):
        jobs = claimed()
        taken.append(len(jobs))
        succeed(jobs)

    assert taken == [1, 1, 2, 4, 8, ENDPOINT_IN_FLIGHT]
    assert lane().openings == 0


def test_an_endpoint_that_comes_back_gets_no_more_than_its_rate(workspace, webhook):
    change(webhook, rate_limit={"count": 60, "period_seconds": 60})
    record(workspace, 200)
    Lane.objects.update(opened_at=timezone.now(), openings=3)
    passes(3600)
    taken, started = [], time.monotonic()
    for _ in range(30):
        passes(1)
        jobs = claimed()
        taken.append(len(jobs))
        succeed(jobs)

    assert set(taken) == {1, 2} or set(taken) == {1}
    assert sum(taken) <= 32 + (time.monotonic() - started)  # one more for each second that this itself took


# --- evidence


@pytest.mark.parametrize("error", ["INTERNAL", "SECRET_UNREADABLE"])
def test_a_fault_of_the_service_is_no_evidence_against_an_endpoint(workspace, webhook, error):
    record(workspace, BREAKER_ATTEMPTS)
    fail(claimed(), error=error)

    assert (lane().failing_since, lane().last_failed_at) == (None, None)
    assert lane().opened_at is not None  # and yet it is not tried over and over


def test_a_failure_is_evidence(workspace, webhook):
    record(workspace)
    fail(claimed())

    assert lane().failing_since is not None
    assert lane().last_failed_at is not None


def test_a_worker_that_was_lost_is_no_evidence(workspace, webhook):
    record(workspace)
    claimed()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_delivery SET due_at = now() - interval '1 second'")
    reap()

    assert lane().failing_since is None

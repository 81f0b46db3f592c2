"""What is counted as it happens, and read over months at the price of an hour."""

from datetime import timedelta
from itertools import islice
from time import perf_counter

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from endpoints.models import Endpoint
from routing.cancelling import cancel
from routing.models import Attempt, Count, Delivery, Event, Rollup
from routing.queue import claim, settle
from routing.queue.jobs import Result
from routing.repeats import retry
from routing.rollups import forget, roll_up
from routing.sockets.settling import Report, adopt
from routing.sockets.settling import settle as settle_sockets
from tests.traffic import of, record


def sums(period, **whose):
    rows = Rollup.objects.filter(period=period, **{"workspace": None, "endpoint": None, **whose})
    return dict(rows.values_list("name").annotate(Sum("count")).order_by())


def counted(**whose):
    """What the tables themselves hold, as the roll-ups should have it."""
    deliveries = Delivery.objects.filter(**whose)
    found = {"OWED": deliveries.count(), "ATTEMPTS": Attempt.objects.filter(delivery__in=deliveries).count()}
    for state in ("DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED"):
        found[state] = deliveries.filter(state=state).count()
    for error in Attempt.objects.filter(delivery__in=deliveries).exclude(error="").values_list("error", flat=True):
        found[f"FAILED {error}"] = found.get(f"FAILED {error}", 0) + 1
    return {name: count for name, count in found.items() if count}


def without_buckets(found):
    return {name: count for name, count in found.items() if not name.startswith(("LATENCY", "DURATION", "EVENTS"))}


def send(outcomes):
    """Settle what is claimed, in turn, with (state, error, status code)."""
    for job, (state, error) in zip(
        claim(limit=len(outcomes), per_endpoint=len(outcomes), rooms={}), outcomes, strict=True
    ):
        settle([Result(job, state=state, reason=error, error=error, started_at=timezone.now(), duration_ms=5.0)])


@pytest.fixture
def traffic(workspace, webhook, web_socket):
    """Deliveries that came to every end there is."""
    disabled = Endpoint.create_webhook(workspace_id=workspace.pk, name="d", url="https://example.com/")
    Endpoint.change_state([disabled], Endpoint.State.DISABLED, reason="test")
    record(workspace, 6)
    send([("DELIVERED", ""), ("DELIVERED", ""), ("EXHAUSTED", "STATUS"), ("PENDING", "TIMEOUT")])
    cancel(list(of(webhook, state="PENDING", attempts_made=0)))
    retry(list(of(webhook, state="EXHAUSTED")))
    read = of(web_socket).first()
    settle_sockets([Report([read.pk], timezone.now(), 3.0, "peer")])
    return workspace


@pytest.mark.parametrize("period", Rollup.KEPT_DAYS)
def test_what_was_counted_is_what_there_is(traffic, webhook, web_socket, period):
    roll_up()
    for endpoint in (webhook, web_socket):
        found = sums(period, workspace=traffic, endpoint=endpoint)
        assert without_buckets(found) == counted(endpoint=endpoint)
    assert without_buckets(sums(period, workspace=traffic)) == counted(workspace=traffic)
    assert sums(period) == sums(period, workspace=traffic)
    assert sums(period)["EVENTS"] == Event.objects.count() == 6


def test_every_delivered_one_has_its_latency_and_every_timed_attempt_its_duration(traffic):
    roll_up()
    found = sums("DAY")
    latencies = {name: count for name, count in found.items() if name.startswith("LATENCY")}
    assert sum(latencies.values()) == found["DELIVERED"] == 3
    assert {name: count for name, count in found.items() if name.startswith("DURATION")} == {
        "DURATION 4": 4,  # 4 to 5.7 ms
        "DURATION 3": 1,  # 2.8 to 4 ms
    }


def test_it_is_rolled_up_once_however_often_and_in_whatever_shares(traffic, monkeypatch):
    monkeypatch.setattr("routing.rollups.AT_ONCE", 3)
    while roll_up():
        pass
    assert without_buckets(sums("HOUR")) == counted()
    assert not Count.objects.exists()


def test_what_is_rolled_back_is_not_counted(workspace, webhook):
    with transaction.atomic():
        record(workspace)
        transaction.set_rollback(True)
    assert not Count.objects.exists()


def test_a_claim_counts_nothing(workspace, webhook):
    record(workspace)
    before = Count.objects.count()
    assert len(claim(limit=1, per_endpoint=1, rooms={})) == 1
    assert Count.objects.count() == before


@pytest.mark.parametrize(("ms", "bucket"), [(0, 0), (1, 0), (1.4, 0), (1.42, 1), (2, 2), (1024, 20), (1e12, 60)])
def test_a_bucket_is_half_a_power_of_two(db, ms, bucket):
    with connection.cursor() as cursor:
        cursor.execute("SELECT routing_bucket(%s)", [ms])
        assert cursor.fetchone()[0] == bucket


def test_an_attempt_that_has_no_duration_counts_as_none(web_socket, workspace):
    record(workspace, 1)
    adopt(web_socket.pk, 0, 1, "peer")
    roll_up()
    assert sums("DAY")["ATTEMPTS"] == 1
    assert not [name for name in sums("DAY") if name.startswith("DURATION")]


def test_what_is_old_is_forgotten_each_period_in_its_time(workspace):
    now = timezone.now()
    ages = {"MINUTE": 0.1, "TEN_MINUTES": 1.9, "HOUR": 31.9, "DAY": 799}
    for period, days in ages.items():
        for age in (timedelta(days=days), timedelta(days=days + 2)):
            Rollup.objects.create(workspace=workspace, period=period, at=now - age, name="OWED", count=1)
    assert forget() == 4
    assert set(Rollup.objects.values_list("period", flat=True)) == set(ages)


def test_hundreds_at_once_cost_no_pairs_where_a_session_began_with_one(workspace, web_socket):
    """What a row costs is about the same in a statement ten times as long; pairs of rows make it ten times as much."""
    few, many, times = 400, 4_000, 3
    record(workspace, 1 + times * (few + many))
    ids = iter(list(of(web_socket).values_list("pk", flat=True)))

    def seconds(size):
        chosen = list(islice(ids, size))
        begun = perf_counter()
        settle_sockets([Report(chosen, timezone.now(), 3.0, "peer")])
        return perf_counter() - begun

    with connection.cursor() as cursor:
        cursor.execute("DISCARD PLANS")  # as in a new session, whose plans are made for the first statement
    seconds(1)
    assert min(seconds(many) for _ in range(times)) < 16 * min(seconds(few) for _ in range(times))

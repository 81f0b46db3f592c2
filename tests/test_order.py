"""Order by key, where an endpoint asks for it: one of a key at a time, whatever becomes of those before."""

from datetime import timedelta
from functools import partial

import pytest
from django.db.models import F
from django.utils import timezone

from endpoints.models import Endpoint
from routing import order
from routing.cancelling import cancel
from routing.models import Delivery, Event
from routing.queue import Result, claim, reap, settle
from routing.queue.upkeep import MAX_LOSSES
from routing.submissions import Submission, check
from tests.together import together
from tests.traffic import conservation

BLOCK, SKIP = Endpoint.Ordering.FIFO_BLOCK, Endpoint.Ordering.FIFO_SKIP
committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


@pytest.fixture
def fifo(webhook):
    """Let the endpoint keep order; a key that fails blocks itself, unless it is to skip."""

    def ordering(choice=BLOCK):
        webhook.change(ordering=choice)
        return webhook

    return ordering


def record(workspace, *names):
    """Record an event for each name: "a1" has the key a, "1" has none."""
    Event.record_all(
        [
            check(Submission(type="t", subject=name, ordering_key=name.rstrip("0123456789") or None), workspace.pk)
            for name in names
        ]
    )


def claimed(limit=100):
    return claim(limit=limit, per_endpoint=100, rooms={})


def names(jobs):
    return [job.subject for job in jobs]


def finish(jobs, state="DELIVERED", **fields):
    now = timezone.now()
    settle([Result(job, state, started_at=now, duration_ms=1, **fields) for job in jobs])


def fail(jobs, wait_s=0):
    finish(jobs, "PENDING", retry_after_s=wait_s, error="HTTP_STATUS")


def lose_leases():
    Delivery.objects.filter(state="SENDING").update(due_at=timezone.now() - timedelta(seconds=1))
    return reap()


def test_of_each_key_one_is_sent_at_a_time_and_what_has_no_key_at_once(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2", "b1", "1", "a3", "2", "b2")

    first = claimed()
    finish([job for job in first if job.subject == "a1"])
    second = claimed()
    finish(second)

    assert (sorted(names(first)), names(second), names(claimed())) == (["1", "2", "a1", "b1"], ["a2"], ["a3"])


def test_an_endpoint_that_does_not_ask_for_order_gets_all_at_once(workspace, webhook):
    record(workspace, "a1", "a2", "a3")

    assert names(claimed()) == ["a1", "a2", "a3"]


@pytest.mark.parametrize(("choice", "goes"), [(BLOCK, []), (SKIP, ["a2"])])
def test_what_failed_holds_up_its_own_key_or_lets_the_next_go(workspace, fifo, choice, goes):
    fifo(choice)
    record(workspace, "a1", "a2", "b1", "b2")
    jobs = claimed()
    fail([job for job in jobs if job.subject == "a1"], wait_s=60)
    finish([job for job in jobs if job.subject == "b1"])

    assert names(claimed()) == [*goes, "b2"]


@pytest.mark.parametrize("choice", [BLOCK, SKIP])
def test_what_failed_for_good_lets_the_next_go(workspace, fifo, choice):
    fifo(choice)
    record(workspace, "a1", "a2")
    finish(claimed(), "EXHAUSTED", reason="ATTEMPTS_EXHAUSTED", error="HTTP_STATUS")

    assert names(claimed()) == ["a2"]


def test_a_blocked_key_goes_on_where_it_stood(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2", "a3")
    sent = []
    for _ in range(3):
        jobs = claimed()
        sent += names(jobs)
        fail(jobs)
        jobs = claimed()
        sent += names(jobs)
        finish(jobs)

    assert sent == ["a1", "a1", "a2", "a2", "a3", "a3"]


def test_what_comes_while_its_key_is_on_its_way_waits(workspace, fifo):
    fifo()
    record(workspace, "a1")
    jobs = claimed()
    record(workspace, "a2")

    waiting = claimed()
    finish(jobs)

    assert (waiting, names(claimed())) == ([], ["a2"])


def test_what_comes_after_its_key_has_ended_goes_at_once(workspace, fifo):
    fifo()
    record(workspace, "a1")
    finish(claimed())
    record(workspace, "a2")

    assert names(claimed()) == ["a2"]


def test_what_a_lost_worker_was_sending_stays_first(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2")
    late = claimed()
    assert lose_leases() == 1

    jobs = claimed()
    stale = settle([Result(job, "DELIVERED", started_at=timezone.now(), duration_ms=1) for job in late])
    meanwhile = claimed()
    finish(jobs)

    assert (names(jobs), stale, meanwhile, names(claimed())) == (["a1"], 0, [], ["a2"])


def test_what_ends_every_worker_lets_the_next_go_once_it_is_given_up(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2")
    for _ in range(MAX_LOSSES):
        assert names(claimed()) == ["a1"]
        lose_leases()

    assert names(claimed()) == ["a2"]


def test_what_was_claimed_and_not_tried_stays_first(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2")
    settle([Result(job, "PENDING", retry_after_s=0) for job in claimed()])

    assert names(claimed()) == ["a1"]


def test_what_is_cancelled_lets_the_next_go(workspace, fifo):
    fifo()
    record(workspace, "a1", "a2", "a3")
    cancel(list(Delivery.objects.order_by("seq")[:2]))

    assert names(claimed()) == ["a3"]


def test_what_waited_goes_when_the_endpoint_gives_order_up(workspace, fifo):
    endpoint = fifo()
    record(workspace, "a1", "a2", "a3")
    endpoint.change(ordering=None)
    order.let_forgotten_go()

    assert names(claimed()) == ["a1", "a2", "a3"]


def test_what_was_forgotten_is_found_again_and_nothing_else_goes(workspace, fifo):
    """As if somebody had ended the first by hand."""
    fifo()
    record(workspace, "a1", "a2", "a3", "b1", "b2")
    Delivery.objects.filter(event__subject="a1").update(
        state="CANCELLED", reason="by hand", due_at=None, settled_at=timezone.now()
    )

    assert order.let_forgotten_go() == 1
    assert sorted(names(claimed())) == ["a2", "b1"]


@committed
@pytest.mark.parametrize("choice", [BLOCK, SKIP])
def test_no_key_is_overtaken_or_forgotten_when_all_cross(workspace, fifo, choice):
    """Workers deliver, fail and get lost while events are recorded: what of a key is delivered comes in its order."""
    endpoint = fifo(choice)
    delivered = []

    def publish():
        for n in range(25):
            record(workspace, f"a{n}", f"b{n}", f"c{n}")

    def work(fault):
        for turn in range(10_000):
            jobs = claimed(limit=2)
            if not jobs and turn > 50 and not Delivery.objects.exclude(state="DELIVERED").exists():
                return
            if turn % 5 == 3:
                fault(jobs)
                continue
            finish(jobs)
            delivered.extend(jobs)

    def lose(jobs):
        ids = [job.delivery_id for job in jobs]
        Delivery.objects.filter(pk__in=ids, state="SENDING").update(due_at=F("creation_date"))
        reap()

    together(publish, partial(work, fail), partial(work, lose), partial(work, fail))

    assert conservation(endpoint) == (75, 75, 0, 0, 0, 0)
    if choice == BLOCK:
        for key in "abc":
            seqs = Delivery.objects.filter(ordering_key=key).order_by("settled_at").values_list("seq", flat=True)
            assert list(seqs) == sorted(seqs)

"""Endpoints that do nothing but fail: warned of, disabled, and told of when they have recovered."""

from datetime import timedelta

import msgspec
import pytest
from django.db import connection, transaction
from django.utils import timezone

from endpoints.models import Endpoint, EventFilter
from routing import health
from routing.models import Delivery, Event, Lane
from routing.queue import Result, claim, settle
from routing.submissions import Submission, check
from tests.together import together

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
DAY = timedelta(days=1)


@pytest.fixture
def operator(workspace):
    """An ordinary endpoint that wants to know of the others."""
    endpoint = Endpoint.create_web_socket(workspace_id=workspace.pk, name="operator")
    pattern = {"pattern": {"source": ["event-service"]}}
    EventFilter.create(workspace_id=workspace.pk, name="health", definition=pattern, endpoints=[endpoint])
    return endpoint


def failing(endpoint, *, for_):
    """Let `endpoint` have failed for so long, and last just now."""
    now = timezone.now()
    Lane.objects.filter(pk=endpoint.pk).update(failing_since=now - for_, last_failed_at=now)


def told():
    """What was told, in the order of events: type and percent."""
    return [
        (event.type, msgspec.json.decode(event.data)["percent"])
        for event in Event.objects.filter(source="event-service").order_by("pk")
    ]


def state(endpoint):
    endpoint.refresh_from_db()
    return endpoint.state, endpoint.state_reason


def attempt(workspace, *, error=""):
    """Publish an event and settle its delivery to the webhook with that result."""
    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    state = "EXHAUSTED" if error else "DELIVERED"
    settle([Result(job, state, "by hand", started_at=timezone.now(), duration_ms=1, error=error)])


def test_an_endpoint_that_fails_is_warned_of_and_then_disabled(webhook):
    for days in (2.4, 2.6, 3.4, 3.6, 4.4, 4.6, 4.9, 5):
        failing(webhook, for_=days * DAY)
        health.watch()

    assert told() == [
        ("endpoint.failing", 50),
        ("endpoint.failing", 70),
        ("endpoint.failing", 90),
        ("endpoint.disabled", 100),
    ]
    assert state(webhook) == ("DISABLED", "It did nothing but fail for 5 days.")


def test_each_warning_is_given_once(webhook):
    failing(webhook, for_=3 * DAY)

    assert [health.watch(), health.watch()] == [1, 0]


def test_an_endpoint_without_a_recent_failure_is_not_said_to_fail(webhook):
    failing(webhook, for_=DAY)
    Lane.objects.update(failing_since=timezone.now() - 9 * DAY, last_failed_at=timezone.now() - 8 * DAY)

    assert health.watch() == 0


def test_the_event_says_what_happened_to_which_endpoint(workspace, webhook, operator):
    failing(webhook, for_=5 * DAY)
    since = Lane.objects.get(pk=webhook.pk).failing_since

    health.watch()

    event = Event.objects.get()
    assert (event.type, event.source, event.subject) == ("endpoint.disabled", "event-service", str(webhook.pk))
    assert msgspec.json.decode(event.data) == {
        "endpointId": str(webhook.pk),
        "name": "MyHook",
        "url": "https://example.com/hook",
        "failingSince": since.isoformat(timespec="microseconds"),
        "percent": 100,
        "reason": "It did nothing but fail for 5 days.",
    }


def test_ordinary_endpoints_get_the_event_but_not_the_one_that_it_is_about(workspace, webhook, operator):
    failing(webhook, for_=3 * DAY)

    health.watch()

    assert list(Delivery.objects.values_list("endpoint", flat=True)) == [operator.pk]


def test_an_endpoint_that_was_warned_of_and_takes_a_request_has_recovered(workspace, webhook):
    failing(webhook, for_=3 * DAY)
    health.watch()

    attempt(workspace)
    health.watch()

    assert told() == [("endpoint.failing", 50), ("endpoint.recovered", 0)]
    assert health.watch() == 0


def test_one_that_fails_again_before_anybody_looked_has_recovered_too(workspace, webhook):
    failing(webhook, for_=3 * DAY)
    health.watch()

    attempt(workspace)
    attempt(workspace, error="TIMEOUT")
    health.watch()

    assert told() == [("endpoint.failing", 50), ("endpoint.recovered", 0)]


def test_a_success_without_a_warning_is_nothing_to_tell(workspace, webhook):
    attempt(workspace, error="TIMEOUT")
    attempt(workspace)

    assert health.watch() == 0


def test_failures_are_counted_from_the_first_since_the_last_success(workspace, webhook):
    failing(webhook, for_=4.99 * DAY)
    health.watch()

    attempt(workspace)
    attempt(workspace, error="TIMEOUT")
    lane = Lane.objects.get(pk=webhook.pk)
    assert timezone.now() - lane.failing_since < timedelta(seconds=10)

    attempt(workspace, error="TIMEOUT")
    assert Lane.objects.get(pk=webhook.pk).failing_since == lane.failing_since


def test_a_receiver_that_is_gone_is_disabled_with_its_reason(webhook):
    Lane.objects.filter(pk=webhook.pk).update(disable_reason="The receiver answered 410 Gone.")

    assert [health.watch(), health.watch()] == [1, 0]
    assert state(webhook) == ("DISABLED", "The receiver answered 410 Gone.")
    assert told() == [("endpoint.disabled", 0)]


@pytest.mark.parametrize("state", ["PAUSED", "DISABLED"])
def test_an_endpoint_that_gets_nothing_is_left_alone(webhook, state):
    failing(webhook, for_=6 * DAY)
    Endpoint.change_state([webhook], state, "by hand")

    assert health.watch() == 0


def test_a_deleted_endpoint_is_left_alone(webhook):
    failing(webhook, for_=6 * DAY)
    Endpoint.remove([webhook])

    assert health.watch() == 0


def test_what_one_workspace_is_told_no_other_gets(workspace, foreign, operator):
    failing(foreign, for_=5 * DAY)

    health.watch()

    assert Event.objects.get().workspace_id == foreign.workspace_id
    assert Delivery.objects.count() == 0


def test_a_producer_can_not_make_an_event_about_an_endpoint_pass_it_by(workspace, webhook):
    submission = Submission(type="endpoint.failing", source="event-service", subject=str(webhook.pk))

    Event.record_all([check(submission, workspace.pk)])

    assert Delivery.objects.get().endpoint_id == webhook.pk


# --- resuming


def test_an_endpoint_that_is_resumed_begins_again(graphql, webhook):
    failing(webhook, for_=6 * DAY)
    Lane.objects.update(
        opened_at=timezone.now(),
        openings=3,
        ready_at=timezone.now() + DAY,
        window_attempts=9,
        window_failures=9,
        disable_reason="The receiver answered 410 Gone.",
        in_flight=2,
    )
    health.watch()

    graphql(f'mutation {{ resumeEndpoints(ids: ["{webhook.pk}"]) {{ ok }} }}')

    lane = Lane.objects.get(pk=webhook.pk)
    assert health.watch() == 0
    assert state(webhook) == ("ACTIVE", "")
    assert (lane.failing_since, lane.last_failed_at, lane.warned_percent, lane.disable_reason) == (None, None, 0, "")
    assert (lane.opened_at, lane.openings, lane.window_attempts, lane.window_failures) == (None, 0, 0, 0)
    assert lane.ready_at <= timezone.now()
    assert lane.in_flight == 2


def test_one_that_is_active_is_resumed_from_an_open_breaker(graphql, webhook):
    Lane.objects.update(opened_at=timezone.now(), openings=3, ready_at=timezone.now() + DAY)

    graphql(f'mutation {{ resumeEndpoints(ids: ["{webhook.pk}"]) {{ ok }} }}')

    lane = Lane.objects.get(pk=webhook.pk)
    assert (lane.opened_at, lane.openings, lane.ready_at <= timezone.now()) == (None, 0, True)


def test_a_change_that_is_no_resumption_forgets_nothing(webhook):
    failing(webhook, for_=3 * DAY)

    webhook.change(name="Other")
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)

    assert Lane.objects.get(pk=webhook.pk).failing_since is not None


# --- several workers


@committed
def test_workers_that_look_at_once_tell_everything_once(workspace):
    endpoints = [
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"{n}", url="https://example.com/") for n in range(12)
    ]
    for endpoint in endpoints:
        failing(endpoint, for_=5 * DAY)

    counts = together(*[health.watch] * 6)

    assert health.watch() == 12 - sum(counts)
    assert told() == [("endpoint.disabled", 100)] * 12
    assert {state(endpoint)[0] for endpoint in endpoints} == {"DISABLED"}


@committed
def test_a_lane_in_use_is_left_for_the_next_look(workspace, webhook):
    failing(webhook, for_=5 * DAY)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM routing_lane FOR UPDATE")
        assert together(health.watch) == [0]

    assert health.watch() == 1


@committed
def test_state_and_event_are_written_together_or_not_at_all(webhook, monkeypatch):
    failing(webhook, for_=5 * DAY)
    monkeypatch.setattr(Event, "record_all", lambda events: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        health.watch()

    assert state(webhook) == ("ACTIVE", "")
    assert Lane.objects.get().warned_percent == 0

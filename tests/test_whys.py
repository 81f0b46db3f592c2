"""Why did my event go there, and why did it not?"""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.models import Endpoint, EventFilter, FilterLink
from routing import whys
from routing.models import Cursor, Delivery, Event, Lane, Rollup, Socket, SocketNode
from routing.repeats import retry
from routing.sockets.registry import Visitor, enter, leave, open_node
from routing.whys import why
from tests.together import together
from tests.traffic import attempt, end, of, record

PAID = {"pattern": {"type": ["order.paid"]}}
BIG = {"pattern": {"type": ["order.paid"], "data": {"total": [{"numeric": [">", 100]}]}}}


@pytest.fixture
def event(workspace):
    def recorded(**fields):
        (id_,) = record(workspace, **{"data": msgspec.Raw(b'{"total": 50}'), **fields})
        return Event.objects.get(pk=id_)

    return recorded


def link(endpoint, definition, name="Big orders"):
    return EventFilter.create(
        workspace_id=endpoint.workspace_id, name=name, definition=definition, endpoints=[endpoint]
    )


def long_ago(row):
    yesterday = Now() - timedelta(days=1)
    type(row).objects.filter(pk=row.pk).update(creation_date=yesterday, last_modified=yesterday)
    row.refresh_from_db()


def test_what_was_wanted_says_how_its_delivery_stands(webhook, event):
    link(webhook, PAID)
    recorded = event()
    end(of(webhook), attempts_made=3)

    found = why(recorded, webhook)

    assert (found.wanted, found.reason) == (
        True,
        f"It was wanted: delivery {of(webhook).get().pk} is EXHAUSTED (test) after 3 attempts.",
    )
    assert found.deliveries == list(of(webhook))


def test_what_no_filter_matched_says_which_condition_did_not_hold(webhook, event):
    kept = link(webhook, BIG)
    long_ago(kept)

    found = why(event(), webhook)

    assert (found.wanted, found.deliveries) == (False, [])
    assert found.reason == 'Its filter \'Big orders\' does not match: data.total is 50, not {"numeric": [">", 100]}.'
    ((of_filter),) = found.filters
    assert (of_filter.event_filter, of_filter.explanation.matched, of_filter.changed_since) == (kept, False, False)


def test_of_several_filters_each_is_explained(webhook, event):
    link(webhook, BIG)
    link(webhook, {"pattern": {"type": ["order.refunded"]}}, "Refunds")

    found = why(event(), webhook)

    assert found.reason == "None of its 2 filters matches."
    assert [each.explanation.reason for each in found.filters] == [
        'data.total is 50, not {"numeric": [">", 100]}.',
        'type is "order.paid", not "order.refunded".',
    ]


def test_an_endpoint_that_was_made_later_is_said_to_be(workspace, event):
    recorded = event()
    Event.objects.filter(pk=recorded.pk).update(creation_date=Now() - timedelta(hours=1))
    later = Endpoint.create_webhook(workspace_id=workspace.pk, name="Later", url="https://example.com/")

    assert why(Event.objects.get(), later).reason.endswith(", after the event was recorded.")


def test_a_filter_that_was_changed_since_is_said_to_be(webhook, event):
    kept = link(webhook, BIG)
    long_ago(webhook)
    recorded = event()
    Event.objects.filter(pk=recorded.pk).update(creation_date=Now() - timedelta(hours=1))
    kept.change(definition=PAID)

    found = why(Event.objects.get(), webhook)

    assert (
        found.reason
        == "Filter 'Big orders' matches it as it is now; it was changed or linked after the event was recorded."
    )
    assert found.filters[0].changed_since


def test_an_endpoint_without_filters_that_had_some_is_said_to_have(webhook, event):
    link(webhook, BIG)
    recorded = event()
    FilterLink.objects.all().delete()

    assert why(recorded, webhook).reason.startswith("No filter is linked to the endpoint now")


def test_an_endpoint_is_not_told_of_itself(webhook, event):
    recorded = event(source="event-service", subject=str(webhook.pk), type="endpoint.failing")
    Delivery.objects.all().delete()

    assert why(recorded, webhook).reason == "The event is about the endpoint itself, which is not told of it."


def test_what_an_open_breaker_holds_back_says_so(workspace, webhook, event, graphql):
    recorded = event()
    opened, ready = timezone.now(), timezone.now() + timedelta(minutes=8)
    Lane.objects.update(opened_at=opened, ready_at=ready)
    Rollup.objects.create(
        workspace=workspace,
        endpoint=webhook,
        period="MINUTE",
        at=opened.replace(second=0, microsecond=0),
        name="FAILED TIMEOUT",
        count=12,
    )
    query = "query($e: ID!, $d: ID!) { explainDelivery(eventId: $e, endpointId: $d) { reason lane { breaker } } }"

    found = graphql(query, e=str(recorded.pk), d=str(webhook.pk))["data"]["explainDelivery"]

    at, then = (f"{each:%Y-%m-%d %H:%M:%S} UTC" for each in (opened, ready))
    assert found["lane"] == {"breaker": "OPEN"}
    assert found["reason"] == (
        f"It was wanted: delivery {of(webhook).get().pk} is PENDING after 0 attempts. "
        f"The endpoint's breaker is open since {at}, as half or "
        "more of its attempts within a minute failed (in the last hour: 12 TIMEOUT). "
        f"One delivery is tried next at {then}, and the others follow once that succeeds."
    )


@pytest.mark.parametrize(
    ("error", "status_code", "named"), [("HTTP_STATUS", 503, "HTTP_STATUS 503"), ("TIMEOUT", None, "TIMEOUT")]
)
def test_what_failed_says_with_what_and_when_it_is_tried_next(webhook, event, error, status_code, named):
    recorded, then = event(), timezone.now() + timedelta(minutes=8)
    of(webhook).update(attempts_made=2, due_at=then)
    attempt(of(webhook).get(), 1, error="DNS_FAILED")
    last = attempt(of(webhook).get(), 2, error=error, status_code=status_code)

    assert why(recorded, webhook).reason.endswith(
        f"is PENDING after 2 attempts. The last attempt, at {last.started_at:%Y-%m-%d %H:%M:%S} UTC, failed: {named}. "
        f"It is tried next at {then:%Y-%m-%d %H:%M:%S} UTC."
    )


def test_of_very_many_deliveries_the_last_are_told(webhook, event, monkeypatch):
    monkeypatch.setattr(whys, "MOST_DELIVERIES", 2)
    recorded = event()
    for _ in range(2):
        end(of(webhook), "DELIVERED")
        retry(list(of(webhook, state="DELIVERED").order_by("-seq")[:1]))
    found = why(recorded, webhook)
    assert [delivery.seq for delivery in found.deliveries] == [2, 3]
    assert "is PENDING" in found.reason


def test_what_arrived_names_no_failure(webhook, event):
    recorded = event()
    end(of(webhook), "DELIVERED")
    attempt(of(webhook).get(), 1)

    assert why(recorded, webhook).reason.endswith("is DELIVERED (test) after 1 attempt.")


def test_one_attempt_is_one(webhook, event):
    recorded = event()
    of(webhook).update(attempts_made=1)
    assert why(recorded, webhook).reason.endswith("is PENDING after 1 attempt.")


@pytest.mark.parametrize(
    ("lane", "state", "said"),
    [
        ({"opened_at": Now(), "ready_at": Now()}, "ACTIVE", "One delivery at a time is tried now,"),
        ({"ready_at": Now() + timedelta(hours=1)}, "ACTIVE", "The endpoint gets nothing before"),
        ({"opened_at": Now(), "ready_at": Now()}, "PAUSED", "The endpoint is paused:"),
        ({}, "ACTIVE", ""),
    ],
)
def test_whatever_else_holds_it_back_is_said_too(webhook, event, lane, state, said):
    recorded = event()
    Endpoint.change_state([webhook], state)
    Lane.objects.update(**{"ready_at": Now(), **lane})
    webhook.refresh_from_db()

    reason = why(recorded, webhook).reason

    assert (said in reason, reason.endswith("attempts.")) == (True, said == "")


def test_what_waits_for_its_turn_says_so(workspace, webhook, event):
    Endpoint.objects.filter(pk=webhook.pk).update(ordering="FIFO_BLOCK")
    first, second = event(ordering_key="k"), event(ordering_key="k")

    assert why(first, webhook).reason.endswith("attempts.")
    assert "It waits for its turn" in why(second, webhook).reason


def test_what_waits_for_a_websocket_says_how_many_there_are_or_since_when_none_is(workspace, web_socket, event):
    recorded = event()
    assert why(recorded, web_socket).reason.endswith("It waits for a websocket: none is connected to the endpoint.")

    Cursor.objects.update(last_socket_left_at=datetime(2026, 11, 26, 22, 10, tzinfo=UTC))
    node = SocketNode.objects.create()
    Socket.objects.create(node=node, workspace=workspace, endpoint=web_socket, looks_on=True)
    said = "It waits for a websocket: none is connected to the endpoint since 2026-11-26 22:10:00 UTC."
    assert why(recorded, web_socket).reason.endswith(said)

    Socket.objects.create(node=node, workspace=workspace, endpoint=web_socket)
    assert "1 websocket is connected to the endpoint, and has not" in why(recorded, web_socket).reason


@pytest.mark.django_db(transaction=True)
def test_of_the_last_sockets_the_last_that_leaves_is_noted(workspace, web_socket):
    node = open_node()
    first, last, watcher = (enter(Visitor(web_socket, None, "", looks_on=n == 2), node).socket_id for n in range(3))

    leave(first)
    assert left_at(web_socket) is None
    leave(last)
    assert (noted := left_at(web_socket))
    leave(watcher)
    assert left_at(web_socket) == noted


@pytest.mark.django_db(transaction=True)
def test_of_two_that_leave_at_once_one_is_noted(workspace, web_socket):
    node = open_node()
    one, other = (enter(Visitor(web_socket, None, ""), node).socket_id for _ in range(2))

    with transaction.atomic():
        leave(one)
        together(lambda: leave(other))
        assert left_at(web_socket)


def left_at(endpoint):
    return Cursor.objects.get(pk=endpoint.pk).last_socket_left_at


# --- over GraphQL


def test_a_delivery_that_waits_says_what_it_waits_for_wherever_it_is_asked(graphql, webhook, web_socket, event):
    event()
    end(of(webhook))
    event()
    Lane.objects.update(opened_at=Now(), ready_at=Now())
    query = "{ events { collectionItems { deliveries { id state reason heldBack } } } }"

    told = [each for item in graphql(query)["data"]["events"]["collectionItems"] for each in item["deliveries"]]

    assert [(each["state"], each["reason"]) for each in told if not each["heldBack"]] == [("EXHAUSTED", "test")]
    waiting = [each for each in told if each["heldBack"]]
    assert len(waiting) == 3
    for each in waiting:
        row = Delivery.objects.get(pk=each["id"])
        assert why(row.event, row.endpoint).reason.endswith(f"attempts. {each['heldBack']}")


EXPLAIN_DELIVERY = """
query($event: ID!, $endpoint: ID!) {
  explainDelivery(eventId: $event, endpointId: $endpoint) {
    wanted reason deliveries { seq state }
    filters { eventFilter { name } changedSince explanation { matched reason conditions { at held found required } } }
  }
}
"""
EXPLAIN_FILTER = """
query($pattern: JSON, $id: ID, $event: JSON, $eventId: ID) {
  explainEventFilter(pattern: $pattern, id: $id, event: $event, eventId: $eventId) {
    matched reason conditions { at path wanted held found why required }
  }
}
"""


def test_one_query_says_why_an_event_did_not_reach_an_endpoint(graphql, webhook, event):
    long_ago(link(webhook, BIG))
    recorded = event()

    answer = graphql(EXPLAIN_DELIVERY, event=str(recorded.pk), endpoint=str(webhook.pk))

    said = 'data.total is 50, not {"numeric": [">", 100]}.'
    conditions = [
        {"at": "pattern.data.total", "held": False, "found": ["50"], "required": True},
        {"at": "pattern.type", "held": True, "found": ['"order.paid"'], "required": True},
    ]
    assert answer["data"]["explainDelivery"] == {
        "wanted": False,
        "reason": f"Its filter 'Big orders' does not match: {said}",
        "deliveries": [],
        "filters": [
            {
                "eventFilter": {"name": "Big orders"},
                "changedSince": False,
                "explanation": {"matched": False, "reason": said, "conditions": conditions},
            }
        ],
    }


def test_a_pattern_is_explained_on_an_event_that_is_not_stored(graphql):
    event = {"type": "order.paid", "data": {"total": 150}}

    answer = graphql(EXPLAIN_FILTER, pattern={"data": {"total": [{"numeric": [">", 100]}]}}, event=event)

    assert answer["data"]["explainEventFilter"] == {
        "matched": True,
        "reason": "All conditions hold.",
        "conditions": [
            {
                "at": "pattern.data.total",
                "path": "data.total",
                "wanted": [{"numeric": [">", 100]}],
                "held": True,
                "found": ["150"],
                "why": 'data.total is 150: {"numeric": [">", 100]} holds.',
                "required": True,
            }
        ],
    }


def test_a_kept_filter_is_explained_on_a_stored_event(graphql, webhook, event):
    kept = link(webhook, BIG)

    answer = graphql(EXPLAIN_FILTER, id=str(kept.pk), eventId=str(event().pk))

    assert answer["data"]["explainEventFilter"]["matched"] is False


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "pattern"),
        ({"pattern": {}}, "event"),
        ({"pattern": {}, "event": {}, "eventId": "00000000-0000-4000-8000-000000000000"}, "event"),
        ({"pattern": {}, "event": "a"}, "event"),
        ({"pattern": {}, "event": {"kind": "a"}}, "event"),
        ({"pattern": {"data": {"a": []}}, "event": {}}, "pattern.data.a"),
    ],
)
def test_what_can_not_be_explained_is_refused_by_name(graphql, given, field):
    (error,) = graphql(EXPLAIN_FILTER, **given)["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}

"""How many there are, of lists that may be long: exact where that costs nothing, else counted only so far."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from endpoints.models import Endpoint
from routing import counting, partitions
from routing.models import Delivery, Event
from routing.retention import prune
from routing.rollups import forget, roll_up
from tests.traffic import end, of, record

QUERY = "query($filters: %sFilters) { %s(filters: $filters) { totalCount totalCountIsExact } }"


def asked(graphql, name, **filters):
    one = {"events": "Event", "deliveries": "Delivery", "attempts": "Attempt"}[name]
    (found,) = graphql(QUERY % (one, name), filters=filters)["data"].values()
    return found["totalCount"], found["totalCountIsExact"]


@pytest.fixture
def few(monkeypatch):
    """As where more than two rows would be too many to count."""
    monkeypatch.setattr("endpoints.schema.collections.MOST_COUNTED", 2)


@pytest.fixture
def traffic(workspace, webhook, web_socket, foreign_workspace, foreign):
    record(workspace, 5)
    record(foreign_workspace, 3)
    return workspace


@pytest.mark.usefixtures("few", "traffic")
def test_all_events_and_deliveries_and_those_of_endpoints_are_known_exactly(graphql, webhook, web_socket, foreign):
    def counted():
        ids = [str(webhook.pk), str(foreign.pk)]
        yield asked(graphql, "events")
        yield asked(graphql, "deliveries")
        yield asked(graphql, "deliveries", endpointId={"exact": str(web_socket.pk).upper()})
        yield asked(graphql, "deliveries", endpointId={"in": ids})
        yield asked(graphql, "deliveries", endpointId={"exact": ids[0], "in": ids[1:]})

    assert list(counted()) == [(5, True), (10, True), (5, True), (5, True), (0, True)]
    roll_up()
    record(webhook.workspace, 2)
    assert list(counted()) == [(7, True), (14, True), (7, True), (7, True), (0, True)]


@pytest.mark.usefixtures("few", "traffic")
def test_how_many_are_in_a_state_is_known_exactly_of_endpoints_too(graphql, webhook, web_socket):
    def counted():
        of_webhook = {"exact": str(webhook.pk)}
        yield asked(graphql, "deliveries", state={"exact": "EXHAUSTED"})
        yield asked(graphql, "deliveries", state={"in": ["EXHAUSTED", "DELIVERED"]}, endpointId=of_webhook)
        yield asked(graphql, "deliveries", state={"in": ["EXHAUSTED"], "exact": "DELIVERED"})
        yield asked(graphql, "deliveries", state={"in": ["EXHAUSTED", "PENDING"]})
        yield asked(graphql, "deliveries", state={"exact": "SENDING"})
        yield asked(graphql, "deliveries", state={"exact": "PENDING"}, endpointId=of_webhook)

    of(webhook, seq=4).update(state="SENDING", lease_token=uuid4())
    end(of(webhook, seq__lte=3))
    end(of(web_socket, seq__lte=4), "DELIVERED")
    end(of(web_socket, seq=5))
    expected = [(4, True), (3, True), (0, True), (5, True), (1, True), (1, True)]
    assert list(counted()) == expected
    roll_up()
    assert list(counted()) == expected


@pytest.mark.usefixtures("traffic")
def test_what_was_pruned_is_not_counted_and_what_is_old_still_is(graphql, workspace, webhook, settings, monkeypatch):
    settings.KEEP_DAYS = 30
    monkeypatch.setattr(partitions, "older_than", lambda *_, **__: [])  # which a test's transaction can't drop
    roll_up()
    end(of(webhook))
    Endpoint.remove([webhook])
    list(prune(now=timezone.now() + timedelta(days=40)))
    assert Event.objects.filter(workspace=workspace).count() == 5  # what a websocket may still read keeps its event
    end(Delivery.objects.all())
    record(workspace, 4)
    list(prune(now=timezone.now() + timedelta(days=40)))
    forget()

    found = Event.objects.filter(workspace=workspace).count(), Delivery.objects.filter(workspace=workspace).count()

    assert found == (4, 4)
    for _ in range(2):
        assert (asked(graphql, "events"), asked(graphql, "deliveries")) == ((4, True), (4, True))
        assert asked(graphql, "deliveries", state={"exact": "EXHAUSTED"}) == (0, True)
        roll_up()


@pytest.mark.usefixtures("few", "traffic")
def test_of_what_only_counting_tells_no_more_is_counted_than_may_be(graphql):
    first = Event.objects.earliest("pk")
    assert asked(graphql, "events", type={"exact": "order.paid"}) == (2, False)
    assert asked(graphql, "events", id={"exact": str(first.pk)}) == (1, True)
    assert asked(graphql, "deliveries", state={"exact": "PENDING"}, reason={"exact": ""}) == (2, False)
    assert asked(graphql, "deliveries", eventId={"exact": str(first.pk)}) == (2, True)
    assert asked(graphql, "attempts") == (0, True)


@pytest.mark.usefixtures("few", "traffic")
def test_where_too_much_is_not_rolled_up_events_are_counted(graphql, monkeypatch):
    monkeypatch.setattr(counting, "MOST_COUNTS", 0)
    assert asked(graphql, "events") == (2, False)
    while roll_up():
        pass
    assert asked(graphql, "events") == (5, True)

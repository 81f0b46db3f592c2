"""How webhooks take what they are sent, as the API shows it."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from endpoints.models import Endpoint
from routing.models import Lane

LANES = "{ lanes { totalCount collectionItems { endpointId breaker inFlight failingSince warnedPercent } } }"


@pytest.mark.parametrize(
    ("opened", "in_flight", "ready_in", "breaker"),
    [(False, 5, 60, "CLOSED"), (True, 0, 60, "OPEN"), (True, 0, -1, "HALF_OPEN"), (True, 1, 60, "HALF_OPEN")],
)
def test_the_breaker_is_shown(graphql, webhook, opened, in_flight, ready_in, breaker):
    Lane.objects.update(
        opened_at=Now() if opened else None, in_flight=in_flight, ready_at=Now() + timedelta(seconds=ready_in)
    )

    (lane,) = graphql(LANES)["data"]["lanes"]["collectionItems"]

    assert lane == {
        "endpointId": str(webhook.pk),
        "breaker": breaker,
        "inFlight": in_flight,
        "failingSince": None,
        "warnedPercent": 0,
    }


def test_lanes_are_those_of_the_workspace(graphql, webhook, foreign, web_socket):
    gone = Endpoint.create_webhook(workspace_id=webhook.workspace_id, name="gone", url="https://example.com/")
    Endpoint.remove([gone])

    assert graphql(LANES)["data"]["lanes"]["totalCount"] == 1


def test_lanes_are_found_by_how_they_are(graphql, workspace, webhook):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="sound", url="https://example.com/")
    Lane.objects.filter(pk=webhook.pk).update(opened_at=Now())

    found = graphql("{ lanes(filters: {openedAt: {isnull: false}}) { collectionItems { endpointId } } }")

    assert found["data"]["lanes"]["collectionItems"] == [{"endpointId": str(webhook.pk)}]


def test_lanes_are_read_with_the_same_few_queries_however_many(graphql, workspace, django_assert_num_queries):
    for n in range(10):
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"{n}", url="https://example.com/")

    with django_assert_num_queries(2 + 4 + 2):  # the key, its workspace, and the page
        graphql(LANES)

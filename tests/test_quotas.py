"""How much a workspace may have, and where that can be seen."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date

import pytest
import requests
from django.urls import reverse

from endpoints.models import Endpoint, EventFilter, Workspace
from endpoints.models.quotas import OverQuota
from routing.models import DailyEvents, Delivery, Event
from tests.together import together
from tests.web import closed, running

EVENTS = "/event-service/events"
ALL = "{ workspace { quotas { eventsPerDay { ...Q } endpoints { ...Q } eventFilters { ...Q } sockets { ...Q } } } }"
ALL += " fragment Q on QuotaOutput { limit used }"


def allow(workspace, **quotas):
    Workspace.objects.filter(pk=workspace.pk).update(**quotas)


def web_socket(workspace):
    return Endpoint.create_web_socket(workspace_id=workspace.pk, name="n")


def event_filter(workspace):
    return EventFilter.create(workspace_id=workspace.pk, name="n", definition={"pattern": {}})


def webhook(workspace):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="n", url="https://example.com/")


MADE = [
    (web_socket, "max_endpoints", "endpoints", Endpoint),
    (webhook, "max_endpoints", "endpoints", Endpoint),
    (event_filter, "max_event_filters", "event filters", EventFilter),
]


@pytest.mark.parametrize(("make", "quota", "what", "rows"), MADE)
def test_a_workspace_has_as_many_as_it_may(workspace, foreign_workspace, make, quota, what, rows):
    allow(workspace, **{quota: 2})
    make(foreign_workspace)
    make(workspace)
    make(workspace)
    with pytest.raises(OverQuota, match=f"This workspace has 2 {what}; at most 2 are allowed."):
        make(workspace)
    assert rows.objects.filter(workspace=workspace).count() == 2


@pytest.mark.parametrize(("make", "quota", "what", "rows"), MADE)
def test_what_is_deleted_makes_room_and_what_is_there_may_change(workspace, make, quota, what, rows):
    allow(workspace, **{quota: 1})
    made = make(workspace)
    made.change(name="m")
    rows.remove([made])
    make(workspace)


def test_the_installation_has_quotas_for_workspaces_without_and_0_is_no_limit(workspace, settings):
    settings.QUOTAS = {**settings.QUOTAS, "max_endpoints": 1}
    web_socket(workspace)
    with pytest.raises(OverQuota):
        web_socket(workspace)
    allow(workspace, max_endpoints=2)
    web_socket(workspace)
    allow(workspace, max_endpoints=None)
    settings.QUOTAS = {**settings.QUOTAS, "max_endpoints": 0}
    web_socket(workspace)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_make_no_more_than_they_may(workspace):
    allow(workspace, max_endpoints=5)

    def work():
        try:
            return bool(web_socket(workspace))
        except OverQuota:
            return False

    assert sum(together(*[work] * 8)) == 5
    assert Endpoint.objects.count() == 5


def test_over_the_api_it_is_limited_and_nothing_is_made(graphql, workspace):
    allow(workspace, max_endpoints=0)
    (error,) = graphql('mutation { createWebSocketEndpoint(name: "n") { id } }')["errors"]
    assert error["extensions"] == {"code": "LIMITED"}
    assert not Endpoint.objects.exists()


def test_in_the_admin_the_form_says_so(admin_client, workspace):
    allow(workspace, max_event_filters=0)
    form = {"workspace": str(workspace.pk), "name": "n", "definition": '{"pattern": {}}'}
    page = admin_client.post(reverse("admin:endpoints_eventfilter_add"), form)
    assert "This workspace has 0 event filters; at most 0 are allowed." in page.content.decode()
    assert not EventFilter.objects.exists()


def test_the_admin_sets_them_and_shows_what_is_used(admin_client, workspace):
    web_socket(workspace)
    address = reverse("admin:endpoints_workspace_change", args=[workspace.pk])
    assert admin_client.post(address, {"name": "Ours", "max_endpoints": "7"}).status_code == 302
    assert Workspace.objects.get().max_endpoints == 7
    page = admin_client.get(address).content.decode()
    assert re.findall(r"<dd>([\d,]+) <small>(.+?)</small>", page)[1:3] == [
        ("1", "of 7 at most"),
        ("0", "of 20,000 at most"),
    ]


def test_over_the_api_all_are_seen(graphql, workspace):
    allow(workspace, max_events_per_day=10, max_event_filters=3)
    web_socket(workspace)
    event_filter(workspace)
    assert graphql(ALL)["data"]["workspace"]["quotas"] == {
        "eventsPerDay": {"limit": 10, "used": 0},
        "endpoints": {"limit": 20000, "used": 1},
        "eventFilters": {"limit": 3, "used": 1},
        "sockets": {"limit": 5000, "used": 0},
    }


# --- events a day


@pytest.fixture
def publish(graphql):
    def send(*ids):
        query = "mutation($e: [EventInput!]!) { publishEvents(events: $e) { events { id duplicate } } }"
        answer = graphql(query, e=[{"type": "a", "id": id_} for id_ in ids])
        return answer["errors"][0] if "errors" in answer else answer["data"]["publishEvents"]["events"]

    return send


def today():
    return DailyEvents.objects.get().events


def test_a_day_has_as_many_events_and_a_request_is_taken_whole_or_not(publish, workspace):
    allow(workspace, max_events_per_day=3)
    assert len(publish("a", "b")) == 2
    refused = publish("c", "d")
    assert refused["extensions"]["code"] == "LIMITED"
    assert refused["message"] == (
        "This workspace may publish 3 events a day and has published 2; 2 more are too many before 00:00 UTC."
    )
    assert len(publish("c")) == 1
    assert (Event.objects.count(), today()) == (3, 3)


def test_what_was_known_before_is_not_counted_again(publish, workspace):
    allow(workspace, max_events_per_day=3)
    publish("a")
    assert [event["duplicate"] for event in publish("a", "a")] == [True, True]
    publish("a", "b")
    assert (Event.objects.count(), today()) == (2, 2)


def test_another_day_is_another_count(publish, workspace):
    allow(workspace, max_events_per_day=1)
    publish("a")
    DailyEvents.objects.update(day=date(2020, 1, 1))
    publish("b")
    assert Event.objects.count() == 2


def test_where_there_is_no_limit_nothing_is_counted(publish, workspace):
    publish("a")
    assert not DailyEvents.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_doors_of_two_processes_let_in_what_a_day_has_and_lose_nothing(workspace, foreign_workspace, key):
    owed = web_socket(workspace)
    allow(workspace, max_events_per_day=100)

    def work(web):
        headers = {"Authorization": f"Bearer {key}"}
        with requests.Session() as session:
            address = f"http://127.0.0.1:{web.port}{EVENTS}"
            return [session.post(address, json={"type": "a"}, headers=headers, timeout=20) for _ in range(40)]

    with ExitStack() as stack:
        webs = [stack.enter_context(running()) for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            answers = [answer for found in pool.map(work, webs * 2) for answer in found]
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(429)) == (100, 60)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "LIMITED"
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert (Event.objects.count(), Delivery.objects.filter(endpoint=owed).count(), today()) == (100, 100, 100)


# --- sockets


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_a_workspace_has_as_many_sockets_as_it_may(workspace, key, web):
    allow(workspace, max_sockets=1)
    endpoint = web_socket(workspace)
    with web.v1(endpoint, key) as first, web.v1(endpoint, key) as second:
        first.recv(timeout=20)
        assert closed(second) == (1008, "This workspace has 1 websockets open; at most 1 are.")

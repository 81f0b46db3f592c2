"""Who may do what: scopes, and other workspaces, which are as good as absent."""

import json
import re
from pathlib import Path

import pytest
from django.utils import timezone

from endpoints.models import ApiKey, Endpoint, EventFilter, EventType, FilterLink, Scope, Workspace
from event_service.schema import schema
from routing.models import Attempt, Delivery, Event, Replay
from routing.replays import Selection, create

ROOT = Path(__file__).resolve().parent.parent
ABSENT = "00000000-0000-4000-8000-000000000000"
IDS = '["ID"]'
MUTATIONS = {
    "createWebSocketEndpoint": '(name: "n") { id }',
    "createWebhookEndpoint": '(name: "n", url: "http://a.example") { id }',
    "updateEndpoint": '(id: "ID", name: "n") { id }',
    "rotateEndpointSecret": '(id: "ID") { secret }',
    "deleteEndpoints": f"(ids: {IDS}) {{ ok }}",
    "deleteEndpoint": f"(ids: {IDS}) {{ ok }}",
    "pauseEndpoints": f"(ids: {IDS}) {{ ok }}",
    "resumeEndpoints": f"(ids: {IDS}) {{ ok }}",
    "createEventFilters": f'(name: "n", eventFiltersInput: {{pattern: {{}}}}, endpointIds: {IDS}) {{ id }}',
    "updateEventFilters": '(id: "ID", name: "n") { id }',
    "deleteEventFilters": f"(ids: {IDS}) {{ ok }}",
    "linkEndpointsToEventFilters": f'(endpointIds: {IDS}, eventFiltersId: "ID") {{ ok }}',
    "unlinkEndpointsToEventFilters": f'(endpointIds: {IDS}, eventFiltersId: "ID") {{ ok }}',
    "updateEventType": '(id: "ID", description: "d") { id }',
    "deleteEventTypes": f"(ids: {IDS}) {{ ok }}",
    "createApiKey": '(name: "n", scopes: [read]) { key }',
    "revokeApiKey": '(id: "ID") { ok }',
    "publishEvents": '(events: [{type: "a"}]) { events { id } }',
    "testEndpoint": '(id: "ID") { id }',
    "retryDeliveries": f"(ids: {IDS}) {{ deliveries {{ id }} }}",
    "cancelDeliveries": f"(ids: {IDS}) {{ cancelled }}",
    "createSocketTicket": '(endpointId: "ID") { ticket }',
    "createReplay": '(selection: {endpointId: "ID"}) { id }',
    "cancelReplay": '(id: "ID") { id }',
}
QUERIES = {
    "endpoints": "{ totalCount }",
    "eventsFilters": "{ totalCount }",
    "eventTypes": "{ totalCount }",
    "events": "{ totalCount }",
    "deliveries": "{ totalCount }",
    "attempts": "{ totalCount }",
    "lanes": "{ totalCount }",
    "replays": "{ totalCount }",
    "sockets": "{ totalCount }",
    "previewReplay": '(selection: {endpointId: "ID"}) { total }',
    "explainEventFilter": '(id: "ID", event: {type: "a"}) { matched }',
    "explainDelivery": '(eventId: "ID", endpointId: "ID") { wanted }',
    "backtestEventFilter": '(id: "ID") { matched }',
    "apiKeys": "{ totalCount }",
    "endpointSecret": '(id: "ID") { secret }',
    "workspace": "{ id }",
}
# Over websockets: test_subscriptions.py asks them the same.
SUBSCRIPTIONS = {
    "eventReceived": '(endpointId: "ID") { cursor }',
    "deliveryUpdated": '(endpointId: "ID") { id }',
}
NEEDS = dict.fromkeys(MUTATIONS, "manage") | dict.fromkeys(QUERIES, "read")
NEEDS |= {
    "publishEvents": "publish",
    "createSocketTicket": "subscribe",
    "apiKeys": "manage",
    "endpointSecret": "manage",
}
OPERATIONS = {name: f"mutation {{ {name}{rest} }}" for name, rest in MUTATIONS.items()}
OPERATIONS |= {name: f"{{ {name}{rest} }}" for name, rest in QUERIES.items()}


def everything():
    """All rows of all tables, to see that nothing was written."""
    models = (Workspace, ApiKey, Endpoint, EventFilter, EventType, FilterLink, Event, Delivery, Attempt, Replay)
    when_used = ("last_used_at",)
    return [
        {name: value for name, value in row.items() if name not in when_used}
        for model in models
        for row in model.objects.order_by("pk").values()
    ]


def test_the_api_page_says_which_scope_each_query_needs():
    said = dict(re.findall(r"^\| `(\w+)[^|]*\| (\w+) \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE))
    assert {name: said.get(name) for name in QUERIES} == {name: NEEDS[name] for name in QUERIES}


def test_these_are_all_operations():
    fields = {*schema.graphql_schema.query_type.fields, *schema.graphql_schema.mutation_type.fields}
    assert fields == set(OPERATIONS)
    assert set(schema.graphql_schema.subscription_type.fields) == set(SUBSCRIPTIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_needs_its_scope_and_no_other(graphql, workspace, webhook, name):
    query = OPERATIONS[name].replace("ID", str(webhook.pk))
    scopes = set(Scope.values) - {NEEDS[name]}
    key = ApiKey.issue(workspace=workspace, name="lacking", scopes=scopes)[1]
    before = everything()
    answer = graphql(query, as_key=key)
    has = ", ".join(sorted(scopes))
    assert answer["data"] == {name: None}
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "FORBIDDEN"}
    assert error["message"] == f"This key's scopes are {has}; the operation needs '{NEEDS[name]}'."
    assert everything() == before
    sufficient = ApiKey.issue(workspace=workspace, name="sufficient", scopes=[NEEDS[name]])[1]
    errors = graphql(query, as_key=sufficient).get("errors", [])
    assert "FORBIDDEN" not in [error["extensions"]["code"] for error in errors]


@pytest.mark.django_db(transaction=True)
def test_every_operation_brings_the_transaction_that_it_needs(graphql, web_socket):
    """Other tests run inside a transaction, which would hide that one is missing."""
    for query in OPERATIONS.values():
        errors = graphql(query.replace("ID", str(web_socket.pk))).get("errors", [])
        assert "INTERNAL" not in [error["extensions"]["code"] for error in errors]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer evs_wrong"}, {"Authorization": "Basic eDp5"}, {"Token": "evs_wrong"}]
)
def test_nothing_runs_without_a_key(client, webhook, name, headers):
    before = everything()
    query = OPERATIONS[name].replace("ID", str(webhook.pk))
    answer = client.post("/event-service/graphql", {"query": query}, "application/json", headers=headers).json()
    assert answer["data"] == {name: None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert everything() == before


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "Authorization: bearer {}", "Token: {}"])
def test_a_key_comes_in_either_header(client, key, header):
    name, value = header.format(key).split(": ")
    body = {"query": "{ workspace { name } }"}
    answer = client.post("/event-service/graphql", body, "application/json", headers={name: value})
    assert answer.json() == {"data": {"workspace": {"name": "Ours"}}}


@pytest.fixture
def theirs(foreign, foreign_workspace):
    """One row of each kind in another workspace, and its id by the operations that take one."""
    key = ApiKey.issue(workspace=foreign_workspace, name="theirs", scopes=["read"])[0]
    event_filter = EventFilter.create(
        workspace_id=foreign_workspace.pk, name="theirs", definition={"pattern": {}}, endpoints=[foreign]
    )
    event = Event.objects.create(workspace=foreign_workspace, type="a", date=timezone.now(), data="1")
    delivery = Delivery.objects.create(
        workspace=foreign_workspace, event=event, endpoint=foreign, seq=1, due_at=timezone.now()
    )
    Attempt.objects.create(workspace=foreign_workspace, delivery=delivery, number=1, started_at=timezone.now())
    replay = create(Selection(foreign))
    event_type = EventType.named(workspace_id=foreign_workspace.pk, name="theirs")
    ids = dict.fromkeys(OPERATIONS, foreign.pk)
    ids |= dict.fromkeys(["backtestEventFilter", "explainEventFilter"], event_filter.pk)
    ids |= {"explainDelivery": event.pk}
    ids |= {"retryDeliveries": delivery.pk, "cancelDeliveries": delivery.pk, "cancelReplay": replay.pk}
    ids |= dict.fromkeys(["updateEventType", "deleteEventTypes"], event_type.pk)
    return ids | {"revokeApiKey": key.pk, "updateEventFilters": event_filter.pk, "deleteEventFilters": event_filter.pk}


@pytest.mark.parametrize("name", [name for name, query in OPERATIONS.items() if "ID" in query])
def test_an_id_of_another_workspace_answers_as_one_that_does_not_exist(graphql, theirs, name):
    before = everything()
    foreign = graphql(OPERATIONS[name].replace("ID", str(theirs[name])))
    absent = graphql(OPERATIONS[name].replace("ID", ABSENT))
    assert absent["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert json.dumps(foreign).replace(str(theirs[name]), ABSENT) == json.dumps(absent)
    assert everything() == before


@pytest.mark.parametrize("mutation", ["linkEndpointsToEventFilters", "unlinkEndpointsToEventFilters"])
def test_our_endpoint_is_not_linked_to_their_filter(graphql, webhook, theirs, mutation):
    before = everything()
    query = f"mutation($e: [ID]!, $f: ID!) {{ {mutation}(endpointIds: $e, eventFiltersId: $f) {{ ok }} }}"
    foreign = graphql(query, e=[str(webhook.pk)], f=str(theirs["updateEventFilters"]))
    absent = graphql(query, e=[str(webhook.pk)], f=ABSENT)
    assert absent["errors"][0]["extensions"] == {"code": "NOT_FOUND", "field": "eventFiltersId"}
    assert json.dumps(foreign).replace(str(theirs["updateEventFilters"]), ABSENT) == json.dumps(absent)
    assert everything() == before


@pytest.mark.parametrize(
    "name", ["endpoints", "eventsFilters", "eventTypes", "events", "deliveries", "attempts", "replays"]
)
def test_a_list_holds_nothing_of_another_workspace(graphql, theirs, name):
    answer = graphql(f"{{ {name} {{ totalCount collectionItems {{ id }} }} }}")
    assert answer == {"data": {name: {"totalCount": 0, "collectionItems": []}}}


def test_the_list_of_keys_holds_nothing_of_another_workspace(graphql, theirs):
    answer = graphql("{ apiKeys { totalCount collectionItems { name } } }")
    assert answer == {"data": {"apiKeys": {"totalCount": 1, "collectionItems": [{"name": "everything"}]}}}


def test_no_field_shows_a_digest_or_the_secret_of_an_endpoint():
    fields = re.findall(r"^  (\w+)[(:]", str(schema), re.MULTILINE)
    assert not {"digest", "version", "leaseToken"} & set(fields)
    assert fields.count("secret") == 1  # of EndpointSecretOutput, for which the scope manage is needed

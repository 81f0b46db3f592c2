"""Who may do what, by the scopes of a key."""

import re
from pathlib import Path

import pytest

from endpoints.models import ApiKey, Endpoint, EventFilter, EventType, FilterLink, Scope, Workspace
from event_service.schema import schema
from routing.models import Attempt, Delivery, Event, Replay

ROOT = Path(__file__).resolve().parent.parent
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
    "rotateApiKey": '(id: "ID") { key }',
    "revokeApiKey": '(id: "ID") { ok }',
    "createPortalLink": '(name: "n") { url }',
    "revokePortalLink": '(id: "ID") { ok }',
    "updatePortalTheme": '(name: "n") { name }',
    "publishEvents": '(events: [{type: "a"}]) { events { id } }',
    "testEndpoint": '(id: "ID") { id }',
    "retryDeliveries": f"(ids: {IDS}) {{ deliveries {{ id }} }}",
    "expediteDeliveries": f"(ids: {IDS}) {{ expedited }}",
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
    "auditLog": "{ totalCount }",
    "portalLinks": "{ totalCount }",
    "portalTheme": "{ name }",
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
    "auditLog": "manage",
    "portalLinks": "manage",
    "portalTheme": "manage",
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


WITHOUT_KEY = [{}, {"Authorization": "Bearer es_live_no"}, {"Authorization": "Basic eDp5"}, {"Token": "es_live_no"}]


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_runs_without_a_key(client, webhook, name):
    before = everything()
    body = {"query": OPERATIONS[name].replace("ID", str(webhook.pk))}
    for headers in WITHOUT_KEY:
        answer = client.post("/event-service/graphql", body, "application/json", headers=headers).json()
        assert answer["data"] == {name: None}
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert everything() == before


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "Authorization: bearer {}", "Token: {}"])
def test_a_key_comes_in_either_header(client, key, header):
    name, value = header.format(key).split(": ")
    body = {"query": "{ workspace { name } }"}
    answer = client.post("/event-service/graphql", body, "application/json", headers={name: value})
    assert answer.json() == {"data": {"workspace": {"name": "Ours"}}}


def test_no_field_shows_a_digest_or_the_secret_of_an_endpoint():
    fields = re.findall(r"^  (\w+)[(:]", str(schema), re.MULTILINE)
    assert not {"digest", "version", "leaseToken"} & set(fields)
    # Of EndpointSecretOutput, for which the scope manage is needed; and of AuditChange, where it says yes or no.
    assert sorted(re.findall(r"^  secret: (\w+)!", str(schema), re.MULTILINE)) == ["Boolean", "String"]

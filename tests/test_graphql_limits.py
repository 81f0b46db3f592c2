"""What the GraphQL door lets in: transport, limits, errors, health."""

import json
import logging
import time

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from graphql import get_introspection_query

from endpoints.models import Endpoint
from event_service.graphql import MAX_BODY_BYTES
from routing.group_commit import _parameters
from tests.service import wait_until

PATH = "/event-service/graphql"


def post(client, body, content_type="application/json", path=PATH, **headers):
    if not isinstance(body, str | bytes):
        body = json.dumps(body)
    return client.generic("POST", path, body, content_type, headers=headers)


def refusal(response):
    """The status and the codes of a refused request, which has errors and nothing else."""
    answer = response.json()
    assert list(answer) == ["errors"]
    return response.status_code, {error["extensions"]["code"] for error in answer["errors"]}


REFUSED = (400, {"BAD_USER_INPUT"})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", "query={__typename}"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("application/graphql", "{__typename}"),
        ("text/plain", '{"query": "{__typename}"}'),
        ("application/json; charset=latin-1", '{"query": "{__typename}"}'),
        ("", '{"query": "{__typename}"}'),
    ],
)
def test_only_json_is_read(client, content_type, body):
    assert refusal(post(client, body, content_type)) == (415, {"BAD_USER_INPUT"})


def test_a_charset_may_be_named(client):
    answer = post(client, {"query": "{__typename}"}, "application/json; charset=UTF-8")
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post_runs_anything(client, method):
    answer = client.generic(method, f"{PATH}?query={{__typename}}")
    assert refusal(answer) == (405, {"BAD_USER_INPUT"})
    assert answer.headers["Allow"] == "POST"


def test_the_url_is_not_looked_at(client, key, workspace):
    path = f'{PATH}?query=mutation{{createWebSocketEndpoint(name:"n"){{id}}}}'
    answer = post(client, {"query": "{__typename}"}, path=path, Authorization=f"Bearer {key}")
    assert answer.json() == {"data": {"__typename": "Query"}}
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        '[{"query": "{__typename}"}]',
        "null",
        '"{__typename}"',
        "{}",
        '{"query": null}',
        '{"query": 1}',
        '{"query": "{__typename}", "variables": [1]}',
        '{"query": "{__typename}", "variables": {"a": NaN}}',
        '{"query": "{__typename}", "operationName": {}}',
        '{"query": "{__typename} # \\ud800"}',
        b'{"query": "{__typename} # \xff"}',
        b'\xef\xbb\xbf{"query": "{__typename}"}',
        "[" * 100_000,
        '{"query": "{__typename}", "variables": {"a": ' + "[" * 100_000,
        {"query": "{"},
        {"query": "{" * 5_000},
        {"query": "{ nope }"},
        {"query": "{...Nope}"},
        {"query": "{...F} fragment F on Query {...F}"},
        {"query": "subscription { events }"},
        {"query": 'subscription { deliveryUpdated(endpointId: "x") { id } }'},
        {"query": 'subscription { deliveryUpdated(endpointId: "x") @skip { id } }'},
        {"query": "query A {__typename} query B {__typename}"},
        {"query": "{__typename}", "operationName": "Absent"},
        {
            "query": "query($n: BigInt) { deliveries(filters: {seq: {gt: $n}}) { totalCount } }",
            "variables": {"n": "many"},
        },
        {"query": "query ($id: ID!) { endpointSecret(id: $id) { secret } }"},
        {"query": '{ events(filters: {date: {gt: "2024-05-22T08:55:23"}}) { totalCount } }'},
        {"query": '{ endpoints(filters: {name: {exact: "\\ud800"}}) { totalCount } }'},
        {"query": 'mutation { updateEventFilters(id: "", eventFiltersInput: {pattern: {type: [1e999]}}) { id } }'},
    ],
)
def test_what_is_no_query_is_refused_before_anything_runs(client, body):
    assert refusal(post(client, body)) == REFUSED


@pytest.mark.parametrize("surplus", [1, 2_000_000, 6_000_000])
def test_a_body_over_the_limit_is_refused(client, surplus):
    body = b'{"query": "{__typename}"}'.ljust(MAX_BODY_BYTES)
    assert post(client, body).json() == {"data": {"__typename": "Query"}}
    assert refusal(post(client, body + b" " * surplus)) == (413, {"BAD_USER_INPUT"})


def doubling(levels):
    fragments = [f"fragment F{i} on Query {{...F{i + 1} ...F{i + 1}}}" for i in range(levels)]
    return f"{{...F0}} {' '.join(fragments)} fragment F{levels} on Query {{ endpoints {{ totalCount }} }}"


def deep(levels):
    """A query of as many levels of fields, which costs no rows."""
    lists = ["eventsFilters(pagination: {limit: 0})", "collectionItems", *["endpoints", "eventFilters"] * levels]
    return "".join(f"{{ {name} " for name in lists[: levels - 1]) + "{ id " + "}" * levels


EXPENSIVE = {
    "aliases": "{" + " ".join(f"a{i}: __typename" for i in range(300)) + "}",
    "aliases in a fragment": "{...F} fragment F on Query {" + " ".join(f"a{i}: __typename" for i in range(16)) + "}",
    "many aliases": "{" + " ".join(f"a{i}: __typename" for i in range(10_000)) + "}",
    "tokens": "{" + "__typename " * 50_000 + "}",
    "doubling fragments": doubling(18).replace("totalCount", "x: totalCount"),
    "depth": deep(9),
    "rows": "{ eventsFilters(pagination: {limit: 200}) { collectionItems { endpoints { eventFilters { id }}}}}",
    "rows by default": "{ events { collectionItems { deliveries { attempts { id }}}}}",
    "negative rows": "{ endpoints(pagination: {limit: -1000000}) { collectionItems { id } } "
    "eventsFilters(pagination: {limit: 200}) { collectionItems { endpoints { eventFilters { id }}}}}",
    "introspection": "{" + " ".join(f"a{i}: __schema {{ types {{ name }} }}" for i in range(3)) + "}",
    "a limit without end": "{ endpoints(pagination: {limit: " + "9" * 5_000 + "}) { collectionItems { id } } }",
    "conflicting arguments": "{" + " ".join(f"endpoints(pagination: {{limit: {i}}})" for i in range(180)) + "}",
    "comments": "#\n" * 1_000 + "{__typename}",
}


@pytest.mark.parametrize("query", EXPENSIVE.values(), ids=EXPENSIVE)
def test_an_expensive_query_is_refused_and_cheaply(client, query):
    begun = time.process_time()
    assert refusal(post(client, {"query": query})) == REFUSED
    assert time.process_time() - begun < 0.5


def test_what_a_page_of_the_api_needs_is_within_the_limits(graphql):
    nested = "{ eventsFilters(pagination: {limit: 200}) { collectionItems { id endpoints { id } } } }"
    assert graphql(nested) == {"data": {"eventsFilters": {"collectionItems": []}}}
    one = "{ events(pagination: {limit: 5}) { collectionItems { deliveries { attempts { id } } } } }"
    assert graphql(one) == {"data": {"events": {"collectionItems": []}}}


def test_a_query_may_be_as_deep_as_the_limit(graphql):
    assert graphql(deep(8)) == {"data": {"eventsFilters": {"collectionItems": []}}}


def test_a_limit_in_a_variable_weighs_as_the_most(client):
    query = "query($p: Pagination) { events(pagination: $p) { collectionItems { deliveries { attempts { id }}}}}"
    assert refusal(post(client, {"query": query, "variables": {"p": {"limit": 1}}})) == REFUSED


def test_introspection_needs_no_key(client):
    answer = post(client, {"query": get_introspection_query(input_value_deprecation=True)}).json()
    assert answer["data"]["__schema"]["queryType"]["name"] == "Query"
    assert "errors" not in answer


def test_introspection_is_judged_by_depth_too(client):
    deep = "{ __schema { types { fields { type { fields { type { fields { type { fields { name }}}}}}}}}}"
    assert refusal(post(client, {"query": deep})) == REFUSED


@pytest.mark.parametrize("levels", [101, 900])
def test_a_json_value_that_nests_too_deep_is_refused(graphql, levels):
    pattern = "[" * levels + "]" * levels
    query = 'mutation($p: JSON) { createEventFilters(name: "n", eventFiltersInput: {pattern: $p}) { id } }'
    answer = graphql(query, p=json.loads(pattern))
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    assert "nested" in answer["errors"][0]["message"]


def test_what_breaks_here_is_logged_under_an_id_and_not_told(graphql, monkeypatch, caplog):
    def breaks(**_):
        raise RuntimeError("postgres://postgres:hunter2@db/")

    monkeypatch.setattr(Endpoint, "create_web_socket", breaks)
    (error,) = graphql('mutation { createWebSocketEndpoint(name: "n") { id } }')["errors"]
    assert error["extensions"] == {"code": "INTERNAL"}
    assert "hunter2" not in json.dumps(error)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().removeprefix("GraphQL error ") in error["message"]
    assert "hunter2" in str(record.exc_info[1])


def test_a_field_that_fails_leaves_the_others(graphql, workspace):
    answer = graphql("{ workspace { name } endpoints(pagination: {limit: 201}) { totalCount } }")
    assert answer["data"] == {"workspace": {"name": "Ours"}, "endpoints": None}
    (error,) = answer["errors"]
    assert error["path"] == ["endpoints"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "pagination.limit"}


def test_healthz_answers_without_a_database(client):
    assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"live": True})


@pytest.mark.django_db
def test_readyz_answers_when_everything_is_there(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": []})


@pytest.mark.django_db
def test_readyz_names_a_migration_that_is_not_applied(client):
    MigrationRecorder(connection).record_unapplied("endpoints", "0002_version_triggers")
    answer = client.get("/readyz")
    missing = ["migration endpoints.0002_version_triggers is not applied"]
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "missing": missing})


@pytest.mark.django_db(transaction=True)
def test_readyz_is_red_where_the_database_may_lose_what_was_accepted(client):
    def switch(setting):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER SYSTEM SET full_page_writes = {setting}")
            cursor.execute("SELECT pg_reload_conf()")
        status = 503 if setting == "off" else 200
        return wait_until(lambda: client.get("/readyz"), lambda answer: answer.status_code == status).json()["missing"]

    try:
        missing = switch("off")
    finally:
        assert switch("on") == []

    assert missing == ["the database has full_page_writes = off: a crash of its host would lose what was accepted"]


@pytest.mark.django_db(transaction=True)
def test_a_commit_is_durable_whatever_the_database_says():
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET synchronous_commit = off")
            with psycopg.connect(**_parameters()) as another:
                durable = another.execute("SHOW synchronous_commit").fetchone()
        finally:
            cursor.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} RESET synchronous_commit")

    assert durable == ("on",)


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_readyz_says_that_the_database_is_unreachable_and_not_where_it_is(client, monkeypatch, caplog, error):
    def unreachable():
        raise error("connection to 10.0.0.7 refused")

    monkeypatch.setattr(connection, "ensure_connection", unreachable)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "missing": ["the database is unreachable"]})
    assert "10.0.0.7" in caplog.text

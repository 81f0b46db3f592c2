"""Requests made to hurt: what they cost, what they get told, and for how long they keep the database busy."""

import json
import time
from contextlib import suppress
from statistics import median
from unittest.mock import Mock

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from endpoints.models import Endpoint
from endpoints.rates import Rates
from endpoints.schema.collections import Page
from event_service import limits, time_limit
from event_service.execution import MAX_ERRORS
from tests.test_graphql_limits import EXPENSIVE, doubling, post

ORDINARY = "{ endpoints { totalCount collectionItems { id name state eventFilters { id name } } } }"
DEAREST = 50  # times the CPU of an ordinary query


def spread(count, body):
    return (
        "{"
        + " ".join(f"...F{i}" for i in range(count))
        + "}".join(f"fragment F{i} on Query {{{body}}} " for i in range(count))
    )


HOSTILE = {
    **EXPENSIVE,
    "doubling fragments": doubling(18),
    "a field again and again": "{workspace {" + "id " * 900 + "} workspace {" + "id " * 900 + "}}",
    "conflicting ids": "{" + " ".join(f"endpointSecret(id: {i}) {{secret}}" for i in range(200)) + "}",
    "directives": "{ __typename " + "@skip(if: false) " * 280 + "}",
    "3,000 directives": "{ __typename " + "@skip(if: false) " * 3_000 + "}",
    "unknown names": "{" + " ".join("e" * 140 + str(i) for i in range(1_900)) + "}",
    "unknown inputs": "{endpoints(filters: {" + " ".join(f"nam{i}: 1" for i in range(600)) + "}) {totalCount}}",
    "unknown enums": "{endpoints(filters: {state: {in: [" + "ACTIV " * 1_900 + "]}}) {totalCount}}",
    "many spreads": spread(190, "__typename"),
    "spreads that overlap": spread(110, "endpoints {totalCount} events {totalCount}"),
    "inline fragments": "{" + "... {workspace {id}} " * 240 + "}",
    "a chain of fragments": "{...F0} "
    + " ".join(f"fragment F{i} on Query {{__typename ...F{i + 1}}}" for i in range(190))
    + " fragment F190 on Query {__typename}",
    "variables": "query(" + " ".join(f"$a{i}: Int" for i in range(480)) + ") {__typename}",
    "operations": " ".join(f"query A{i} {{__typename}}" for i in range(300)),
    "a long string": '{endpoints(filters: {name: {exact: "' + "x" * 900_000 + '"}}) {totalCount}}',
    "spaces": "{" + " " * 1_000_000 + "__typename}",
    "nesting": "{" * 5_000,
}


@pytest.fixture
def cost(client, key):
    def cpu_s(query):
        """Return the seconds of CPU that the answer took, and its status."""
        begun = time.process_time()
        answer = post(client, {"query": query}, Authorization=f"Bearer {key}")
        return time.process_time() - begun, answer.status_code

    return cpu_s


@pytest.fixture
def ordinary_s(cost, workspace):
    for number in range(20):
        Endpoint.create_web_socket(workspace_id=workspace.pk, name=f"{number}")
    cost(ORDINARY)
    return median(cost(ORDINARY)[0] for _ in range(9))


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_no_hostile_query_costs_over_fifty_ordinary_ones(cost, ordinary_s, query):
    tries = [cost(query) for _ in range(3)]
    assert {status for _, status in tries} == {400}
    assert min(cpu_s for cpu_s, _ in tries) < DEAREST * ordinary_s


@pytest.mark.parametrize(
    ("within", "over", "limit"),
    [
        (lambda n: "{" + "__typename " * n + "}", "A field is selected over 40 times", limits.MAX_REPEATS),
        (lambda n: "{" + "... {__typename} " * n + "}", "Over 40 fragments are spread", limits.MAX_FRAGMENTS),
        (
            lambda n: "{" + "...F " * n + "} fragment F on Query {__typename}",
            "Over 40 fragments are spread",
            limits.MAX_FRAGMENTS,
        ),
        (lambda n: "{__typename}".ljust(n), "query has over 300000 characters", limits.MAX_QUERY),
        (lambda n: f"{{endpoints(pagination: {{limit: {'1' * n}}})}}", "A number has over 400", limits.MAX_DIGITS),
    ],
    ids=["repeats", "inline fragments", "spreads", "characters", "digits"],
)
def test_a_document_may_have_as_much_as_the_limit(client, within, over, limit):
    (told,) = {error["message"][: len(over)] for error in post(client, {"query": within(limit + 1)}).json()["errors"]}
    assert told == over
    assert over not in post(client, {"query": within(limit)}).content.decode()


def test_fragments_count_as_if_they_were_written_out(client):
    (error,) = post(client, {"query": doubling(10)}).json()["errors"]
    assert error["message"].startswith("The operation's number of fields is 2048; at most 1000 is run.")


def test_of_many_errors_a_few_are_told(client):
    answer = post(client, {"query": "{" + " ".join(f"nope{i}" for i in range(500)) + "}"})
    assert len(answer.json()["errors"]) == MAX_ERRORS + 1  # and that there are more


# --- suggestions and the schema

MISSPELT = {
    "a field": "{ endpoint { id } }",
    "a field that stands elsewhere": "{ endpoints { collectionItems { id url } } }",
    "a type": "{ ... on Quer { id } }",
    "an argument": "{ endpoints(filter: {}) { totalCount } }",
    "an enum": "{ endpoints(filters: {state: {exact: ACTIV}}) { totalCount } }",
}


@pytest.mark.parametrize("query", MISSPELT.values(), ids=MISSPELT)
@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer evs_wrong"}])
@pytest.mark.django_db
def test_who_has_no_key_gets_no_suggestions(client, key, query, credentials):
    (stranger,) = post(client, {"query": query}, **credentials).json()["errors"]
    (friend,) = post(client, {"query": query}, Authorization=f"Bearer {key}").json()["errors"]
    assert "Did you mean" in friend["message"]
    assert stranger["message"] == friend["message"].partition(" Did you mean")[0]


def test_nor_for_a_misspelt_variable(client, key):
    query = "query($s: EndpointState) { endpoints(filters: {state: {exact: $s}}) { totalCount } }"
    body = {"query": query, "variables": {"s": "ACTIV"}}
    (stranger,) = post(client, body).json()["errors"]
    (friend,) = post(client, body, Authorization=f"Bearer {key}").json()["errors"]
    assert ("Did you mean" in stranger["message"], "Did you mean" in friend["message"]) == (False, True)


@pytest.mark.parametrize("query", ["{ __schema { queryType { name } } }", '{ __type(name: "Query") { name } }'])
def test_where_there_is_no_editor_the_schema_is_told_to_who_has_a_key(client, key, settings, query):
    settings.GRAPHIQL = False
    stranger = post(client, {"query": query})
    assert stranger.status_code == 400
    assert [error["extensions"]["code"] for error in stranger.json()["errors"]] == ["UNAUTHENTICATED"]
    assert "errors" not in post(client, {"query": query}, Authorization=f"Bearer {key}").json()


def test_where_there_is_no_editor_none_is_shown(client, settings):
    settings.GRAPHIQL = False
    answer = client.get("/event-service/graphql", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"][:16]) == (405, "application/json")


# --- what breaks here

PLANTED = [f"planted-{number:02}" for number in range(20)]
FAULTS = [
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    OSError,
    AssertionError,
    RecursionError,
    OperationalError,
    IntegrityError,
    DatabaseError,
]


def broken(error):
    def breaks(*_args, **_kwargs):
        raise error

    return breaks


@pytest.mark.parametrize(("number", "planted"), [*enumerate(PLANTED)])
def test_nothing_of_a_fault_is_told_but_where_the_log_has_it(graphql, monkeypatch, caplog, number, planted):
    error = FAULTS[number % len(FAULTS)](f"postgres://user:{planted}@db/ at /srv/{planted}.py")
    if number < len(FAULTS):
        monkeypatch.setattr(Endpoint, "create_web_socket", broken(error))
        answer = graphql('mutation { createWebSocketEndpoint(name: "n") { id } }')
    else:
        monkeypatch.setattr(Page, "total_count", property(broken(error)))
        answer = graphql("{ endpoints { totalCount } }")

    (told,) = answer["errors"]
    assert planted not in json.dumps(answer)
    assert told["extensions"] == {"code": "INTERNAL"}
    id_ = told["message"].rpartition(" ")[2].rstrip(".")
    assert f"GraphQL error {id_}" in caplog.text
    assert planted in caplog.text


# --- time


@pytest.fixture
def slow(monkeypatch):
    """Counting endpoints takes a statement of 5 s."""

    def sleeps(_page):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(Page, "total_count", property(sleeps))


def statement_timeout():
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return cursor.fetchone()[0]


def codes(answer):
    return [error["extensions"]["code"] for error in answer["errors"]]


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_takes_too_long_is_cancelled(graphql, slow, monkeypatch):
    monkeypatch.setattr(time_limit, "STATEMENT_S", 0.1)

    answer = graphql("{ a: workspace { name } endpoints { totalCount } b: workspace { name } }")

    assert codes(answer) == ["LIMITED"]
    assert answer["data"] == {"a": {"name": "Ours"}, "endpoints": None, "b": {"name": "Ours"}}
    assert statement_timeout() == "0"


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_an_operation_gives_back_on_its_way_has_no_limit():
    with time_limit.time_limit():
        assert statement_timeout() == "5s"
        before = connection.connection
        connection.close()  # as while a sample is on the wire

    assert before.execute("SHOW statement_timeout").fetchone() == ("0",)


@pytest.mark.django_db(transaction=True)
def test_what_is_taken_back_takes_the_limit_with_it_and_it_is_set_anew():
    with time_limit.time_limit():
        with transaction.atomic():
            assert statement_timeout() == "5s"  # set within what is taken back
            transaction.set_rollback(True)
        assert statement_timeout() == "5s"
        with transaction.atomic():
            with suppress(ZeroDivisionError), transaction.atomic():
                raise ZeroDivisionError
            assert statement_timeout() == "5s"
    assert statement_timeout() == "0"


@pytest.mark.django_db(transaction=True)
def test_what_was_found_within_the_time_is_told_though_it_is_over(graphql, slow, monkeypatch):
    monkeypatch.setattr(time_limit, "STATEMENT_S", 0.1)
    monkeypatch.setattr(time_limit, "OPERATION_S", 0.1)
    charged = Mock(side_effect=lambda *_: statement_timeout())  # it asks the database
    monkeypatch.setattr(Rates, "charge_afterwards", charged)

    answer = graphql("{ workspace { name } endpoints { totalCount } }")

    assert answer["data"] == {"workspace": {"name": "Ours"}, "endpoints": None}
    assert charged.called


@pytest.mark.django_db(transaction=True)
def test_an_operation_that_has_had_its_time_gets_no_further_statement(graphql, slow, monkeypatch):
    monkeypatch.setattr(time_limit, "STATEMENT_S", 0.1)
    monkeypatch.setattr(time_limit, "OPERATION_S", 0.1)

    assert codes(graphql("{ endpoints { totalCount } workspace { name } }")) == ["LIMITED", "LIMITED"]


def test_an_operation_ends_within_ten_seconds_of_the_databases_time():
    assert time_limit.STATEMENT_S + time_limit.OPERATION_S <= 10

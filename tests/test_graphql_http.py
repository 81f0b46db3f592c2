"""GraphQL over HTTP as its specification has it: https://graphql.github.io/graphql-over-http/draft/."""

import pytest
from graphql import specified_rules

from event_service import execution
from tests.test_graphql_limits import PATH, post

JSON, GRAPHQL = "application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", GRAPHQL),
        ("application/json;q=0.5, application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json;q=0.5, application/json", JSON),
        ("text/plain", JSON),
    ],
)
@pytest.mark.parametrize(("query", "status"), [("{__typename}", 200), ("{", 400), ("{ nope }", 400)])
def test_an_answer_has_the_type_that_the_client_accepts(client, accept, content_type, query, status):
    answer = post(client, {"query": query}, **({"Accept": accept} if accept else {}))
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, content_type)
    assert "Accept" in answer.headers["Vary"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_answer_that_was_not_run_has_no_data_and_one_that_was_has(client):
    assert list(post(client, {"query": "{ nope }"}).json()) == ["errors"]
    assert post(client, {"query": "{ workspace { id } }"}).json()["data"] == {"workspace": None}


@pytest.mark.parametrize("extensions", ["text", 0, False, ["a"]])
def test_extensions_are_an_object(client, extensions):
    assert post(client, {"query": "{__typename}", "extensions": extensions}).status_code == 400
    assert post(client, {"query": "{__typename}", "extensions": {"a": 1}}).status_code == 200


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_a_mutation_by_get_is_refused_whatever_is_accepted(client, accept):
    answer = client.get(f"{PATH}?query=mutation{{__typename}}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, accept)


# --- each rule of the specification, by a document that no other rule refuses

REFUSED_BY = {
    "ExecutableDefinitionsRule": "{__typename} type A {a: Int}",
    "UniqueOperationNamesRule": "query A {__typename} query A {__typename}",
    "LoneAnonymousOperationRule": "{__typename} query A {__typename}",
    "SingleFieldSubscriptionsRule": "subscription { a: eventReceived(endpointId: 1) {cursor} "
    "b: eventReceived(endpointId: 1) {cursor} }",
    "KnownTypeNamesRule": "{... on Nope {__typename}}",
    "FragmentsOnCompositeTypesRule": "{workspace {... on String {__typename}}}",
    "VariablesAreInputTypesRule": "mutation($a: Query) "
    '{createEventFilters(name: "n", eventFiltersInput: {pattern: {a: $a}}) {id}}',
    "ScalarLeafsRule": "{workspace}",
    "FieldsOnCorrectTypeRule": "{nope}",
    "UniqueFragmentNamesRule": "{...A} fragment A on Query {__typename} fragment A on Query {__typename}",
    "KnownFragmentNamesRule": "{...A}",
    "NoUnusedFragmentsRule": "{__typename} fragment A on Query {__typename}",
    "PossibleFragmentSpreadsRule": "{... on WorkspaceOutput {id}}",
    "NoFragmentCyclesRule": "{...A} fragment A on Query {...A}",
    "UniqueVariableNamesRule": "query($a: Boolean!, $a: Boolean!) {__typename @skip(if: $a)}",
    "NoUndefinedVariablesRule": "{__typename @skip(if: $a)}",
    "NoUnusedVariablesRule": "query($a: Int) {__typename}",
    "KnownDirectivesRule": "{__typename @nope}",
    "UniqueDirectivesPerLocationRule": "{__typename @skip(if: false) @skip(if: false)}",
    "KnownArgumentNamesRule": "{workspace(nope: 1) {id}}",
    "UniqueArgumentNamesRule": '{endpointSecret(id: "a", id: "a") {secret}}',
    "ValuesOfCorrectTypeRule": "{endpoints(pagination: {limit: true}) {totalCount}}",
    "ProvidedRequiredArgumentsRule": "{endpointSecret {secret}}",
    "VariablesInAllowedPositionRule": "query($a: Boolean) {__typename @skip(if: $a)}",
    "OverlappingFieldsCanBeMergedRule": '{a: endpointSecret(id: "a") {secret} a: endpointSecret(id: "b") {secret}}',
    "UniqueInputFieldNamesRule": "{endpoints(pagination: {limit: 1, limit: 1}) {totalCount}}",
    "MaxIntrospectionDepthRule": "{__schema {types {fields {type {fields {type {fields {type {fields {name}}}}}}}}}}",
}


def test_each_rule_of_the_specification_has_its_document():
    assert set(REFUSED_BY) == {rule.__name__ for rule in specified_rules}


@pytest.mark.parametrize("rule", REFUSED_BY)
def test_a_rule_of_the_specification_is_active(client, rule, monkeypatch):
    assert post(client, {"query": REFUSED_BY[rule]}).status_code == 400

    others = [each for each in specified_rules if each.__name__ != rule]
    monkeypatch.setattr(execution, "specified_rules", others)
    monkeypatch.setattr(execution, "get_operation_ast", lambda *_: pytest.fail("It was valid without this rule."))
    with pytest.raises(pytest.fail.Exception):
        post(client, {"query": REFUSED_BY[rule]})


# --- the MUST rules of graphql-http's audit of servers, by its ids

JSON_BODY = "application/json"
VARIABLE = {"query": "query ($name: String!) { __type(name: $name) { name } }"}
MUST = {
    "4655: application/json is accepted": ({}, JSON_BODY),
    "82A3: the answer is in UTF-8": ({}, JSON_BODY),
    "BF61: a request may say that it is in UTF-8": ({}, f"{JSON_BODY}; charset=utf-8"),
    "78D5: a request that does not say is in UTF-8": ({}, JSON_BODY),
    "2C94: POST is accepted": ({}, JSON_BODY),
    "03D4: POST of application/json is accepted": ({}, JSON_BODY),
    "13EE: query is a string": ({}, JSON_BODY),
    "B8B3: operationName is a string": ({"query": "query A { __typename }", "operationName": "A"}, JSON_BODY),
    "0220: variables may be null": ({"variables": None}, JSON_BODY),
    "0221: operationName may be null": ({"operationName": None}, JSON_BODY),
    "0222: extensions may be null": ({"extensions": None}, JSON_BODY),
    "28B9: variables are a map": ({**VARIABLE, "variables": {"name": "Query"}}, JSON_BODY),
    "1B7A: extensions are a map": ({"extensions": {"some": "value"}}, JSON_BODY),
}


@pytest.mark.parametrize(("members", "content_type"), MUST.values(), ids=MUST)
def test_a_must_of_the_audit_is_kept(client, members, content_type):
    answer = post(client, {"query": "{ __typename }", **members}, content_type, Accept="application/json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)
    assert "errors" not in answer.json()

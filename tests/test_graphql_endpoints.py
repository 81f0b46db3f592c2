"""Endpoints, filters, their links, and keys: every change over GraphQL."""

import pytest
from django.utils import timezone

from endpoints.auth import authenticate
from endpoints.errors import Unauthenticated
from endpoints.models import ApiKey, Endpoint, EventFilter, FilterLink, Scope

ABSENT = "00000000-0000-4000-8000-000000000000"


def refused(answer):
    """The code, field and message of the one error of an answer that has no data."""
    (error,) = answer["errors"]
    assert set(answer.get("data", {"": None}).values()) == {None}
    return error["extensions"]["code"], error["extensions"].get("field"), error["message"]


@pytest.fixture
def paid(workspace):
    definition = {"pattern": {"type": ["order.paid"]}}
    return EventFilter.create(workspace_id=workspace.pk, name="paid", definition=definition)


def rows(model):
    return list(model.objects.order_by("pk").values())


# --- endpoints


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        ('name: "", url: "http://a.example"', "name", "name is empty; give 1 to 200 characters."),
        (
            'name: "a\\u0000b", url: "http://a.example"',
            "name",
            "name holds a NUL character or half a surrogate pair, which can't be stored.",
        ),
        (f'name: "{"n" * 201}", url: "http://a.example"', "name", "name has 201 characters; at most 200 are kept."),
        ('name: "n", url: "ftp://a.example"', "url", "url 'ftp://a.example' is not http:// or https://."),
        (
            'name: "n", url: "http://a.example", method: "HEAD"',
            "method",
            "method 'HEAD' is unknown; use one of POST, PUT, PATCH, GET, DELETE.",
        ),
    ],
)
def test_a_webhook_that_makes_no_sense_is_not_created(graphql, arguments, field, message):
    answer = graphql("mutation { createWebhookEndpoint(ARGUMENTS) { id } }".replace("ARGUMENTS", arguments))
    assert refused(answer) == ("BAD_USER_INPUT", field, message)
    assert not Endpoint.objects.exists()


def test_a_method_of_null_is_post(graphql):
    answer = graphql('mutation { createWebhookEndpoint(name: "n", url: "http://a.example", method: null) { meta } }')
    assert answer["data"]["createWebhookEndpoint"]["meta"]["method"] == "POST"


def test_an_update_changes_what_is_given(graphql, webhook):
    query = 'mutation($id: ID!) { updateEndpoint(id: $id, url: "http://b.example", method: "PUT") { name meta } }'
    meta = {"url": "http://b.example", "method": "PUT"}
    assert graphql(query, id=str(webhook.pk)) == {"data": {"updateEndpoint": {"name": "MyHook", "meta": meta}}}
    before = webhook.last_modified
    webhook.refresh_from_db()
    assert (webhook.url, webhook.method, webhook.name) == ("http://b.example", "PUT", "MyHook")
    assert webhook.last_modified > before


def test_an_update_with_one_bad_value_changes_nothing(graphql, webhook):
    before = rows(Endpoint)
    query = 'mutation($id: ID!) { updateEndpoint(id: $id, name: "new", method: "FETCH") { name } }'
    assert refused(graphql(query, id=str(webhook.pk)))[:2] == ("BAD_USER_INPUT", "method")
    assert rows(Endpoint) == before


def test_a_websocket_gets_no_url(graphql, web_socket):
    before = rows(Endpoint)
    query = 'mutation($id: ID!) { updateEndpoint(id: $id, url: "http://b.example") { name } }'
    assert refused(graphql(query, id=str(web_socket.pk)))[:2] == ("BAD_USER_INPUT", "url")
    assert rows(Endpoint) == before


def test_endpoints_are_paused_and_resumed_together(graphql, webhook, web_socket):
    ids = [str(webhook.pk), str(web_socket.pk)]
    assert graphql("mutation($ids: [ID]!) { pauseEndpoints(ids: $ids) { ok } }", ids=ids) == {
        "data": {"pauseEndpoints": {"ok": True}}
    }
    assert [row["state"] for row in rows(Endpoint)] == ["PAUSED", "PAUSED"]
    assert graphql("mutation($ids: [ID!]!) { resumeEndpoints(ids: $ids) { ok } }", ids=ids) == {
        "data": {"resumeEndpoints": {"ok": True}}
    }
    assert [row["state"] for row in rows(Endpoint)] == ["ACTIVE", "ACTIVE"]


def test_resuming_ends_a_disabling_and_its_reason(graphql, webhook):
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "410 Gone")
    query = "{ endpoints { collectionItems { state stateReason } } }"
    (item,) = graphql(query)["data"]["endpoints"]["collectionItems"]
    assert item == {"state": "DISABLED", "stateReason": "410 Gone"}
    graphql("mutation($ids: [ID]!) { resumeEndpoints(ids: $ids) { ok } }", ids=[str(webhook.pk)])
    (item,) = graphql(query)["data"]["endpoints"]["collectionItems"]
    assert item == {"state": "ACTIVE", "stateReason": ""}


LISTS = [
    ("deleteEndpoints", "ids"),
    ("deleteEndpoints", "endpointIds"),
    ("pauseEndpoints", "ids"),
    ("resumeEndpoints", "ids"),
]


@pytest.mark.parametrize(("mutation", "argument"), LISTS)
@pytest.mark.parametrize(
    ("bad", "code", "message"),
    [
        (ABSENT, "NOT_FOUND", f"There is no endpoint {ABSENT}."),
        ("abc", "BAD_USER_INPUT", "{} 'abc' is not a UUID, such as 52c6548d-3e17-4b9b-9268-ce51d6900530."),
        (None, "BAD_USER_INPUT", "{} null is not a UUID, such as 52c6548d-3e17-4b9b-9268-ce51d6900530."),
    ],
)
def test_one_bad_id_fails_the_whole_list(graphql, webhook, web_socket, mutation, argument, bad, code, message):
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "410 Gone")
    before = rows(Endpoint)
    query = f"mutation($ids: [ID]!) {{ {mutation}({argument}: $ids) {{ ok }} }}"
    answer = graphql(query, ids=[str(webhook.pk), bad, str(web_socket.pk)])
    assert refused(answer) == (code, argument, message.format(argument))
    assert rows(Endpoint) == before


def test_an_empty_list_is_refused(graphql):
    answer = graphql("mutation { deleteEndpoints(ids: []) { ok } }")
    assert refused(answer) == ("BAD_USER_INPUT", "ids", "ids is empty; name one id or more.")


def test_a_list_of_ids_has_a_limit(graphql):
    answer = graphql("mutation($ids: [ID]!) { deleteEndpoints(ids: $ids) { ok } }", ids=[ABSENT] * 1_001)
    assert refused(answer) == ("BAD_USER_INPUT", "ids", "ids has 1001 ids; at most 1000 are taken at once.")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [(f'ids: ["{ABSENT}"], endpointIds: ["{ABSENT}"]', "both"), ("", "neither"), ("ids: null", "neither")],
)
def test_delete_takes_one_of_its_two_arguments(graphql, arguments, given):
    call = f"deleteEndpoints({arguments})" if arguments else "deleteEndpoints"
    code, field, message = refused(graphql(f"mutation {{ {call} {{ ok }} }}"))
    assert (code, field) == ("BAD_USER_INPUT", "ids")
    assert message.startswith(f"deleteEndpoints has {given}")


def test_an_id_that_is_named_twice_counts_once(graphql, webhook, web_socket):
    query = "mutation($ids: [ID]!) { deleteEndpoints(ids: $ids) { ok } }"
    ids = [str(webhook.pk), str(webhook.pk).upper()]
    assert graphql(query, ids=ids) == {"data": {"deleteEndpoints": {"ok": True}}}
    assert list(Endpoint.objects.live()) == [web_socket]


def test_a_deleted_endpoint_is_gone_everywhere(graphql, webhook, paid):
    FilterLink.link([webhook], paid)
    Endpoint.remove([webhook])
    id_ = str(webhook.pk)
    answer = graphql("{ endpoints { totalCount } eventsFilters { collectionItems { endpoints { id } } } }")
    assert answer == {
        "data": {"endpoints": {"totalCount": 0}, "eventsFilters": {"collectionItems": [{"endpoints": []}]}}
    }
    for call in (
        f'deleteEndpoints(ids: ["{id_}"]) {{ ok }}',
        f'resumeEndpoints(ids: ["{id_}"]) {{ ok }}',
        f'updateEndpoint(id: "{id_}", name: "n") {{ id }}',
        f'linkEndpointsToEventFilters(endpointIds: ["{id_}"], eventFiltersId: "{paid.pk}") {{ ok }}',
    ):
        assert refused(graphql(f"mutation {{ {call} }}"))[::2] == ("NOT_FOUND", f"There is no endpoint {id_}.")
    assert refused(graphql(f'{{ endpointSecret(id: "{id_}") {{ secret }} }}'))[0] == "NOT_FOUND"
    assert not FilterLink.objects.exists()
    FilterLink.link([webhook], paid)  # as somebody might who goes past the API
    answer = graphql("{ eventsFilters { collectionItems { endpoints { id } } } }")
    assert answer == {"data": {"eventsFilters": {"collectionItems": [{"endpoints": []}]}}}


def test_the_secret_of_a_webhook_is_shown_to_who_asks_for_it(graphql, webhook):
    answer = graphql("query($id: ID!) { endpointSecret(id: $id) { secret publicKey } }", id=str(webhook.pk))
    assert answer == {"data": {"endpointSecret": {"secret": webhook.secret, "publicKey": None}}}


def test_a_websocket_has_no_secret(graphql, web_socket):
    answer = graphql("query($id: ID!) { endpointSecret(id: $id) { secret } }", id=str(web_socket.pk))
    message = f"Endpoint {web_socket.pk} is a websocket; only webhooks have a secret."
    assert refused(answer) == ("BAD_USER_INPUT", "id", message)


# --- filters

CREATE = """
mutation($input: EventFiltersInput!, $name: String!, $ids: [ID]) {
  createEventFilters(eventFiltersInput: $input, name: $name, endpointIds: $ids) {
    id creationDate lastModified name meta workspaceId endpoints { id name type }
  }
}
"""


@pytest.mark.parametrize(
    ("given", "meta"),
    [
        ({"in": {"cameraIds": ["1"], "eventTypes": ["HAR"]}}, {"in": {"cameraIds": ["1"], "eventTypes": ["HAR"]}}),
        ({"in": {"agentIds": ["1"], "profileGroupIds": None}}, {"in": {"agentIds": ["1"]}}),
        ({"pattern": {"data": {"a": [1, True, None]}}, "in": None}, {"pattern": {"data": {"a": [1, True, None]}}}),
    ],
)
def test_a_filter_is_created_with_its_links(graphql, workspace, webhook, given, meta):
    answer = graphql(CREATE, input=given, name="paid", ids=[str(webhook.pk)])
    row = EventFilter.objects.get()
    assert answer == {
        "data": {
            "createEventFilters": {
                "id": str(row.pk),
                "creationDate": row.creation_date.isoformat(timespec="microseconds"),
                "lastModified": row.last_modified.isoformat(timespec="microseconds"),
                "name": "paid",
                "meta": meta,
                "workspaceId": str(workspace.pk),
                "endpoints": [{"id": str(webhook.pk), "name": "MyHook", "type": "WEB_HOOK"}],
            }
        }
    }
    assert row.definition == meta


def test_a_filter_is_written_in_the_query_itself(graphql, workspace):
    query = """
    mutation($type: JSON) {
      createEventFilters(name: "n", eventFiltersInput: {pattern: {type: [$type, "b"], data: {n: [-1.5]}}}) { meta }
    }
    """
    answer = graphql(query, type="a")
    meta = {"pattern": {"type": ["a", "b"], "data": {"n": [-1.5]}}}
    assert answer == {"data": {"createEventFilters": {"meta": meta}}}


def test_a_variable_that_is_not_given_is_null_inside_json(graphql, workspace):
    query = """
    mutation($v: JSON) {
      createEventFilters(name: "n", eventFiltersInput: {pattern: {data: {a: [$v]}}}) { meta }
    }
    """
    assert graphql(query) == {"data": {"createEventFilters": {"meta": {"pattern": {"data": {"a": [None]}}}}}}


@pytest.mark.parametrize(
    ("given", "name", "ids", "code", "field"),
    [
        ({}, "n", [], "BAD_USER_INPUT", "eventFiltersInput"),
        ({"in": {}, "pattern": {}}, "n", [], "BAD_USER_INPUT", "eventFiltersInput"),
        ({"pattern": {"kind": ["a"]}}, "n", [], "BAD_USER_INPUT", "pattern.kind"),
        ({"pattern": {"data": {"a": ["\0"]}}}, "n", [], "BAD_USER_INPUT", "pattern.data.a"),
        ({"pattern": {"data": {"a\0": ["b"]}}}, "n", [], "BAD_USER_INPUT", "pattern.data"),
        ({"in": {"eventTypes": []}}, "n", [], "BAD_USER_INPUT", "in.eventTypes"),
        ({"in": {"eventTypes": [None]}}, "n", [], "BAD_USER_INPUT", "in.eventTypes"),
        ({"pattern": {}}, " ", [], "BAD_USER_INPUT", "name"),
        ({"pattern": {}}, "n", [ABSENT], "NOT_FOUND", "endpointIds"),
    ],
)
def test_a_filter_that_makes_no_sense_is_not_created(graphql, given, name, ids, code, field):
    assert refused(graphql(CREATE, input=given, name=name, ids=ids))[:2] == (code, field)
    assert not EventFilter.objects.exists()


def test_an_update_of_a_filter_changes_what_is_given(graphql, paid):
    query = """
    mutation($id: ID!, $in: EventFiltersInput) { updateEventFilters(id: $id, eventFiltersInput: $in) { name meta } }
    """
    meta = {"in": {"eventTypes": ["HAR"]}}
    assert graphql(query, **{"id": str(paid.pk), "in": meta}) == {
        "data": {"updateEventFilters": {"name": "paid", "meta": meta}}
    }
    answer = graphql('mutation($id: ID!) { updateEventFilters(id: $id, name: "new") { name meta } }', id=str(paid.pk))
    assert answer == {"data": {"updateEventFilters": {"name": "new", "meta": meta}}}


def test_a_bad_update_of_a_filter_changes_nothing(graphql, paid):
    before = rows(EventFilter)
    query = """
    mutation($id: ID!) { updateEventFilters(id: $id, name: "new", eventFiltersInput: {pattern: []}) { name } }
    """
    assert refused(graphql(query, id=str(paid.pk)))[:2] == ("BAD_USER_INPUT", "pattern")
    assert rows(EventFilter) == before


def test_filters_are_deleted_with_their_links(graphql, paid, webhook):
    FilterLink.link([webhook], paid)
    query = "mutation($ids: [ID]!) { deleteEventFilters(ids: $ids) { ok } }"
    assert refused(graphql(query, ids=[str(paid.pk), ABSENT]))[::2] == (
        "NOT_FOUND",
        f"There is no event filter {ABSENT}.",
    )
    assert list(EventFilter.objects.all()) == [paid]
    assert graphql(query, ids=[str(paid.pk)]) == {"data": {"deleteEventFilters": {"ok": True}}}
    assert not EventFilter.objects.exists()
    assert not FilterLink.objects.exists()


LINK = "mutation($e: [ID]!, $f: ID!) { linkEndpointsToEventFilters(endpointIds: $e, eventFiltersId: $f) { ok } }"


def test_linking_what_is_linked_and_unlinking_what_is_not_are_fine(graphql, paid, webhook, web_socket):
    both, one = [str(webhook.pk), str(web_socket.pk)], [str(webhook.pk)]
    for _ in range(2):
        assert graphql(LINK, e=one, f=str(paid.pk)) == {"data": {"linkEndpointsToEventFilters": {"ok": True}}}
    assert graphql(LINK, e=both, f=str(paid.pk)) == {"data": {"linkEndpointsToEventFilters": {"ok": True}}}
    assert set(paid.endpoints.all()) == {webhook, web_socket}
    unlink = LINK.replace("linkEndpoints", "unlinkEndpoints")
    for _ in range(2):
        assert graphql(unlink, e=one, f=str(paid.pk)) == {"data": {"unlinkEndpointsToEventFilters": {"ok": True}}}
    assert set(paid.endpoints.all()) == {web_socket}


def test_what_a_change_names_is_locked_until_it_is_done(graphql, paid, webhook, django_assert_max_num_queries):
    """Or an endpoint could be deleted while it is linked. Deliveries to it, which take a key lock, don't wait."""
    with django_assert_max_num_queries(20) as done:
        graphql(LINK, e=[str(webhook.pk)], f=str(paid.pk))
    locked = [query["sql"] for query in done.captured_queries if "FOR NO KEY UPDATE OF" in query["sql"]]
    assert ["endpoints_endpoint" in sql for sql in locked] == [True, False]
    assert ["endpoints_eventfilter" in sql for sql in locked] == [False, True]


@pytest.mark.parametrize("mutation", ["linkEndpoints", "unlinkEndpoints"])
def test_links_change_for_the_whole_list_or_not_at_all(graphql, paid, webhook, web_socket, mutation):
    FilterLink.link([webhook], paid)
    query = LINK.replace("linkEndpoints", mutation)
    ids = [str(webhook.pk), str(web_socket.pk)]
    assert refused(graphql(query, e=[*ids, ABSENT], f=str(paid.pk)))[:2] == ("NOT_FOUND", "endpointIds")
    assert refused(graphql(query, e=ids, f=ABSENT))[:2] == ("NOT_FOUND", "eventFiltersId")
    assert refused(graphql(query, e=ids, f="7"))[:2] == ("BAD_USER_INPUT", "eventFiltersId")
    assert list(paid.endpoints.all()) == [webhook]


# --- keys


def test_a_key_is_shown_once_and_then_by_its_prefix(graphql, workspace):
    answer = graphql("""
    mutation { createApiKey(name: "shop", scopes: [publish, read], expiresAt: "2999-01-01T02:00:00+02:00") {
      key apiKey { name prefix scopes expiresAt revokedAt workspaceId }
    } }
    """)["data"]["createApiKey"]
    grant = authenticate(answer["key"])
    assert (grant.workspace_id, grant.scopes) == (workspace.pk, {"publish", "read"})
    shown = {
        "name": "shop",
        "prefix": answer["key"][:14],
        "scopes": ["publish", "read"],
        "expiresAt": "2999-01-01T00:00:00.000000+00:00",
        "revokedAt": None,
        "workspaceId": str(workspace.pk),
    }
    assert answer["apiKey"] == shown
    listed = graphql("""
    { apiKeys(filters: {name: {exact: "shop"}}) {
      collectionItems { name prefix scopes expiresAt revokedAt workspaceId }
    } }
    """)
    assert listed == {"data": {"apiKeys": {"collectionItems": [shown]}}}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ('name: "", scopes: [read]', "name"),
        ('name: "n", scopes: []', "scopes"),
        ('name: "n", scopes: [root]', None),
        ('name: "n", scopes: [read], expiresAt: "2001-01-01T00:00:00Z"', "expiresAt"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_created(graphql, arguments, field):
    before = rows(ApiKey)
    answer = graphql("mutation { createApiKey(ARGUMENTS) { key } }".replace("ARGUMENTS", arguments))
    assert refused(answer)[:2] == ("BAD_USER_INPUT", field)
    assert [row["id"] for row in rows(ApiKey)] == [row["id"] for row in before]


def test_a_revoked_key_opens_nothing(graphql, workspace):
    revoked, text = ApiKey.issue(workspace=workspace, name="old", scopes=Scope.values)
    query = "mutation($id: ID!) { revokeApiKey(id: $id) { ok } }"
    assert graphql(query, id=str(revoked.pk)) == {"data": {"revokeApiKey": {"ok": True}}}
    with pytest.raises(Unauthenticated):
        authenticate(text)
    revoked.refresh_from_db()
    assert revoked.revoked_at <= timezone.now()
    date = revoked.revoked_at
    graphql(query, id=str(revoked.pk))
    revoked.refresh_from_db()
    assert revoked.revoked_at == date


def test_the_workspace_is_the_keys(graphql, workspace):
    answer = graphql("{ workspace { id name } }")
    assert answer == {"data": {"workspace": {"id": str(workspace.pk), "name": "Ours"}}}


@pytest.mark.parametrize("written", ["WEB_SOCKET", '"WEB_SOCKET"'])
def test_the_type_to_filter_by_is_a_word_or_a_string(graphql, web_socket, webhook, written):
    answer = graphql("{ endpoints(filters: {type: {exact: T}}) { collectionItems { name } } }".replace("T", written))
    assert answer == {"data": {"endpoints": {"collectionItems": [{"name": "MySocket"}]}}}


def test_the_type_is_an_enum(graphql):
    answer = graphql('{ __type(name: "EndpointType") { kind enumValues { name } } }')
    values = [{"name": "WEB_SOCKET"}, {"name": "WEB_HOOK"}]
    assert answer == {"data": {"__type": {"kind": "ENUM", "enumValues": values}}}


def test_a_type_that_is_none_is_refused_by_name(graphql):
    answer = graphql('{ endpoints(filters: {type: {exact: "WEB_HOOKS"}}) { totalCount } }')
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
    assert answer["errors"][0]["message"].startswith("Value 'WEB_HOOKS' does not exist in 'EndpointType' enum.")


@pytest.mark.parametrize("field", ["creation_date", "creationDate", "last_modified", "lastModified"])
@pytest.mark.parametrize(("direction", "names"), [("ASC", ["MySocket", "MyHook"]), ("DESC", ["MyHook", "MySocket"])])
def test_order_takes_both_spellings(graphql, web_socket, webhook, field, direction, names):
    answer = graphql(
        "{ endpoints(order: {ORDER}) { collectionItems { name } } }".replace("ORDER", f"{field}: {direction}")
    )
    assert [item["name"] for item in answer["data"]["endpoints"]["collectionItems"]] == names


def test_method_is_post_when_left_out(graphql):
    answer = graphql('mutation { createWebhookEndpoint(name: "n", url: "http://a.example") { meta } }')
    meta = {"url": "http://a.example", "method": "POST"}
    assert answer == {"data": {"createWebhookEndpoint": {"meta": meta}}}

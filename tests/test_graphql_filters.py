"""The lists: lookups, orders, pages, and how many queries they take."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from endpoints.models import ApiKey, Endpoint, EventFilter, FilterLink

DAY = datetime(2024, 5, 22, 8, 55, 23, 460103, tzinfo=UTC)


@pytest.fixture
def names(graphql):
    """The names that a list with these arguments gives, in its order."""

    def ask(arguments, collection="endpoints", **variables):
        query = f"{collection}({arguments}) {{ collectionItems {{ name }} }}"
        declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in variables.items())
        query = f"query({declared}) {{ {query} }}" if declared else f"{{ {query} }}"
        answer = graphql(query, **{name: value for name, (_, value) in variables.items()})
        return [item["name"] for item in answer["data"][collection]["collectionItems"]]

    return ask


@pytest.fixture
def four(workspace):
    """Four endpoints, a day apart: a and c are websockets."""
    for number, name in enumerate("abcd"):
        kind = {"type": "WEB_HOOK", "url": "http://a.example", "method": "POST"}
        row = Endpoint.objects.create(
            workspace=workspace, name=name, **({"type": "WEB_SOCKET"} if name in "ac" else kind)
        )
        date = DAY + timedelta(days=number)
        Endpoint.objects.filter(pk=row.pk).update(creation_date=date, last_modified=date)
    return {row.name: row for row in Endpoint.objects.all()}


HEX = "52c6548d3e174b9b9268ce51d6900530"
DAY_B = "2024-05-23T08:55:23.460103+00:00"
DAY_B_ELSEWHERE = "2024-05-23T10:55:23.460103+02:00"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("{}", "dcba"),
        ("null", "dcba"),
        ("{type: null}", "dcba"),
        ("{type: {}}", "dcba"),
        ("{type: {exact: null}, name: {in: null}}", "dcba"),
        ("{type: {exact: WEB_HOOK}}", "db"),
        ("{type: {in: [WEB_HOOK, WEB_SOCKET]}}", "dcba"),
        ('{type: {in: "WEB_HOOK"}}', "db"),
        ("{state: {exact: ACTIVE}}", "dcba"),
        ("{state: {in: [PAUSED]}}", ""),
        ('{name: {exact: "a"}}', "a"),
        ('{name: {exact: "A"}}', ""),
        ('{name: {exact: ""}}', ""),
        ('{name: {in: ["a", "d"]}}', "da"),
        ("{name: {in: []}}", ""),
        ('{name: {contains: "b"}}', "b"),
        ('{name: {contains: "%"}}', ""),
        ('{name: {exact: "a"}, type: {exact: WEB_HOOK}}', ""),
        (f'{{creationDate: {{exact: "{DAY_B}"}}}}', "b"),
        (f'{{creationDate: {{exact: "{DAY_B_ELSEWHERE}"}}}}', "b"),
        (f'{{creationDate: {{gt: "{DAY_B}"}}}}', "dc"),
        (f'{{creationDate: {{gte: "{DAY_B}"}}}}', "dcb"),
        (f'{{lastModified: {{lt: "{DAY_B}"}}}}', "a"),
        (f'{{lastModified: {{lte: "{DAY_B}"}}}}', "ba"),
        (f'{{creationDate: {{gte: "{DAY_B}", lt: "2024-05-25T00:00:00Z"}}}}', "cb"),
    ],
)
def test_filters_find_what_meets_all_of_them(names, four, filters, found):
    assert names(f"filters: {filters}") == list(found)


def test_ids_are_filtered_by_one_or_several(names, four):
    ids = [str(four["a"].pk), str(four["d"].pk), str(UUID(int=0))]
    assert names("filters: {id: {exact: $id}}", id=("ID", ids[0])) == ["a"]
    assert names("filters: {id: {exact: $id}}", id=("ID", ids[2])) == []
    assert names("filters: {id: {in: $ids}}", ids=("[ID!]", ids)) == ["d", "a"]
    assert names("filters: {id: {in: $ids}}", ids=("[ID!]", [])) == []


@pytest.mark.parametrize(
    ("arguments", "message", "field"),
    [
        ('filters: {id: {exact: "7"}}', "filters.id.exact '7' is not a UUID", "filters.id.exact"),
        ('filters: {id: {exact: ""}}', "filters.id.exact '' is not a UUID", "filters.id.exact"),
        ('filters: {id: {in: ["x"]}}', "filters.id.in 'x' is not a UUID", "filters.id.in"),
        (f'filters: {{id: {{exact: "{HEX}"}}}}', f"filters.id.exact '{HEX}' is not a UUID", "filters.id.exact"),
        ('filters: {name: {exact: "\\u0000"}}', "filters.name.exact holds a NUL character", "filters.name.exact"),
        ('filters: {name: {in: ["\\u0000"]}}', "filters.name.in holds a NUL character", "filters.name.in"),
        ("pagination: {limit: 201}", "limit is 201; it is between 0 and 200.", "pagination.limit"),
        ("pagination: {limit: -1}", "limit is -1; it is between 0 and 200.", "pagination.limit"),
        ("pagination: {offset: -1}", "offset is -1; it is 0 or more.", "pagination.offset"),
        ("order: {name: ASC, creationDate: DESC}", "order has ", "order"),
        ('filters: {name: {startswith: "a"}}', "Field 'startswith' is not defined", None),
        ("filters: {url: {}}", "Field 'url' is not defined", None),
        ("order: {meta: ASC}", "Field 'meta' is not defined", None),
        ("order: {name: UP}", "Value 'UP' does not exist in 'OrderDirection' enum", None),
        ('filters: {creationDate: {gt: "2024-05-22"}}', "'2024-05-22' is no date and time with an offset", None),
        ('filters: {creationDate: {gt: "yesterday"}}', "'yesterday' is no date and time with an offset", None),
        ("filters: {creationDate: {gt: 5}}", "5 is no date and time with an offset", None),
        ('filters: {creationDate: {gt: "0001-01-01T00:00:00+14:00"}}', "'0001-01-01T00:00:00+14:00' is no", None),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(graphql, four, arguments, message, field):
    (error,) = graphql(f"{{ endpoints({arguments}) {{ totalCount }} }}")["errors"]
    extensions = {"code": "BAD_USER_INPUT", "field": field}
    assert error["extensions"] == {name: value for name, value in extensions.items() if value}
    assert error["message"].startswith(message)


def test_a_bad_date_in_a_variable_is_named(graphql, workspace):
    query = "query($d: DateTime) { endpoints(filters: {creationDate: {gt: $d}}) { totalCount } }"
    (error,) = graphql(query, d="2024-05-22T08:55:23")["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert "'2024-05-22T08:55:23' is no date and time with an offset" in error["message"]


def test_a_list_of_values_has_a_limit(graphql, workspace):
    query = "query($names: [String!]) { endpoints(filters: {name: {in: $names}}) { totalCount } }"
    (error,) = graphql(query, names=["n"] * 1_001)["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "filters.name.in"}


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("{creation_date: ASC}", "abcd"),
        ("{creation_date: DESC}", "dcba"),
        ("[{creationDate: ASC}]", "abcd"),
        ("{last_modified: ASC}", "abcd"),
        ("{lastModified: DESC}", "dcba"),
        ("{name: ASC}", "abcd"),
        ("[{name: DESC}, {creationDate: ASC}]", "dcba"),
        ("[]", "dcba"),
        ("{}", "dcba"),
        ("null", "dcba"),
        ("[{creationDate: null}]", "dcba"),
        ('{name: "ASC"}', "abcd"),
    ],
)
def test_orders(names, four, order, found):
    assert names(f"order: {order}") == list(found)


def test_an_order_of_several_fields_takes_them_in_turn(graphql, four):
    Endpoint.objects.filter(name__in="abc").update(name="same")
    query = "{ endpoints(order: [{name: DESC}, {creation_date: ASC}]) { collectionItems { id } } }"
    ids = [item["id"] for item in graphql(query)["data"]["endpoints"]["collectionItems"]]
    assert ids == [str(four[name].pk) for name in "abcd"]
    ids = [item["id"] for item in graphql(query.replace("ASC", "DESC"))["data"]["endpoints"]["collectionItems"]]
    assert ids == [str(four[name].pk) for name in "cbad"]


@pytest.mark.parametrize(
    ("pagination", "found"),
    [
        ("{limit: 2}", "dc"),
        ("{offset: 1}", "cba"),
        ("{offset: 1, limit: 2}", "cb"),
        ("{offset: 4}", ""),
        ("{offset: 2147483647, limit: 200}", ""),
        ("{limit: 0}", ""),
        ("{offset: null, limit: null}", "dcba"),
        ("{}", "dcba"),
        ("null", "dcba"),
    ],
)
def test_pages_skip_the_offset_and_take_the_limit(graphql, four, pagination, found):
    answer = graphql(f"{{ endpoints(pagination: {pagination}) {{ totalCount collectionItems {{ name }} }} }}")
    assert answer == {"data": {"endpoints": {"totalCount": 4, "collectionItems": [{"name": n} for n in found]}}}


def test_total_count_is_of_what_the_filters_found(graphql, four):
    answer = graphql("{ endpoints(filters: {type: {exact: WEB_HOOK}}, pagination: {limit: 1}) { totalCount } }")
    assert answer == {"data": {"endpoints": {"totalCount": 2}}}


def test_rows_that_are_alike_stand_in_one_order_over_all_pages(names, graphql, four):
    Endpoint.objects.update(creation_date=DAY)
    for order in ("", "order: {creationDate: ASC}, ", "order: {creationDate: DESC}, "):
        pages = [names(f"{order}pagination: {{offset: {offset}, limit: 1}}") for offset in range(4)]
        assert sorted(name for page in pages for name in page) == ["a", "b", "c", "d"]
    ascending = names("order: {creationDate: ASC}")
    assert names("order: {creationDate: DESC}") == ascending[::-1]


def test_fifty_rows_come_without_a_limit(graphql, workspace):
    Endpoint.objects.bulk_create(socket(workspace, number) for number in range(51))
    answer = graphql("{ endpoints { totalCount collectionItems { id } } }")["data"]["endpoints"]
    assert (answer["totalCount"], len(answer["collectionItems"])) == (51, 50)


def socket(workspace, number):
    return Endpoint(workspace=workspace, name=f"s{number}", type="WEB_SOCKET", creation_date=DAY, last_modified=DAY)


KEY = 2 + 4  # the key and its use; what begins and ends a transaction about the workspace


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize(
    ("selected", "queries"),
    [
        ("collectionItems { id name type meta creationDate lastModified workspaceId state openAccess }", 1),
        ("totalCount", 1),
        ("totalCount collectionItems { id }", 2),
        ("collectionItems { eventFilters { id meta } }", 2),
        ("collectionItems { a: eventFilters { id } b: eventFilters { name } }", 2),
    ],
)
def test_a_list_of_endpoints_takes_as_many_queries_for_one_row_as_for_fifty(
    graphql, workspace, django_assert_num_queries, count, selected, queries
):
    endpoints = Endpoint.objects.bulk_create(socket(workspace, number) for number in range(count))
    for _ in range(2):
        EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=endpoints)
    with django_assert_num_queries(KEY + queries):
        answer = graphql(f"{{ endpoints {{ {selected} }} }}")
    assert "errors" not in answer


@pytest.mark.parametrize("count", [1, 5])
def test_what_hangs_on_what_hangs_on_a_row_takes_one_query_too(graphql, workspace, django_assert_num_queries, count):
    endpoints = Endpoint.objects.bulk_create(socket(workspace, number) for number in range(count))
    for endpoint in endpoints:
        EventFilter.create(
            workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=[endpoint, endpoints[0]]
        )
    with django_assert_num_queries(KEY + 3):
        answer = graphql("""
        { endpoints(pagination: {limit: 5}) { collectionItems { eventFilters { endpoints { name } } } } }
        """)
    assert len(answer["data"]["endpoints"]["collectionItems"]) == count


@pytest.mark.parametrize("count", [1, 50])
def test_a_list_of_filters_takes_as_many_queries_for_one_row_as_for_fifty(
    graphql, workspace, webhook, web_socket, django_assert_num_queries, count
):
    for number in range(count):
        EventFilter.create(
            workspace_id=workspace.pk,
            name=f"f{number:02}",
            definition={"pattern": {}},
            endpoints=[webhook, web_socket] if number % 2 == 0 else [],
        )
    with django_assert_num_queries(KEY + 3):
        answer = graphql(
            "{ eventsFilters(order: {name: ASC}) { totalCount collectionItems { name endpoints { name } } } }"
        )
    both = [{"name": "MySocket"}, {"name": "MyHook"}]
    linked = [both, []] if web_socket.creation_date < webhook.creation_date else [both[::-1], []]
    assert answer["data"]["eventsFilters"] == {
        "totalCount": count,
        "collectionItems": [{"name": f"f{number:02}", "endpoints": linked[number % 2]} for number in range(count)],
    }


@pytest.mark.parametrize("count", [1, 50])
def test_a_list_of_keys_takes_as_many_queries_for_one_row_as_for_fifty(
    graphql, workspace, key, django_assert_num_queries, count
):
    for number in range(1, count):
        ApiKey.issue(workspace=workspace, name=f"k{number}", scopes=["read"])
    with django_assert_num_queries(KEY + 2):
        answer = graphql("{ apiKeys { totalCount collectionItems { id name scopes prefix lastUsedAt } } }")
    assert answer["data"]["apiKeys"]["totalCount"] == count


def test_filters_are_listed_by_the_published_arguments(names, workspace):
    rows = [
        EventFilter.create(workspace_id=workspace.pk, name=name, definition={"pattern": {}}) for name in ("old", "new")
    ]
    listed = "eventsFilters"
    assert names("order: {creation_date: ASC}", listed) == ["old", "new"]
    assert names("order: {last_modified: DESC}, pagination: {offset: 1, limit: 1}", listed) == ["old"]
    assert names(f'filters: {{id: {{exact: "{rows[0].pk}"}}}}', listed) == ["old"]


def test_unlinked_endpoints_leave_the_filter(graphql, workspace, webhook):
    event_filter = EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}})
    FilterLink.link([webhook], event_filter)
    query = "{ endpoints { collectionItems { eventFilters { name } } } }"
    assert graphql(query)["data"]["endpoints"]["collectionItems"] == [{"eventFilters": [{"name": "f"}]}]
    FilterLink.unlink([webhook], event_filter)
    assert graphql(query)["data"]["endpoints"]["collectionItems"] == [{"eventFilters": []}]

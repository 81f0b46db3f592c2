"""The examples of the published API page, word for word, in both languages (they differ in deleteEndpoints).

They are run by gql, an independent client, which checks them against the schema that the service tells it.
One answer on the page has what its query does not ask for, `totalCount` of `endpoints`: GraphQL gives what is asked
for, so it is seen here when it is.
"""

from uuid import UUID

import pytest
from gql import Client, gql
from gql.transport.requests import RequestsHTTPTransport

from endpoints.models import Endpoint, EventFilter, FilterLink

FIRST, SECOND = "2eff291d-8c8c-4325-8953-5a70b31bc63e", "29bcfb3a-3a26-4544-9def-d5d44bbd3be4"
FILTER = "36ce940c-d8c7-4770-8f76-2d03a3aa8275"


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def graphql(live_server, key):
    transport = RequestsHTTPTransport(
        f"{live_server.url}/event-service/graphql", headers={"Authorization": f"Bearer {key}"}
    )
    with Client(transport=transport, fetch_schema_from_transport=True) as session:
        yield lambda query: {"data": session.execute(gql(query))}


def endpoint(workspace, id_, **fields):
    now = "2023-09-22T11:40:18.232274+00:00"
    row = Endpoint(id=UUID(id_), workspace=workspace, name="test", type="WEB_SOCKET", **fields)
    row.save()
    Endpoint.objects.filter(pk=row.pk).update(creation_date=now, last_modified=now)
    return row


@pytest.fixture
def named(workspace):
    """The two endpoints and the filter whose ids the examples have."""
    endpoints = [endpoint(workspace, FIRST), endpoint(workspace, SECOND)]
    event_filter = EventFilter(id=UUID(FILTER), workspace=workspace, name="f", definition={"pattern": {}})
    event_filter.save()
    return endpoints, event_filter


def test_create_websocket_endpoint(graphql, workspace):
    answer = graphql("""
mutation {
createWebSocketEndpoint(name: "MyEndpoint") {
creationDate
id
lastModified
meta
name
type
workspaceId
}
}
""")
    row = Endpoint.objects.get()
    date = row.creation_date.isoformat(timespec="microseconds")
    assert answer == {
        "data": {
            "createWebSocketEndpoint": {
                "creationDate": date,
                "id": str(row.pk),
                "lastModified": date,
                "meta": {},
                "name": "MyEndpoint",
                "type": "WEB_SOCKET",
                "workspaceId": str(workspace.pk),
            }
        }
    }
    assert date.endswith("+00:00")


def test_create_webhook_endpoint(graphql, workspace):
    answer = graphql("""
mutation {
createWebhookEndpoint(
name: "My Endpoint"
url: "https://web-hook.server.com"
method: "POST"
) {
creationDate
id
lastModified
meta
name
type
workspaceId
}
}
""")
    row = Endpoint.objects.get()
    date = row.creation_date.isoformat(timespec="microseconds")
    assert answer == {
        "data": {
            "createWebhookEndpoint": {
                "creationDate": date,
                "id": str(row.pk),
                "lastModified": date,
                "meta": {"url": "https://web-hook.server.com", "method": "POST"},
                "name": "My Endpoint",
                "type": "WEB_HOOK",
                "workspaceId": str(workspace.pk),
            }
        }
    }
    assert list(answer["data"]["createWebhookEndpoint"]["meta"]) == ["url", "method"]


def test_get_endpoints(graphql, workspace, web_socket):
    endpoint(workspace, "8374c43d-7561-4a08-b3b7-afce7799e2a8")
    answer = graphql("""
query {
endpoints(filters: {id: {exact: "8374c43d-7561-4a08-b3b7-afce7799e2a8"}}) {
collectionItems {
id
creationDate
lastModified
name
type
workspaceId
}
}
}
""")
    assert answer == {
        "data": {
            "endpoints": {
                "collectionItems": [
                    {
                        "id": "8374c43d-7561-4a08-b3b7-afce7799e2a8",
                        "creationDate": "2023-09-22T11:40:18.232274+00:00",
                        "lastModified": "2023-09-22T11:40:18.232274+00:00",
                        "name": "test",
                        "type": "WEB_SOCKET",
                        "workspaceId": str(workspace.pk),
                    }
                ]
            }
        }
    }
    asked_for = graphql('{endpoints(filters: {id: {exact: "8374c43d-7561-4a08-b3b7-afce7799e2a8"}}) {totalCount}}')
    assert asked_for == {"data": {"endpoints": {"totalCount": 1}}}


@pytest.mark.parametrize(
    "query",
    [
        """
mutation {
deleteEndpoints(endpointIds: ["2eff291d-8c8c-4325-8953-5a70b31bc63e", "29bcfb3a-3a26-4544-9def-d5d44bbd3be4"]) {
ok
}
}
""",
        """
mutation {
deleteEndpoints(
ids: ["2eff291d-8c8c-4325-8953-5a70b31bc63e", "29bcfb3a-3a26-4544-9def-d5d44bbd3be4"]
) {
ok
}
}
""",
    ],
    ids=["english", "russian"],
)
def test_delete_endpoints(graphql, named, web_socket, query):
    assert graphql(query) == {"data": {"deleteEndpoints": {"ok": True}}}
    assert list(Endpoint.objects.live()) == [web_socket]


def test_delete_endpoint_is_another_name_for_it(graphql, named):
    assert graphql("mutation { deleteEndpoint(ids: [ID]) { ok } }".replace("ID", f'"{FIRST}"')) == {
        "data": {"deleteEndpoint": {"ok": True}}
    }
    assert list(Endpoint.objects.live()) == [named[0][1]]


def test_link_endpoints_to_event_filters(graphql, named):
    answer = graphql("""
mutation {
linkEndpointsToEventFilters(
endpointIds: ["2eff291d-8c8c-4325-8953-5a70b31bc63e", "29bcfb3a-3a26-4544-9def-d5d44bbd3be4"],
eventFiltersId: "36ce940c-d8c7-4770-8f76-2d03a3aa8275"
) {
ok
}
}
""")
    endpoints, event_filter = named
    assert answer == {"data": {"linkEndpointsToEventFilters": {"ok": True}}}
    assert set(event_filter.endpoints.all()) == set(endpoints)


def test_unlink_endpoints_to_event_filters(graphql, named):
    FilterLink.link(*named)
    answer = graphql("""
mutation {
unlinkEndpointsToEventFilters(
endpointIds: ["2eff291d-8c8c-4325-8953-5a70b31bc63e", "29bcfb3a-3a26-4544-9def-d5d44bbd3be4"],
eventFiltersId: "36ce940c-d8c7-4770-8f76-2d03a3aa8275"
) {
ok
}
}
""")
    assert answer == {"data": {"unlinkEndpointsToEventFilters": {"ok": True}}}
    assert not FilterLink.objects.exists()

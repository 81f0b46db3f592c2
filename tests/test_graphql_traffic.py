"""Events in, and what became of them, over GraphQL."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from endpoints.models import Endpoint, EventFilter
from routing.ingest import MAX_EVENTS
from routing.models import Delivery, Event
from tests.traffic import attempt

DAY = datetime(2024, 5, 22, 8, 55, 23, tzinfo=UTC)
PUBLISH = """
mutation($events: [EventInput!]!) {
  publishEvents(events: $events) { events { id duplicate error { code message field } } }
}
"""


@pytest.fixture
def publish(graphql):
    def call(*events):
        return graphql(PUBLISH, events=events)["data"]["publishEvents"]["events"]

    return call


def accepted(answer, *, duplicate=False):
    """The id of an answer that accepts its event."""
    assert answer == {"id": answer["id"], "duplicate": duplicate, "error": None}
    return UUID(answer["id"])


def refusal(answer):
    assert (answer["id"], answer["duplicate"]) == (None, None)
    return answer["error"]["code"], answer["error"]["field"]


# --- in


def test_an_event_is_recorded_with_its_deliveries(publish, workspace, webhook):
    (answer,) = publish(
        {
            "type": "order.paid",
            "data": {"amount": 1},
            "date": "2024-05-22T10:55:23+02:00",
            "source": "shop",
            "subject": "order/1",
            "orderingKey": "customer/7",
            "extensions": {"rate": 7, "comexampleext": "é"},
        }
    )
    event = Event.objects.get()
    assert event.pk == accepted(answer)
    assert (event.workspace, event.type, event.data, event.date) == (workspace, "order.paid", '{"amount":1}', DAY)
    assert (event.source, event.subject, event.ordering_key) == ("shop", "order/1", "customer/7")
    assert event.extensions == '{"comexampleext":"é","rate":7}'
    assert list(event.deliveries.values_list("endpoint", "seq")) == [(webhook.pk, 1)]


@pytest.mark.parametrize("text", ['{"a": 1.00, "b":1e2}', '{"a":1,"a":2}', '" "', "null", "123456789012345678901234"])
def test_data_text_is_kept_byte_for_byte(publish, graphql, text):
    publish({"type": "a", "dataText": text})
    assert Event.objects.get().data == text
    answer = graphql("{ events { collectionItems { dataText data } } }")
    assert answer["data"]["events"]["collectionItems"] == [{"dataText": text, "data": json.loads(text)}]


@pytest.mark.parametrize(
    ("given", "stored"),
    [({}, ""), ({"data": None}, "null"), ({"dataText": None}, ""), ({"data": [1, "é", 2**70]}, f'[1,"é",{2**70}]')],
)
def test_data_may_be_any_json_or_absent(publish, given, stored):
    accepted(publish({"type": "a", **given})[0])
    assert Event.objects.get().data == stored


def test_each_event_is_accepted_or_refused_by_itself(publish):
    answers = publish(
        {"type": "first"},
        {"type": ""},
        {"type": "a", "data": 1, "dataText": "1"},
        {"type": "a", "dataText": "{"},
        {"type": "a", "dataText": '"\\u0000"'},
        {"type": "a", "data": "\0"},
        {"type": "a\0"},
        {"type": "a", "date": "yesterday"},
        {"type": "a", "source": "s" * 256},
        {"type": "last"},
    )
    assert [accepted(answers[0]), accepted(answers[-1])] == list(
        Event.objects.order_by("pk").values_list("pk", flat=True)
    )
    assert [refusal(answer) for answer in answers[1:-1]] == [
        ("BAD_USER_INPUT", field) for field in ("type", "dataText", "data", "data", "data", "type", "date", "source")
    ]


def test_the_same_id_is_recorded_once(publish):
    first, again, other = publish(
        {"type": "a", "id": "7"}, {"type": "a", "id": "7"}, {"type": "a", "id": "7", "data": 1}
    )
    assert accepted(again, duplicate=True) == accepted(first)
    assert refusal(other) == ("CONFLICT", "id")
    (later,) = publish({"type": "a", "id": "7"})
    assert accepted(later, duplicate=True) == accepted(first)
    assert Event.objects.count() == 1


@pytest.mark.parametrize("count", [0, MAX_EVENTS + 1])
def test_the_number_of_events_has_limits(graphql, count):
    answer = graphql(PUBLISH, events=[{"type": "a"}] * count)
    assert answer["data"] == {"publishEvents": None}
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "events"}
    assert not Event.objects.exists()


# --- out


def stored(workspace, number=0, **fields):
    return Event.objects.create(
        workspace=workspace, **{"type": "a", "date": DAY + timedelta(days=number), "data": str(number), **fields}
    )


def delivery(event, endpoint, **fields):
    fields = {"state": "PENDING", "due_at": DAY, **fields}
    seq = Delivery.objects.filter(endpoint=endpoint).count() + 1
    return Delivery.objects.create(
        workspace_id=event.workspace_id, event=event, endpoint=endpoint, seq=seq, creation_date=DAY, **fields
    )


ISO = "2024-05-22T08:55:23.000000+00:00"


def test_an_event_shows_everything(graphql, workspace, webhook):
    event = stored(
        workspace,
        source="s",
        subject="t",
        ordering_key="k",
        extensions='{"x":1}',
        data='{"agentId": "7", "cameraId": 8}',
    )
    row = delivery(event, webhook)
    creation = Event.objects.get().creation_date.isoformat(timespec="microseconds")
    answer = graphql("""{ events { totalCount collectionItems {
      id date creationDate lastModified type source subject orderingKey extensions data dataText agentId cameraId
      workspaceId matched deliveries { id }
    } } }""")
    assert answer["data"]["events"] == {
        "totalCount": 1,
        "collectionItems": [
            {
                "id": str(event.pk),
                "date": ISO,
                "creationDate": creation,
                "lastModified": creation,
                "type": "a",
                "source": "s",
                "subject": "t",
                "orderingKey": "k",
                "extensions": {"x": 1},
                "data": {"agentId": "7", "cameraId": 8},
                "dataText": '{"agentId": "7", "cameraId": 8}',
                "agentId": "7",
                "cameraId": None,
                "workspaceId": str(workspace.pk),
                "matched": 1,
                "deliveries": [{"id": str(row.pk)}],
            }
        ],
    }


def test_an_event_without_anything_shows_null(graphql, workspace):
    stored(workspace, data="")
    answer = graphql("""{ events { collectionItems {
      source subject orderingKey extensions data dataText agentId cameraId matched deliveries { id }
    } } }""")
    absent = dict.fromkeys(
        ["source", "subject", "orderingKey", "extensions", "data", "dataText", "agentId", "cameraId"]
    )
    assert answer["data"]["events"]["collectionItems"] == [{**absent, "matched": 0, "deliveries": []}]


def test_a_delivery_and_its_attempts_show_everything(graphql, workspace, webhook):
    event = stored(workspace)
    row = delivery(event, webhook, state="EXHAUSTED", reason="410 Gone", attempts_made=2, due_at=None, settled_at=DAY)
    first = attempt(row, 1, started_at=DAY, error="timeout", error_detail="after 30 s")
    second = attempt(row, 2, started_at=DAY, duration_ms=1.5, status_code=410, error="status", response_body="gone")
    answer = graphql("""{ deliveries { collectionItems {
      id eventId endpointId seq state reason attemptsMade dueAt settledAt creationDate workspaceId
      event { type } endpoint { name }
      attempts {
        id deliveryId number startedAt durationMs statusCode error errorDetail responseBody workspaceId
      }
    } } }""")
    shown = {"deliveryId": str(row.pk), "startedAt": ISO, "workspaceId": str(workspace.pk)}
    attempts = [
        {
            **shown,
            "id": str(first.pk),
            "number": 1,
            "durationMs": None,
            "statusCode": None,
            "error": "timeout",
            "errorDetail": "after 30 s",
            "responseBody": "",
        },
        {
            **shown,
            "id": str(second.pk),
            "number": 2,
            "durationMs": 1.5,
            "statusCode": 410,
            "error": "status",
            "errorDetail": "",
            "responseBody": "gone",
        },
    ]
    assert answer["data"]["deliveries"]["collectionItems"] == [
        {
            "id": str(row.pk),
            "eventId": str(event.pk),
            "endpointId": str(webhook.pk),
            "seq": 1,
            "state": "EXHAUSTED",
            "reason": "410 Gone",
            "attemptsMade": 2,
            "dueAt": None,
            "settledAt": ISO,
            "creationDate": ISO,
            "workspaceId": str(workspace.pk),
            "event": {"type": "a"},
            "endpoint": {"name": "MyHook"},
            "attempts": attempts,
        }
    ]
    fields = "id deliveryId number startedAt durationMs statusCode error errorDetail responseBody workspaceId"
    listed = graphql("{ attempts(order: {number: ASC}) { collectionItems { FIELDS } } }".replace("FIELDS", fields))
    assert listed["data"]["attempts"]["collectionItems"] == attempts


def test_a_delivery_outlives_its_endpoint(graphql, workspace, webhook):
    delivery(stored(workspace), webhook)
    Endpoint.remove([webhook])
    answer = graphql("{ deliveries { collectionItems { endpointId endpoint { id } } } }")
    assert answer["data"]["deliveries"]["collectionItems"] == [{"endpointId": str(webhook.pk), "endpoint": None}]


def test_an_event_shows_its_first_forty_deliveries(graphql, workspace):
    event = stored(workspace)
    for number in range(41):
        delivery(event, Endpoint.create_web_socket(workspace_id=workspace.pk, name=f"{number}"))
    answer = graphql("{ events { collectionItems { matched deliveries { endpoint { name } } } } }")
    names = [{"endpoint": {"name": f"{number}"}} for number in range(40)]
    assert answer["data"]["events"]["collectionItems"] == [{"matched": 41, "deliveries": names}]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("{}", [3, 2, 1]),
        ('{type: {exact: "t1"}}', [1]),
        ('{type: {in: ["t1", "t3"]}}', [3, 1]),
        ('{source: {exact: ""}}', [3, 2]),
        ('{subject: {exact: "s"}}', [2]),
        ('{orderingKey: {in: ["k"]}}', [3]),
        ('{date: {exact: "2024-05-23T08:55:23Z"}}', [1]),
        ('{date: {gt: "2024-05-23T08:55:23Z"}}', [3, 2]),
        ('{date: {gte: "2024-05-23T08:55:23Z", lt: "2024-05-25T08:55:23Z"}}', [2, 1]),
        ('{date: {lte: "2024-05-23T08:55:23+00:00"}}', [1]),
        ('{creationDate: {lt: "2024-05-23T08:55:23Z"}}', []),
    ],
)
def test_events_are_filtered(graphql, workspace, filters, found):
    stored(workspace, 1, type="t1", source="s")
    stored(workspace, 2, type="t2", subject="s")
    stored(workspace, 3, type="t3", ordering_key="k")
    answer = graphql("{ events(filters: FILTERS) { collectionItems { data } } }".replace("FILTERS", filters))
    assert [item["data"] for item in answer["data"]["events"]["collectionItems"]] == found


@pytest.mark.parametrize(
    ("order", "found"), [("{date: ASC}", [1, 2, 3]), ("{date: DESC}", [3, 2, 1]), ("[]", [1, 3, 2])]
)
def test_events_are_ordered_by_date_or_the_newest_come_first(graphql, workspace, order, found):
    for number in (2, 3, 1):
        stored(workspace, number)
    answer = graphql("{ events(order: ORDER) { collectionItems { data } } }".replace("ORDER", order))
    assert [item["data"] for item in answer["data"]["events"]["collectionItems"]] == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("{}", [2, 1]),
        ("{state: {exact: DELIVERED}}", [2]),
        ('{state: {in: ["PENDING", SENDING]}}', [1]),
        ('{eventId: {exact: "EVENT"}}', [2, 1]),
        ('{eventId: {in: ["00000000-0000-4000-8000-000000000000"]}}', []),
        ('{endpointId: {exact: "ENDPOINT"}}', [2]),
        ("{settledAt: {isnull: true}}", [1]),
        ("{settledAt: {isnull: false}}", [2]),
        ("{attemptsMade: {gt: 0}}", [2]),
        ("{attemptsMade: {lt: 2147483647}}", [2, 1]),
        ("{seq: {gt: 9223372036854775808}}", []),
        ('{dueAt: {lte: "2024-05-22T08:55:23Z"}}', [1]),
    ],
)
def test_deliveries_are_filtered(graphql, workspace, webhook, web_socket, filters, found):
    event = stored(workspace)
    delivery(event, webhook)
    delivery(event, web_socket, state="DELIVERED", attempts_made=1, due_at=None, settled_at=DAY)
    filters = filters.replace("EVENT", str(event.pk)).replace("ENDPOINT", str(web_socket.pk))
    answer = graphql("{ deliveries(filters: FILTERS) { collectionItems { endpointId } } }".replace("FILTERS", filters))
    number = {str(webhook.pk): 1, str(web_socket.pk): 2}
    assert [number[item["endpointId"]] for item in answer["data"]["deliveries"]["collectionItems"]] == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("{}", [3, 2, 1]),
        ('{deliveryId: {exact: "DELIVERY"}}', [3, 2, 1]),
        ("{statusCode: {isnull: true}}", [1]),
        ("{statusCode: {gte: 500}}", [2]),
        ("{statusCode: {in: [200, 503, 70000]}}", [3, 2]),
        ('{error: {exact: ""}}', [3]),
        ("{number: {exact: 2}}", [2]),
        ('{startedAt: {lt: "2024-05-22T08:55:23Z"}}', []),
    ],
)
def test_attempts_are_filtered(graphql, workspace, webhook, filters, found):
    row = delivery(stored(workspace), webhook)
    attempt(row, 1, error="timeout")
    attempt(row, 2, error="status", status_code=503)
    attempt(row, 3, status_code=200)
    filters = filters.replace("DELIVERY", str(row.pk))
    answer = graphql("{ attempts(filters: FILTERS) { collectionItems { number } } }".replace("FILTERS", filters))
    assert [item["number"] for item in answer["data"]["attempts"]["collectionItems"]] == found


KEY = 2 + 4  # the key and its use; what begins and ends a transaction about the workspace


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize(
    ("query", "queries"),
    [
        ("events { totalCount collectionItems { id type date } }", 2),
        ("events { collectionItems { data dataText agentId cameraId } }", 2),
        ("events { collectionItems { matched } }", 2),
        ("events { collectionItems { matched deliveries { state endpoint { name } event { dataText } } } }", 6),
        ("deliveries { totalCount collectionItems { id eventId endpointId } }", 2),
        ("deliveries { collectionItems { event { type data matched } endpoint { name eventFilters { id } } } }", 6),
        ("deliveries { collectionItems { attempts { statusCode } } }", 2),
        ("deliveries { collectionItems { heldBack } }", 4),
        ("attempts { totalCount collectionItems { id deliveryId } }", 2),
    ],
)
def test_a_list_takes_as_many_queries_for_one_row_as_for_fifty(
    graphql, workspace, webhook, web_socket, django_assert_num_queries, count, query, queries
):
    EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=[webhook])
    for number in range(count):
        event = stored(workspace, number)
        attempt(delivery(event, webhook), 1)
        attempt(delivery(event, web_socket), 1)
    with django_assert_num_queries(KEY + queries):
        answer = graphql(f"{{ {query} }}")
    assert "errors" not in answer


def test_a_list_reads_the_data_of_its_events_when_it_is_asked_for(graphql, workspace, django_assert_num_queries):
    stored(workspace)
    with django_assert_num_queries(KEY + 1) as done:
        graphql("{ events { collectionItems { id } } }")
    assert '"data"' not in done.captured_queries[-1]["sql"]

"""A sample event for a webhook, and what comes of it at once."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from endpoints.errors import BadInput, Limited
from endpoints.models import ApiKey, Endpoint, EventFilter
from routing import samples
from routing.models import Attempt, Delivery, Event, Lane
from routing.queue import claim, reap
from routing.samples import send_sample
from tests.receiver import answer

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])

TEST = """
mutation ($id: ID!, $type: String, $data: JSON) {
  testEndpoint(id: $id, type: $type, data: $data) {
    number statusCode error errorDetail responseBody durationMs workspaceId requestBody
  }
}
"""


@pytest.fixture
def target(workspace, receiver):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="target", url=receiver.url)


def told(sample):
    return sample.attempt.number, sample.attempt.status_code, sample.attempt.error


# --- over GraphQL


@pytest.mark.django_db(transaction=True)
def test_the_mutation_sends_a_sample_and_returns_its_attempt(graphql, workspace, target, receiver):
    receiver.answer = answer(201, b"thanks")

    attempt = graphql(TEST, id=str(target.pk))["data"]["testEndpoint"]

    assert attempt.pop("durationMs") > 0
    assert attempt.pop("requestBody") == receiver.requests[0].body.decode()
    assert attempt == {
        "number": 1,
        "statusCode": 201,
        "error": "",
        "errorDetail": "",
        "responseBody": "thanks",
        "workspaceId": str(workspace.pk),
    }
    assert Event.objects.get().type == "test.ping"


@pytest.mark.django_db(transaction=True)
def test_the_mutation_shows_what_the_endpoints_shape_sends_of_data(graphql, target, receiver):
    target.change(payload_shape={"paths": ["customer.id"]})

    sample = graphql(TEST, id=str(target.pk), data={"customer": {"id": 7, "name": "x"}})["data"]["testEndpoint"]

    assert sample["requestBody"] == receiver.requests[0].body.decode()
    assert sample["requestBody"].partition('"data":')[2] == '{"customer":{"id":7}}}'


def test_data_that_no_event_may_have_is_not_sent(graphql, target, receiver):
    answer = graphql(TEST, id=str(target.pk), data="x" * 300_000)

    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "data"}
    assert (Event.objects.count(), receiver.requests) == (0, [])


def test_a_test_needs_the_scope_manage(graphql, workspace, target, receiver):
    _, reader = ApiKey.issue(workspace=workspace, name="reader", scopes=["read", "publish"])

    assert graphql(TEST, as_key=reader, id=str(target.pk))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (Event.objects.count(), receiver.requests) == (0, [])


def test_what_can_not_be_tested_is_refused_and_nothing_is_written(graphql, web_socket, target, foreign):
    def refusal(id, type="test.ping"):
        return graphql(TEST, id=str(id), type=type)["errors"][0]["extensions"]

    assert refusal(web_socket.pk) == {"code": "BAD_USER_INPUT", "field": "id"}
    assert refusal(foreign.pk) == {"code": "NOT_FOUND", "field": "id"}
    assert refusal(target.pk, type="x" * 256) == {"code": "BAD_USER_INPUT", "field": "type"}
    assert Event.objects.count() == 0


# --- what is sent and written


@committed
def test_a_sample_is_an_event_and_a_delivery_like_any_other(workspace, target, receiver):
    sample = send_sample(target, type="order.paid")

    (request,) = receiver.requests
    event, delivery = Event.objects.get(), Delivery.objects.get()
    assert request.body.decode() == (
        f'{{"id":"{event.pk}","type":"order.paid","date":"{event.date.isoformat(timespec="microseconds")}",'
        f'"source":"event-service","subject":"{target.pk}","workspaceId":"{workspace.pk}","data":{{"test":true}}}}'
    )
    assert (sample.attempt.delivery_id, told(sample)) == (delivery.pk, (1, 200, ""))
    assert sample.body == request.body
    assert (delivery.state, delivery.seq, delivery.endpoint_id) == ("DELIVERED", 1, target.pk)
    assert Lane.objects.get().in_flight == 0


@committed
def test_a_sample_that_fails_is_not_tried_again(target, receiver):
    receiver.answer = answer(500)

    assert told(send_sample(target, type="a")) == (1, 500, "HTTP_STATUS")
    assert Delivery.objects.get().state == "EXHAUSTED"


@committed
def test_a_receiver_that_hangs_is_left_at_the_endpoints_deadline(target, receiver):
    target.change(retry_policy={"deadlineSeconds": 1})
    receiver.answer = lambda connection: connection.recv(1)

    assert told(send_sample(target, type="a")) == (1, None, "TIMEOUT")


@committed
@pytest.mark.parametrize("state", ["PAUSED", "DISABLED"])
def test_an_endpoint_that_gets_no_events_can_be_tested(target, receiver, state):
    Endpoint.change_state([target], state, "by hand")

    assert told(send_sample(target, type="a")) == (1, 200, "")


@committed
def test_a_sample_goes_to_that_endpoint_alone_whatever_it_wants(workspace, target, receiver):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="other", url=receiver.url)
    pattern = {"pattern": {"type": ["order.paid"]}}
    EventFilter.create(workspace_id=workspace.pk, name="choosy", definition=pattern, endpoints=[target])

    send_sample(target, type="a")

    assert list(Delivery.objects.values_list("endpoint", flat=True)) == [target.pk]


@committed
def test_no_worker_takes_a_sample_that_is_being_sent_and_no_transaction_is_open(target, receiver):
    seen = []

    def look(connection):
        seen.append(list(Delivery.objects.values_list("state", "attempts_made")))
        seen.append(claim(limit=9, per_endpoint=9, rooms={}))
        connection.sendall(answer(200))

    receiver.answer = look
    send_sample(target, type="a")

    assert seen == [[("SENDING", 1)], []]


@committed
def test_a_sample_whose_process_dies_is_recorded_and_tried_by_a_worker(target, receiver, monkeypatch):
    monkeypatch.setattr(samples, "deliver", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send_sample(target, type="a")
    Delivery.objects.update(due_at=Now() - timedelta(seconds=1))

    assert reap() == 1
    assert (Attempt.objects.get().error, Lane.objects.get().in_flight) == ("WORKER_LOST", 0)
    assert [job.number for job in claim(limit=9, per_endpoint=9, rooms={})] == [2]


@committed
def test_no_more_than_a_few_tests_run_at_once(target, receiver):
    for _ in range(samples.AT_ONCE):
        assert samples._room.acquire(blocking=False)
    with pytest.raises(Limited):
        send_sample(target, type="a")
    samples._room.release(samples.AT_ONCE)

    with pytest.raises(BadInput):  # after which there is as much room as before
        send_sample(target, type="")
    assert Event.objects.count() == 0
    assert all(samples._room.acquire(blocking=False) for _ in range(samples.AT_ONCE))
    samples._room.release(samples.AT_ONCE)

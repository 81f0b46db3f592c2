"""Some deliveries by hand: once more, or not at all."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.errors import Conflict
from endpoints.models import AuditEntry, Endpoint
from routing import cancelling, expediting
from routing.cancelling import cancel, cancel_all
from routing.expediting import Expedited, expedite, expedite_all
from routing.models import Delivery, Lane
from routing.queue import Result, claim, settle
from routing.queue.settle import BREAKER_ATTEMPTS
from routing.repeats import Repeat, retry, write
from tests.hints import hearing
from tests.together import together
from tests.traffic import conservation, end, of, record

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
ABSENT = "00000000-0000-4000-8000-000000000000"
RETRY = "mutation($ids: [ID]!) { retryDeliveries(ids: $ids) { deliveries { id retryOfId state eventId } } }"
EXPEDITE = """
mutation($ids: [ID], $endpointId: ID) {
  expediteDeliveries(ids: $ids, endpointId: $endpointId) { expedited released more }
}
"""
RESUME = "mutation($ids: [ID]!) { resumeEndpoints(ids: $ids) { ok } }"
CANCEL = """
mutation($ids: [ID], $endpointId: ID) {
  cancelDeliveries(ids: $ids, endpointId: $endpointId) { cancelled sending more }
}
"""


@pytest.fixture
def fifo(webhook):
    Endpoint.objects.filter(pk=webhook.pk).update(ordering="FIFO_BLOCK")
    webhook.refresh_from_db()
    return webhook


def claimed():
    return claim(limit=100, per_endpoint=100, rooms={})


def due(endpoint):
    """The numbers of what a worker may claim."""
    return [delivery.seq for delivery in of(endpoint, state="PENDING", due_at__lte=Now())]


def states(endpoint):
    return list(of(endpoint).values_list("state", "reason"))


def refusal(answer):
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["message"]


# --- once more


@pytest.mark.parametrize("state", ["DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED"])
def test_a_retry_is_a_new_delivery_that_names_the_old_one(graphql, workspace, webhook, state):
    (event_id,) = record(workspace)
    end(Delivery.objects, state)
    old = Delivery.objects.values().get()

    answer = graphql(RETRY, ids=[str(old["id"])])

    new = Delivery.objects.get(retry_of=old["id"])
    shown = {"id": str(new.pk), "retryOfId": str(old["id"]), "state": "PENDING", "eventId": str(event_id)}
    assert answer == {"data": {"retryDeliveries": {"deliveries": [shown]}}}
    assert (new.seq, new.attempts_made, due(webhook)) == (2, 0, [2])
    assert Delivery.objects.values().get(pk=old["id"]) == old


def test_a_retry_is_sent_as_the_same_event(workspace, webhook):
    (event_id,) = record(workspace)
    end(Delivery.objects)
    retry(list(Delivery.objects.all()))

    (job,) = claimed()

    assert (job.event_id, job.number, job.data) == (event_id, 1, "1.0")


def test_a_second_click_changes_nothing_and_gives_the_same_answer(graphql, workspace, webhook):
    record(workspace, 2)
    end(Delivery.objects)
    ids = [str(delivery.pk) for delivery in of(webhook)]

    first = graphql(RETRY, ids=ids)

    assert graphql(RETRY, ids=ids) == first
    assert conservation(webhook) == (4, 0, 2, 0, 0, 2)


@committed
def test_of_two_clicks_at_once_one_writes(workspace, webhook):
    record(workspace, 5)
    end(Delivery.objects)
    old = list(of(webhook))

    first, second = together(partial(retry, old), partial(retry, old))

    assert [delivery.pk for delivery in first] == [delivery.pk for delivery in second]
    assert [delivery.seq for delivery in of(webhook)] == list(range(1, 11))
    assert conservation(webhook) == (10, 0, 5, 0, 0, 5)


def test_a_retry_that_failed_is_retried_by_its_own_id(workspace, webhook):
    record(workspace)
    end(Delivery.objects)
    (second,) = retry(list(Delivery.objects.all()))
    end(Delivery.objects)
    (third,) = retry([Delivery.objects.get(pk=second.pk)])

    assert [delivery.retry_of_id for delivery in of(webhook)][1:] == [of(webhook)[0].pk, second.pk]
    assert third.retry_of_id == second.pk


def test_a_retry_does_not_answer_with_a_repeat_at_another_endpoint(workspace, webhook, web_socket):
    record(workspace)
    end(Delivery.objects)
    old = of(webhook).get()
    write([Repeat(old.event_id, web_socket.pk, old.pk)])

    (new,) = retry([old])

    assert new.endpoint_id == webhook.pk


def test_what_is_still_open_is_not_retried_and_the_others_are_not_either(graphql, workspace, webhook):
    record(workspace, 2)
    first, second = of(webhook)
    end(of(webhook, pk=first.pk))

    answer = graphql(RETRY, ids=[str(first.pk), str(second.pk)])

    message = f"Delivery {second.pk} is PENDING; only what has ended can be retried. What waits can be expedited."
    assert refusal(answer) == ("CONFLICT", message)
    assert of(webhook).count() == 2


def test_an_endpoint_that_takes_nothing_is_not_retried(workspace, webhook, web_socket):
    record(workspace)
    end(Delivery.objects)
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "test")
    Endpoint.remove([web_socket])

    with pytest.raises(Conflict, match=f"the endpoint {webhook.pk} is disabled; resume it first"):
        retry(list(of(webhook)))
    with pytest.raises(Conflict, match=f"the endpoint {web_socket.pk} was deleted"):
        retry(list(of(web_socket)))
    assert Delivery.objects.count() == 2


def test_what_an_endpoint_that_was_just_disabled_is_owed_is_skipped_with_a_row(workspace, webhook):
    record(workspace)
    end(Delivery.objects)
    old = Delivery.objects.get()
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "test")

    write([Repeat(old.event_id, webhook.pk, old.pk)])

    assert states(webhook)[1:] == [("SKIPPED", "ENDPOINT_DISABLED")]


def test_a_websockets_retry_waits_for_its_reader(workspace, web_socket):
    record(workspace)
    end(Delivery.objects, "DELIVERED")
    retry(list(Delivery.objects.all()))

    assert list(of(web_socket).values_list("seq", "state", "due_at")[1:]) == [(2, "PENDING", None)]


def test_retries_of_one_key_go_one_after_another(workspace, fifo):
    record(workspace, 3, ordering_key="k")
    end(Delivery.objects)
    retry(list(of(fifo)))

    assert due(fifo) == [4]
    assert [delivery.ordering_key for delivery in of(fifo)] == ["k"] * 6


def test_a_retry_waits_behind_what_its_key_is_owed(workspace, fifo):
    record(workspace, 2, ordering_key="k")
    end(of(fifo, seq=1))
    retry(list(of(fifo, seq=1)))

    assert (due(fifo), [delivery.seq for delivery in of(fifo, state="PENDING")]) == ([2], [2, 3])


@committed
def test_retries_hint_at_workers_and_at_the_websocket(workspace, webhook, web_socket):
    record(workspace)
    end(Delivery.objects)
    old = list(Delivery.objects.all())
    with hearing() as hints:
        retry(old)

        assert hints(2) == {("event_service_webhooks", ""), ("event_service_websockets", str(web_socket.pk))}


def test_numbers_stay_without_gaps_where_nothing_is_written(workspace, webhook):
    record(workspace)
    end(Delivery.objects)
    old = Delivery.objects.get()
    repeat = Repeat(old.event_id, webhook.pk, old.pk)

    assert [write([repeat]), write([repeat])] == [1, 0]
    record(workspace)
    assert [delivery.seq for delivery in of(webhook)] == [1, 2, 3]


def test_an_event_of_another_workspace_is_not_written(foreign_workspace, foreign, webhook):
    (event_id,) = record(foreign_workspace)

    assert write([Repeat(event_id, webhook.pk, None)]) == 0


@pytest.mark.parametrize("count", [1, 20])
def test_retries_take_as_many_queries_however_many_they_are(workspace, webhook, django_assert_num_queries, count):
    record(workspace, count)
    end(Delivery.objects)
    old = list(Delivery.objects.all())

    with django_assert_num_queries(
        6 + 4
    ):  # endpoints, cursor, rows, hint, audit log, what is there now; and two savepoints
        assert len(retry(old)) == count


# --- now


@pytest.fixture
def waiting(workspace, webhook):
    """Three that wait for their next try behind an open breaker, and one that has ended."""
    record(workspace, 4)
    of(webhook).update(attempts_made=2, due_at=Now() + timedelta(hours=5))
    end(of(webhook, seq=4))
    Lane.objects.update(opened_at=Now(), openings=4, ready_at=Now() + timedelta(minutes=8))
    return webhook


def test_what_waits_for_another_try_is_tried_now(graphql, waiting):
    answer = graphql(EXPEDITE, ids=[str(delivery.pk) for delivery in of(waiting, seq__in=[1, 2, 4])])

    assert answer == {"data": {"expediteDeliveries": {"expedited": 2, "released": 0, "more": False}}}
    assert due(waiting) == [1, 2]
    assert (Lane.objects.get().opened_at, [job.number for job in claimed()]) == (None, [3, 3])


def test_all_that_waits_for_an_endpoint_is_tried_now_and_twice_is_once(graphql, waiting):
    answers = [graphql(EXPEDITE, endpointId=str(waiting.pk)) for _ in range(2)]

    assert [each["data"]["expediteDeliveries"]["expedited"] for each in answers] == [3, 0]
    assert due(waiting) == [1, 2, 3]
    assert conservation(waiting) == (4, 0, 1, 0, 0, 3)


def test_what_was_due_behind_the_breaker_is_counted_apart(workspace, waiting, web_socket):
    record(workspace, 2)  # not tried yet
    of(waiting, seq=1).update(due_at=Now())

    assert [expedite_all(waiting), expedite_all(waiting)] == [Expedited(2, released=3), Expedited(0)]


def test_of_what_is_named_too_what_was_due_behind_the_breaker_is_counted(waiting):
    of(waiting, seq=1).update(due_at=Now())

    assert expedite(list(of(waiting, seq=2))) == Expedited(1, released=1)


def test_many_are_tried_now_in_several_calls(waiting, monkeypatch):
    monkeypatch.setattr(expediting, "MOST", 2)

    assert [expedite_all(waiting), expedite_all(waiting)] == [Expedited(2, more=True), Expedited(1)]


def test_what_a_rate_limit_or_a_retry_after_asks_for_stays(waiting):
    Lane.objects.update(opened_at=None)

    expedite_all(waiting)

    assert (due(waiting), claimed()) == ([1, 2, 3], [])


def test_a_retry_after_outlasts_the_breaker_that_it_tripped(graphql, workspace, webhook):
    record(workspace, BREAKER_ATTEMPTS)
    tried = {"error": "HTTP_STATUS", "status_code": 503, "started_at": timezone.now(), "pause_s": 600}
    settle([Result(job, "PENDING", retry_after_s=9, **tried) for job in claimed()])
    tripped = Lane.objects.get()
    later = tripped.opened_at + timedelta(seconds=595)

    for document, given in [(EXPEDITE, {"endpointId": str(webhook.pk)}), (RESUME, {"ids": [str(webhook.pk)]})]:
        Lane.objects.update(opened_at=tripped.opened_at)
        graphql(document, **given)
        lane = Lane.objects.get()
        assert (lane.opened_at, lane.ready_at > later, claimed()) == (None, True, [])
    webhook.change(rate_limit={"count": 5, "period_seconds": 1})
    assert Lane.objects.get().ready_at > later
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, reason="test")
    graphql(RESUME, ids=[str(webhook.pk)])
    assert (Lane.objects.get().paused_until, Lane.objects.get().ready_at <= timezone.now()) == (None, True)


def test_the_breaker_before_what_was_never_tried_stays(workspace, waiting):
    of(waiting, state="PENDING").update(attempts_made=0, due_at=Now())

    assert (expedite(list(of(waiting))), Lane.objects.get().openings) == (Expedited(0), 4)


def test_the_log_is_written_once_for_each_workspace(workspace, foreign_workspace, django_assert_num_queries):
    whose = [workspace.pk, foreign_workspace.pk, workspace.pk]
    with django_assert_num_queries(2):
        expediting._note("Delivery", [(workspace_id, uuid4()) for workspace_id in whose])


def test_the_log_says_what_was_tried_now_and_which_breakers_were_closed(foreign_workspace, waiting):
    foreign = Endpoint.create_webhook(workspace_id=foreign_workspace.pk, name="f", url="https://f.example.com")
    record(foreign_workspace, 2)
    of(foreign).update(attempts_made=1, due_at=Now() + timedelta(hours=1))
    ours, theirs = list(of(waiting)), list(of(foreign))  # the fourth of ours has ended
    chosen = [ours[0], theirs[0], ours[3], theirs[1], ours[1]]

    expedite(chosen)

    noted = AuditEntry.objects.filter(object_id__in=[waiting.pk, foreign.pk, *(each.pk for each in chosen)])
    told = {(each.workspace_id, each.object_id) for each in noted.filter(object_type="Delivery")}
    assert told == {(each.workspace_id, str(each.pk)) for each in chosen if each != ours[3]}
    released = [each.object_id for each in noted.filter(changes__has_key="released")]
    assert released == [str(waiting.pk)]


@committed
def test_a_delivery_that_is_being_settled_is_not_waited_for(waiting):
    with transaction.atomic():
        of(waiting, seq=1).select_for_update().get()
        (outcome,) = together(partial(expedite, list(of(waiting))))

    assert outcome == Expedited(2)


def test_of_a_key_only_the_first_is_tried_now(workspace, fifo):
    record(workspace, 2, ordering_key="k")
    of(fifo, seq=1).update(attempts_made=1, due_at=Now() + timedelta(hours=1))

    assert (expedite_all(fifo), due(fifo)) == (Expedited(1), [1])


# --- not at all


def test_what_waits_is_cancelled_and_what_has_ended_stays(graphql, workspace, webhook):
    record(workspace, 3)
    end(of(webhook, seq=1), "DELIVERED")
    end(of(webhook, seq=2))

    answer = graphql(CANCEL, ids=[str(delivery.pk) for delivery in of(webhook)])

    assert answer == {"data": {"cancelDeliveries": {"cancelled": 1, "sending": 0, "more": False}}}
    assert states(webhook) == [("DELIVERED", "test"), ("EXHAUSTED", "test"), ("CANCELLED", "CANCELLED_BY_REQUEST")]
    assert conservation(webhook) == (3, 1, 1, 0, 1, 0)


def test_what_is_on_its_way_is_told_and_can_still_arrive(workspace, webhook):
    record(workspace)
    (job,) = claimed()

    assert cancel(list(of(webhook))) == cancelling.Cancelled(0, 1)
    assert settle([Result(job, "DELIVERED", started_at=job.claimed_at)]) == 1
    assert states(webhook) == [("DELIVERED", "")]


@committed
def test_a_delivery_that_is_being_claimed_is_passed_over(workspace, webhook):
    record(workspace)
    with transaction.atomic():
        Delivery.objects.select_for_update().get()
        (outcome,) = together(partial(cancel, list(of(webhook))))

    assert outcome == cancelling.Cancelled(0, 1)


@pytest.mark.parametrize("again", [{}, {"ids": [], "endpointId": ABSENT}])
def test_ids_or_an_endpoint_are_named_and_not_both(graphql, workspace, again):
    answer = graphql(CANCEL, **again)

    assert refusal(answer)[0] == "BAD_USER_INPUT"


def test_one_unknown_id_and_nothing_is_cancelled(graphql, workspace, webhook):
    record(workspace)

    answer = graphql(CANCEL, ids=[str(of(webhook).get().pk), ABSENT])

    assert refusal(answer) == ("NOT_FOUND", f"There is no delivery {ABSENT}.")
    assert states(webhook) == [("PENDING", "")]


def test_all_that_waits_for_an_endpoint_is_cancelled(graphql, workspace, webhook, web_socket):
    record(workspace, 4)
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    of(webhook, seq=3).update(attempts_made=2)
    of(webhook, seq=4).update(due_at=None)

    answer = graphql(CANCEL, endpointId=str(webhook.pk))

    assert answer == {"data": {"cancelDeliveries": {"cancelled": 3, "sending": 1, "more": False}}}
    assert graphql(CANCEL, endpointId=str(web_socket.pk))["data"]["cancelDeliveries"]["cancelled"] == 4
    assert (conservation(webhook), conservation(web_socket)) == ((4, 0, 0, 0, 3, 1), (4, 0, 0, 0, 4, 0))


def test_a_long_queue_is_cancelled_in_several_calls(workspace, webhook, monkeypatch):
    monkeypatch.setattr(cancelling, "MOST", 2)
    record(workspace, 3)

    assert [cancel_all(webhook) for _ in range(2)] == [
        cancelling.Cancelled(2, 0, more=True),
        cancelling.Cancelled(1, 0, more=False),
    ]


def test_the_next_of_a_key_goes_when_the_first_is_cancelled(workspace, fifo):
    record(workspace, 3, ordering_key="k")
    assert due(fifo) == [1]

    cancel(list(of(fifo, seq=1)))

    assert due(fifo) == [2]


def test_the_next_of_a_key_goes_when_what_could_be_cancelled_at_once_is(workspace, fifo, monkeypatch):
    monkeypatch.setattr(cancelling, "MOST", 1)
    record(workspace, 3, ordering_key="k")

    cancel_all(fifo)

    assert due(fifo) == [2]


def test_a_cancelled_delivery_is_not_due_and_its_lane_is_free(workspace, webhook):
    record(workspace)
    cancel(list(of(webhook)))

    assert claimed() == []
    assert (states(webhook), webhook.lane.in_flight) == ([("CANCELLED", "CANCELLED_BY_REQUEST")], 0)

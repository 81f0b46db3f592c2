"""Replays: what they select, how fast they go, and what becomes of them when something else happens."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
import pytest
from django.db import IntegrityError, OperationalError, connection
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.errors import Conflict, Limited
from endpoints.models import Endpoint, EventFilter, FilterLink
from routing import repeats, replays, walks
from routing.models import Cursor, Delivery, Event, Replay
from routing.partitions import id_at
from routing.queue import claim
from routing.replays import Selection, create, preview, run_some
from tests.together import together
from tests.traffic import conservation, end, of, record

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
ABSENT = "00000000-0000-4000-8000-000000000000"
CREATE = """
mutation($selection: ReplaySelection!, $to: ID, $perSecond: Int) {
  createReplay(selection: $selection, toEndpointId: $to, perSecond: $perSecond) {
    id endpointId toEndpointId states neverAttempted since until eventFiltersId perSecond state reason total done
    creationDate endedAt workspaceId
  }
}
"""
PREVIEW = "query($s: ReplaySelection!, $to: ID) { previewReplay(selection: $s, toEndpointId: $to) { total } }"
CANCEL = "mutation($id: ID!) { cancelReplay(id: $id) { state reason done } }"


@pytest.fixture
def other(workspace):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="Other", url="https://example.com/other")


def failed(workspace, endpoint, count=1, **fields):
    ids = record(workspace, count, **fields)
    end(Delivery.objects.filter(event_id__in=ids, endpoint=endpoint))
    return ids


def finished(replay):
    """Run it to its end, however long it waits between batches, and return it."""
    while replay.state == Replay.State.RUNNING:
        Replay.objects.filter(pk=replay.pk).update(resume_at=Now() - timedelta(days=1))
        run_some()
        replay.refresh_from_db()
    return replay


def ended(replay):
    return replay.state, replay.reason, replay.total, replay.done


def repeated(endpoint):
    """The numbers of the deliveries that new ones at `endpoint` repeat, in the order of the new ones."""
    return list(of(endpoint, retry_of__isnull=False).values_list("retry_of__seq", flat=True))


def later(replay, **passed):
    return replay.creation_date + timedelta(**passed)


# --- what is selected


def test_what_failed_is_delivered_once_more(workspace, webhook):
    record(workspace, 3)
    end(of(webhook, seq__in=[1, 3]))

    replay = finished(create(Selection(webhook)))

    assert ended(replay) == ("DONE", "", 2, 2)
    assert list(of(webhook, seq__gt=3).values_list("seq", "retry_of__seq", "state")) == [
        (4, 1, "PENDING"),
        (5, 3, "PENDING"),
    ]
    assert conservation(webhook) == (5, 0, 2, 0, 0, 3)


def test_a_test_that_failed_is_not_delivered_once_more(workspace, webhook):
    failed(workspace, webhook, source="event-service", subject=str(webhook.pk), type="test.ping")
    failed(workspace, webhook, source="event-service", subject="another")

    assert preview(Selection(webhook)) == (1, True)
    finished(create(Selection(webhook)))
    assert repeated(webhook) == [2]


def test_tests_of_others_are_no_events_that_an_endpoint_was_never_tried_with(workspace, webhook, other):
    about = {"source": "event-service", "subject": str(webhook.pk)}
    record(workspace, type="test.ping", **about)
    (told,) = record(workspace, type="endpoint.failing", **about)
    Delivery.objects.all().delete()

    finished(create(Selection(other, never_attempted=True)))

    assert [delivery.event_id for delivery in of(other)] == [told]
    assert preview(Selection(webhook, never_attempted=True)) == (0, True)


def test_a_replayed_event_keeps_its_id(workspace, webhook):
    (event_id,) = failed(workspace, webhook)
    finished(create(Selection(webhook)))

    assert [(job.event_id, job.number) for job in claim(limit=9, per_endpoint=9, rooms={})] == [(event_id, 1)]


@pytest.mark.parametrize(
    ("states", "found"),
    [
        (None, [2]),
        (["EXHAUSTED"], [2]),
        (["DELIVERED", "SKIPPED"], [1, 3]),
        (["DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED"], [1, 2, 3, 4]),
    ],
)
def test_deliveries_are_selected_by_their_states(workspace, webhook, states, found):
    record(workspace, 5)
    for seq, state in enumerate(["DELIVERED", "EXHAUSTED", "SKIPPED", "CANCELLED"], 1):
        end(of(webhook, seq=seq), state)

    finished(create(Selection(webhook, states=states)))

    assert repeated(webhook) == found


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(None, None, [1, 2, 3, 4]), (2, None, [2, 3, 4]), (2, 4, [2, 3]), (None, 2, [1]), (4, 5, [4]), (5, 6, [])],
)
@pytest.mark.parametrize("agree", [timedelta(0), timedelta(minutes=10)])
def test_deliveries_are_selected_by_their_dates(workspace, webhook, monkeypatch, since, until, found, agree):
    monkeypatch.setattr(walks, "CLOCKS_AGREE", agree)
    day = datetime(2024, 5, 22, tzinfo=UTC)
    failed(workspace, webhook, 4)
    for seq in range(1, 5):
        of(webhook, seq=seq).update(creation_date=day.replace(hour=seq))
    times = {name: day.replace(hour=hour) for name, hour in (("since", since), ("until", until)) if hour is not None}

    finished(create(Selection(webhook, **times)))

    assert repeated(webhook) == found


@pytest.mark.parametrize("never_attempted", [False, True])
def test_a_date_may_be_as_long_ago_as_dates_go(workspace, webhook, never_attempted):
    failed(workspace, webhook)
    replay = create(Selection(webhook, never_attempted=never_attempted, since=datetime.min.replace(tzinfo=UTC)))
    assert replay.total == (0 if never_attempted else 1)


def test_a_count_that_takes_long_is_given_up(workspace, webhook, monkeypatch):
    monkeypatch.setattr(walks, "COUNT_S", 0)
    monkeypatch.setattr(walks, "MATCHED", 2)
    failed(workspace, webhook, 5)
    everything = EventFilter.create(workspace_id=workspace.pk, name="All", definition={"pattern": {}})

    replay = create(Selection(webhook, event_filter=everything))

    assert replay.total is None
    assert repeated(webhook) == []
    finished(replay)
    assert repeated(webhook) == [1, 2, 3, 4, 5]


def test_a_date_is_found_without_looking_at_what_came_before(workspace, webhook, django_assert_max_num_queries):
    failed(workspace, webhook, 100)
    of(webhook, seq__lte=80).update(creation_date=Now() - timedelta(days=1))

    with django_assert_max_num_queries(30):
        replay = create(Selection(webhook, since=timezone.now() - timedelta(hours=1)))

    assert (replay.position, replay.end, replay.total) == ("80", "100", 20)


def test_deliveries_are_selected_by_a_filter(workspace, webhook):
    failed(workspace, webhook, type="order.paid", data=msgspec.Raw(b'{"total": 7}'))
    failed(workspace, webhook, type="order.paid", data=msgspec.Raw(b'{"total": 8}'))
    failed(workspace, webhook, type="order.sent", data=msgspec.Raw(b'{"total": 7}'))
    failed(workspace, webhook, type="order.paid", data=msgspec.Raw(b""))
    definition = {"pattern": {"type": ["order.paid"], "data": {"total": [7]}}}
    seven = EventFilter.create(workspace_id=workspace.pk, name="seven", definition=definition)

    replay = create(Selection(webhook, event_filter=seven))
    seven.change(definition={"pattern": {}})

    assert ended(finished(replay)) == ("DONE", "", 1, 1)
    assert repeated(webhook) == [1]


def test_deliveries_go_to_another_endpoint_in_their_order(workspace, webhook):
    ids = failed(workspace, webhook, 3)
    other = Endpoint.create_webhook(workspace_id=workspace.pk, name="Other", url="https://example.com/other")

    finished(create(Selection(webhook), to_endpoint=other))

    assert list(of(other).values_list("event_id", "seq", "retry_of__seq")) == [
        (id_, n, n) for n, id_ in enumerate(ids, 1)
    ]
    assert of(webhook).count() == 3


def test_what_was_repeated_is_not_repeated_again(workspace, webhook):
    failed(workspace, webhook, 3)
    repeats.retry(list(of(webhook, seq=1)))
    end(of(webhook, seq=4), "DELIVERED")

    first = create(Selection(webhook))
    second = create(Selection(webhook))

    assert ended(finished(first)) == ("DONE", "", 2, 2)
    assert ended(finished(second)) == ("DONE", "", 2, 0)
    assert repeated(webhook) == [1, 2, 3]


def test_of_a_delivery_and_its_retries_the_last_goes_to_another_endpoint(workspace, webhook):
    failed(workspace, webhook)
    repeats.retry(list(of(webhook)))
    end(of(webhook))
    other = Endpoint.create_web_socket(workspace_id=workspace.pk, name="Other")

    finished(create(Selection(webhook), to_endpoint=other))

    assert repeated(other) == [2]


def test_a_replay_does_not_repeat_what_it_has_written(workspace, webhook):
    failed(workspace, webhook, 2)
    replay = create(Selection(webhook), per_second=1)
    run_some()
    end(of(webhook))

    assert ended(finished(replay)) == ("DONE", "", 2, 2)
    assert repeated(webhook) == [1, 2]


# --- never attempted


def test_a_new_endpoint_recovers_what_came_before_it(workspace):
    ids = record(workspace, 3)
    new = Endpoint.create_webhook(workspace_id=workspace.pk, name="New", url="https://example.com/new")
    record(workspace)

    replay = finished(create(Selection(new, never_attempted=True)))

    assert ended(replay) == ("DONE", "", 3, 3)
    assert list(of(new, seq__gt=1).values_list("event_id", "retry_of")) == [(id_, None) for id_ in ids]
    assert conservation(new) == (4, 0, 0, 0, 0, 4)


def test_a_new_endpoint_recovers_only_what_it_wants(workspace):
    record(workspace, type="order.paid")
    (wanted,) = record(workspace, type="order.sent")
    new = Endpoint.create_web_socket(workspace_id=workspace.pk, name="New")
    for type_ in ("order.sent", "order.lost"):
        EventFilter.create(
            workspace_id=workspace.pk, name=type_, definition={"pattern": {"type": [type_]}}, endpoints=[new]
        )

    assert ended(finished(create(Selection(new, never_attempted=True)))) == ("DONE", "", 1, 1)
    assert [delivery.event_id for delivery in of(new)] == [wanted]


def test_a_filter_narrows_what_the_endpoint_wants(workspace):
    record(workspace, type="order.paid")
    record(workspace, type="order.sent")
    new = Endpoint.create_web_socket(workspace_id=workspace.pk, name="New")
    paid, sent = (
        EventFilter.create(workspace_id=workspace.pk, name=type_, definition={"pattern": {"type": [type_]}})
        for type_ in ("order.paid", "order.sent")
    )
    FilterLink.link([new], sent)

    assert preview(Selection(new, never_attempted=True, event_filter=paid)) == (0, True)
    assert preview(Selection(new, never_attempted=True, event_filter=sent)) == (1, True)


def test_what_was_skipped_or_cancelled_before_its_first_attempt_was_never_attempted(workspace, webhook):
    record(workspace, 5)
    end(of(webhook, seq=1), "SKIPPED", attempts_made=0)
    end(of(webhook, seq=2), "CANCELLED", attempts_made=0)
    end(of(webhook, seq=3), "CANCELLED", attempts_made=1)
    end(of(webhook, seq=4), "DELIVERED")

    assert ended(finished(create(Selection(webhook, never_attempted=True)))) == ("DONE", "", 2, 2)
    assert repeated(webhook) == [1, 2]


def test_what_was_skipped_twice_is_repeated_once(workspace, webhook):
    record(workspace)
    for _ in range(2):
        end(of(webhook), "SKIPPED", attempts_made=0)
        finished(create(Selection(webhook, never_attempted=True)))

    assert repeated(webhook) == [1, 2]
    assert preview(Selection(webhook, never_attempted=True)) == (0, True)


def test_events_are_selected_by_their_dates(workspace, monkeypatch):
    monkeypatch.setattr(walks, "CLOCKS_AGREE", timedelta(days=1))
    ids = record(workspace, 3)
    now = timezone.now()
    for hours, id_ in zip((3, 2, 1), ids, strict=True):
        Event.objects.filter(pk=id_).update(creation_date=now - timedelta(hours=hours))
    new = Endpoint.create_web_socket(workspace_id=workspace.pk, name="New")

    between = Selection(new, never_attempted=True, until=now - timedelta(hours=1))
    finished(create(between._replace(since=now - timedelta(hours=2))))

    assert [delivery.event_id for delivery in of(new)] == [ids[1]]


def test_an_event_from_before_since_is_not_looked_at(workspace, web_socket):
    selection = Selection(web_socket, never_attempted=True, since=timezone.now() - timedelta(hours=1))

    start = replays._planned(selection, None, 1).position

    assert record(workspace)[0] > UUID(start) > id_at(timezone.now() - timedelta(hours=2))


# --- to what kind of endpoint


def test_a_websockets_replay_waits_for_its_reader(workspace, web_socket):
    record(workspace, 2)
    end(of(web_socket), "DELIVERED")

    finished(create(Selection(web_socket, states=["DELIVERED"])))

    assert list(of(web_socket, seq__gt=2).values_list("state", "due_at")) == [("PENDING", None)] * 2


def test_an_ordered_endpoint_gets_a_replay_key_by_key(workspace, webhook, other):
    for key in ("a", "b", "a"):
        failed(workspace, webhook, ordering_key=key)
    of(other).delete()
    Endpoint.objects.filter(pk=other.pk).update(ordering="FIFO_BLOCK")
    Cursor.objects.filter(pk=other.pk).update(last_seq=0)

    finished(create(Selection(webhook), to_endpoint=other))

    assert [(delivery.seq, delivery.ordering_key, delivery.due_at is not None) for delivery in of(other)] == [
        (1, "a", True),
        (2, "b", True),
        (3, "a", False),
    ]


# --- how fast


def test_a_replay_writes_no_more_than_its_rate(workspace, webhook):
    failed(workspace, webhook, 60)
    replay = create(Selection(webhook), per_second=10)

    def done_after(seconds):
        run_some(now=later(replay, seconds=seconds))
        return Replay.objects.get(pk=replay.pk).done

    assert [done_after(seconds) for seconds in (0, 0.5, 0.99, 1.0, 1.5, 2.0, 2.1)] == [10, 10, 10, 20, 20, 30, 30]


def test_a_replay_catches_up_a_second_and_no_more(workspace, webhook):
    failed(workspace, webhook, 60)
    replay = create(Selection(webhook), per_second=10)
    run_some(now=later(replay, seconds=0))
    run_some(now=later(replay, hours=1))

    assert Replay.objects.get(pk=replay.pk).done == 10 + 20


def test_one_look_runs_a_few_batches(workspace, webhook, monkeypatch):
    monkeypatch.setattr(replays, "WRITTEN", 2)
    failed(workspace, webhook, 20)
    replay = create(Selection(webhook), per_second=1_000)
    Replay.objects.update(resume_at=Now() - timedelta(seconds=1))

    assert (run_some(), Replay.objects.get(pk=replay.pk).done) == (replays.BATCHES, 2 * replays.BATCHES)


def test_what_is_not_selected_is_passed_without_waiting(workspace, webhook, monkeypatch):
    monkeypatch.setattr(walks, "EXAMINED", 10)
    record(workspace, 35)
    replay = create(Selection(webhook), per_second=1)

    run_some(now=later(replay, seconds=1))

    replay.refresh_from_db()
    assert ended(replay) == ("DONE", "", 0, 0)


def test_replays_take_turns(workspace, webhook):
    failed(workspace, webhook, 8)
    first = create(Selection(webhook, states=["EXHAUSTED"]), per_second=1)
    second = create(Selection(webhook, states=["EXHAUSTED"]), to_endpoint=webhook, per_second=1)
    Replay.objects.update(resume_at=Now() - timedelta(seconds=9))

    run_some()

    assert {Replay.objects.get(pk=replay.pk).position for replay in (first, second)} == {"3", "4"}


# --- what may happen meanwhile


def test_a_crash_undoes_its_batch_and_the_next_goes_on_exactly(workspace, webhook, monkeypatch):
    failed(workspace, webhook, 30)
    replay = create(Selection(webhook), per_second=10)
    run_some()
    before = Replay.objects.values().get()

    def crash(self, **_):
        assert of(webhook).count() == 50  # the batch was written
        raise OperationalError("terminating connection")

    with monkeypatch.context() as patch:
        patch.setattr(Replay, "save", crash)
        with pytest.raises(OperationalError):
            run_some(now=later(replay, seconds=2))

    assert (of(webhook).count(), Replay.objects.values().get()) == (40, before)
    assert ended(finished(replay)) == ("DONE", "", 30, 30)
    assert repeated(webhook) == list(range(1, 31))
    assert conservation(webhook) == (60, 0, 30, 0, 0, 30)


def test_a_fault_of_ours_ends_the_replay_and_not_the_worker(workspace, webhook, monkeypatch, caplog):
    failed(workspace, webhook, 3)
    replay = create(Selection(webhook))

    def fault(_):
        raise KeyError("fault")

    monkeypatch.setattr(repeats, "write", fault)
    run_some()

    replay.refresh_from_db()
    assert ended(replay) == ("FAILED", "INTERNAL", 3, 0)
    assert f"Replay {replay.pk} failed" in caplog.text


@committed
def test_two_workers_work_on_different_replays(workspace, webhook):
    failed(workspace, webhook, 40)
    create(Selection(webhook), per_second=1_000)

    together(*[run_some] * 4)

    assert repeated(webhook) == list(range(1, 41))
    assert [delivery.seq for delivery in of(webhook)] == list(range(1, 81))


@committed
def test_events_and_retries_at_the_same_time_leave_no_gap_and_repeat_nothing_twice(workspace, webhook):
    failed(workspace, webhook, 100)
    replay = create(Selection(webhook), per_second=1_000)
    old = list(of(webhook))

    together(
        partial(finished, replay),
        *[partial(record, workspace, 20)] * 2,
        *[partial(repeats.retry, old[start : start + 30]) for start in (0, 20)],
    )

    assert [delivery.seq for delivery in of(webhook)] == list(range(1, 241))
    assert sorted(repeated(webhook)) == list(range(1, 101))
    assert conservation(webhook) == (240, 0, 100, 0, 0, 140)


def test_a_cancelled_replay_stops_and_what_it_wrote_stays(graphql, workspace, webhook):
    failed(workspace, webhook, 20)
    replay = create(Selection(webhook), per_second=10)
    run_some()

    answer = graphql(CANCEL, id=str(replay.pk))
    run_some(now=later(replay, seconds=5))

    assert answer == {"data": {"cancelReplay": {"state": "CANCELLED", "reason": "CANCELLED_BY_REQUEST", "done": 10}}}
    assert graphql(CANCEL, id=str(replay.pk)) == answer
    assert of(webhook).count() == 30


def test_a_replay_that_is_done_is_not_cancelled_any_more(workspace, webhook):
    replay = finished(create(Selection(webhook)))
    replay.cancel()

    assert Replay.objects.get().state == "DONE"


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda endpoint: Endpoint.remove([endpoint]), "ENDPOINT_DELETED"),
        (lambda endpoint: Endpoint.change_state([endpoint], "DISABLED", "test"), "ENDPOINT_DISABLED"),
    ],
)
def test_a_replay_to_an_endpoint_that_takes_nothing_any_more_fails(workspace, webhook, happens, reason):
    failed(workspace, webhook, 20)
    replay = create(Selection(webhook), per_second=10)
    run_some()
    happens(webhook)

    assert ended(finished(replay)) == ("FAILED", reason, 20, 10)
    assert of(webhook).count() == 30


def test_a_replay_to_a_paused_endpoint_lets_its_deliveries_wait(workspace, webhook):
    failed(workspace, webhook)
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)

    assert ended(finished(create(Selection(webhook)))) == ("DONE", "", 1, 1)


# --- asking for it


def test_a_replay_is_shown_as_it_was_asked_for(graphql, workspace, webhook, web_socket):
    failed(workspace, webhook, 2)
    every = EventFilter.create(workspace_id=workspace.pk, name="every", definition={"pattern": {}})
    selection = {
        "endpointId": str(webhook.pk),
        "states": ["EXHAUSTED", "CANCELLED"],
        "since": "2024-05-22T08:55:23.460103+00:00",
        "eventFiltersId": str(every.pk),
    }

    shown = graphql(CREATE, selection=selection, to=str(web_socket.pk), perSecond=7)["data"]["createReplay"]

    assert shown == {
        **selection,
        "id": str(Replay.objects.get().pk),
        "toEndpointId": str(web_socket.pk),
        "states": ["CANCELLED", "EXHAUSTED"],
        "neverAttempted": False,
        "until": shown["until"],
        "perSecond": 7,
        "state": "RUNNING",
        "reason": "",
        "total": 2,
        "done": 0,
        "creationDate": shown["creationDate"],
        "endedAt": None,
        "workspaceId": str(workspace.pk),
    }
    assert shown["since"] < shown["until"] <= shown["creationDate"]


def test_a_preview_counts_and_writes_nothing(graphql, workspace, webhook):
    failed(workspace, webhook, 3)
    selection = {"endpointId": str(webhook.pk)}

    assert graphql(PREVIEW, s=selection) == {"data": {"previewReplay": {"total": 3}}}
    assert graphql(PREVIEW, s={**selection, "neverAttempted": True}) == {"data": {"previewReplay": {"total": 0}}}
    assert (Replay.objects.count(), of(webhook).count()) == (0, 3)


def test_what_is_too_much_to_look_at_is_not_counted(graphql, workspace, webhook, monkeypatch):
    monkeypatch.setattr(walks, "EXAMINED", 1)
    failed(workspace, webhook, walks.COUNTED)
    selection = {"endpointId": str(webhook.pk)}
    assert graphql(PREVIEW, s=selection) == {"data": {"previewReplay": {"total": None}}}

    monkeypatch.setattr(walks, "EXAMINED", 40)
    assert preview(Selection(webhook), looks=2) == (80, False)
    assert preview(Selection(webhook, until=timezone.now()), looks=3) == (100, True)
    assert ended(finished(create(Selection(webhook), looks=2))) == ("DONE", "", None, 100)


def test_what_filters_let_through_is_counted_as_far_as_was_looked(workspace, webhook, monkeypatch):
    monkeypatch.setattr(walks, "MATCHED", 2)
    failed(workspace, webhook, 6)
    every = EventFilter.create(
        workspace_id=workspace.pk, name="Every", definition={"pattern": {"type": [{"exists": True}]}}
    )
    selection = Selection(webhook, event_filter=every)
    assert (preview(selection, looks=2), preview(selection, looks=4)) == ((4, False), (6, True))


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"selection": {"states": ["PENDING"]}}, ("BAD_USER_INPUT", "states")),
        ({"selection": {"states": []}}, ("BAD_USER_INPUT", "states")),
        ({"selection": {"states": ["SKIPPED"], "neverAttempted": True}}, ("BAD_USER_INPUT", "states")),
        ({"selection": {"since": "2999-01-01T00:00:00Z"}}, ("BAD_USER_INPUT", "since")),
        (
            {"selection": {"since": "2024-05-22T00:00:00Z", "until": "2024-05-22T00:00:00Z"}},
            ("BAD_USER_INPUT", "since"),
        ),
        ({"selection": {"eventFiltersId": ABSENT}}, ("NOT_FOUND", "eventFiltersId")),
        ({"selection": {"endpointId": ABSENT}}, ("NOT_FOUND", "endpointId")),
        ({"selection": {}, "to": ABSENT}, ("NOT_FOUND", "toEndpointId")),
        ({"selection": {}, "perSecond": 0}, ("BAD_USER_INPUT", "perSecond")),
        ({"selection": {}, "perSecond": 1_001}, ("BAD_USER_INPUT", "perSecond")),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(graphql, webhook, given, refusal):
    given["selection"] = {"endpointId": str(webhook.pk), **given["selection"]}

    (error,) = graphql(CREATE, **given)["errors"]

    assert (error["extensions"]["code"], error["extensions"]["field"]) == refusal
    assert not Replay.objects.exists()


def test_nothing_is_replayed_to_a_disabled_endpoint(webhook, web_socket):
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "test")
    webhook.refresh_from_db()

    with pytest.raises(Conflict, match=f"the endpoint {webhook.pk} is disabled; resume it first"):
        create(Selection(web_socket), to_endpoint=webhook)
    assert create(Selection(webhook), to_endpoint=web_socket).state == "RUNNING"


def test_a_workspace_has_so_many_replays_at_once(webhook, web_socket, foreign, monkeypatch):
    monkeypatch.setattr(replays, "MAX_RUNNING", 1)
    create(Selection(foreign))
    replay = create(Selection(webhook))

    with pytest.raises(Limited, match="1 replays are running; at most 1 do at once"):
        create(Selection(webhook))
    finished(replay)
    create(Selection(webhook))


@pytest.mark.parametrize("field", ["endpointId", "toEndpointId", "eventFiltersId"])
def test_what_another_workspace_has_is_as_good_as_absent(graphql, foreign_workspace, webhook, foreign, field):
    theirs = EventFilter.create(workspace_id=foreign_workspace.pk, name="theirs", definition={"pattern": {}})

    def ask(id_):
        ids = {"endpointId": str(webhook.pk), "toEndpointId": None, "eventFiltersId": None, field: str(id_)}
        return graphql(CREATE, to=ids.pop("toEndpointId"), selection=ids)["errors"]

    named = theirs.pk if field == "eventFiltersId" else foreign.pk
    assert str(ask(named)).replace(str(named), ABSENT) == str(ask(ABSENT))
    assert not Replay.objects.exists()


def test_a_replay_can_not_join_two_workspaces(webhook, foreign):
    with pytest.raises(IntegrityError, match="replay_target_in_workspace"):
        create(Selection(webhook), to_endpoint=foreign)


def test_events_of_another_workspace_are_never_found(workspace, foreign_workspace, foreign):
    record(foreign_workspace, 3)
    new = Endpoint.create_web_socket(workspace_id=workspace.pk, name="New")

    assert preview(Selection(new, never_attempted=True)) == (0, True)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("{}", 2),
        ("{state: {exact: RUNNING}}", 1),
        ('{state: {in: ["DONE", "FAILED"]}}', 1),
        ('{endpointId: {exact: "WEBHOOK"}}', 1),
        ('{toEndpointId: {exact: "WEBHOOK"}}', 2),
        ('{creationDate: {lt: "2024-05-22T08:55:23Z"}}', 0),
    ],
)
def test_replays_are_filtered(graphql, webhook, web_socket, filters, found):
    finished(create(Selection(web_socket), to_endpoint=webhook))
    create(Selection(webhook))
    query = "{ replays(filters: FILTERS, order: {creation_date: DESC}) { totalCount collectionItems { state } } }"

    answer = graphql(query.replace("FILTERS", filters).replace("WEBHOOK", str(webhook.pk)))

    assert answer["data"]["replays"]["totalCount"] == len(answer["data"]["replays"]["collectionItems"]) == found


@pytest.mark.parametrize("count", [1, 10])
def test_a_list_of_replays_takes_as_many_queries_for_ten_as_for_one(graphql, webhook, django_assert_num_queries, count):
    for _ in range(count):
        create(Selection(webhook))
    graphql("{ replays { totalCount } }")

    with django_assert_num_queries(8):  # key and its use; its workspace, four times; count, rows
        graphql("{ replays { totalCount collectionItems { id total done state } } }")


# --- what it costs


@pytest.mark.parametrize("never_attempted", [False, True])
def test_a_batch_costs_the_same_at_the_start_and_at_the_end(workspace, webhook, never_attempted):
    many = 20_000
    fill(workspace, webhook, many, deliveries=not never_attempted)
    replay = replays._planned(Selection(webhook, never_attempted=never_attempted), None, 50)
    replay.save(force_insert=True)
    middle = Event.objects.order_by("pk")[many - 5_000].pk if never_attempted else many - 5_000

    start = cost(partial(walks.look, replay, replay.position, room=50))
    ending = cost(partial(walks.look, replay, str(middle), room=50))

    assert ending["rows"] == start["rows"] == walks.EXAMINED
    assert ending["buffers"] <= 1.2 * start["buffers"]


@pytest.mark.parametrize("filtered", [False, True])
def test_a_batch_takes_as_many_queries_at_the_start_and_at_the_end(
    workspace, webhook, django_assert_num_queries, filtered
):
    every = EventFilter.create(workspace_id=workspace.pk, name="every", definition={"pattern": {}})
    failed(workspace, webhook, 60)
    replay = create(Selection(webhook, event_filter=every if filtered else None), per_second=20)

    for second in range(3):
        # its turn, what it looks at, cursor, rows, hint, position, nobody's turn; savepoints
        with django_assert_num_queries(7 + filtered + 3 * 2):
            run_some(now=later(replay, seconds=second))

    assert Replay.objects.get().done == 60


def fill(workspace, endpoint, count, *, deliveries):
    """Store events of an ended month, and, if wanted, deliveries of theirs that failed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data) "
            "SELECT lpad(to_hex(n), 32, '0')::uuid, %s, 'order.paid', '', '', '', now(), '1' "
            "FROM generate_series(1, %s) AS n",
            [workspace.pk, count],
        )
        if deliveries:
            cursor.execute(
                "INSERT INTO routing_delivery (id, workspace_id, event_id, endpoint_id, seq, ordering_key, state, "
                "reason, attempts_made, settled_at) "
                "SELECT id, workspace_id, id, %s, row_number() OVER (ORDER BY id), '', 'EXHAUSTED', 'test', 1, now() "
                "FROM routing_event",
                [endpoint.pk],
            )
            cursor.execute("UPDATE routing_cursor SET last_seq = %s", [count])
        cursor.execute("ANALYZE routing_event, routing_delivery")


def cost(look):
    """What PostgreSQL says that a look reads: rows of the walk, and pages."""
    plans = []

    def explain(execute, sql, params, many, context):
        execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql, params, many, context)
        plans.append(context["cursor"].fetchone()[0][0]["Plan"])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        look()
    (plan,) = plans
    return {"rows": plan["Actual Rows"], "buffers": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]}

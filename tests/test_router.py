"""From events to deliveries: who is owed what, numbered in the order of commits, in the transaction of the event."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from endpoints.errors import BadInput, Conflict
from endpoints.models import Endpoint, EventFilter, FilterLink
from routing import router
from routing.models import Cursor, Delivery, Event, IdempotencyRecord
from routing.signals import events_recorded
from routing.submissions import Submission, check
from tests.hints import hearing
from tests.together import together

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


def record(workspace, *types, **fields):
    """Record events of these types in one batch, and return their ids."""
    events = [check(Submission(**{"type": type, **fields}), workspace.pk) for type in types]
    return [recorded.id for recorded in Event.record_all(events)]


def make_endpoint(workspace, name="Endpoint", *, wants=()):
    """Make a webhook with a filter for each pattern in `wants`."""
    endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name=name, url="https://example.com/")
    for pattern in wants:
        EventFilter.create(workspace_id=workspace.pk, name=name, definition={"pattern": pattern}, endpoints=[endpoint])
    return endpoint


def owed(endpoint):
    """Return what the endpoint is owed: number and type of each event."""
    return list(Delivery.objects.filter(endpoint=endpoint).order_by("seq").values_list("seq", "event__type"))


def numbers(endpoint):
    return list(Delivery.objects.filter(endpoint=endpoint).order_by("seq").values_list("seq", flat=True))


def conservation():
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM routing_conservation")
        return {row[0]: row[1:] for row in cursor.fetchall()}


# --- how much


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_much_is_written_in_parts_and_numbered_alike(workspace, monkeypatch, at_once):
    endpoints = [make_endpoint(workspace, f"{number}") for number in range(3)]
    record(workspace, "before")
    monkeypatch.setattr(router, "WRITTEN_AT_ONCE", at_once)
    record(workspace, "first", "second", "third")
    for endpoint in endpoints:
        assert owed(endpoint) == [(1, "before"), (2, "first"), (3, "second"), (4, "third")]


def test_too_much_at_once_is_refused_and_less_is_not(workspace, monkeypatch):
    endpoints = [make_endpoint(workspace, f"{number}") for number in range(3)]
    monkeypatch.setattr(router, "MOST_OWED", 5)
    refusal = pytest.raises(BadInput, match="These events are owed to endpoints over 5 times; send fewer at once")
    with refusal, transaction.atomic():
        record(workspace, "first", "second")
    record(workspace, "first")
    assert [numbers(endpoint) for endpoint in endpoints] == [[1], [1], [1]]


# --- who is owed what


def test_an_event_is_owed_to_the_endpoint_that_wants_it_and_to_no_other(workspace):
    wanting = make_endpoint(workspace, wants=[{"type": ["order.paid"]}])
    indifferent = make_endpoint(workspace, wants=[{"type": ["order.refunded"]}])

    record(workspace, "order.paid")

    assert (owed(wanting), owed(indifferent)) == ([(1, "order.paid")], [])


def test_filters_see_the_data(workspace):
    german = make_endpoint(workspace, wants=[{"data": {"country": ["DE"]}}])

    record(workspace, "order.paid", data=msgspec.Raw(b'{"country": "DE"}'))
    record(workspace, "order.lost", data=msgspec.Raw(b'{"country": "FR"}'))
    record(workspace, "order.bare")

    assert owed(german) == [(1, "order.paid")]


def test_filters_see_the_event_as_it_is_delivered(workspace):
    by_id, by_workspace, by_date = (
        make_endpoint(workspace, name, wants=[wanted])
        for name, wanted in {
            "By id": {"id": [{"wildcard": "*-*-*-*-*"}]},
            "By workspace": {"workspaceId": [str(workspace.pk)]},
            "By date": {"date": [{"prefix": "2026-11-22T10:00:00"}]},
        }.items()
    )

    record(workspace, "dated", date="2026-11-22T12:00:00+02:00")
    record(workspace, "other", date="2026-11-23T12:00:00+02:00")

    assert [owed(endpoint) for endpoint in (by_id, by_workspace, by_date)] == [
        [(1, "dated"), (2, "other")],
        [(1, "dated"), (2, "other")],
        [(1, "dated")],
    ]


def test_filters_see_the_date_that_the_database_gave(workspace):
    endpoint = make_endpoint(workspace, wants=[{"date": [{"prefix": f"{timezone.now():%Y-}"}]}])

    record(workspace, "undated")
    record(workspace, "dated", date="1999-12-31T23:59:59Z")

    assert owed(endpoint) == [(1, "undated")]


def test_an_endpoint_without_a_filter_is_owed_everything(workspace, web_socket):
    webhook = make_endpoint(workspace)

    record(workspace, "a", "b", "a")

    assert owed(webhook) == owed(web_socket) == [(1, "a"), (2, "b"), (3, "a")]


def test_a_filter_that_nobody_can_read_wants_nothing_and_holds_up_nobody(workspace, caplog):
    other, unreadable = make_endpoint(workspace, wants=[{}]), make_endpoint(workspace)
    EventFilter.create(workspace_id=workspace.pk, name="x", definition={"pattern": {}}, endpoints=[unreadable])
    EventFilter.objects.filter(name="x").update(definition={"pattern": {"type": "not a list"}})
    record(workspace, "a")
    assert (owed(other), owed(unreadable)) == ([(1, "a")], [])
    assert "can't be read and matches nothing: pattern.type is" in caplog.text


def test_several_filters_that_match_make_one_delivery(workspace):
    endpoint = make_endpoint(workspace, wants=[{"type": ["a"]}, {"type": ["a", "b"]}, {}])

    record(workspace, "a", "c")

    assert owed(endpoint) == [(1, "a"), (2, "c")]


def test_one_filter_of_several_is_enough(workspace):
    endpoint = make_endpoint(workspace, wants=[{"type": ["a"]}, {"type": ["b"]}])

    record(workspace, "a", "b", "c")

    assert owed(endpoint) == [(1, "a"), (2, "b")]


def test_another_workspaces_endpoints_are_owed_nothing(workspace, foreign_workspace):
    ours, theirs = make_endpoint(workspace), make_endpoint(foreign_workspace)

    record(workspace, "ours")
    record(foreign_workspace, "theirs")

    assert (owed(ours), owed(theirs)) == ([(1, "ours")], [(1, "theirs")])


def test_a_batch_of_several_workspaces_is_kept_apart(workspace, foreign_workspace):
    ours, theirs = make_endpoint(workspace), make_endpoint(foreign_workspace, wants=[{"type": ["b"]}])

    Event.record_all(
        [check(Submission(type=type), owner.pk) for type in ("a", "b") for owner in (workspace, foreign_workspace)]
    )

    assert (owed(ours), owed(theirs)) == ([(1, "a"), (2, "b")], [(1, "b")])


def test_an_event_that_nobody_wants_is_stored(workspace):
    (event_id,) = record(workspace, "order.paid")

    assert [event.pk for event in Event.objects.all()] == [event_id]
    assert Delivery.objects.count() == 0


def test_the_state_of_the_endpoint_decides_how_a_delivery_begins(workspace, web_socket):
    active, paused, disabled = (make_endpoint(workspace, name) for name in ("Active", "Paused", "Disabled"))
    Endpoint.change_state([paused], Endpoint.State.PAUSED)
    Endpoint.change_state([disabled], Endpoint.State.DISABLED, "410 Gone")

    record(workspace, "a")

    begun = {
        delivery.endpoint_id: (delivery.state, delivery.reason, bool(delivery.due_at), bool(delivery.settled_at))
        for delivery in Delivery.objects.all()
    }
    assert begun == {
        active.pk: ("PENDING", "", True, False),
        paused.pk: ("PENDING", "", True, False),
        disabled.pk: ("SKIPPED", "ENDPOINT_DISABLED", False, True),
        web_socket.pk: ("PENDING", "", False, False),
    }


def test_a_deleted_endpoint_is_owed_nothing_more(workspace, webhook):
    Endpoint.remove([webhook])

    record(workspace, "a")

    assert owed(webhook) == []


def test_the_deletion_of_a_filtered_endpoint_does_not_open_the_filter_to_others(workspace):
    deleted = make_endpoint(workspace, wants=[{"type": ["a"]}])
    event_filter = EventFilter.objects.get()
    remaining = make_endpoint(workspace)
    FilterLink.link([remaining], event_filter)
    Endpoint.remove([deleted])

    record(workspace, "a", "b")

    assert (owed(deleted), owed(remaining)) == ([], [(1, "a")])


# --- what was compiled is never used after the configuration changed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda endpoint, event_filter: FilterLink.unlink([endpoint], event_filter), ["first", "second"]),
        (lambda endpoint, event_filter: event_filter.change(definition={"pattern": {"type": ["second"]}}), ["second"]),
        (lambda endpoint, event_filter: EventFilter.remove([event_filter]), ["first", "second"]),
        (lambda endpoint, event_filter: Endpoint.remove([endpoint]), []),
    ],
    ids=["unlinked", "changed", "filter removed", "endpoint removed"],
)
def test_a_change_holds_from_the_next_event_on(workspace, change, expected):
    endpoint = make_endpoint(workspace, wants=[{"type": ["neither"]}])
    record(workspace, "first", "second")

    change(endpoint, EventFilter.objects.get())
    record(workspace, "first", "second")

    assert [type for _, type in owed(endpoint)] == expected


@committed
def test_a_filter_that_another_connection_changed_by_raw_sql_holds_at_once(workspace):
    endpoint = make_endpoint(workspace, wants=[{"type": ["before"]}])
    record(workspace, "before", "after")

    def change():
        with connection.cursor() as cursor:
            cursor.execute("""UPDATE endpoints_eventfilter SET definition = '{"pattern": {"type": ["after"]}}'""")

    together(change)
    record(workspace, "before", "after")

    assert owed(endpoint) == [(1, "before"), (2, "after")]


def test_what_was_compiled_in_a_transaction_that_was_undone_is_not_used_later(workspace):
    endpoint = make_endpoint(workspace, wants=[{"type": ["a"]}])
    event_filter = EventFilter.objects.get()
    with transaction.atomic():
        event_filter.change(definition={"pattern": {"type": ["undone"]}})
        record(workspace, "undone")
        transaction.set_rollback(True)

    event_filter.change(definition={"pattern": {"type": ["b"]}})
    record(workspace, "a", "b", "undone")

    assert owed(endpoint) == [(1, "b")]


def test_routes_are_compiled_once_for_as_long_as_nothing_changes(workspace):
    endpoint = make_endpoint(workspace, wants=[{"type": ["a"]}])

    def reads_filters():
        with CaptureQueriesContext(connection) as queries:
            record(workspace, "a", "b")
        return any("endpoints_filterlink" in query["sql"] for query in queries)

    before = [reads_filters(), reads_filters(), reads_filters()]
    Endpoint.change_state([endpoint], Endpoint.State.PAUSED)
    after = [reads_filters(), reads_filters()]

    assert (before, after) == ([True, False, False], [True, False])


def test_of_many_filters_the_one_that_changed_is_parsed_again(workspace):
    make_endpoint(workspace, "First", wants=[{"type": ["a"]}])
    make_endpoint(workspace, "Second", wants=[{"type": ["b"]}])
    record(workspace, "a")
    before = dict(router._compiled[workspace.pk].patterns)

    EventFilter.objects.get(name="Second").change(definition={"pattern": {"type": ["c"]}})
    record(workspace, "a")
    after = router._compiled[workspace.pk].patterns

    assert len(before) == len(after) == 2
    assert [text for text in before if after.get(text) is before[text]] == ['{"pattern": {"type": ["a"]}}']


def test_endpoints_whose_filters_say_the_same_are_both_owed_the_event(workspace):
    first, second = (make_endpoint(workspace, name, wants=[{"type": ["a"]}]) for name in ("First", "Second"))

    record(workspace, "a", "b")

    assert owed(first) == owed(second) == [(1, "a")]


def test_the_routes_of_a_workspace_that_was_pushed_out_are_compiled_again(workspace, foreign_workspace, monkeypatch):
    monkeypatch.setattr(router, "MAX_WORKSPACES", 1)
    ours, theirs = make_endpoint(workspace), make_endpoint(foreign_workspace)

    for _ in range(2):
        record(workspace, "a")
        record(foreign_workspace, "b")

    assert (owed(ours), owed(theirs)) == ([(1, "a"), (2, "a")], [(1, "b"), (2, "b")])


# --- all or nothing


@contextmanager
def another_receiver(receive):
    events_recorded.connect(receive)
    yield
    events_recorded.disconnect(receive)


def test_a_receiver_that_raises_undoes_the_events(workspace, webhook):
    def fail(**_):
        raise RuntimeError("no route")

    with another_receiver(fail), pytest.raises(RuntimeError, match="no route"), transaction.atomic():
        record(workspace, "a", id="producer's")

    assert [model.objects.count() for model in (Event, Delivery, IdempotencyRecord)] == [0, 0, 0]
    assert Cursor.objects.get().last_seq == 0


@committed
def test_deliveries_that_can_not_be_written_undo_the_events(workspace, webhook):
    record(workspace, "a")
    Cursor.objects.update(last_seq=0)  # so that the next number is taken already

    with pytest.raises(IntegrityError, match="delivery_seq_once"):
        record(workspace, "b", id="producer's")

    assert list(Event.objects.values_list("type", flat=True)) == ["a"]
    assert (Delivery.objects.count(), IdempotencyRecord.objects.count()) == (1, 0)


@committed
def test_the_receiver_sees_the_batch_inside_its_transaction(workspace):
    seen = []

    def look(sender, events, **_):
        seen.append((sender, [event.type for event in events], Event.objects.count(), connection.in_atomic_block))

    with another_receiver(look):
        record(workspace, "a", "b")

    assert seen == [(Event, ["a", "b"], 2, True)]


def test_a_duplicate_is_neither_stored_nor_owed_again(workspace, webhook):
    ids = [record(workspace, "a", id="producer's")[0] for _ in range(3)]

    assert (len(set(ids)), Event.objects.count(), owed(webhook)) == (1, 1, [(1, "a")])


def test_another_content_under_a_known_id_is_a_conflict(workspace, webhook):
    record(workspace, "a", id="producer's")

    (answer,) = Event.record_all([check(Submission(type="b", id="producer's"), workspace.pk)])

    assert isinstance(answer, Conflict)
    assert (answer.field, owed(webhook)) == ("id", [(1, "a")])


# --- numbers


@committed
def test_who_takes_numbers_later_commits_later(workspace, webhook):
    """A reader with a cursor would skip a row that appears below one that it has read."""

    def overtake():
        try:
            record(workspace, "second")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            record(workspace, "first")
            second = pool.submit(overtake)
            wait_until_somebody_waits_for_us()
            assert not second.done()
        second.result()

    assert owed(webhook) == [(1, "first"), (2, "second")]


def wait_until_somebody_waits_for_us():
    with connection.cursor() as cursor:
        for _ in range(20_000):
            cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
            if cursor.rowcount:
                return
    pytest.fail("nobody waits")


@committed
def test_numbers_that_were_taken_in_vain_are_taken_again(workspace, webhook):
    with transaction.atomic():
        record(workspace, "undone", "undone")
        transaction.set_rollback(True)

    record(workspace, "kept")

    assert owed(webhook) == [(1, "kept")]


@committed
def test_under_concurrent_commits_every_reader_sees_1_2_3_without_a_gap(workspace):
    wanting = [make_endpoint(workspace, f"{n}", wants=[{"type": [str(n), "all"]}]) for n in range(3)]
    orders = [["0", "1", "2"], ["2", "1", "0"], ["all", "0"], ["1", "all"], ["2", "all", "2"]]
    writing = list(orders)

    def write(types):
        try:
            for n in range(15):
                with transaction.atomic():
                    record(workspace, *types)
                    transaction.set_rollback(n % 5 == 4)
        finally:
            writing.pop()

    def read():
        reads = 0
        while writing:
            seen = [numbers(endpoint) for endpoint in wanting]
            assert seen == [list(range(1, len(found) + 1)) for found in seen]
            reads += 1
        return reads

    *_, reads = together(*[lambda types=types: write(types) for types in orders], read)

    assert reads > 1
    counts = {0: 12 * (1 + 1 + 2 + 1 + 1), 1: 12 * (1 + 1 + 1 + 2 + 1), 2: 12 * (1 + 1 + 1 + 1 + 3)}
    assert [numbers(endpoint) for endpoint in wanting] == [list(range(1, counts[n] + 1)) for n in range(3)]
    assert conservation() == {endpoint.pk: (counts[n], 0, 0, 0, 0, counts[n], 0) for n, endpoint in enumerate(wanting)}


# --- nothing disappears


def test_what_was_recorded_is_the_sum_of_what_became_of_it(workspace):
    busy, disabled = make_endpoint(workspace, "Busy"), make_endpoint(workspace, "Disabled")
    Endpoint.change_state([disabled], Endpoint.State.DISABLED, "by hand")
    record(workspace, *"abcdefg")
    ends = {1: "DELIVERED", 2: "DELIVERED", 3: "EXHAUSTED", 4: "CANCELLED", 5: "SKIPPED"}
    for seq, state in ends.items():
        Delivery.objects.filter(endpoint=busy, seq=seq).update(
            state=state, reason="" if state == "DELIVERED" else "test", due_at=None, settled_at="2026-11-22T10:00Z"
        )

    # recorded, delivered, exhausted, skipped, cancelled, open
    assert conservation() == {busy.pk: (7, 2, 1, 1, 1, 2, 0), disabled.pk: (7, 0, 0, 7, 0, 0, 0)}


def test_a_delivery_that_disappears_is_missed(workspace, webhook):
    record(workspace, "a", "b", "c")
    Delivery.objects.filter(seq=2).delete()

    recorded, *became = conservation()[webhook.pk]

    assert (recorded, sum(became)) == (3, 2)


@committed
def test_hints_are_sent_with_the_commit(workspace, webhook, web_socket):
    with hearing() as hints:
        record(workspace, "a", "b")

        assert hints(2) == {(router.WEBHOOK_HINT, ""), (router.WEB_SOCKET_HINT, str(web_socket.pk))}

"""Event types: listed as they arrive, and held against a schema where somebody gives one."""

import json
from functools import partial

import msgspec
import pytest
import requests
from django.db import DataError, connection, transaction

from endpoints.errors import BadInput, Limited
from endpoints.models import EventType, Workspace, event_types
from routing import folding, plans, rules
from routing.folding import fold
from routing.models import Event, IdempotencyRecord, TypeTally
from routing.submissions import Submission, check
from routing.worker import Worker
from tests.together import together
from tests.traffic import record

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
GOOD, BAD = b'{"total": 1}', b'{"total": "x"}'
REFUSAL = {
    "code": "BAD_USER_INPUT",
    "message": 'data.total is "x": it is not of type "number" (schema.properties.total.type).',
    "field": "data.total",
}


def raw(text):
    return msgspec.Raw(text)


def named(workspace, name="order.paid", **changes):
    found = EventType.named(workspace_id=workspace.pk, name=name)
    if changes:
        found.change(**changes)
    return found


def enforcing(workspace, enforcement, name="order.paid"):
    return named(workspace, name, schema=SCHEMA, enforcement=enforcement)


def publish(workspace, *data, **fields):
    """Record events by what is enforced, as publishEvents does."""
    submissions = [Submission(**{"type": "order.paid", "data": raw(text), **fields}) for text in data]
    return plans.run(Event.publishing(workspace.pk, [check(submission, workspace.pk) for submission in submissions]))


def counts(name="order.paid"):
    fold()
    found = EventType.objects.get(name=name)
    return found.count, found.warned, found.rejected


# --- what arrives


def test_what_arrives_is_listed_with_its_count_its_dates_and_its_shape(workspace):
    record(workspace, 3, data=raw(b'{"customer": {"country": "DE"}, "tags": ["a"]}'))
    record(workspace, type="user.created", data=raw(b""))
    fold()

    first, last = Event.objects.order_by("creation_date")[0], Event.objects.latest("creation_date")
    found = EventType.objects.order_by("name")
    assert [(type.workspace_id, type.name, type.count, type.warned, type.rejected) for type in found] == [
        (workspace.pk, "order.paid", 3, 0, 0),
        (workspace.pk, "user.created", 1, 0, 0),
    ]
    assert [(type.enforcement, type.schema, type.last_problem, type.last_problem_at) for type in found] == [
        ("OFF", None, "", None)
    ] * 2
    assert first.creation_date <= found[0].first_seen_at <= last.creation_date <= found[1].last_seen_at
    assert [type.inferred_shape for type in found] == [{"customer": {"country": "string"}, "tags": ["string"]}, None]
    assert TypeTally.objects.count() == 0


def test_counts_and_shapes_grow_with_what_comes_later(workspace):
    record(workspace, 2, data=raw(b'{"total": 1}'))
    fold()
    before = EventType.objects.get()
    record(workspace, 5, data=raw(b'{"total": null, "paid": true}'))
    fold()

    after = EventType.objects.get()
    assert (after.pk, after.count, after.first_seen_at) == (before.pk, 7, before.first_seen_at)
    assert after.last_seen_at >= before.last_seen_at
    assert after.inferred_shape == {"total": "null|number", "paid": "boolean"}


def test_the_same_name_in_another_workspace_is_another_type(workspace, foreign_workspace):
    record(workspace, 2)
    record(foreign_workspace, 3)
    fold()

    listed = EventType.objects.order_by("count").values_list("workspace", "name", "count")
    assert list(listed) == [(workspace.pk, "order.paid", 2), (foreign_workspace.pk, "order.paid", 3)]


def test_what_is_sent_again_is_not_counted_again(workspace):
    for _ in range(3):
        record(workspace, id="mine")

    assert counts() == (1, 0, 0)


def test_an_event_that_is_not_stored_is_not_counted(workspace):
    with transaction.atomic():
        record(workspace)
        transaction.set_rollback(True)

    assert (Event.objects.count(), TypeTally.objects.count()) == (0, 0)


def test_beyond_the_limit_types_are_counted_together(workspace, monkeypatch):
    monkeypatch.setattr(folding, "MAX_TYPES", 3)
    for number in range(5):
        record(workspace, 2, type=f"t{number}")
        fold()
    record(workspace, type="t0")
    fold()

    assert list(EventType.objects.order_by("name").values_list("name", "count")) == [("t0", 3), ("t1", 2), ("t2", 2)]
    assert Workspace.objects.get().unlisted_events == 4


def test_the_limit_is_kept_within_one_fold_and_in_each_workspace(workspace, foreign_workspace, monkeypatch):
    monkeypatch.setattr(folding, "MAX_TYPES", 3)
    for number in range(5):
        record(workspace, type=f"t{number}")
        record(foreign_workspace, type=f"t{number % 2}")
    fold()

    assert sorted(EventType.objects.values_list("workspace__name", "name")) == [
        *(("Ours", f"t{number}") for number in range(3)),
        *(("Theirs", f"t{number}") for number in range(2)),
    ]
    assert list(Workspace.objects.order_by("name").values_list("unlisted_events", flat=True)) == [2, 0]


def test_a_deleted_type_makes_room_and_comes_again_as_new(workspace, monkeypatch):
    monkeypatch.setattr(folding, "MAX_TYPES", 1)
    record(workspace, 2)
    fold()
    EventType.remove([enforcing(workspace, "REJECT")])
    record(workspace, 1)

    assert counts() == (1, 0, 0)
    assert EventType.objects.get().schema is None


def test_a_fold_that_fails_loses_nothing(workspace, monkeypatch):
    record(workspace, 2)
    with monkeypatch.context() as patch:
        patch.setattr(folding, "_ADD_UNLISTED", "SELECT 1 / 0, %s")
        with pytest.raises(DataError):
            fold()

    assert (TypeTally.objects.count(), EventType.objects.count()) == (1, 0)
    assert counts() == (2, 0, 0)


def test_what_a_workspace_that_is_gone_left_behind_is_let_go(workspace, foreign_workspace):
    record(workspace, type="kept")
    record(foreign_workspace, type="left")
    with connection.cursor() as cursor:  # as a deletion that did not see what came meanwhile
        cursor.execute("UPDATE routing_typetally SET workspace_id = gen_random_uuid() WHERE type = 'left'")

    assert fold() == 1
    assert list(EventType.objects.values_list("name", flat=True)) == ["kept"]
    assert not TypeTally.objects.exists()


def test_a_fold_takes_a_share_and_the_next_one_goes_on(workspace, monkeypatch):
    monkeypatch.setattr(folding, "AT_ONCE", 2)
    for _ in range(5):
        record(workspace)

    assert [fold() for _ in range(4)] == [1, 1, 1, 0]
    assert EventType.objects.get().count == 5


def test_of_many_types_those_of_which_nothing_is_known_are_looked_at_first(workspace, monkeypatch):
    monkeypatch.setattr(folding, "SAMPLES", 1)
    for _ in range(3):
        for number in range(3):
            record(workspace, type=f"t{number}", data=raw(b'{"a": 1}'))
        fold()

    assert list(EventType.objects.values_list("inferred_shape", flat=True)) == [{"a": "number"}] * 3


def test_workers_fold(workspace):
    record(workspace)

    Worker(threads=1)._poll(0)

    assert EventType.objects.get().count == 1


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_one_folds_at_a_time(workspace):
    record(workspace)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [folding._LOCK])
        assert together(fold) == [0]
    assert together(fold) == [1]


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_all_at_once_nobody_waits_in_a_ring_and_every_event_is_counted(workspace):
    types = [f"t{number}" for number in range(8)]

    def recording(order):
        for _ in range(15):
            submissions = [Submission(type=name, data=raw(GOOD)) for name in order]
            Event.record_all([check(submission, workspace.pk) for submission in submissions])

    def folding_and_folding():
        for _ in range(30):
            fold()

    def changing():
        for number in range(60):
            with transaction.atomic():
                enforcing(workspace, ("WARN", "OFF")[number % 2], types[number % len(types)])

    def deleting():
        for _ in range(30):
            EventType.remove(EventType.objects.filter(name__startswith="gone"))
            record(workspace, type="gone1")
            record(workspace, type="gone2")
            fold()

    works = [partial(recording, types), partial(recording, types[::-1]), folding_and_folding, folding_and_folding]
    together(*works, changing, deleting)
    fold()

    listed = EventType.objects.filter(name__in=types)
    assert sorted(listed.values_list("name", "count")) == [(name, 30) for name in types]


# --- what is enforced


def test_what_does_not_fit_is_refused_where_that_is_said(workspace, webhook):
    enforcing(workspace, "REJECT")

    answers = publish(workspace, GOOD, BAD, b"", id=None)

    assert [getattr(answer, "duplicate", answer) for answer in answers[:1]] == [False]
    assert answers[1].as_dict() == REFUSAL
    assert answers[2].as_dict()["message"] == 'data is missing: it is not of type "object" (schema.type).'
    assert list(Event.objects.values_list("data", flat=True)) == [GOOD.decode()]
    assert counts() == (1, 0, 2)


def test_what_is_refused_leaves_a_trace(workspace):
    enforcing(workspace, "REJECT")
    publish(workspace, BAD)
    seen = TypeTally.objects.get().seen_at
    fold()

    found = EventType.objects.get()
    assert (found.last_problem, found.last_problem_at, found.last_seen_at) == (REFUSAL["message"], seen, seen)
    assert (found.count, found.inferred_shape) == (0, None)


def test_what_is_warned_of_is_accepted_and_counted(workspace, webhook):
    enforcing(workspace, "WARN")

    answers = publish(workspace, GOOD, BAD)

    assert [answer.duplicate for answer in answers] == [False, False]
    assert counts() == (2, 1, 0)
    assert EventType.objects.get().last_problem == REFUSAL["message"]
    publish(workspace, GOOD)
    fold()
    assert EventType.objects.get().last_problem == REFUSAL["message"]


@pytest.mark.parametrize(
    "change",
    [{"enforcement": "OFF"}, {"enforcement": None}, {"schema": None, "enforcement": None}],
)
def test_what_is_off_is_not_looked_at(workspace, change):
    enforcing(workspace, "REJECT").change(**change)

    publish(workspace, BAD)

    assert counts() == (1, 0, 0)


def test_other_types_and_other_workspaces_are_not_concerned(workspace, foreign_workspace):
    enforcing(workspace, "REJECT")

    answers = [*publish(foreign_workspace, BAD), *publish(workspace, BAD, type="other")]

    assert [answer.duplicate for answer in answers] == [False, False]


def test_what_is_refused_does_not_take_its_id(workspace):
    enforcing(workspace, "REJECT")
    publish(workspace, BAD, id="mine")
    assert IdempotencyRecord.objects.count() == 0

    (answer,) = publish(workspace, GOOD, id="mine")

    assert answer.duplicate is False


def test_what_was_accepted_before_is_answered_so_when_it_comes_again(workspace):
    (first,) = publish(workspace, BAD, id="mine")
    enforcing(workspace, "REJECT")

    again, other = publish(workspace, BAD, b'{"total": "other"}', id="mine")

    assert (again.id, again.duplicate) == (first.id, True)
    assert other.as_dict()["code"] == "CONFLICT"
    assert counts() == (1, 0, 0)


def test_a_schema_that_other_hands_broke_is_not_enforced_and_logged(workspace, caplog):
    enforcing(workspace, "REJECT")
    EventType.objects.update(schema={"type": "nonsense"})

    (answer,) = publish(workspace, BAD)

    assert answer.duplicate is False
    assert "schema can't be read and is not enforced" in caplog.text


def test_rules_are_read_again_when_they_change_and_not_when_events_arrive(workspace):
    def version():
        return Workspace.objects.get().types_version

    found, versions = enforcing(workspace, "REJECT"), [version()]
    for change in (
        lambda: counts(),
        lambda: record(workspace, type="new") and fold(),
        lambda: named(workspace, "other", schema=SCHEMA, description="x"),
        lambda: EventType.objects.filter(name="other").delete(),
        lambda: EventType.objects.filter(pk=found.pk).update(enforcement="WARN"),
        lambda: EventType.objects.filter(pk=found.pk).update(schema={}),
        lambda: EventType.objects.filter(pk=found.pk).update(name="renamed"),
        lambda: EventType.objects.filter(pk=found.pk).delete(),
    ):
        change()
        versions.append(version())

    raised = [before < after for before, after in zip(versions, versions[1:], strict=False)]
    assert raised == [False] * 4 + [True] * 4


def test_rules_are_kept_for_so_many_workspaces(workspace, foreign_workspace, monkeypatch):
    monkeypatch.setattr(rules, "_kept", {})
    monkeypatch.setattr(rules, "MAX_WORKSPACES", 1)
    rules.load(workspace.pk)
    rules.load(foreign_workspace.pk)

    assert (rules.kept(workspace.pk), rules.kept(foreign_workspace.pk)) == (None, rules.load(foreign_workspace.pk))


# --- at every door


def accepting(answer):
    """Return for each event whether it was accepted, or the error."""
    return [item.get("error", "id" in item) for item in answer["events"]]


def by_http(web, key, body, **headers):
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    return requests.post(f"http://127.0.0.1:{web.port}/event-service/events", data=body, headers=headers, timeout=60)


CLOUD = {"specversion": "1.0", "id": "1", "source": "shop", "type": "order.paid"}
BINARY = {f"ce-{name}": value for name, value in CLOUD.items()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"type": "order.paid", "data": %s}' % BAD, {}),
        (b'[{"type": "order.paid", "data": %s}]' % BAD, {}),
        (json.dumps(CLOUD | {"data": json.loads(BAD)}), {"content-type": "application/cloudevents+json"}),
        (json.dumps([CLOUD | {"data": json.loads(BAD)}]), {"content-type": "application/cloudevents-batch+json"}),
        (BAD, BINARY),
    ],
    ids=["one", "many", "structured", "batch", "binary"],
)
def test_the_door_refuses_what_does_not_fit(web, workspace, key, body, headers):
    enforcing(workspace, "REJECT")

    answer = by_http(web, key, body, **headers)

    assert (answer.status_code, accepting(answer.json())) == (400, [REFUSAL])
    assert (Event.objects.count(), counts()) == (0, (0, 0, 1))


@pytest.mark.django_db(transaction=True)
def test_each_event_of_a_list_is_accepted_or_refused_by_itself(web, workspace, key, webhook):
    enforcing(workspace, "REJECT")
    enforcing(workspace, "WARN", "warned")
    events = [("order.paid", GOOD), ("order.paid", BAD), ("warned", BAD), ("free", BAD)]

    answer = by_http(web, key, b"[%s]" % b",".join(b'{"type": "%s", "data": %s}' % (t.encode(), d) for t, d in events))

    assert (answer.status_code, accepting(answer.json())) == (202, [True, REFUSAL, True, True])
    assert (counts(), counts("warned"), counts("free")) == ((1, 0, 1), (1, 1, 0), (1, 0, 0))


def test_publish_events_refuses_what_does_not_fit(graphql, workspace):
    enforcing(workspace, "REJECT")
    query = """mutation { publishEvents(events: [
        {type: "order.paid", data: {total: "x"}} {type: "order.paid", data: {total: 1}}
    ]) { events { id error { code message field } } } }"""

    refused, accepted = graphql(query)["data"]["publishEvents"]["events"]

    assert (refused, accepted["error"]) == ({"id": None, "error": REFUSAL}, None)


@pytest.mark.django_db(transaction=True)
def test_a_change_in_one_process_decides_the_very_next_event_in_another(web, other_web, workspace, key):
    body = b'{"type": "order.paid", "data": %s}' % BAD
    expected, answered = [], []
    for number in range(100):
        enforcement = ("REJECT", "WARN", "OFF")[number % 3]
        enforcing(workspace, enforcement)
        for process in (web, other_web):
            expected.append(400 if enforcement == "REJECT" else 202)
            answered.append(by_http(process, key, body).status_code)

    assert answered == expected
    assert counts() == (132, 66, 68)


# --- what people say of a type


def test_a_type_that_has_not_arrived_yet_is_made(workspace):
    made = named(workspace, "to.come", description="Soon", schema=SCHEMA)

    assert (made.count, made.first_seen_at, named(workspace, "to.come")) == (0, None, made)
    assert (made.schema, made.enforcement, made.description) == (SCHEMA, "OFF", "Soon")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"enforcement": "WARN"}, "enforcement"),
        ({"schema": {"type": "nonsense"}}, "schema.type"),
        ({"description": "x" * 1001}, "description"),
        ({"description": "\0"}, "description"),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(workspace, changes, field):
    found = named(workspace)
    before = EventType.objects.values().get()

    with pytest.raises(BadInput) as refusal:
        found.change(**changes)

    assert (refusal.value.field, EventType.objects.values().get()) == (field, before)


def test_what_is_enforced_has_a_schema(workspace):
    found = enforcing(workspace, "REJECT")

    with pytest.raises(BadInput, match="there is no schema"):
        found.change(schema=None)


def test_there_are_as_many_types_as_the_limit(workspace, monkeypatch):
    monkeypatch.setattr(event_types, "MAX_TYPES", 2)
    for name in ("a", "b", "a"):
        named(workspace, name)

    with pytest.raises(Limited):
        named(workspace, "c")


def test_the_schemas_of_a_workspace_have_a_limit_together(workspace, monkeypatch):
    monkeypatch.setattr(event_types, "MAX_SCHEMAS", 100)
    named(workspace, "a", schema={"title": "x" * 200})
    named(workspace, "a", schema={"title": "y" * 200})  # its own do not count

    with pytest.raises(Limited):
        named(workspace, "b", schema={})


# --- over GraphQL


FIELDS = """
id name description schema enforcement firstSeenAt lastSeenAt count warned rejected lastProblem lastProblemAt
inferredShape workspaceId creationDate lastModified
"""
UPDATE = f"""mutation ($id: ID, $type: String, $schema: JSON, $enforcement: Enforcement, $description: String) {{
    updateEventType(id: $id, type: $type, schema: $schema, enforcement: $enforcement, description: $description) {{
        {FIELDS}
    }}
}}"""


def date(value):
    return value and value.isoformat(timespec="microseconds")


def test_a_type_shows_everything(graphql, workspace):
    enforcing(workspace, "WARN")
    publish(workspace, GOOD, BAD)
    fold()
    found = EventType.objects.get()

    answer = graphql(f"{{ eventTypes {{ totalCount collectionItems {{ {FIELDS} }} }} }}")

    shown = {
        "id": str(found.pk),
        "name": "order.paid",
        "description": "",
        "schema": SCHEMA,
        "enforcement": "WARN",
        "firstSeenAt": date(found.first_seen_at),
        "lastSeenAt": date(found.last_seen_at),
        "count": 2,
        "warned": 1,
        "rejected": 0,
        "lastProblem": REFUSAL["message"],
        "lastProblemAt": date(found.last_problem_at),
        "inferredShape": {"total": "string"},
        "workspaceId": str(workspace.pk),
        "creationDate": date(found.creation_date),
        "lastModified": date(found.last_modified),
    }
    assert answer == {"data": {"eventTypes": {"totalCount": 1, "collectionItems": [shown]}}}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("", ["new", "b", "a"]),
        ("(order: {name: ASC})", ["a", "b", "new"]),
        ("(order: {count: DESC})", ["b", "a", "new"]),
        ("(order: {count: DESC} pagination: {offset: 1, limit: 1})", ["a"]),
        ("(filters: {enforcement: {exact: REJECT}})", ["b"]),
        ('(filters: {name: {in: ["a", "new"]}} order: {name: DESC})', ["new", "a"]),
        ("(filters: {firstSeenAt: {isnull: true}})", ["new"]),
        ("(filters: {count: {gte: 2}})", ["b"]),
        ("(filters: {rejected: {gt: 0}})", ["b"]),
    ],
)
def test_types_are_filtered_and_ordered(graphql, workspace, arguments, names):
    for name, count in (("a", 1), ("b", 2)):
        record(workspace, count, type=name)
        fold()
    enforcing(workspace, "REJECT", "b")
    publish(workspace, BAD, type="b")
    fold()
    named(workspace, "new")

    answer = graphql(f"{{ eventTypes{arguments} {{ collectionItems {{ name }} }} }}")

    assert [found["name"] for found in answer["data"]["eventTypes"]["collectionItems"]] == names


def test_a_type_is_changed_by_its_name_or_its_id(graphql, workspace):
    by_name = graphql(UPDATE, type="order.paid", schema=SCHEMA, enforcement="REJECT")["data"]["updateEventType"]
    query = "mutation ($id: ID, $d: String) { updateEventType(id: $id, description: $d) { schema description } }"
    by_id = graphql(query, id=by_name["id"], d="Paid")["data"]["updateEventType"]

    assert (by_name["name"], by_name["schema"], by_name["enforcement"]) == ("order.paid", SCHEMA, "REJECT")
    assert by_id == {"schema": SCHEMA, "description": "Paid"}


def test_null_takes_schema_enforcement_and_description_away(graphql, workspace):
    enforcing(workspace, "REJECT").change(description="Paid")

    changed = graphql(UPDATE, type="order.paid", schema=None, enforcement=None, description=None)

    shown = changed["data"]["updateEventType"]
    assert (shown["schema"], shown["enforcement"], shown["description"]) == (None, "OFF", "")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "id"),
        ({"id": "52c6548d-3e17-4b9b-9268-ce51d6900530", "type": "a"}, "id"),
        ({"type": ""}, "type"),
        ({"type": "x" * 256}, "type"),
        ({"type": "a", "schema": {"pattern": "("}}, "schema.pattern"),
        ({"type": "a", "enforcement": "REJECT"}, "enforcement"),
    ],
)
def test_a_type_that_makes_no_sense_is_not_made(graphql, given, field):
    answer = graphql(UPDATE, **given)

    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
    assert EventType.objects.count() == 0


def test_types_are_deleted(graphql, workspace):
    kept, *others = (named(workspace, name) for name in "abc")

    query = "mutation ($ids: [ID]!) { deleteEventTypes(ids: $ids) { ok } }"
    answer = graphql(query, ids=[str(row.pk) for row in others])

    assert (answer, list(EventType.objects.all())) == ({"data": {"deleteEventTypes": {"ok": True}}}, [kept])


def test_the_workspace_tells_what_came_of_types_that_are_not_listed(graphql, workspace, monkeypatch):
    monkeypatch.setattr(folding, "MAX_TYPES", 0)
    record(workspace, 3)
    fold()

    assert graphql("{ workspace { unlistedEvents } }") == {"data": {"workspace": {"unlistedEvents": 3}}}

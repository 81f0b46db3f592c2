"""The admin, as an operator uses it: configuration is edited, traffic is looked at."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from endpoints.auth import authenticate
from endpoints.models import (
    ApiKey,
    AuditEntry,
    Endpoint,
    EventFilter,
    EventType,
    FilterLink,
    PortalLink,
    PortalTheme,
    Scope,
    SigningKey,
    Spending,
    StaffBinding,
    Workspace,
)
from routing.models import (
    Attempt,
    Count,
    Cursor,
    DailyEvents,
    Delivery,
    DeliveryChange,
    Event,
    Forgotten,
    IdempotencyRecord,
    Lane,
    Replay,
    Rollup,
    SavedView,
    SharedDelivery,
    ShareGroup,
    Socket,
    SocketNode,
    SocketTicket,
    TypeTally,
    WorkerNode,
)
from routing.replays import Selection, create
from tests.traffic import end, of, record

NOW = datetime(2024, 5, 22, tzinfo=UTC)
CONFIGURATION = [Workspace, ApiKey, Endpoint, SigningKey, EventFilter, EventType, FilterLink, StaffBinding]
CONFIGURATION += [PortalLink, PortalTheme]
TRAFFIC = [AuditEntry, Event, Delivery, Attempt, Replay, IdempotencyRecord, TypeTally, Cursor, Lane]
TRAFFIC += [Socket, SocketNode, SocketTicket, ShareGroup, SharedDelivery, DeliveryChange]
TRAFFIC += [Spending, DailyEvents, Count, Rollup, WorkerNode, Forgotten]
FOUND = [Event, Delivery]  # lists of the console's own: see test_console_deliveries.py
NO_LINKS = {"links-TOTAL_FORMS": "0", "links-INITIAL_FORMS": "0"}


def page(model, what, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{what}", args=args)


def errors(response):
    """What a form says that was sent back."""
    assert response.status_code == 200
    return [error for of_field in response.context["errors"] for error in of_field]


def rows(model):
    return list(model.objects.order_by("pk").values())


def test_every_model_is_registered():
    models = {model for app in ("endpoints", "routing") for model in apps.get_app_config(app).get_models()}
    assert (
        models == {*CONFIGURATION, *TRAFFIC, SavedView} == {model for model in admin.site._registry if model in models}
    )


def fill(workspace, count):
    """Add `count` rows to every table."""
    definition = {"pattern": {}}
    first = Endpoint.objects.count()
    for number in range(first, first + count):
        StaffBinding.objects.create(
            user=User.objects.create(username=f"u{number}"), workspace=Workspace.objects.create(name=f"w{number}")
        )
        PortalLink.issue(workspace=workspace, name=f"l{number}")
        PortalTheme.change(Workspace.objects.create(name=f"v{number}") if number else workspace, name="t")
        key, _ = ApiKey.issue(workspace=workspace, name=f"k{number}", scopes=["read"])
        endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name=f"e{number}", url="https://example.com/")
        EventFilter.create(workspace_id=workspace.pk, name="f", definition=definition, endpoints=[endpoint])
        EventType.named(workspace_id=workspace.pk, name=f"t{number}")
        TypeTally.objects.create(workspace=workspace, type="a", accepted=1, warned=0, rejected=0)
        event = Event.objects.create(workspace=workspace, type="a", date=NOW, data="1")
        delivery = Delivery.objects.create(workspace=workspace, event=event, endpoint=endpoint, seq=1)
        Attempt.objects.create(workspace=workspace, delivery=delivery, number=1, started_at=NOW)
        IdempotencyRecord.objects.create(workspace=workspace, key=f"{number}", event_id=event.pk, digest=b"d")
        Replay.objects.create(
            workspace=workspace, endpoint=endpoint, to_endpoint=endpoint, until=NOW, per_second=1, position="0", end="1"
        )
        socket = Socket.objects.create(node=SocketNode.objects.create(), workspace=workspace, endpoint=endpoint)
        SocketTicket.objects.create(digest=f"{number}".encode(), key=key, endpoint=endpoint, expires_at=NOW)
        group = ShareGroup.objects.create(endpoint=endpoint, name="g", scanned_to=0)
        SharedDelivery.objects.create(group=group, seq=1, delivery=delivery, socket=socket)
        DeliveryChange.objects.create(endpoint=endpoint, delivery=delivery, transaction_id=1)
        Spending.objects.create(subject=f"key {number}")
        WorkerNode.objects.create(name=f"host:{number}", version="1")
        Forgotten.objects.create(endpoint=endpoint, deliveries=1)
        Count.objects.create(workspace=workspace, endpoint=endpoint, name="OWED", count=1)
        Rollup.objects.create(workspace=workspace, endpoint=endpoint, period="DAY", at=NOW, name="OWED", count=1)
        DailyEvents.objects.create(workspace=workspace, day=NOW.date() + timedelta(days=number))


def test_a_list_takes_as_many_queries_for_twenty_rows_as_for_one(admin_client, workspace, django_assert_num_queries):
    def look_at_every_list():
        for model in CONFIGURATION + TRAFFIC:
            counts = 0 if model in TRAFFIC else 1  # of all rows, besides those that were found
            # Session, user; all; found, or workspaces and views; rows.
            with django_assert_num_queries(2 + counts + 1 + (model in FOUND) + 1, info=model):
                assert admin_client.get(page(model, "changelist")).status_code == 200

    fill(workspace, 1)
    admin_client.get(page(Workspace, "changelist"))  # what is read once for all
    look_at_every_list()
    fill(workspace, 20)
    look_at_every_list()


@pytest.mark.parametrize("model", CONFIGURATION + TRAFFIC)
def test_a_row_opens(admin_client, workspace, model):
    fill(workspace, 1)
    row = model.objects.first()
    assert admin_client.get(page(model, "change", row.pk)).status_code == 200


NAMED = [FilterLink, SigningKey, StaffBinding, Delivery, Attempt, Replay, Cursor, Lane, Rollup, Count, Forgotten]
NAMED += [Socket, SocketTicket, SharedDelivery, DeliveryChange, DailyEvents]


@pytest.mark.parametrize("model", NAMED)
def test_a_page_is_called_by_names_and_not_by_ids(admin_client, workspace, model):
    fill(workspace, 1)
    title = admin_client.get(page(model, "change", model.objects.first().pk)).context["subtitle"]
    assert not re.search("[0-9a-f]{8}-|object", title), title


def test_the_list_of_endpoints_says_what_is_wrong_with_one(admin_client, webhook):
    def shown():
        return admin_client.get(page(Endpoint, "changelist")).content.decode()

    assert '<span class="badge ok">Active</span>' in shown()
    Lane.objects.update(opened_at=NOW, failing_since=NOW)
    assert '<span class="badge bad">Active, breaker open</span>' in shown()
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, reason="The receiver answered 410 Gone.")
    assert '<span class="badge bad">Disabled</span> <span class="muted">The receiver answered 410 Gone.' in shown()


@pytest.mark.parametrize("query", ["_to_field=", "_to_field=nope", "_popup=1&_to_field="])
def test_a_field_that_cannot_be_referred_to_is_a_bad_request(admin_client, webhook, query):
    assert admin_client.get(f"{page(Endpoint, 'change', webhook.pk)}?{query}").status_code == 400


@pytest.mark.parametrize("model", TRAFFIC)
def test_traffic_is_looked_at_and_not_changed(admin_client, workspace, model):
    fill(workspace, 1)
    before = rows(model)
    pk = before[0][model._meta.pk.attname]
    assert admin_client.get(page(model, "add")).status_code == 403
    assert admin_client.post(page(model, "add"), {}).status_code == 403
    assert admin_client.post(page(model, "change", pk), {"type": "b"}).status_code == 403
    assert admin_client.post(page(model, "delete", pk), {"post": "yes"}).status_code == 403
    admin_client.post(page(model, "changelist"), {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
    assert rows(model) == before


def test_traffic_is_counted_as_far_as_pages_go(admin_client, workspace, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr("routing.admin.BoundedPaginator.MOST", 2)
    fill(workspace, 3)
    with django_assert_num_queries(4) as queries:
        answer = admin_client.get(page(Attempt, "changelist"))
    assert answer.context["cl"].result_count == 2
    counting = [query["sql"] for query in queries.captured_queries if "COUNT" in query["sql"]]
    assert [("LIMIT 2" in sql) for sql in counting] == [True]


def test_traffic_comes_newest_first(admin_client, workspace):
    fill(workspace, 3)
    shown = list(admin_client.get(page(Attempt, "changelist")).context["cl"].result_list)
    assert shown == list(Attempt.objects.order_by("-pk"))
    assert len(shown) == 3


def test_traffic_is_searched_by_id(admin_client, workspace):
    fill(workspace, 2)
    mine, _ = Attempt.objects.order_by("pk")

    def found(term):
        return list(admin_client.get(page(Attempt, "changelist"), {"q": term}).context["cl"].result_list)

    assert found(f" {mine.pk} ") == found(str(mine.delivery_id)) == [mine]
    assert found("nonsense") == []


@pytest.mark.parametrize("model", CONFIGURATION + TRAFFIC)
def test_a_search_for_anything_breaks_nothing(admin_client, workspace, model):
    fill(workspace, 1)
    for term in (str(workspace.pk), "nonsense", "%", "\0", "'"):
        assert admin_client.get(page(model, "changelist"), {"q": term}).status_code == 200


# --- configuration


def test_a_key_is_shown_once_when_it_is_created(admin_client, workspace):
    form = {"workspace": str(workspace.pk), "name": "shop", "scopes": ["publish", "read"]}
    answer = admin_client.post(page(ApiKey, "add"), form, follow=True)
    (text,) = re.findall(r"es_live_[0-9A-Za-z]{49}", answer.content.decode())
    grant = authenticate(text)
    key = ApiKey.objects.get()
    assert (grant.key_id, grant.workspace_id, grant.scopes) == (key.pk, workspace.pk, {"publish", "read"})
    opened = admin_client.get(page(ApiKey, "change", key.pk)).content.decode()
    assert key.prefix in opened
    assert text not in opened
    assert key.digest.hex() not in opened


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "n"},
        {"name": "n", "scopes": ["root"]},
        {"name": "n", "scopes": ["read"], "expires_at_0": "2001-01-01", "expires_at_1": "00:00"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_created(admin_client, workspace, form):
    answer = admin_client.post(page(ApiKey, "add"), {"workspace": str(workspace.pk), **form})
    assert len(errors(answer)) == 1
    assert not ApiKey.objects.exists()


def test_a_key_changes_its_name_and_nothing_else(admin_client, workspace):
    key, text = ApiKey.issue(workspace=workspace, name="old", scopes=["read"])
    form = {"name": "new", "scopes": ["manage"], "digest": "x", "expires_at_0": "2024-01-01", "expires_at_1": "00:00"}
    admin_client.post(page(ApiKey, "change", key.pk), form)
    key.refresh_from_db()
    assert (key.name, key.scopes, key.expires_at) == ("new", ["read"], None)
    assert authenticate(text).scopes == {"read"}


def test_keys_are_revoked(admin_client, workspace):
    revoked, kept = (ApiKey.issue(workspace=workspace, name=name, scopes=["read"])[0] for name in "ab")
    admin_client.post(page(ApiKey, "changelist"), {"action": "revoke", "_selected_action": [str(revoked.pk)]})
    assert list(ApiKey.objects.usable()) == [kept]
    assert list(LogEntry.objects.values_list("object_id", "change_message")) == [(str(revoked.pk), "Revoked.")]


DEFAULTS = {"rate_period_s": "1", "ordering": "UNORDERED", "payload_format": "STANDARD"}


def webhook_form(workspace, **changes):
    form = {"workspace": str(workspace.pk), "type": "WEB_HOOK", "name": "n", "url": "http://a.example"}
    return {**form, "method": "POST", **DEFAULTS, **NO_LINKS, **changes}


def test_a_webhook_gets_a_secret_that_no_page_shows(admin_client, workspace):
    answer = admin_client.post(page(Endpoint, "add"), webhook_form(workspace))
    assert answer.status_code == 302
    row = Endpoint.objects.get()
    assert (row.name, row.url, row.method, row.state) == ("n", "http://a.example", "POST", "ACTIVE")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", row.secret)
    assert row.secret not in admin_client.get(page(Endpoint, "change", row.pk)).content.decode()


def test_a_websocket_is_created(admin_client, workspace):
    form = webhook_form(workspace, type="WEB_SOCKET", url="", method="", open_access="on")
    assert admin_client.post(page(Endpoint, "add"), form).status_code == 302
    row = Endpoint.objects.get()
    assert (row.type, row.secret, row.open_access) == ("WEB_SOCKET", "", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "This field is required."),
        ({"url": ""}, "url '' is not http:// or https://."),
        ({"url": "ftp://a.example"}, "url 'ftp://a.example' is not http:// or https://."),
        ({"method": ""}, "method '' is unknown; use one of POST, PUT, PATCH, GET, DELETE."),
        ({"open_access": "on"}, "Only a websocket can be open: a webhook is not listened to."),
        ({"type": "WEB_SOCKET", "method": ""}, "A websocket endpoint has no url; leave it empty."),
        ({"type": "WEB_SOCKET", "url": ""}, "A websocket endpoint has no method; leave it empty."),
        ({"workspace": "7"}, "“7” is not a valid UUID."),
        (
            {"payload_shape": '{"paths": ["a", 3]}'},
            'payloadShape.paths[1] is 3; write a path, such as "customer.id" or ["customer", "id"].',
        ),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_not_created(admin_client, workspace, changes, message):
    answer = admin_client.post(page(Endpoint, "add"), webhook_form(workspace) | changes)
    assert errors(answer) == [message]
    assert not Endpoint.objects.exists()


def test_a_payload_shape_is_set_and_taken_away(admin_client, workspace, web_socket):
    kept = []
    for typed in ('{"paths": ["a"]}', ""):
        form = webhook_form(workspace, type="WEB_SOCKET", url="", method="", payload_shape=typed)
        assert admin_client.post(page(Endpoint, "change", web_socket.pk), form).status_code == 302
        kept.append(Endpoint.objects.get().payload_shape)

    assert kept == [{"paths": ["a"]}, None]


def test_a_change_leaves_alone_what_happened_meanwhile(admin_client, workspace, webhook, monkeypatch):
    opened = Endpoint.objects.get(pk=webhook.pk)
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, "410 Gone")
    monkeypatch.setattr("endpoints.admin.EndpointAdmin.get_object", lambda *_: opened)
    form = {"name": "new", "url": webhook.url, "method": "PUT", "type": "WEB_SOCKET", **DEFAULTS, **NO_LINKS}
    assert admin_client.post(page(Endpoint, "change", webhook.pk), form).status_code == 302
    row = Endpoint.objects.get()
    assert (row.name, row.method, row.state, row.state_reason) == ("new", "PUT", "DISABLED", "410 Gone")
    assert (row.type, row.secret) == ("WEB_HOOK", webhook.secret)
    assert row.last_modified > opened.creation_date


def test_secrets_are_rotated_and_no_page_shows_one(admin_client, webhook, web_socket):
    old = webhook.secret
    assert act(admin_client, Endpoint, "rotate_secrets", [webhook]) == []
    (first, second) = webhook.signing_keys.order_by("creation_date")
    assert (first.secret, second.secret) == (old, webhook.secret)
    assert old != webhook.secret
    pages = [
        page(SigningKey, "changelist"),
        page(SigningKey, "change", second.pk),
        page(Endpoint, "history", webhook.pk),
    ]
    shown = "".join(admin_client.get(address).content.decode() for address in pages)
    sealed = {str(bytes(key.sealed)) for key in (first, second)} | {
        bytes(key.sealed).decode() for key in (first, second)
    }
    assert [secret for secret in {old, webhook.secret, *sealed} if secret in shown] == []
    assert "Secret rotated." in shown


def test_where_one_secret_can_not_be_rotated_none_is(admin_client, webhook, web_socket):
    (refusal,) = act(admin_client, Endpoint, "rotate_secrets", [webhook, web_socket])
    assert refusal.startswith(f"Nothing was rotated. Endpoint {web_socket.pk} is a websocket")
    assert SigningKey.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_signing_keys_are_looked_at_and_not_changed(admin_client, webhook):
    key, before = webhook.signing_keys.get(), rows(SigningKey)
    assert admin_client.get(page(SigningKey, "add")).status_code == 403
    for what in ("change", "delete"):
        assert admin_client.post(page(SigningKey, what, key.pk), {"post": "yes", "scheme": "v1a"}).status_code == 403
    assert rows(SigningKey) == before


def test_endpoints_are_paused_and_resumed(admin_client, webhook, web_socket):
    chosen = {"_selected_action": [str(webhook.pk)]}
    admin_client.post(page(Endpoint, "changelist"), {"action": "pause", **chosen})
    assert {row.name: row.state for row in Endpoint.objects.all()} == {"MyHook": "PAUSED", "MySocket": "ACTIVE"}
    admin_client.post(page(Endpoint, "changelist"), {"action": "resume", **chosen})
    assert {row.name: row.state for row in Endpoint.objects.all()} == {"MyHook": "ACTIVE", "MySocket": "ACTIVE"}
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == [
        "State set to Paused.",
        "State set to Active.",
    ]


@pytest.mark.parametrize("model", [Workspace, ApiKey, Endpoint, EventFilter, EventType, PortalTheme])
def test_what_is_only_added_shows_nothing_of_what_it_has_not_yet(admin_client, model):
    assert "readonly" not in admin_client.get(page(model, "add")).content.decode()


OF_AN_ENDPOINT = ("change", "history", "delete")


def test_the_way_to_a_page_begins_with_the_overview(admin_client, admin_user, webhook):
    pages = [page(Endpoint, what, webhook.pk) for what in OF_AN_ENDPOINT]
    pages += [page(Endpoint, what) for what in ("changelist", "add")]
    pages += [reverse("admin:password_change"), reverse("admin:app_list", args=["routing"])]
    pages += [reverse("admin:auth_user_password_change", args=[admin_user.pk])]
    asked = {"action": "delete_selected", "_selected_action": [str(webhook.pk)]}
    answers = [*map(admin_client.get, pages), admin_client.post(page(Endpoint, "changelist"), asked)]
    ways = [
        re.findall(r'<div class="breadcrumbs">\s*<a href="/admin/">(.+?)</a>', each.content.decode())
        for each in answers
    ]
    assert ways == [["Overview"]] * len(answers)


def act(client, model, action, rows):
    """Use an action of the list, and return what the page says of it."""
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return [str(said) for said in client.post(page(model, "changelist"), chosen, follow=True).context["messages"]]


def test_deliveries_are_retried(admin_client, workspace, webhook):
    record(workspace, 2)
    end(of(webhook, seq=1))
    (ended, waiting) = of(webhook)
    assert act(admin_client, Delivery, "retry", [ended]) == ["1 new delivery repeats what was selected."]
    assert LogEntry.objects.get().object_repr == f"{webhook.name} № {ended.seq}"
    assert [delivery.retry_of_id for delivery in of(webhook)] == [None, None, ended.pk]
    (refusal,) = act(admin_client, Delivery, "retry", [ended, waiting])
    assert refusal.startswith(f"Delivery {waiting.pk} is PENDING; only what has ended can be retried.")
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Retried."]


def test_what_is_acted_on_is_logged_by_name_without_a_query_for_each(admin_client, workspace, webhook):
    record(workspace, 5)
    with CaptureQueriesContext(connection) as queries:
        act(admin_client, Delivery, "cancel", of(webhook))
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {f"{webhook.name} № {seq}" for seq in range(1, 6)}
    assert [
        each["sql"] for each in queries if 'FROM "endpoints_endpoint" WHERE "endpoints_endpoint"."id"' in each["sql"]
    ] == []


def test_deliveries_are_cancelled(admin_client, workspace, webhook):
    record(workspace, 2)
    assert act(admin_client, Delivery, "cancel", of(webhook)) == ["Cancelled: 2. On their way already: 0."]
    assert set(of(webhook).values_list("state", "reason")) == {("CANCELLED", "CANCELLED_BY_REQUEST")}
    assert LogEntry.objects.count() == 2


def test_replays_are_cancelled(admin_client, webhook):
    replay, other = create(Selection(webhook)), create(Selection(webhook))
    act(admin_client, Replay, "cancel", [replay])
    assert dict(Replay.objects.values_list("pk", "state")) == {replay.pk: "CANCELLED", other.pk: "RUNNING"}
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Cancelled."]


@pytest.mark.parametrize("many", [False, True])
def test_a_deleted_endpoint_leaves_its_history(admin_client, workspace, webhook, many):
    event = Event.objects.create(workspace=workspace, type="a", date=NOW, data="1")
    Delivery.objects.create(workspace=workspace, event=event, endpoint=webhook, seq=1)
    EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=[webhook])
    if many:
        form = {"action": "delete_selected", "_selected_action": [str(webhook.pk)], "post": "yes"}
        answer = admin_client.post(page(Endpoint, "changelist"), form)
    else:
        answer = admin_client.post(page(Endpoint, "delete", webhook.pk), {"post": "yes"})
    assert answer.status_code == 302
    webhook.refresh_from_db()
    assert webhook.deleted_at is not None
    assert not FilterLink.objects.exists()
    assert Delivery.objects.count() == 1
    assert list(admin_client.get(page(Endpoint, "changelist")).context["cl"].result_list) == []
    assert admin_client.get(page(Endpoint, "change", webhook.pk)).status_code == 302


def test_a_workspace_is_not_deleted(admin_client, workspace):
    assert admin_client.post(page(Workspace, "delete", workspace.pk), {"post": "yes"}).status_code == 403
    assert list(Workspace.objects.all()) == [workspace]


def test_a_filter_is_created_and_changed(admin_client, workspace):
    form = {"workspace": str(workspace.pk), "name": "f", "definition": '{"pattern": {"type": ["a"]}}'}
    assert admin_client.post(page(EventFilter, "add"), form).status_code == 302
    row = EventFilter.objects.get()
    assert row.definition == {"pattern": {"type": ["a"]}}
    form["definition"] = '{"in": {"eventTypes": ["b"]}}'
    assert admin_client.post(page(EventFilter, "change", row.pk), form).status_code == 302
    row.refresh_from_db()
    assert row.definition == {"in": {"eventTypes": ["b"]}}


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{",
        "{}",
        '{"pattern": {"kind": ["a"]}}',
        '{"pattern": {"type": [1e999]}}',
        '{"pattern": {"type": [NaN]}}',
        '{"pattern": {"type": ["\\u0000"]}}',
        '{"pattern": {"type": ["\\ud800"]}}',
        '{"pattern": {"data": {"\\u0000": ["a"]}}}',
        '{"pattern": {"data": {"\\ud800": ["a"]}}}',
    ],
)
def test_a_filter_that_makes_no_sense_is_not_created(admin_client, workspace, definition):
    form = {"workspace": str(workspace.pk), "name": "f", "definition": definition}
    assert len(errors(admin_client.post(page(EventFilter, "add"), form))) == 1
    assert not EventFilter.objects.exists()


def type_form(workspace, **changes):
    form = {"workspace": str(workspace.pk), "name": "order.paid", "description": "", "schema": "", "enforcement": "OFF"}
    return form | changes


def test_event_types_are_deleted(admin_client, workspace):
    chosen = [EventType.named(workspace_id=workspace.pk, name=name) for name in "ab"]
    ids = [str(row.pk) for row in chosen]
    admin_client.post(
        page(EventType, "changelist"), {"action": "delete_selected", "_selected_action": ids, "post": "yes"}
    )

    assert not EventType.objects.exists()


def test_an_event_type_gets_a_schema(admin_client, workspace):
    assert admin_client.post(page(EventType, "add"), type_form(workspace)).status_code == 302
    row = EventType.objects.get()
    form = type_form(workspace, schema='{"type": "object"}', enforcement="REJECT")
    assert admin_client.post(page(EventType, "change", row.pk), form).status_code == 302

    row.refresh_from_db()
    assert (row.name, row.schema, row.enforcement) == ("order.paid", {"type": "object"}, "REJECT")


@pytest.mark.parametrize("what", ["add", "change"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": '{"type": "nonsense"}'}, 'schema.type is "nonsense"'),
        ({"schema": "[]"}, "schema is []; write an object."),
        ({"schema": "{"}, "Enter a valid JSON."),
        ({"enforcement": "WARN"}, "enforcement is WARN, but there is no schema; give one."),
    ],
)
def test_an_event_type_that_makes_no_sense_is_not_kept(admin_client, workspace, what, changes, message):
    pk = [EventType.named(workspace_id=workspace.pk, name="order.paid").pk] * (what == "change")
    before = rows(EventType)

    answer = admin_client.post(page(EventType, what, *pk), type_form(workspace, name="other", **changes))

    (error,) = errors(answer)
    assert (message in error, rows(EventType)) == (True, before)


@pytest.fixture
def ours(workspace):
    return EventFilter.create(workspace_id=workspace.pk, name="ours", definition={"pattern": {}})


@pytest.fixture
def theirs(foreign_workspace):
    return EventFilter.create(workspace_id=foreign_workspace.pk, name="theirs", definition={"pattern": {}})


def inline(event_filter):
    return {"links-TOTAL_FORMS": "1", "links-INITIAL_FORMS": "0", "links-0-event_filter": str(event_filter.pk)}


def test_a_filter_is_linked_on_the_endpoints_page(admin_client, workspace, ours):
    form = webhook_form(workspace) | inline(ours)
    assert admin_client.post(page(Endpoint, "add"), form).status_code == 302
    link = FilterLink.objects.get()
    assert (link.workspace, link.endpoint.name, link.event_filter) == (workspace, "n", ours)


def test_a_filter_of_another_workspace_is_not_linked(admin_client, workspace, webhook, theirs):
    message = ["theirs is a filter of another workspace than MyHook is of."]
    form = webhook_form(workspace, name="MyHook") | inline(theirs)
    assert errors(admin_client.post(page(Endpoint, "change", webhook.pk), form)) == message
    link = {"endpoint": str(webhook.pk), "event_filter": str(theirs.pk)}
    assert errors(admin_client.post(page(FilterLink, "add"), link)) == message
    assert errors(admin_client.post(page(Endpoint, "add"), form)) == message
    assert not FilterLink.objects.exists()
    assert list(Endpoint.objects.all()) == [webhook]


def test_links_are_made_and_undone_by_themselves(admin_client, workspace, webhook, ours):
    link = {"endpoint": str(webhook.pk), "event_filter": str(ours.pk)}
    asked = {"en": "Choose it by its name behind the magnifier", "ru": "Выберите по имени, нажав на лупу"}
    for language, hint in asked.items():
        shown = admin_client.get(page(FilterLink, "add"), headers={"Accept-Language": language}).content.decode()
        assert shown.count(hint) == 2, language
    said = admin_client.post(page(FilterLink, "add"), link, follow=True)
    assert f"ours → {webhook.name}" in str(*said.context["messages"])
    assert FilterLink.objects.get().workspace == workspace
    assert errors(admin_client.post(page(FilterLink, "add"), link)) == [
        "Filter link with this Endpoint and Event filter already exists."
    ]
    admin_client.post(page(FilterLink, "delete", FilterLink.objects.get().pk), {"post": "yes"})
    assert not FilterLink.objects.exists()


def test_a_deleted_endpoint_is_not_linked(admin_client, webhook, ours):
    Endpoint.remove([webhook])
    link = {"endpoint": str(webhook.pk), "event_filter": str(ours.pk)}
    assert len(errors(admin_client.post(page(FilterLink, "add"), link))) == 1
    assert not FilterLink.objects.exists()


def test_the_admin_is_for_staff(client, workspace):
    for model in CONFIGURATION + TRAFFIC:
        assert client.get(page(model, "changelist")).status_code == 302


def test_who_may_only_look_changes_nothing(client, django_user_model, workspace, webhook):
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    StaffBinding.objects.create(user=viewer, workspace=workspace)
    client.force_login(viewer)
    assert client.get(page(Endpoint, "changelist")).status_code == 200
    assert client.post(page(Endpoint, "add"), webhook_form(workspace)).status_code == 403
    assert client.post(page(Endpoint, "change", webhook.pk), webhook_form(workspace)).status_code == 403
    client.post(page(Endpoint, "changelist"), {"action": "pause", "_selected_action": [str(webhook.pk)]})
    assert [row["state"] for row in rows(Endpoint)] == ["ACTIVE"]
    record(workspace)
    client.post(page(Delivery, "changelist"), {"action": "cancel", "_selected_action": [str(of(webhook).get().pk)]})
    assert of(webhook).get().state == "PENDING"


def test_no_plural_is_a_wrong_guess():
    plurals = [str(model._meta.verbose_name_plural) for model in admin.site._registry]
    assert [name for name in plurals if re.search(r"([^aeiou]y|[sxz]|ch|sh)s$|ens$|ings$", name)] == ["staff bindings"]


def test_scopes_are_chosen_from_a_list(admin_client, workspace):
    form = admin_client.get(page(ApiKey, "add")).context["adminform"].form
    assert [value for value, _ in form.fields["scopes"].choices] == Scope.values

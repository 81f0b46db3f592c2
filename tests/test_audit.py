"""The audit log: who did what to which object, in the transaction of the change, and never changed since."""

import json
import re
from datetime import timedelta
from io import StringIO

import psutil
import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import ProgrammingError, connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from endpoints.admin.operations import object_name, operation_name
from endpoints.audit import Actor, AuditedCommand, by
from endpoints.errors import BadInput
from endpoints.models import ApiKey, AuditEntry, Endpoint, EventFilter, SigningKey, Workspace
from routing.health import watch
from routing.models import Delivery, Lane
from routing.portal import urls as portal
from tests.operations import FIELDS, document
from tests.workspaces import fill

# Traffic, which has rows of its own that say as much.
NOT_AUDITED = {"publishEvents", "createSocketTicket"}
# Changes nothing, but shows a secret.
SHOWS_SECRETS = {"endpointSecret"}
AUDITED = sorted({name for name, (kind, _) in FIELDS.items() if kind == "mutation"} - NOT_AUDITED | SHOWS_SECRETS)
# Which of the rows an operation is about, where the first that comes to mind won't do.
ABOUT = {
    "rotateEndpointSecret": {"id": "webhook"},
    "endpointSecret": {"id": "webhook"},
    "updateEventFilters": {"id": "filter"},
    "deleteEventFilters": {"ids": "filter"},
    "retryDeliveries": {"ids": "delivery"},
    "expediteDeliveries": {"ids": "delivery"},
    "cancelDeliveries": {"ids": "delivery"},
    "cancelReplay": {"id": "replay"},
    "updateEventType": {"id": "type"},
    "deleteEventTypes": {"ids": "type"},
    "rotateApiKey": {"id": "key"},
    "revokeApiKey": {"id": "key"},
    "revokePortalLink": {"id": "link"},
}


_seen = set()


def forget():
    """Leave out what was written until now."""
    _seen.update(AuditEntry.objects.values_list("pk", flat=True))


def written(**conditions):
    return AuditEntry.objects.filter(**conditions).exclude(pk__in=_seen).order_by("at", "pk")


def entries(**conditions):
    return [(row.operation, row.object_type, row.object_id, row.changes) for row in written(**conditions)]


@pytest.mark.parametrize("name", [name for name in AUDITED if name != "testEndpoint"])
def test_every_operation_that_changes_something_is_in_the_log_with_its_key(graphql, workspace, name):
    ours = fill(workspace)
    own = ours.own() | {place: str(ours.rows[kind].pk) for place, kind in ABOUT.get(name, {}).items()}
    if name in ("deleteEndpoint", "deleteEndpoints"):
        own["ids"] = str(ours.rows["webhook"].pk)
    if name == "retryDeliveries":
        Delivery.objects.update(state="EXHAUSTED", reason="n", due_at=None, settled_at=timezone.now())
    if name == "expediteDeliveries":
        Delivery.objects.update(state="PENDING", attempts_made=1, due_at=timezone.now() + timedelta(hours=1))
    if name == "resumeEndpoints":
        Endpoint.objects.update(state="PAUSED")
    if name == "unlinkEndpointsToEventFilters":
        own["endpointIds"] = str(ours.rows["webhook"].pk)
    query = document(name, {}, own)
    if name == "updateEndpoint" or name == "updateEventFilters":
        query = query.replace("(id:", '(name: "another", id:')
    if name == "updateEventType":
        query = query.replace("(id:", '(description: "another", id:')
    if name == "updatePortalTheme":
        query = query.replace(name, f'{name}(name: "another")')
    forget()

    answer = graphql(query, as_key=ours.key)

    assert "errors" not in answer
    key = ours.rows["key"]
    who = set(written().values_list("operation", "actor_kind", "actor_id", "actor_name", "address", "workspace"))
    assert who == {(name, "KEY", str(key.pk), key.name, "127.0.0.1", workspace.pk)}


@pytest.mark.django_db(transaction=True)
def test_a_test_is_in_the_log(graphql, webhook):
    forget()
    graphql(f'mutation {{ testEndpoint(id: "{webhook.pk}") {{ id }} }}')
    assert entries() == [("testEndpoint", "Endpoint", str(webhook.pk), {})]


def test_an_entry_says_what_was_before_and_after(graphql, webhook):
    forget()
    graphql(f'mutation {{ updateEndpoint(id: "{webhook.pk}", name: "new", maxInFlight: 7) {{ id }} }}')
    changes = {"name": {"before": "MyHook", "after": "new"}, "max_in_flight": {"before": None, "after": 7}}
    assert entries() == [("updateEndpoint", "Endpoint", str(webhook.pk), changes)]


def test_of_a_secret_the_log_says_that_it_changed_and_nothing_else(graphql, webhook, admin_user):
    forget()
    graphql(f'mutation {{ updateEndpoint(id: "{webhook.pk}", headers: {{Authorization: "planted"}}) {{ id }} }}')
    assert entries() == [("updateEndpoint", "Endpoint", str(webhook.pk), {"headers": {"secret": True}})]

    graphql(f'mutation {{ rotateEndpointSecret(id: "{webhook.pk}") {{ secret }} }}')
    text = graphql('mutation { createApiKey(name: "n", scopes: [read]) { key } }')["data"]["createApiKey"]["key"]
    admin_user.set_password("planted")
    admin_user.save()
    told = json.dumps(list(AuditEntry.objects.values()), default=str)
    key, signing = ApiKey.objects.get(name="n"), SigningKey.objects.filter(expires_at=None).get()
    hidden = ["planted", text, webhook.secret, key.digest.hex(), signing.sealed.hex(), signing.fingerprint.hex()]
    assert [value for value in [*hidden, admin_user.password] if value in told] == []
    assert entries(object_type="User") == [("UPDATE", "User", str(admin_user.pk), {"password": {"secret": True}})]


def test_what_fails_leaves_no_entry(graphql, webhook):
    forget()
    graphql(f'mutation {{ updateEndpoint(id: "{webhook.pk}", name: "") {{ id }} }}')
    assert entries() == []


def test_using_a_key_is_no_change(graphql):
    forget()
    graphql("{ workspace { id } }")
    assert ApiKey.objects.get().last_used_at
    assert entries() == []


@pytest.mark.django_db(transaction=True)
def test_two_who_act_in_turn_on_one_connection_are_told_apart(workspace):
    names = [f"actor-{turn}" for turn in range(20)]
    for turn, name in enumerate(names):
        with by(Actor("USER", "1", name, "rename")):
            Workspace.objects.update(name=name)
        Workspace.objects.update(name=f"nobody-{turn}")
    actors = list(written(operation__in=["rename", "UPDATE"]).values_list("actor_name", flat=True))
    assert actors[::2] == names
    assert not set(actors[1::2]) & set(names)


# --- other ways in


def test_an_operators_change_is_in_the_log(admin_client, admin_user, workspace, webhook):
    forget()
    admin_client.post(
        reverse("admin:endpoints_endpoint_changelist"), {"action": "pause", "_selected_action": [str(webhook.pk)]}
    )
    (entry,) = written()
    assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("USER", str(admin_user.pk), "admin")
    assert (entry.operation, entry.address) == ("admin.endpoints_endpoint_changelist.pause", "127.0.0.1")
    assert (entry.object_id, entry.workspace) == (str(webhook.pk), workspace)
    assert entry.changes == {"state": {"before": "ACTIVE", "after": "PAUSED"}}


def test_an_operators_change_that_breaks_off_is_undone_with_its_entries(admin_client, webhook, web_socket, monkeypatch):
    def break_off(*_args, **_kwargs):
        raise ZeroDivisionError

    forget()
    monkeypatch.setattr("endpoints.admin.EndpointAdmin.log_change", break_off)
    form = {"action": "pause", "_selected_action": [str(webhook.pk), str(web_socket.pk)]}
    with pytest.raises(ZeroDivisionError):
        admin_client.post(reverse("admin:endpoints_endpoint_changelist"), form)
    assert set(Endpoint.objects.values_list("state", flat=True)) == {"ACTIVE"}
    assert entries() == []


def test_who_looks_with_a_cookie_at_graphql_is_no_operator(admin_client, key, webhook):
    forget()
    query = f'mutation {{ pauseEndpoints(ids: ["{webhook.pk}"]) {{ ok }} }}'
    headers = {"Authorization": f"Bearer {key}"}
    admin_client.post("/event-service/graphql", {"query": query}, "application/json", headers=headers)
    assert written().get().actor_kind == "KEY"


def test_a_commands_change_is_in_the_log(workspace):
    forget()
    call_command("create_key", "Ours", "--scope", "read", "--name", "ci", stdout=StringIO())
    Workspace.objects.update(name="by hand")

    made, renamed = written()
    assert (made.operation, made.actor_kind, made.object_type) == ("create_key", "COMMAND", "ApiKey")
    assert (made.actor_id, made.workspace) == (psutil.Process().username(), workspace)
    assert made.changes["scopes"] == {"before": None, "after": ["read"]}
    assert (renamed.operation, renamed.actor_kind) == ("UPDATE", "DATABASE")
    assert renamed.changes == {"name": {"before": "Ours", "after": "by hand"}}


def test_a_command_that_fails_is_not_taken_for_what_comes_after(workspace):
    with pytest.raises(CommandError):
        call_command("create_key", "Nobody", "--scope", "read")
    forget()
    Workspace.objects.update(name="by hand")
    assert written().get().actor_kind == "DATABASE"


def test_the_service_says_when_it_disables_an_endpoint(webhook):
    forget()
    Lane.objects.update(disable_reason="The receiver is gone.")
    watch()
    (entry,) = written()
    assert (entry.actor_kind, entry.operation, entry.object_id) == ("SERVICE", "endpoint.disabled", str(webhook.pk))
    assert entry.changes["state"] == {"before": "ACTIVE", "after": "DISABLED"}


# --- kept


@pytest.mark.parametrize("statement", ["UPDATE {} SET operation = 'another'", "DELETE FROM {}"])
def test_an_entry_is_not_changed_and_not_deleted(workspace, statement):
    with pytest.raises(ProgrammingError, match="only added to"), connection.cursor() as cursor:
        cursor.execute(statement.format("endpoints_auditentry"))


def test_what_is_old_is_forgotten_and_nothing_younger(workspace):
    young, old = (str(timezone.now() - timedelta(days=days)) for days in (29, 31))
    with connection.cursor() as cursor:
        for at in (young, old):
            cursor.execute(_INSERT, [at])
    out = StringIO()
    call_command("prune_audit", "--days", "30", stdout=out)
    assert out.getvalue() == "1 entries are forgotten.\n"
    assert AuditEntry.objects.filter(operation="aged").count() == 1
    with pytest.raises(CommandError, match="30 days at least"):
        call_command("prune_audit", "--days", "29")
    with pytest.raises(BadInput):
        AuditEntry.forget(older_than_days=0)
    with pytest.raises(ProgrammingError, match="only added to"), connection.cursor() as cursor:
        cursor.execute("SET LOCAL event_service.audit_retention = 'on'; DELETE FROM endpoints_auditentry")


_INSERT = """
INSERT INTO endpoints_auditentry
    (id, at, actor_kind, actor_id, actor_name, address, operation, object_type, object_id, changes)
VALUES (gen_random_uuid(), %s, 'USER', '', '', '', 'aged', '', '', '{}')
"""


# --- asked


def test_the_log_is_queried_by_who_manages_the_workspace(graphql, workspace, webhook, foreign):
    forget()
    for name in ("one", "two"):
        graphql(f'mutation {{ updateEndpoint(id: "{webhook.pk}", name: "{name}") {{ id }} }}')
    foreign.change(name="theirs")
    key = ApiKey.objects.get(name="everything")

    found = graphql("""{
      auditLog(filters: {operation: {exact: "updateEndpoint"}, actorKind: {exact: KEY}}, order: {at: ASC}) {
        totalCount
        collectionItems {
          actorKind actorId actorName operation objectType objectId workspaceId changes { field before after secret }
        }
      }
    }""")["data"]["auditLog"]

    assert found["totalCount"] == 2
    assert found["collectionItems"][1] == {
        "actorKind": "KEY",
        "actorId": str(key.pk),
        "actorName": "everything",
        "operation": "updateEndpoint",
        "objectType": "Endpoint",
        "objectId": str(webhook.pk),
        "workspaceId": str(workspace.pk),
        "changes": [{"field": "name", "before": "one", "after": "two", "secret": False}],
    }
    newest = graphql("{ auditLog(pagination: {limit: 1}) { collectionItems { changes { after } } } }")
    assert newest["data"]["auditLog"]["collectionItems"] == [{"changes": [{"after": "two"}]}]


def test_the_log_is_looked_at_in_the_admin_and_not_changed(admin_client, workspace):
    (entry,) = AuditEntry.objects.filter(object_type="Workspace")
    page = reverse("admin:endpoints_auditentry_change", args=[entry.pk])
    assert "Ours" in admin_client.get(page).content.decode()
    assert admin_client.post(page, {"operation": "x"}).status_code == 403
    assert admin_client.post(reverse("admin:endpoints_auditentry_delete", args=[entry.pk])).status_code == 403
    assert admin_client.get(reverse("admin:endpoints_auditentry_changelist")).status_code == 200


COMMANDS = sorted(
    name
    for name, app in get_commands().items()
    if app in ("endpoints", "routing") and isinstance(load_command_class(app, name), AuditedCommand)
)
BUTTONS = ["endpoint-test", "endpoint-replay", "endpoint-rotate", "endpoint-state", "act-on-all", "new-replay"]
BUTTONS += ["stop-replay", "release", "drain", "resume"]
LOOKS = {
    "portal",
    "portal-deliveries",
    "portal-delivery",
    "portal-endpoint",
    "portal-leave",
    "portal-logo",
    "portal-theme",
}
OF_PORTAL = [each.name for each in portal.urlpatterns if each.name not in LOOKS]  # a new one needs a name, too


@pytest.mark.parametrize("operation", [*AUDITED, *COMMANDS, *BUTTONS, *OF_PORTAL, "endpoint.disabled"])
def test_the_console_has_a_name_for_each_operation_in_the_language_of_the_page(operation):
    with override("ru"):
        assert not re.search("[a-z]", operation_name(operation).replace("Svix", ""))


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("admin.endpoints_endpoint_changelist.pause", "Pause the selected endpoints"),
        ("admin.endpoints_endpoint_changelist.delete_selected", "Delete selected endpoints"),
        ("admin.endpoints_apikey_add", "Add: API key"),
        ("admin.endpoints_endpoint_changelist.save_model", "admin.endpoints_endpoint_changelist.save_model"),
        ("admin.nothing_like_change", "admin.nothing_like_change"),
        ("UPDATE", "UPDATE"),
    ],
)
def test_what_the_admin_does_is_called_as_on_its_own_pages_and_what_is_unknown_as_it_is_written(operation, name):
    assert operation_name(operation) == name


def test_kinds_of_objects_are_called_as_on_the_pages_of_the_console():
    with override("ru"):
        assert [object_name(kind) for kind in ("EventFilter", "Unknown")] == ["Фильтр событий", "Unknown"]


def test_a_filter_that_goes_is_in_the_log_with_its_links(workspace, webhook):
    made = EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=[webhook])
    forget()
    EventFilter.remove([made])
    assert [(operation, kind) for operation, kind, *_ in entries()] == [
        ("DELETE", "FilterLink"),
        ("DELETE", "EventFilter"),
    ]


def test_what_became_of_one_object_is_found_by_its_id(graphql, webhook):
    found = graphql(f'{{ auditLog(filters: {{objectId: {{exact: "{webhook.pk}"}}}}) {{ totalCount }} }}')
    assert found["data"]["auditLog"]["totalCount"] == 1

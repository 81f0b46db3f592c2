"""What each member of staff may do: every action has a permission of its own, and groups come ready made."""

from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse

from endpoints.models import ApiKey, AuditEntry, Endpoint, SigningKey
from routing.management.commands.create_groups import GROUPS
from routing.models import Delivery, Replay
from routing.replays import Selection, create
from tests.traffic import end, of, record

PASSWORD = "correct horse battery staple"


def permission(name):
    app, _, codename = name.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)


@pytest.fixture
def sign_in(client, db):
    """Sign a member of staff in, who has these permissions and no others."""

    def sign_in(*permissions):
        user = User.objects.create_user(f"staff {User.objects.count()}", password=PASSWORD, is_staff=True)
        user.user_permissions.set(map(permission, ["endpoints.see_all_workspaces", *permissions]))
        client.force_login(user)
        return client

    return sign_in


def state(model, name):
    return lambda: list(model.objects.order_by("pk").values_list(name, flat=True))


# action -> its model, its permission, what it changes
ACTIONS = {
    "pause": (Endpoint, "endpoints.pause_endpoint", state(Endpoint, "state")),
    "resume": (Endpoint, "endpoints.resume_endpoint", state(Endpoint, "state")),
    "rotate_secrets": (Endpoint, "endpoints.rotate_endpoint_secret", SigningKey.objects.count),
    "revoke": (ApiKey, "endpoints.revoke_apikey", ApiKey.objects.usable().count),
    "retry": (Delivery, "routing.retry_delivery", Delivery.objects.count),
    "cancel a delivery": (Delivery, "routing.cancel_delivery", state(Delivery, "state")),
    "cancel a replay": (Replay, "routing.cancel_replay", state(Replay, "state")),
}
OTHERS = {name for _, name, _ in ACTIONS.values()}


@pytest.fixture
def rows(workspace, webhook):
    """A row for each action."""
    ended, waiting = record(workspace, 2)
    end(of(webhook, event=ended))
    replay = create(Selection(webhook))
    paused = Endpoint.create_webhook(workspace_id=workspace.pk, name="paused", url="https://example.com/")
    Endpoint.change_state([paused], Endpoint.State.PAUSED)
    key, _ = ApiKey.issue(workspace=workspace, name="k", scopes=["read"])
    found = {"pause": webhook, "resume": paused, "rotate_secrets": webhook, "revoke": key}
    return found | {
        "retry": of(webhook).get(event=ended),
        "cancel a delivery": of(webhook).get(event=waiting),
        "cancel a replay": replay,
    }


def act(client, action, row):
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")
    chosen = {"action": action.partition(" ")[0], "_selected_action": [str(row.pk)]}
    return client.post(address, chosen, follow=True)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_without_its_permission_does_nothing(sign_in, rows, action):
    model, own, changed = ACTIONS[action]
    everything = {f"{model._meta.app_label}.{verb}_{model._meta.model_name}" for verb in ("view", "change", "delete")}
    client, before = sign_in(*everything, *(OTHERS - {own}), "endpoints.reveal_endpoint_secret"), changed()

    act(client, action, rows[action])

    assert changed() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_needs_nothing_but_its_permission_and_to_see_the_list(sign_in, rows, action):
    model, own, changed = ACTIONS[action]
    client, before = sign_in(f"{model._meta.app_label}.view_{model._meta.model_name}", own), changed()

    act(client, action, rows[action])

    assert changed() != before


def secret_page(endpoint):
    return reverse("admin:endpoints_endpoint_secret", args=[endpoint.pk])


def test_a_secret_is_shown_to_who_has_the_permission_and_gives_the_password(sign_in, webhook):
    client = sign_in("endpoints.view_endpoint", "endpoints.reveal_endpoint_secret")
    edit = reverse("admin:endpoints_endpoint_change", args=[webhook.pk])
    assert secret_page(webhook) in client.get(edit).content.decode()

    asked = client.get(secret_page(webhook))
    wrong = client.post(secret_page(webhook), {"password": "wrong"})
    assert "This is not your password." in wrong.content.decode()
    assert [webhook.secret in answer.content.decode() for answer in (asked, wrong)] == [False, False]
    assert not AuditEntry.objects.filter(actor_kind="USER").exists()

    shown = client.post(secret_page(webhook), {"password": PASSWORD})
    assert (webhook.secret in shown.content.decode(), "no-store" in shown["Cache-Control"]) == (True, True)
    entry = AuditEntry.objects.get(actor_kind="USER")
    assert (entry.workspace_id, entry.object_id) == (webhook.workspace_id, str(webhook.pk))
    assert entry.changes == {"secret": {"before": None, "after": "revealed"}}


def test_a_secret_is_refused_without_the_permission(sign_in, webhook):
    client = sign_in("endpoints.view_endpoint", "endpoints.change_endpoint", *OTHERS)
    edit = reverse("admin:endpoints_endpoint_change", args=[webhook.pk])
    assert secret_page(webhook) not in client.get(edit).content.decode()
    assert client.post(secret_page(webhook), {"password": PASSWORD}).status_code == 403


@pytest.mark.parametrize("which", ["web_socket", "deleted"])
def test_what_has_no_secret_shows_none(sign_in, web_socket, webhook, which):
    Endpoint.remove([webhook])
    client = sign_in("endpoints.reveal_endpoint_secret")
    endpoint = web_socket if which == "web_socket" else webhook
    assert client.post(secret_page(endpoint), {"password": PASSWORD}).status_code == 404


def test_groups_come_ready_made_and_are_set_back(db):
    call_command("create_groups", verbosity=0)
    Group.objects.get(name="viewer").permissions.add(permission("endpoints.revoke_apikey"))
    call_command("create_groups", verbosity=0)

    found = {group.name: {each.codename for each in group.permissions.all()} for group in Group.objects.all()}
    assert found == {name: set(codenames) for name, codenames in GROUPS.items()}
    assert found["viewer"] < found["operator"] < found["manager"]
    assert {codename for codename in found["viewer"] if not codename.startswith("view_")} == set()


def test_every_permission_of_an_action_is_in_a_group(db):
    given = {f"{app}.{name}" for name in GROUPS["manager"] for app in ("endpoints", "routing")}
    assert {*OTHERS, "endpoints.reveal_endpoint_secret"} - given == set()


MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def pages(model):
    """Every page of a model, and what is posted to the list."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    forged = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": 1, "form-0-name": "forged", "_save": "Save"}
    yield from ((reverse(f"{name}_{page}"), forged) for page in ("changelist", "add"))
    yield reverse(f"{name}_changelist"), {"action": "delete_selected", "_selected_action": "1", "post": "yes"}
    for page in ("change", "delete", "history"):
        yield reverse(f"{name}_{page}", args=[UUID(int=1) if is_uuid(model) else 1]), {"post": "yes", **forged}


def is_uuid(model):
    return model._meta.pk.get_internal_type() == "UUIDField"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_without_a_permission_no_page_of_a_model_opens_and_nothing_that_is_posted_counts(sign_in, model):
    client, before = sign_in(), model.objects.count()
    for address, form in pages(model):
        answers = {client.get(address).status_code, client.post(address, form).status_code}
        # A row that is not there is said to be, where it can be told apart: never is anything shown.
        assert answers <= {403, 302}, address
        if 302 in answers:
            assert client.get(address).headers["location"] == reverse("admin:index")
    completion = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": "workspace"}
    assert client.get(reverse("admin:autocomplete"), completion).status_code == 403
    assert model.objects.count() == before

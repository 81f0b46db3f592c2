"""Staff who are bound to workspaces see those alone: every page of the admin, made from what is registered there."""

import json
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import ProgrammingError
from django.urls import get_resolver, reverse

from endpoints.models import Endpoint, EventFilter, FilterLink, StaffBinding, Workspace
from endpoints.tenancy import staff, transaction_with
from event_service.audited import PLACES
from event_service.contract import DOCUMENTS
from routing.models import SavedView, SocketTicket
from tests.test_admin import fill, page, webhook_form
from tests.traffic import record

OURS = {model for app in ("endpoints", "routing") for model in apps.get_app_config(app).get_models()}
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
REFUSED = ["auth.Group", "auth.User", "endpoints.Spending", "routing.SocketNode", "routing.WorkerNode"]
PASSWORD = "correct horse battery staple"


def named(model):
    return model._meta.label


@pytest.fixture
def member(client, workspace):
    """One of the staff who may do everything, in one workspace."""
    member = User.objects.create_user("member", password=PASSWORD, is_staff=True)
    member.user_permissions.set(Permission.objects.exclude(codename="see_all_workspaces"))
    StaffBinding.objects.create(user=member, workspace=workspace)
    client.force_login(member)
    return member


@pytest.fixture
def both(workspace, foreign_workspace, member):
    """Rows of both workspaces in every table. Returns those that are not for the member, by their model."""
    fill(workspace, 1)
    SavedView.objects.create(user=member, model="event", name="mine")
    mine = {model: set(model.objects.values_list("pk", flat=True)) for model in OURS}
    fill(foreign_workspace, 1)
    Group.objects.create(name="theirs")
    SavedView.objects.create(user=User.objects.get(username="u0"), model="event", name="theirs", shared=True)
    theirs = {model: sorted(set(model.objects.values_list("pk", flat=True)) - mine[model], key=str) for model in OURS}
    theirs[Workspace] = [foreign_workspace.pk]
    return theirs | {
        User: [User.objects.get(username="u0").pk],
        Group: list(Group.objects.values_list("pk", flat=True)),
    }


def listed(answer):
    """Return the keys of the rows of a list: Django's, or one of the console's own."""
    found = answer.context["rows"] if "rows" in answer.context else answer.context["cl"].result_list
    return {row.pk for row in found}


def everything():
    """Return all rows of all tables that a page may change."""
    models = [model for model in apps.get_models() if model._meta.app_label != "sessions"]
    return {model._meta.label: list(model.objects.order_by("pk").values()) for model in models}


def address(model, what, *args):
    return page(model, what, *args)


def pages_of(model, pk):
    """Every request for one row: its pages, and each action of the list with the row chosen."""
    row = [("get", address(model, what, pk), {}) for what in ("change", "history", "delete")]
    row += [("post", address(model, what, pk), {"post": "yes", "name": "taken"}) for what in ("change", "delete")]
    if model is Endpoint:
        row += [(method, address(model, "secret", pk), {"password": PASSWORD}) for method in ("get", "post")]
    if model is User:
        row += [("post", reverse("admin:auth_user_password_change", args=[pk]), {"password1": "x", "password2": "x"})]
    actions = ["delete_selected", *admin.site._registry[model].actions]
    for across in ("0", "1"):
        chosen = {"_selected_action": [str(pk)], "select_across": across, "post": "yes"}
        row += [("post", address(model, "changelist"), {**chosen, "action": action}) for action in actions]
    return row


def absent(model, pk):
    return uuid4() if not isinstance(pk, int) else 2**31 - 1


def answers(client, requests, pk):
    """Return what is said to each request, with the row's own id made out."""
    found = []
    for method, url, form in requests:
        answer = getattr(client, method)(url, form)
        found.append((answer.status_code, answer.get("Location", "").replace(str(pk), "ID")))
    return found


@pytest.mark.parametrize("model", REGISTERED, ids=named)
def test_a_foreign_row_is_as_good_as_absent_and_nothing_changes(client, both, model):
    StaffBinding.objects.filter(user__username="member").update(workspace=Workspace.objects.create(name="empty"))
    SavedView.objects.filter(user__username="member").delete()  # or it would be among "all that are listed"
    pk = both[model][0]
    other = absent(model, pk)
    before = everything()

    of_foreign = answers(client, pages_of(model, pk), pk)
    of_absent = answers(client, pages_of(model, other), other)

    assert everything() == before
    assert of_foreign == of_absent
    assert {status for status, _ in of_foreign} <= {302, 403, 404, 200}


@pytest.mark.parametrize("model", REGISTERED, ids=named)
def test_a_list_shows_a_bound_member_their_own(client, both, model):
    answer = client.get(address(model, "changelist"))
    if named(model) in REFUSED:
        assert answer.status_code == 403
        return
    found = listed(answer)
    assert (bool(found), found & set(both[model])) == (True, set())
    page_ = answer.content.decode()
    assert [str(pk) for pk in both[model] if f"/{pk}/" in page_] == []


@pytest.mark.parametrize("model", REGISTERED, ids=named)
def test_who_sees_all_is_shown_the_same_rows(client, both, member, model):
    member.user_permissions.set(Permission.objects.all())
    assert set(both[model]) <= listed(client.get(address(model, "changelist")))


@pytest.mark.parametrize("model", REGISTERED, ids=named)
def test_who_is_bound_to_nothing_sees_nothing(client, both, member, model):
    member.staff_bindings.all().delete()
    answer = client.get(address(model, "changelist"))
    assert answer.status_code == 403 or listed(answer) <= {view.pk for view in SavedView.objects.filter(user=member)}


def test_every_door_for_operators_is_behind_the_bounds():
    free = {
        "",
        "event-service/graphql",
        "event-service/language",
        "event-service/portal/",
        "healthz",
        "metrics",
        "readyz",
    }
    free |= {f"event-service/{name}" for name in DOCUMENTS}
    routes = {str(pattern.pattern) for pattern in get_resolver().url_patterns} - free
    assert [route for route in routes if not f"/{route}".startswith(PLACES)] == []


# --- what a form refers to


@pytest.fixture
def theirs(foreign_workspace):
    return EventFilter.create(workspace_id=foreign_workspace.pk, name="theirs", definition={"pattern": {}})


def test_nothing_is_made_in_a_foreign_workspace(client, member, workspace, foreign_workspace):
    for other in (foreign_workspace.pk, uuid4()):
        form = {"workspace": str(other), "name": "f", "definition": '{"pattern": {}}'}
        answer = client.post(page(EventFilter, "add"), form)
        assert "Theirs" not in answer.content.decode()  # its name, which the form asks for when it is rendered
        assert answer.context["errors"] == [["Select a valid choice. That choice is not one of the available choices."]]
    assert client.post(page(Workspace, "add"), {"name": "mine"}).status_code == 403
    form = {"user": str(member.pk), "workspace": str(foreign_workspace.pk)}
    assert client.post(page(StaffBinding, "add"), form).status_code == 200
    assert (EventFilter.objects.count(), Workspace.objects.count(), StaffBinding.objects.count()) == (0, 2, 1)


def test_nobody_who_is_bound_binds_anybody(member, workspace):
    other = User.objects.create_user("other", is_staff=True)
    with pytest.raises(ProgrammingError, match="permission denied"), transaction_with(staff(member.pk, [workspace.pk])):
        StaffBinding.objects.create(user=other, workspace=workspace)
    with pytest.raises(ProgrammingError, match="permission denied"), transaction_with(staff(member.pk, [workspace.pk])):
        StaffBinding.objects.all().delete()
    assert StaffBinding.objects.get().user == member


def test_a_foreign_filter_is_not_linked_and_not_named(client, member, workspace, webhook, theirs):
    said = []
    for other in (theirs.pk, uuid4()):
        link = {"links-TOTAL_FORMS": "1", "links-INITIAL_FORMS": "0", "links-0-event_filter": str(other)}
        answer = client.post(page(Endpoint, "change", webhook.pk), webhook_form(workspace, name="MyHook") | link)
        said.append(answer.content.decode().replace(str(other), "ID"))
        link = {"endpoint": str(webhook.pk), "event_filter": str(other)}
        assert client.post(page(FilterLink, "add"), link).status_code == 200
    assert ["theirs" in page_ for page_ in said] == [False, False]
    assert not FilterLink.objects.exists()


def test_own_rows_are_edited_as_ever(client, member, workspace, webhook, django_user_model):
    form = {"workspace": str(workspace.pk), "name": "f", "definition": '{"pattern": {}}'}
    assert client.post(page(EventFilter, "add"), form).status_code == 302
    client.post(page(Endpoint, "changelist"), {"action": "pause", "_selected_action": [str(webhook.pk)]})
    assert Endpoint.objects.get().state == "PAUSED"
    assert LogEntry.objects.filter(user=member).count() == 2
    assert "State set to Paused." in client.get(page(Endpoint, "history", webhook.pk)).content.decode()
    assert client.post(page(EventFilter, "delete", EventFilter.objects.get().pk), {"post": "yes"}).status_code == 302
    assert not EventFilter.objects.exists()
    assert "MyHook" in client.get("/admin/").content.decode()
    shown = client.post(reverse("admin:endpoints_endpoint_secret", args=[webhook.pk]), {"password": PASSWORD})
    assert webhook.secret in shown.content.decode()


def test_the_log_of_the_admin_shows_a_bound_member_their_own_acts(client, member, webhook, admin_user):
    LogEntry.objects.log_actions(admin_user.pk, Endpoint.objects.all(), 2, "Something else.", single_object=True)
    history = client.get(page(Endpoint, "history", webhook.pk)).content.decode()
    assert ("MyHook" in history, "Something else." in history) == (True, False)


def test_a_bound_member_changes_their_password(client, member):
    form = {"old_password": PASSWORD, "new_password1": f"{PASSWORD} 2", "new_password2": f"{PASSWORD} 2"}
    assert client.post(reverse("admin:password_change"), form).status_code == 302
    member.refresh_from_db()
    assert member.check_password(f"{PASSWORD} 2")


# --- the pages that are not Django's


def test_a_filter_is_tried_on_own_events_alone(client, member, workspace, foreign_workspace):
    record(workspace)
    record(foreign_workspace)
    form = {"definition": json.dumps({"pattern": {}}), "try_hours": "24"}
    said = {
        place: client.post("/admin/try-filter/", {**form, "try_workspace": str(place)}).content.decode()
        for place in (workspace.pk, foreign_workspace.pk, uuid4())
    }
    assert ["No event was recorded in that time." in page_ for page_ in said.values()] == [False, True, True]


def test_why_is_answered_for_own_events_alone(client, member, workspace, webhook, foreign, foreign_workspace):
    (mine,), (other,) = record(workspace), record(foreign_workspace)
    asked = [(mine, webhook.pk), (other, foreign.pk), (other, webhook.pk), (mine, foreign.pk)]
    found = [client.get("/admin/why/", {"event": event, "endpoint": each}).status_code for event, each in asked]
    assert found == [200, 404, 404, 404]


def test_one_looks_live_at_own_endpoints_alone(client, member, web_socket, foreign_workspace):
    other = Endpoint.create_web_socket(workspace_id=foreign_workspace.pk, name="other")
    page_ = client.get("/event-service/live", {"endpoint": str(other.pk)}).content.decode()
    assert [f'<option value="{each.pk}"' in page_ for each in (web_socket, other)] == [True, False]

    found = [client.post("/event-service/live/ticket", {"endpoint": str(each.pk)}) for each in (web_socket, other)]
    assert [answer.status_code for answer in found] == [200, 404]
    assert SocketTicket.objects.get().endpoint == web_socket
    ticket = client.get(page(SocketTicket, "change", SocketTicket.objects.get().pk))
    assert ticket.status_code == 200


def test_the_only_workspace_that_one_sees_is_filled_in(client, member, workspace, foreign_workspace):
    pages = [reverse(f"admin:endpoints_{name}_add") for name in ("endpoint", "eventfilter", "eventtype", "apikey")]
    filled = [client.get(page).context["adminform"].form["workspace"].value() for page in pages]
    client.force_login(User.objects.create_superuser("root"))
    assert filled == [str(workspace.pk)] * 4
    assert [client.get(page).context["adminform"].form["workspace"].value() for page in pages] == [None] * 4


def test_what_is_not_there_yet_has_no_id_to_be_copied(admin_client, workspace):
    shown = admin_client.get(reverse("admin:endpoints_endpoint_add")).content.decode()
    assert [f"field-{name}" in shown for name in ("name", "id", "state", "creation_date")] == [
        True,
        False,
        False,
        False,
    ]

"""The console's pages of the queue, of filters and of what happens, and what they cost."""

import re
import threading
from datetime import timedelta
from socket import gethostname
from uuid import UUID

import msgspec
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.functions import Now
from playwright.sync_api import expect

from endpoints.models import AuditEntry, Endpoint, EventFilter, EventType, StaffBinding
from routing import stats
from routing.models import WorkerNode
from routing.queue import LEASE_S, Presence, leave, report
from tests.browser import sign_in, window
from tests.receiver import Receiver
from tests.screenshots import look
from tests.service import DEADLINE_S, Service, wait_until
from tests.traffic import of, record

QUEUE = "/admin/queue/"


@pytest.fixture
def member_who_may(client, django_user_model):
    """Sign a member of staff in, who has these permissions and no others."""

    def member_who_may(*codenames):
        member = django_user_model.objects.create_user("m", password="p", is_staff=True)
        member.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(member)
        return member

    return member_who_may


# --- the queue


@pytest.fixture
def node(db):
    return WorkerNode.objects.create(name="box:7", version="0.1.0", held=12, slow=3)


@pytest.mark.parametrize("act", ["drain", "resume"])
def test_a_worker_is_drained_and_resumed_by_who_may(client, member_who_may, node, act):
    WorkerNode.objects.update(drained=act == "resume")
    member = member_who_may("view_lane", "view_endpoint", "see_all_workspaces")
    address = f"{QUEUE}worker/{node.pk}/{act}/"
    assert (client.get(address).status_code, client.post(address).status_code) == (405, 403)
    assert address not in client.get(QUEUE).content.decode()
    member.user_permissions.add(Permission.objects.get(codename="drain_workernode"))
    assert address in client.get(QUEUE).content.decode()
    assert client.post(address).status_code == 302
    assert WorkerNode.objects.get().drained == (act == "drain")
    assert AuditEntry.objects.filter(object_id=str(node.pk), actor_name="m").exists()


def test_who_is_bound_to_a_workspace_neither_sees_nor_drains_workers(client, member_who_may, node, workspace):
    member = member_who_may("view_lane", "view_endpoint", "drain_workernode")
    StaffBinding.objects.create(user=member, workspace=workspace)
    assert node.name not in client.get(QUEUE).content.decode()
    assert client.post(f"{QUEUE}worker/{node.pk}/drain/").status_code == 403
    assert not WorkerNode.objects.get().drained


def test_the_queue_takes_few_queries_with_many_workers(admin_client, node, django_assert_max_num_queries):
    WorkerNode.objects.bulk_create(WorkerNode(name=f"box:{n}", version="9") for n in range(30))
    with django_assert_max_num_queries(10):
        page = admin_client.get(QUEUE).content.decode()
    assert page.count("another than this page") == 30
    assert "3 / 128" in page


def test_leases_are_listed_oldest_first_with_who_holds_them(client, member_who_may, node, workspace, webhook):
    record(workspace, 3)
    for seq, left_s in ((1, 50), (2, 20)):
        lease = {"state": "SENDING", "lease_token": UUID(int=seq), "due_at": Now() + timedelta(seconds=left_s)}
        of(webhook, seq=seq).update(attempts_made=1, **lease)
    report(Presence(node.pk, node.name, node.version, 1, 0, None, [UUID(int=2)]), deleted_within_s=1)
    member = member_who_may("view_lane", "view_endpoint", "see_all_workspaces")
    assert client.get(QUEUE).context["leases"] is None
    member.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    page = client.get(QUEUE)
    told = [(lease.delivery.seq, lease.worker, lease.delivery.due_at - lease.since) for lease in page.context["leases"]]
    assert told == [(2, node.name, timedelta(seconds=LEASE_S)), (1, "", timedelta(seconds=LEASE_S))]
    assert f"/admin/routing/delivery/{of(webhook, seq=2).get().pk}/change/" in page.content.decode()


def test_a_worker_that_says_nothing_more_is_silent_and_then_forgotten(admin_client, node):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_workernode SET seen_at = now() - interval '30 seconds'")
    assert "silent" in admin_client.get(QUEUE).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_workernode SET seen_at = now() - interval '2 hours'")
    assert node.name not in admin_client.get(QUEUE).content.decode()
    other = Presence(node.pk.__class__(int=1), "box:8", "0.1.0", 0, 0, None)
    assert not report(other, deleted_within_s=1).drained
    leave(other.id)
    assert not WorkerNode.objects.exists()


def test_tables_are_shown_with_their_partitions_or_as_a_whole(workspace):
    record(workspace)
    assert {each.table for each in stats.stored()} == set(stats.TRAFFIC_TABLES)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parted (at int) PARTITION BY RANGE (at)")
        cursor.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (2)")
        cursor.execute("CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (2) TO (3)")
        cursor.execute(stats._STORED, [["parted", "no_such_table"], 10])
        assert [row[:3] for row in cursor.fetchall()] == [
            ("parted", "parted_2", "FOR VALUES FROM (2) TO (3)"),
            ("parted", "parted_1", "FOR VALUES FROM (1) TO (2)"),
        ]


# --- the filter

CHECK, KNOWN = "/admin/filter/check/", "/admin/filter/known/"


@pytest.mark.parametrize(
    ("definition", "at", "said"),
    [
        ('{"pattern": ', None, "This is not JSON"),
        ('{"é": [1,}', 9, "This is not JSON"),
        ("[" * 10_000, None, "This is not JSON"),
        ('{"pattern": {"data": {"a": {"b": "x"}}}}', 28, "pattern.data.a.b"),
        ('{"pattern": {"kind": ["a"]}}', 13, "is no field to filter by"),
        ('{"pattern": {"(byte x)": ["a"]}}', 13, "is no field to filter by"),
        ("1", None, "a filter is either"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(admin_client, db, definition, at, said):
    told = admin_client.post(CHECK, {"definition": definition}).json()
    assert (told["at"], said in told["problem"]) == (at, True), told


def test_the_last_events_are_tried_and_say_why_not(admin_client, workspace, foreign_workspace):
    for total in (1, 2):
        record(workspace, data=msgspec.Raw(b'{"total": %d}' % total))
    record(foreign_workspace)
    asked = {"definition": '{"pattern": {"data": {"total": [2]}}}', "workspace": str(workspace.pk)}
    tried = admin_client.post(CHECK, asked).json()["tried"]
    assert [each["matched"] for each in tried] == [True, False]
    assert tried[1]["reason"] == "data.total is 1, not 2."


def test_what_is_known_comes_from_types_and_recent_events(admin_client, workspace, django_assert_max_num_queries):
    kind = EventType.named(workspace_id=workspace.pk, name="seen.before")
    EventType.objects.filter(pk=kind.pk).update(inferred_shape={"lines": [{"sku": "string"}]})
    record(workspace, data=msgspec.Raw(b'{"customer": {"country": "DE"}}'))
    with django_assert_max_num_queries(10):
        known = admin_client.get(KNOWN, {"workspace": str(workspace.pk)}).json()
    assert set(known["types"]) >= {"seen.before"}
    assert set(known["paths"]) >= {"type", "data.lines.sku", "data.customer.country"}


def test_foreign_workspaces_and_events_are_not_told_of(client, member_who_may, workspace, foreign_workspace):
    member = member_who_may("view_eventfilter")
    StaffBinding.objects.create(user=member, workspace=workspace)
    record(workspace, data=msgspec.Raw(b'{"secret_name": 1}'))
    mine, foreign = {"workspace": str(workspace.pk)}, {"workspace": str(foreign_workspace.pk)}
    assert "data.secret_name" not in client.get(KNOWN, mine).json()["paths"]
    assert client.post(CHECK, {"definition": '{"pattern": {}}', **mine}).json()["tried"] == []
    assert (client.get(KNOWN, foreign).status_code, client.get(KNOWN, {"workspace": "x"}).status_code) == (404, 404)
    assert client.post(CHECK, {"definition": "{}", **foreign}).status_code == 404


@pytest.mark.parametrize(("more", "told"), [((), False), (("view_event",), True)])
def test_the_inferred_shape_of_data_is_told_to_who_may_see_events(client, django_user_model, workspace, more, told):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename__in=["view_eventfilter", *more]))
    StaffBinding.objects.create(user=member, workspace=workspace)
    client.force_login(member)
    kind = EventType.named(workspace_id=workspace.pk, name="seen.before")
    EventType.objects.filter(pk=kind.pk).update(inferred_shape={"secret_name": "string"})
    known = client.get(KNOWN, {"workspace": str(workspace.pk)}).json()
    assert ("seen.before" in known["types"], "data.secret_name" in known["paths"]) == (True, told)


def test_a_filters_page_takes_few_queries_and_says_what_is_linked(
    admin_client, workspace, webhook, django_assert_max_num_queries
):
    kept = EventFilter.create(
        workspace_id=workspace.pk, name="f", definition={"pattern": {"type": ["a"]}}, endpoints=[webhook]
    )
    with django_assert_max_num_queries(10):
        page = admin_client.get(f"/admin/endpoints/eventfilter/{kept.pk}/change/").content.decode()
    assert f"/admin/endpoints/endpoint/{webhook.pk}/change/" in page


def test_a_filter_that_is_deleted_names_its_links_with_few_queries(
    admin_client, workspace, django_assert_max_num_queries
):
    hooks = [
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"hook {n}", url="https://example.com/")
        for n in range(20)
    ]
    kept = EventFilter.create(
        workspace_id=workspace.pk, name="f", definition={"pattern": {"type": ["a"]}}, endpoints=hooks
    )
    with django_assert_max_num_queries(10):
        page = admin_client.get(f"/admin/endpoints/eventfilter/{kept.pk}/delete/").content.decode()
    assert "f → hook 19" in page


# --- in a browser


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def page(service):
    with window() as page:
        sign_in(page, service)
        yield page


def test_a_filter_is_written_with_completion_and_tried_as_one_types(page, service):
    for total in range(3):
        service.publish({"type": "order.paid", "data": {"total": total, "customer": {"country": "DE"}}})
    page.goto(f"{service.url}/admin/endpoints/eventfilter/add/")
    page.get_by_label("Name:").fill("Big orders")
    count = page.locator("#live-count")
    area = page.get_by_label("Definition:")
    page.get_by_label("Workspace").fill("")
    area.focus()  # by which the other field has changed
    expect(count).to_have_text("Choose a workspace: its last events are tried while you write.")
    with page.expect_popup() as popup:
        page.locator("#lookup_id_workspace").click()
    popup.value.locator("#result_list tbody a").first.click()
    expect(count).to_have_text("Write a definition: the last events are tried while you write.")
    area.fill('{"pattern": {"kind": ["x"]}}')
    expect(page.locator("#definition-problem")).to_contain_text("is no field to filter by")
    expect(count).to_have_text("Correct the definition first.")
    look(page, "filter-wrong")
    page.get_by_role("button", name="line 1, column 14").click()
    area.fill('{"pattern": {"data": {')
    area.press("End")
    area.press_sequentially('"tot')
    options = page.get_by_role("listbox")
    expect(options.get_by_role("option")).to_have_text(["total"])
    look(page, "filter-completing")
    area.press("Enter")
    area.press_sequentially("[1, 2]}}}")
    expect(count).to_have_text("2 / 3 of the last events match")
    expect(page.locator("#live-tried")).to_contain_text("data.total is 0, not 1 or 2.")
    expect(page.locator("#live-tried time").first).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#tried")).to_contain_text("2 of 3 events would have matched")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(area).to_have_value(re.compile('\n    "data": {\n'))
    expect(count).to_contain_text("2 / 3")
    look(page, "filter")


def test_a_worker_is_drained_and_resumed_by_click_and_says_what_it_holds(page, service):
    over = threading.Event()
    with Receiver() as receiver:
        receiver.answer = lambda _connection: over.wait(DEADLINE_S)
        service.graphql(WEBHOOK, u=receiver.url)
        service.publish({"type": "order.held"})
        page.goto(f"{service.url}/admin/queue/")
        leases = page.get_by_role("region", name="Leases")
        name = wait_until(
            lambda: (page.reload(), leases.inner_text())[1],
            re.compile(rf"order\.held.*{gethostname()}:\d+", re.S).search,
        )
        assert "Watched" in name
        look(page, "queue-leases")
        over.set()
    workers = page.get_by_role("region", name="Workers")
    workers.get_by_role("button", name="Drain").first.click()
    expect(workers).to_contain_text("drained")
    workers.get_by_role("button", name="Resume").first.click()
    expect(workers.get_by_role("button", name="Resume")).to_have_count(0)


WEBHOOK = 'mutation($u: String!) { createWebhookEndpoint(name: "Watched", url: $u) { id } }'


def test_what_happens_at_a_webhook_is_seen_as_it_happens_sifted_and_paused(page, service):
    with Receiver() as receiver:
        endpoint = service.graphql(WEBHOOK, u=receiver.url)["createWebhookEndpoint"]["id"]
        page.goto(f"{service.url}/event-service/live?endpoint={endpoint}")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        look(page, "live-empty")
        service.publish({"type": "order.paid", "subject": "a", "data": {"note": "Seldom"}}, {"type": "order.lost"})
        rows = page.locator("#rows > li:visible")
        expect(rows).to_have_count(2)
        expect(rows.first.locator(".badge")).to_have_text("delivered")
        look(page, "live")
        page.get_by_label("Type").fill("order.l")
        expect(rows).to_have_count(1)
        page.get_by_label("Type").fill("")
        page.get_by_label("Text").fill("seldom")
        expect(rows.locator(".type")).to_have_text(["order.paid"])
        page.get_by_label("State").select_option("EXHAUSTED")
        expect(rows).to_have_count(0)
        expect(page.locator("#hidden-count")).to_be_visible()

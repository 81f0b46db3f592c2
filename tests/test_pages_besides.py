"""Pictures of the pages that no other test in a browser comes by: empty, full, refused, and in Russian.

script/screenshots looks at them; they are made of the same pieces as the others.
"""

import uuid

import pytest
from django.contrib import admin
from playwright.sync_api import expect

from endpoints.rates import PER_LINK
from tests.browser import sign_in, window
from tests.receiver import Receiver, answer
from tests.screenshots import PICTURES, look
from tests.service import Service
from tests.test_console import CREATE
from tests.test_console import PLANT as SHOP

pytestmark = pytest.mark.skipif(
    not PICTURES, reason="script/screenshots looks at them: they are made as the others are"
)

TABLES = [f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry]
LISTS = {f"list-{table.replace('/', '-')}": f"/admin/{table}/" for table in TABLES}
ADDED = ["auth/user", "auth/group"]
ADDED += [
    f"endpoints/{name}" for name in ("apikey", "endpoint", "eventtype", "filterlink", "portaltheme", "staffbinding")
]
ONCE = {
    "password": "/admin/password_change/",
    "tables": "/admin/routing/",
    "user-password": "/admin/auth/user/1/password/",
    "not-found": "/admin/queue/nothing/",
    "bulk-all": "/admin/deliveries/retry/",
    "live-nothing-chosen": "/event-service/live",
    "done-by-a-button": "/admin/endpoint/00000000-0000-4000-8000-000000000000/replay/",
    **{f"add-{table.replace('/', '-')}": f"/admin/{table}/add/" for table in ADDED},
}
MAIN = {"overview": "/admin/", "queue": "/admin/queue/", "endpoints": "/admin/endpoints/endpoint/"}
MAIN |= {"deliveries": "/admin/routing/delivery/", "events": "/admin/routing/event/", "live": "/event-service/live"}
PLANT = """
from django.contrib.auth.models import Group, User
from endpoints.models import *
from routing.models import *
shop = Workspace.objects.get(name="Shop of the North")
hook = Endpoint.objects.get(name="orders to the warehouse", workspace=shop)
Group.objects.create(name="On call")
User.objects.create_user("nobody", password="p", is_staff=True)
member = User.objects.create_user("ann", password="p", is_staff=True)
StaffBinding.objects.create(user=member, workspace=shop)
PortalTheme.change(shop, name="Fjord & Sons", color="#0a7d5a")
ApiKey.issue(workspace=shop, name="the shop's till", scopes=["publish"])
EventType.named(workspace_id=shop.pk, name="order.paid")
EventFilter.create(
    workspace_id=shop.pk, name="Paid orders", definition={"pattern": {"type": ["order.paid"]}}, endpoints=[hook])
SavedView.objects.create(user_id=1, model="delivery", name="Failed today", query="state=EXHAUSTED&within=24h")
PortalLink.issue(workspace=shop, name="Ann of Fjord", rights=["operate"])
"""
# What is seldom there when somebody looks.
PLANT_MORE = """
from django.utils import timezone
from endpoints.models import *
from routing.models import *
now, delivery = timezone.now(), Delivery.objects.first()
ours, hook = delivery.workspace, delivery.endpoint
Replay.objects.create(workspace=ours, endpoint=hook, to_endpoint=hook, until=now, per_second=9, position="0", end="1")
socket = Socket.objects.create(node=SocketNode.objects.create(), workspace=ours, endpoint=hook, address="192.0.2.1")
SocketTicket.objects.create(
    digest=b"d", key=ApiKey.objects.first(), endpoint=hook, address="192.0.2.1", expires_at=timezone.now())
group = ShareGroup.objects.create(endpoint=hook, name="readers", scanned_to=0)
SharedDelivery.objects.create(group=group, seq=1, delivery=delivery, socket=socket)
DeliveryChange.objects.create(endpoint=hook, delivery=delivery, transaction_id=1)
IdempotencyRecord.objects.create(workspace=ours, key="order 7", event_id=delivery.event_id, digest=b"d")
Forgotten.objects.create(endpoint=hook, deliveries=1)
Spending.objects.create(subject="address 192.0.2.1")
DailyEvents.objects.create(workspace=ours, day=now.date(), events=21)
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("empty")) as service:
        yield service


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    rated = {"EVENT_SERVICE_RATE_PER_ADDRESS": "2000000/60"}  # and so are portal links
    folder = tmp_path_factory.mktemp("full")
    with Service(folder, **rated) as service, Receiver() as broken, Receiver() as sound:
        service.manage("shell", "--no-imports", "-c", SHOP)
        service.manage("shell", "--no-imports", "-c", PLANT)
        broken.answer = answer(500, b"out of order")
        for receiver in (broken, sound):
            service.graphql(CREATE, u=receiver.url)
        service.publish(*({"type": f"order.{kind}", "data": {"of": kind}} for kind in ("paid", "lost", "sent") * 7))
        broken.wait_for_count(10)
        sound.wait_for_count(21)
        service.manage("shell", "--no-imports", "-c", PLANT_MORE)
        yield service


@pytest.fixture(scope="module")
def browser():
    with window() as page:
        yield page.context.browser


@pytest.fixture(scope="module")
def enter(browser):
    """Open a window of one's own, signed in to a service."""

    def enter(service, **context):
        page = browser.new_context(**context).new_page()
        page.said = []
        sign_in(page, service)
        return page

    return enter


@pytest.fixture(scope="module")
def page(enter, full):
    return enter(full)


@pytest.fixture(scope="module")
def page_of_nothing(enter, empty):
    return enter(empty)


@pytest.mark.parametrize("name", ONCE)
def test_a_page(page, full, name):
    page.goto(full.url + ONCE[name])
    look(page, name)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_with_rows_and_what_a_row_leads_to(page, full, name):
    page.goto(full.url + LISTS[name])
    look(page, name)
    rows = page.locator("#result_list tbody th a")
    if rows.count():
        rows.first.click()
        look(page, name.replace("list", "change", 1))


@pytest.mark.parametrize("name", LISTS | MAIN)
def test_a_page_with_nothing_on_it(page_of_nothing, empty, name):
    page_of_nothing.goto(empty.url + (LISTS | MAIN)[name])
    look(page_of_nothing, f"{name}-empty")


@pytest.mark.parametrize("name", MAIN)
def test_a_page_in_russian(enter, full, name):
    page = enter(full)
    page.context.set_extra_http_headers({"Accept-Language": "ru"})
    page.goto(full.url + MAIN[name])
    look(page, f"{name}-russian")
    page.context.close()


def test_several_are_asked_about_before_they_are_deleted(page, full):
    page.goto(f"{full.url}/admin/endpoints/endpoint/")
    for box in page.locator("#result_list tbody .action-select").all()[:3]:
        box.check()
    page.locator("select[name=action]").select_option("delete_selected")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    look(page, "delete-several")


def test_the_history_of_what_nobody_has_changed(page, full):
    page.goto(f"{full.url}/admin/endpoints/endpoint/?q=invoices")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("link", name="History").click()
    look(page, "history-none")


def test_a_filter_is_tried_without_scripts(enter, full):
    page = enter(full, java_script_enabled=False)
    page.goto(f"{full.url}/admin/endpoints/eventfilter/")
    page.locator("#result_list tbody th a").first.click()
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Try it").click()
    expect(opened.value).to_have_url(full.url + "/admin/try-filter/")
    tried = opened.value.content()
    page.context.close()
    seen = enter(full)
    seen.goto(full.url + "/admin/try-filter/")  # axe is a script: the same page in a window that has them
    seen.evaluate("html => { document.documentElement.innerHTML = html }", tried)
    look(seen, "filter-tried-without-scripts")
    seen.context.close()


def test_a_password_that_was_changed(enter, full):
    page = enter(full)
    page.goto(f"{full.url}/admin/password_change/")
    page.get_by_label("Old password").fill("ops")
    for label in ("New password:", "New password confirmation"):
        page.get_by_label(label).fill("a horse, a battery")
    page.get_by_role("button", name="Change my password").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    look(page, "password-changed")
    page.context.close()
    full.manage("shell", "-c", "u = User.objects.get(username='ops'); u.set_password('ops'); u.save()")


def test_who_is_not_allowed_is_told(browser, full):
    page = browser.new_context().new_page()
    page.said = []
    page.goto(f"{full.url}/admin/login/?next=/admin/queue/")
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("p")
    page.get_by_role("button", name="Log in").click()
    look(page, "forbidden")
    page.goto(f"{full.url}/admin/")
    look(page, "overview-of-nobody")
    page.context.close()


def test_the_pages_of_who_is_not_signed_in(enter, full):
    page = enter(full)
    page.locator("#user-tools summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()
    look(page, "logged-out")
    page.goto(f"{full.url}/admin/login/")
    for _ in range(20):  # some of which are allowed
        if page.locator("#locked").is_visible():
            break
        page.get_by_label("Username").fill("stranger")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
    expect(page.locator("#locked")).to_be_visible()
    look(page, "locked")
    page.context.close()


def test_the_sign_in_with_a_second_factor(browser, tmp_path):
    with Service(tmp_path, EVENT_SERVICE_TWO_FACTOR="1") as service:
        page = browser.new_context().new_page()
        page.said = []
        page.goto(f"{service.url}/admin/")
        look(page, "second-factor")
        page.get_by_label("Username").fill("ops")
        page.get_by_label("Password").fill("ops")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".errornote")).to_be_visible()
        look(page, "second-factor-refused")
        page.context.close()


LINK = """
from endpoints.models import PortalLink, PortalRight, Workspace
shop = Workspace.objects.get(name="Shop of the North")
print(PortalLink.issue(workspace=shop, name="Ann", rights=list(PortalRight))[1])
"""


def test_what_the_portal_does_not_have_or_refuses(browser, full):
    token = full.manage("shell", "--no-imports", "-c", LINK).strip()
    page = browser.new_context().new_page()
    page.said = []
    portal = f"{full.url}/event-service/portal/"
    page.goto(f"{portal}open?token={token}")
    page.get_by_role("button", name="Open the portal").click()
    look(page, "portal-full")
    page.get_by_role("link", name="invoices").click()
    look(page, "portal-endpoint-failing")
    page.goto(f"{portal}endpoints/{uuid.uuid4()}/")
    look(page, "portal-absent")
    for _ in range(PER_LINK[0]):
        if page.request.get(portal).status == 429:
            break
    page.goto(portal)
    expect(page.get_by_role("alert")).to_be_visible()
    look(page, "portal-refused")
    page.context.close()

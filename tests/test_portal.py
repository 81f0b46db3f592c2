"""The customer's portal: who gets in by a link, to what, and for how long; and all its pages in a real browser."""

import re
from base64 import b64encode
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from endpoints.models import AuditEntry, Endpoint, PortalLink, PortalRight, PortalTheme
from endpoints.rates import Rates
from routing import walks
from routing.cancelling import cancel_all
from routing.models import Attempt, Delivery, Lane, Replay
from routing.portal.door import COOKIE, PATH
from routing.portal.look import DARK, LIGHT, contrast, legible
from routing.portal.search import Wanted, search
from routing.rollups import roll_up
from tests.browser import sign_in, window
from tests.receiver import Receiver, answer
from tests.screenshots import glance, look
from tests.service import Service
from tests.test_admin import page as admin_page
from tests.traffic import end, of, record

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
OTHERS = (PortalRight.OPERATE, PortalRight.EDIT, PortalRight.SECRETS)


def issue(workspace, *, rights=OTHERS, **given):
    return PortalLink.issue(workspace=workspace, name="Ann", rights=rights, **given)


def enter(client, token):
    return client.post(f"{PATH}open", {"token": token})


@pytest.fixture
def visit(client, workspace):
    """Open a link to the workspace, or to what is given of it."""

    def visit(**given):
        link, token = issue(workspace, **given)
        assert enter(client, token).status_code == 302
        return link

    return visit


@pytest.fixture
def failed(workspace, webhook):
    record(workspace)
    end(of(webhook))
    return of(webhook).get()


def pages_of(endpoint, delivery):
    """Every page of one endpoint and one delivery: method, address, form."""
    of_endpoint, of_delivery = f"{PATH}endpoints/{endpoint}/", f"{PATH}deliveries/{delivery}/"
    return [
        *(("get", f"{of_endpoint}{place}", {}) for place in ("", "edit/", "secret/")),
        ("post", f"{of_endpoint}edit/", {"name": "taken", "url": "https://taken.example/"}),
        *(("post", f"{of_endpoint}{act}/", {}) for act in ("PAUSED", "ACTIVE", "test", "now")),
        ("post", f"{of_endpoint}secret/", {"reveal": ""}),
        ("post", f"{of_endpoint}secret/", {"rotate": ""}),
        ("post", f"{of_endpoint}replay/", {"start": ""}),
        ("get", f"{PATH}deliveries/?endpoint={endpoint}", {}),
        ("get", of_delivery, {}),
        ("post", f"{of_delivery}again/", {}),
        ("post", f"{of_delivery}now/", {}),
    ]


def ask(client, requests):
    return [getattr(client, method)(address, form).status_code for method, address, form in requests]


def state_of(endpoint):
    keys = list(endpoint.signing_keys.order_by("pk").values())
    rows = Endpoint.objects.filter(pk=endpoint.pk).values().get()
    return rows, keys, list(of(endpoint).values()), Replay.objects.count(), AuditEntry.objects.count()


def test_what_failed_is_counted_as_far_as_a_page_looks(client, workspace, webhook, visit, monkeypatch):
    monkeypatch.setattr(walks, "EXAMINED", 2)
    visit()
    record(workspace, 30)
    said = []
    for state in ("DELIVERED", "EXHAUSTED"):
        end(of(webhook), state)
        said.append(client.post(f"{PATH}endpoints/{webhook.pk}/replay/").content.decode())
    assert "there may be others" in said[0]
    assert "At least 12 deliveries failed for good in this time." in said[1]
    client.post(f"{PATH}endpoints/{webhook.pk}/replay/", {"start": ""})
    assert Replay.objects.get().total is None


# --- whose rows


@pytest.mark.parametrize("bound", ["workspace", "endpoint"])
def test_what_the_link_is_not_to_is_as_good_as_absent(client, workspace, webhook, foreign, visit, bound):
    other = foreign
    if bound == "endpoint":
        other = Endpoint.create_webhook(workspace_id=workspace.pk, name="Other", url="https://example.com/")
    record(other.workspace)
    end(of(other))
    visit(**({"endpoint": webhook} if bound == "endpoint" else {}))
    before = state_of(other)
    assert set(ask(client, pages_of(other.pk, of(other).get().pk))) == {404}
    assert state_of(other) == before
    listed = client.get(f"{PATH}deliveries/").context["found"].deliveries
    assert [each.endpoint for each in listed] == [webhook] * (bound == "endpoint")


def test_postgresql_shows_a_visitor_one_workspace_whatever_a_page_forgets(
    client, foreign, foreign_workspace, visit, monkeypatch
):
    visit()
    monkeypatch.setattr("routing.portal.door.Visit.endpoints", lambda _visit: Endpoint.objects.live())
    assert client.get(f"{PATH}endpoints/{foreign.pk}/").status_code == 404
    assert foreign.name not in client.get(PATH).content.decode()


def test_a_link_to_one_endpoint_leads_to_its_page(client, webhook, visit):
    visit(endpoint=webhook)
    assert client.get(PATH)["Location"] == f"{PATH}endpoints/{webhook.pk}/"


# --- for how long


def test_who_has_no_cookie_is_out(client, webhook, failed):
    assert set(ask(client, pages_of(webhook.pk, failed.pk))) == {403}
    client.cookies[COOKIE] = "forged:cookie:1"
    assert client.get(PATH).status_code == 403


def test_a_cookie_is_the_portals_own(client, workspace):
    cookie = enter(client, issue(workspace)[1]).cookies[COOKIE]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == (PATH, True, "Lax")
    assert "sessionid" not in client.cookies
    assert client.get("/admin/").status_code == 302


def test_a_revoked_link_ends_what_it_opened(client, visit):
    link = visit()
    assert client.get(PATH).status_code == 200
    link.revoke()
    assert client.get(PATH).status_code == 403


def test_an_expired_link_opens_nothing_and_ends_what_it_opened(client, workspace):
    link, token = issue(workspace)
    enter(client, token)
    PortalLink.objects.filter(pk=link.pk).update(expires_at=Now() - timedelta(seconds=1))
    assert (client.get(PATH).status_code, enter(Client(), token).status_code) == (403, 403)


def test_a_link_to_an_endpoint_ends_with_it(client, webhook, visit):
    visit(endpoint=webhook)
    Endpoint.remove([webhook])
    assert client.get(PATH).status_code == 403


def test_to_look_at_a_link_does_not_use_it_up_and_to_open_it_once_does(client, workspace):
    _, token = issue(workspace, once=True)
    for _ in range(2):
        assert "Open the portal" in client.get(f"{PATH}open", {"token": token}).content.decode()
    assert [enter(each, token).status_code for each in (client, Client())] == [302, 403]
    assert client.get(PATH).status_code == 200


def test_leaving_takes_the_cookie_away(client, visit):
    visit()
    client.post(f"{PATH}leave")
    assert client.get(PATH).status_code == 403


# --- rights


NEEDED = {
    "operate": ["PAUSED/", "ACTIVE/", "test/", "replay/", "now/"],
    "edit": ["edit/"],
    "secrets": ["secret/"],
}


@pytest.mark.parametrize("lacking", NEEDED)
def test_each_act_needs_its_right(client, webhook, failed, visit, lacking):
    visit(rights=set(OTHERS) - {lacking})
    before = state_of(webhook)
    addresses = [f"{PATH}endpoints/{webhook.pk}/{act}" for act in NEEDED[lacking]]
    addresses += [f"{PATH}deliveries/{failed.pk}/{act}/" for act in ("again", "now") if lacking == "operate"]
    assert [client.post(address, {"start": ""}).status_code for address in addresses] == [404] * len(addresses)
    assert state_of(webhook) == before
    shown = client.get(f"{PATH}endpoints/{webhook.pk}/").content.decode()
    assert [act in shown for act in NEEDED[lacking]] == [False] * len(NEEDED[lacking])


def test_forms_of_other_sites_are_refused(workspace, webhook):
    client = Client(enforce_csrf_checks=True)
    _, token = issue(workspace)
    assert enter(client, token).status_code == 403
    shown = client.get(f"{PATH}open", {"token": token}).content.decode()
    given = re.search(r'csrfmiddlewaretoken" value="(\w+)"', shown).group(1)
    assert client.post(f"{PATH}open", {"token": token, "csrfmiddlewaretoken": given}).status_code == 302
    assert client.post(f"{PATH}endpoints/{webhook.pk}/PAUSED/").status_code == 403
    assert Endpoint.objects.get().state == "ACTIVE"


def test_what_is_done_is_put_down_to_the_link(client, webhook, failed, visit):
    link = visit()
    for act in ("PAUSED/", "ACTIVE/"):
        client.post(f"{PATH}endpoints/{webhook.pk}/{act}")
    client.post(f"{PATH}endpoints/{webhook.pk}/edit/", {"name": "Mine", "url": "https://example.com/new"})
    shown = client.post(f"{PATH}endpoints/{webhook.pk}/secret/", {"reveal": ""}).content.decode()
    assert webhook.secret in shown
    client.post(f"{PATH}endpoints/{webhook.pk}/secret/", {"rotate": ""})
    again = client.post(f"{PATH}deliveries/{failed.pk}/again/")
    made = of(webhook, retry_of=failed)
    made.update(attempts_made=1, due_at=timezone.now() + timedelta(hours=1))
    client.post(f"{PATH}deliveries/{made.get().pk}/now/")
    client.post(f"{PATH}endpoints/{webhook.pk}/replay/", {"start": ""})
    assert str(made.get().pk) in again["Location"]
    entries = AuditEntry.objects.filter(actor_kind="PORTAL").order_by("at", "pk")
    assert {(entry.actor_id, entry.actor_name) for entry in entries} == {(str(link.pk), "Ann")}
    done = {entry.operation for entry in entries}
    assert done == {f"portal-{act}" for act in ("open", "state", "edit", "secret", "again", "now", "replay")}


def test_the_network_s_own_reasons_are_not_told(client, workspace, webhook, visit):
    visit(rights=OTHERS)
    record(workspace)
    Attempt.objects.create(
        workspace=workspace,
        delivery=of(webhook).get(),
        number=1,
        started_at=timezone.now(),
        error="UNREACHABLE",
        cause="ADDRESS_REFUSED: 10.0.0.1",
    )
    of(webhook).update(attempts_made=1)
    shown = client.get(f"{PATH}deliveries/{of(webhook).get().pk}/").content.decode()
    assert ("no answer" in shown, "ADDRESS_REFUSED" in shown) == (True, False)


def test_what_waits_says_what_holds_it_back_and_is_tried_now(client, workspace, webhook, visit):
    visit(rights=OTHERS)
    record(workspace)
    later = timezone.now() + timedelta(hours=1)
    of(webhook).update(attempts_made=1, due_at=later)
    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    address = f"{PATH}deliveries/{of(webhook).get().pk}/"

    shown = client.get(address).content.decode()

    assert "The endpoint&#x27;s breaker is open since" in shown
    assert f"{address}now/" in shown
    shown = client.post(f"{address}now/", follow=True).content.decode()
    assert "It is tried now." in shown
    assert "breaker" not in shown
    assert of(webhook).get().due_at <= timezone.now()
    assert "It is tried now." not in client.post(f"{address}now/", follow=True).content.decode()

    Lane.objects.update(opened_at=timezone.now(), ready_at=later)  # it is due by now, and held back all the same
    assert "It is tried now." in client.post(f"{address}now/", follow=True).content.decode()

    of(webhook).update(due_at=later)
    Lane.objects.update(ready_at=later)
    shown = client.post(f"{address}now/", follow=True).content.decode()
    assert "The endpoint gets nothing before" in shown
    assert "It is tried now." not in shown
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)
    assert f"{address}now/" not in client.get(address).content.decode()


def test_all_that_waits_is_tried_now(client, workspace, webhook, visit):
    visit(rights=OTHERS)
    record(workspace, 3)
    later = timezone.now() + timedelta(hours=1)
    of(webhook, seq=1).update(attempts_made=1, due_at=later)
    now = timezone.now()
    Lane.objects.update(opened_at=now, ready_at=later, failing_since=now - timedelta(minutes=5))
    address = f"{PATH}endpoints/{webhook.pk}/"
    roll_up()

    shown = client.get(address).content.decode()
    assert (f"{address}now/" in shown, "after each failure more seldom, for 5 min" in shown) == (True, True)
    assert "What waits is tried now." in client.post(f"{address}now/", follow=True).content.decode()

    assert (of(webhook, due_at__lte=timezone.now()).count(), Lane.objects.get().opened_at) == (3, None)
    assert "Nothing waits for another try" in client.post(f"{address}now/", follow=True).content.decode()
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)
    assert f"{address}now/" not in client.get(address).content.decode()


def test_to_try_now_is_offered_where_something_waits(client, workspace, webhook, visit):
    visit(rights=OTHERS)
    address = f"{PATH}endpoints/{webhook.pk}/"

    def offered():
        roll_up()
        return f"{address}now/" in client.get(address).content.decode()

    assert not offered()
    record(workspace)
    assert offered()
    cancel_all(webhook)
    assert not offered()


def test_headers_of_its_own_do_not_go_to_another_receiver(client, webhook, visit):
    visit()
    webhook.change(headers={"x-token": "t"})
    address = f"{PATH}endpoints/{webhook.pk}/edit/"
    for url, kept in (("https://example.com/elsewhere", True), ("https://other.example/", False)):
        client.post(address, {"name": "n", "url": url})
        webhook.refresh_from_db()
        assert (webhook.url, bool(webhook.headers)) == (url, kept)
    refused = client.post(address, {"name": "n", "url": "nope"})
    assert (refused.status_code, bool(refused.context["form"].errors["url"])) == (422, True)


def test_a_link_has_a_rate_of_its_own(client, visit, settings, monkeypatch):
    visit()
    settings.RATE_PER_ADDRESS = (1_000_000, 60)
    monkeypatch.setattr("endpoints.rates.PER_LINK", (2, 60))
    monkeypatch.setattr("routing.portal.door.rates", Rates())
    found = [client.get(PATH) for _ in range(3)]
    assert [page.status_code for page in found] == [200, 200, 429]
    assert int(found[-1]["Retry-After"]) > 0


# --- deliveries


def test_deliveries_are_found(client, workspace, webhook, failed, visit):
    visit()
    (waiting,) = record(workspace, type="other.type")
    wanted = {
        "state=EXHAUSTED": [failed.pk],
        "state=OPEN": [of(webhook, event=waiting).get().pk],
        "type=order.paid": [failed.pk],
        f"id={waiting}": [of(webhook, event=waiting).get().pk],
        f"id={failed.pk}": [failed.pk],
        "before=nonsense": [of(webhook, event=waiting).get().pk, failed.pk],
        f"endpoint={webhook.pk}&before=2&state=EXHAUSTED": [failed.pk],
    }
    asked = {query: client.get(f"{PATH}deliveries/?{query}").context["found"].deliveries for query in wanted}
    assert {query: [each.pk for each in found] for query, found in asked.items()} == wanted
    assert client.get(f"{PATH}deliveries/?state=nope").status_code == 422


@pytest.mark.parametrize("of_one", [False, True])
def test_a_page_ends_where_the_next_begins_and_looks_no_further_than_it_may(workspace, webhook, monkeypatch, of_one):
    monkeypatch.setattr("routing.portal.search.SHOWN", 3)
    monkeypatch.setattr("routing.portal.search.LOOKED_AT", 4)
    record(workspace, 7)
    endpoint, rows = webhook if of_one else None, Delivery.objects.filter(workspace=workspace)
    seen, before = [], ""
    while len(seen) < 7:
        found = search(rows, Wanted(endpoint, before=before))
        seen += [each.seq if of_one else each.pk for each in found.deliveries]
        before = found.before
    assert (seen, before) == (sorted(seen, reverse=True), "")
    nothing = search(rows, Wanted(endpoint, ["EXHAUSTED"]))
    assert (list(nothing.deliveries), nothing.looked_on) == ([], True)
    assert not search(rows, Wanted(endpoint, ["EXHAUSTED"], before=nothing.before)).looked_on


def test_no_page_takes_more_than_ten_queries_however_much_there_is(client, workspace, webhook, failed, visit):
    visit()
    for number in range(5):
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"{number}", url="https://example.com/")
    record(workspace, 20)
    end(of(webhook))
    form, of_endpoint = {"hours": "1"}, f"{PATH}endpoints/{webhook.pk}/"
    pages = [each for each in pages_of(webhook.pk, failed.pk) if each[0] == "get"]
    pages += [("get", f"{PATH}{place}", {}) for place in ("", "deliveries/", "deliveries/?state=OPEN", "theme.css")]
    pages += [("post", f"{of_endpoint}replay/", form), *(("post", f"{of_endpoint}secret/", {n: ""}) for n in SECRETS)]
    asked = {}
    for method, address, given in pages:
        with CaptureQueriesContext(connection) as queries:
            assert getattr(client, method)(address, given).status_code == 200, address
        # A transaction within the test's own is a savepoint, and puts back what it has set.
        asked[method, address] = sum("SAVEPOINT" not in each["sql"] for each in queries.captured_queries) - 1
    assert {page: count for page, count in asked.items() if count > 10} == {}


SECRETS = ("reveal", "rotate")


# --- how it looks


@pytest.mark.parametrize("color", ["#ffffff", "#000000", "#ffee00", "#4f46e5", "#808080"])
def test_a_colour_can_be_read(color):
    assert min(contrast(legible(color, LIGHT), LIGHT), contrast(legible(color, DARK), DARK)) >= 4.5


THEME = "mutation($n: String, $c: String, $l: String) { updatePortalTheme(name: $n, color: $c, logo: $l) { logoType } }"


def test_a_theme_is_set_over_the_api_and_shown(client, graphql, foreign_workspace, visit):
    assert graphql("{ portalTheme { name } }")["data"] == {"portalTheme": None}
    graphql(THEME, n="Fjord & Sons", c="#00aa55", l=b64encode(PNG).decode())
    graphql(THEME, c="#0000aa")
    found = graphql("{ portalTheme { name color logoType } }")["data"]["portalTheme"]
    assert found == {"name": "Fjord & Sons", "color": "#0000aa", "logoType": "image/png"}
    assert not PortalTheme.objects.filter(workspace=foreign_workspace).exists()
    visit()
    assert "Fjord &amp; Sons" in client.get(PATH).content.decode()
    assert "#0000aa" in client.get(f"{PATH}theme.css").content.decode()
    logo = client.get(f"{PATH}logo")
    assert (logo.content, logo["Content-Type"], "sandbox" in logo["Content-Security-Policy"]) == (
        PNG,
        "image/png",
        True,
    )
    graphql(THEME, l="")
    assert client.get(f"{PATH}logo").status_code == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"c": "red}"}, "color"),
        ({"l": "%"}, "logo"),
        ({"l": b64encode(b"<svg onload='x'/>").decode()}, "logo"),
        ({"l": b64encode(PNG + bytes(64 * 1024)).decode()}, "logo"),
    ],
)
def test_a_theme_that_can_not_be_is_refused(graphql, workspace, given, field):
    (error,) = graphql(THEME, **given)["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
    assert not PortalTheme.objects.exists()


# --- links, over the API and in the admin


SEES = ["view_endpoint", "view_event", "view_delivery", "view_attempt"]
MAKE = """mutation($e: ID) { createPortalLink(name: "Ann", endpointId: $e, rights: [operate], once: true) {
  url portalLink { id endpointId rights once } } }"""


def test_a_link_is_made_listed_and_revoked_over_the_api(client, graphql, webhook):
    made = graphql(MAKE, e=str(webhook.pk))["data"]["createPortalLink"]
    link = made["portalLink"]
    assert link | {"id": ""} == {"id": "", "endpointId": str(webhook.pk), "rights": ["view", "operate"], "once": True}
    address, token = made["url"].split("?token=")
    assert address == f"http://testserver{PATH}open"
    assert enter(client, token).status_code == 302
    assert graphql("{ portalLinks { totalCount } }")["data"] == {"portalLinks": {"totalCount": 1}}
    assert graphql(f'mutation {{ revokePortalLink(id: "{link["id"]}") {{ ok }} }}')["data"]
    assert client.get(PATH).status_code == 403
    assert token not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("seconds", [59, 90 * 86_400 + 1])
def test_a_link_lives_neither_too_short_nor_too_long(graphql, seconds):
    (error,) = graphql(f'mutation {{ createPortalLink(name: "n", expiresIn: {seconds}) {{ url }} }}')["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "expiresIn"}


def test_an_operator_makes_a_link_by_a_click_sees_it_once_and_revokes_it(admin_client, workspace, webhook):
    address = reverse("admin:endpoints_workspace_portal", args=[workspace.pk])
    form = {"name": "Ann", "rights": ["operate"], "life_s": "3600"}
    shown = admin_client.post(address, form).content.decode()
    token = re.search(r"token=([\w-]+)", shown).group(1)
    customer = Client()
    assert enter(customer, token).status_code == 302
    own = admin_client.get(admin_page(type(workspace), "change", workspace.pk)).content.decode()
    assert ("Ann" in own, token in own) == (True, False)
    link = PortalLink.objects.get()
    admin_client.post(reverse("admin:endpoints_workspace_revoke", args=[workspace.pk, link.pk]))
    assert customer.get(PATH).status_code == 403
    assert AuditEntry.objects.filter(object_id=str(link.pk), actor_kind="USER").count() == 2


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        ([], []),
        (["change_endpoint", "reveal_endpoint_secret"], ["edit"]),
        (["reveal_endpoint_secret", "rotate_endpoint_secret"], ["secrets"]),
    ],
)
def test_who_makes_a_link_gives_no_right_that_they_lack(client, workspace, django_user_model, names, offered):
    names = ["add_portallink", "view_workspace", "see_all_workspaces", *SEES, *names]
    maker = django_user_model.objects.create_user("maker", is_staff=True)
    maker.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(maker)
    address = reverse("admin:endpoints_workspace_portal", args=[workspace.pk])

    assert [value for value, _ in client.get(address).context["form"].fields["rights"].choices] == offered
    client.post(address, {"name": "Ann", "life_s": "86400", "rights": ["operate"]})
    assert not PortalLink.objects.exists()


@pytest.mark.parametrize("permission", ["add_portallink", "revoke_portallink", "view_delivery"])
def test_links_need_a_permission(client, django_user_model, workspace, permission):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    names = {"add_portallink", "revoke_portallink", "view_workspace", "see_all_workspaces", *SEES} - {permission}
    member.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(member)
    link, _ = issue(workspace)
    view, args = ("revoke", [link.pk]) if permission == "revoke_portallink" else ("portal", [])
    assert client.post(reverse(f"admin:endpoints_workspace_{view}", args=[workspace.pk, *args])).status_code == 403
    assert PortalLink.objects.get().revoked_at is None


def test_a_theme_is_set_in_the_admin(admin_client, workspace, tmp_path):
    logo = tmp_path / "logo.png"
    logo.write_bytes(PNG)
    form = {"workspace": str(workspace.pk), "name": "Fjord", "color": "#00aa55"}
    with logo.open("rb") as file:
        assert admin_client.post(admin_page(PortalTheme, "add"), {**form, "picture": file}).status_code == 302
    theme = PortalTheme.objects.get()
    assert (bytes(theme.logo), theme.logo_type) == (PNG, "image/png")
    address = admin_page(PortalTheme, "change", theme.pk)
    for given, kept in (({}, PNG), ({"no_logo": "on"}, b"")):
        assert admin_client.post(address, {**form, **given}).status_code == 302
        assert bytes(PortalTheme.objects.get().logo) == kept


# --- in a browser


PLANT = """
from endpoints.models import Workspace, PortalTheme
PortalTheme.change(Workspace.objects.get(), name="Fjord & Sons", color="#0a7d5a")
"""


CREATE = """mutation($n: String!, $u: String!) {
  createWebhookEndpoint(name: $n, url: $u, retryPolicy: {schedule: []}) { id } }"""


def test_a_customer_opens_the_link_sees_what_fails_repairs_it_and_has_it_again(tmp_path):
    with Service(tmp_path) as service, Receiver() as broken, Receiver() as sound, window() as page:
        service.manage("shell", "--no-imports", "-c", PLANT)
        broken.answer = answer(500, b"out of order")
        service.graphql(CREATE, n="orders to the warehouse", u=broken.url)
        service.graphql(CREATE, n="a name so long that it is broken somewhere " * 4, u=sound.url)
        service.publish({"type": "order.paid", "data": {"order": {"id": 7, "note": "שלום עולם " * 20}}})
        broken.wait_for_count(1)
        sound.wait_for_count(1)

        sign_in(page, service)
        page.get_by_role("navigation", name="Console").get_by_role("link", name="Workspaces").click()
        page.locator("#result_list tbody th a").first.click()
        page.get_by_role("link", name="Make a link").click()
        page.get_by_label("For whom").fill("Ann of Fjord")
        for box in page.get_by_role("checkbox").all()[:3]:
            box.check()
        look(page, "portal-admin-form")
        page.get_by_role("button", name="Make the link").click()
        address = page.locator("#portal-url").inner_text()
        look(page, "portal-admin-link")
        page.get_by_role("link", name="Back to the workspace").click()
        expect(page.get_by_role("region", name="The customer's portal")).to_contain_text("Ann of Fjord")
        look(page, "portal-admin-workspace")

        page.goto(address)
        look(page, "portal-open")
        page.get_by_role("button", name="Open the portal").click()
        expect(page.get_by_role("link", name="Fjord & Sons")).to_be_visible()
        look(page, "portal-home")
        page.get_by_role("link", name="orders to the warehouse").click()
        rows = page.get_by_role("region", name="Recent deliveries")
        expect(rows).to_contain_text("Exhausted")  # it keeps up by itself
        look(page, "portal-endpoint")
        rows.get_by_role("link", name="order.paid").click()
        page.get_by_text("Answer", exact=True).click()
        expect(page.locator(".timeline pre")).to_contain_text("out of order")
        look(page, "portal-delivery")

        page.get_by_role("link", name="orders to the warehouse").click()
        page.get_by_role("link", name="Edit").click()
        page.get_by_label("URL").fill("nope")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".errorlist")).to_be_visible()
        look(page, "portal-edit")
        page.get_by_label("URL").fill(sound.url)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("Changed.")
        glance(page, "portal-changed")
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_role("heading", name="The test was taken")).to_be_visible()
        look(page, "portal-tested")
        page.get_by_role("link", name="Back to the endpoint").click()
        page.get_by_role("button", name="Deliver again what failed").click()
        look(page, "portal-replay")
        page.get_by_role("button", name="Send it again").click()
        sound.wait_for_count(3)

        page.get_by_role("link", name="Secret").click()
        glance(page, "portal-secret-asked")
        page.get_by_role("button", name="Show the secret").click()
        expect(page.locator(".secret")).to_contain_text("whsec_")
        look(page, "portal-secret")
        page.get_by_role("link", name="Deliveries").click()
        page.get_by_label("State").select_option(label="Delivered")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("region", name="Deliveries")).to_contain_text("order.paid")
        look(page, "portal-deliveries")
        page.get_by_label("Type of event").fill("never.seen")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", name="No delivery is like that")).to_be_visible()
        look(page, "portal-none")
        page.goto(f"{service.url}{PATH}?q=nothing")
        glance(page, "portal-home-none")
        assert [each for each in page.said if "422" not in each] == []  # nothing that the policy would not run
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_role("heading", name="You have left")).to_be_visible()
        look(page, "portal-left")
        page.goto(service.url + PATH)
        glance(page, "portal-closed")

"""The operators' console in a real browser, and what its pages cost."""

import html
import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.db.models.functions import Now
from django.utils import timezone
from playwright.sync_api import expect

from endpoints.models import AuditEntry, Endpoint, EventFilter, StaffBinding
from routing.console.charts import HEIGHT, WIDTH, stacked
from routing.console.timelines import MOST_ATTEMPTS, tree, with_attempts
from routing.console.wording import settings_of
from routing.models import Attempt, Lane, Replay, Rollup
from routing.rollups import roll_up
from routing.stats import WINDOWS, Traffic, Whose, backlog, oldest_due, traffic, unwell
from tests.browser import sign_in, window
from tests.receiver import Receiver, answer
from tests.screenshots import look
from tests.service import Service, wait_until
from tests.test_rollups import send
from tests.traffic import end, of, record

INDEX = "/admin/"


@pytest.fixture
def failing(workspace, webhook):
    """A webhook that took two deliveries, failed at one for good, and fails still."""
    record(workspace, 4)
    send([("DELIVERED", ""), ("DELIVERED", ""), ("EXHAUSTED", "STATUS"), ("PENDING", "TIMEOUT")])
    roll_up()
    Lane.objects.filter(pk=webhook.pk).update(failing_since=Now() - timedelta(hours=3), opened_at=Now())
    return webhook


# --- the questions


def test_a_window_is_so_many_periods_up_to_the_one_that_runs():
    now = timezone.now().replace(minute=7, second=30)
    starts = WINDOWS["24h"].starts(now)
    assert (len(starts), starts[-1].minute, starts[-1].second) == (144, 0, 0)
    assert starts[-1] - starts[0] == timedelta(minutes=10) * 143


@pytest.mark.parametrize("window", WINDOWS)
def test_traffic_is_the_same_in_every_window_that_holds_it(failing, window):
    found = traffic(Whose(endpoint=failing), WINDOWS[window], timezone.now())
    assert [found.total[name] for name in ("OWED", "DELIVERED", "EXHAUSTED", "ATTEMPTS")] == [4, 2, 1, 4]
    assert (found.success, found.attempts_success) == (pytest.approx(2 / 3), 0.5)
    assert found.failures() == [("STATUS", 1), ("TIMEOUT", 1)]


def test_where_a_page_is_names_no_place_twice(failing, admin_client):
    for place, crumbs in (
        ("", ["Overview", "Endpoints"]),
        (f"{failing.pk}/change/", ["Overview", "Endpoints", failing.name]),
    ):
        page = admin_client.get(f"/admin/endpoints/endpoint/{place}").content.decode()
        shown = re.search(r'<div class="breadcrumbs">(.*?)</div>', page, re.S)[1]
        assert [crumb.strip() for crumb in html.unescape(re.sub("<[^>]*>", "", shown)).split("›")] == crumbs


def test_why_attempts_failed_leads_to_the_deliveries_that_did(failing, admin_client):
    address = f"/admin/?window=7d&workspace={failing.workspace_id}"
    place = re.search(r'href="([^"]*)"><code>TIMEOUT</code>', admin_client.get(address).content.decode())[1]
    asked = admin_client.get(html.unescape(place)).context["search"].cleaned_data
    assert (asked["error"], asked["within"], asked["workspace"]) == ("TIMEOUT", "7d", failing.workspace_id)


def test_the_success_of_what_ended_is_not_taken_for_that_of_all_tries(failing, admin_client):
    for address in ("", f"endpoints/endpoint/{failing.pk}/change/"):
        shown = admin_client.get(f"/admin/{address}").content.decode()
        assert "66.66 % <small>of what ended; 50.00 % of attempts</small>" in shown


def test_of_other_workspaces_nothing_is_counted(failing, foreign_workspace):
    found = traffic(Whose([foreign_workspace.pk]), WINDOWS["1h"], timezone.now())
    assert found.total == {}
    assert backlog(Whose([foreign_workspace.pk])) == 0


def test_what_is_open_is_what_was_owed_and_has_not_ended(failing):
    assert backlog(Whose(endpoint=failing)) == of(failing, state="PENDING").count() == 1


def test_the_oldest_due_is_told_of_endpoints_that_may_be_sent_to(workspace, webhook):
    assert oldest_due(Whose()) is None
    record(workspace)
    of(webhook).update(due_at=Now() - timedelta(minutes=5))
    assert timedelta(minutes=5) <= oldest_due(Whose([workspace.pk])) < timedelta(minutes=6)
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)
    assert oldest_due(Whose()) is None


def test_percentiles_are_those_of_the_buckets(workspace):
    now = timezone.now()
    rows = [("LATENCY 4", 50), ("LATENCY 10", 45), ("LATENCY 20", 5)]  # 4 to 5.7, 32 to 45, 1024 to 1448 ms
    for name, count in rows:
        at = WINDOWS["1h"].starts(now)[-1]
        Rollup.objects.create(period="MINUTE", at=at, name=name, count=count)
    found = traffic(Whose(), WINDOWS["1h"], now)
    assert found.percentile_ms("LATENCY", 0.5) == pytest.approx(2**2.5)
    assert found.percentile_ms("LATENCY", 0.95) == pytest.approx(2**5.5)
    assert 1024 < found.percentile_ms("LATENCY", 0.99) < 1448
    assert Traffic([], {}).percentile_ms("LATENCY", 0.5) is None


def test_the_unwell_are_the_disabled_and_those_that_fail(workspace, failing, web_socket):
    disabled = Endpoint.create_webhook(workspace_id=workspace.pk, name="d", url="https://example.com/")
    Endpoint.change_state([disabled], Endpoint.State.DISABLED, reason="gone")
    assert unwell(Whose(), 10) == [disabled, failing]
    assert unwell(Whose([workspace.pk]), 1) == [disabled]


# --- settings in plain words


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "What fails is tried 9 times more, after 5 s, 5 min, 30 min, 2 h, …; then it is given up."),
        ({"retry_policy": {"schedule": [60]}}, "What fails is tried 1 time more, after 60 s; then it is given up."),
        ({"retry_policy": {"schedule": []}}, "What fails is not tried again."),
        ({"retry_policy": {"finalStatuses": [422, 404]}}, "After an answer of 404, 422 it is not tried again."),
        ({"retry_policy": {"maxAgeSeconds": 86400 * 3}}, "What is older than 3 d is given up."),
        ({"rate_limit": 10, "rate_period_s": 60}, "At most 10 requests are sent in 60 s."),
        ({"max_in_flight": 3}, "At most 3 requests are on their way at once."),
        ({"ordering": "FIFO_SKIP"}, "Deliveries of one ordering key go in order; one that fails is passed by."),
        ({"payload_format": "CLOUDEVENTS_BINARY"}, "It gets Cloudevents Binary."),
        ({"payload_shape": {"paths": ["a"]}}, "It gets a part of the data: see the payload shape below."),
        ({"type": "WEB_SOCKET", "open_access": True}, "Anybody who knows its id may listen, without a key."),
        ({"type": "WEB_SOCKET"}, "Who listens needs a key, or a ticket."),
    ],
)
def test_settings_are_said_in_plain_words(settings, said):
    assert said in settings_of(Endpoint(**{"type": "WEB_HOOK", **settings}))


# --- charts


def test_bars_stand_on_each_other_and_fill_the_height():
    drawn = stacked("t", ["a", "b"], [("ok", "good"), ("bad", "bad")], [(3, 1), (0, 0)])
    first, second = drawn.marks
    assert (first.y + first.height, second.y + second.height) == (HEIGHT, first.y)
    assert first.height + second.height == HEIGHT
    assert first.width < WIDTH / 2
    assert drawn.rows == [("", "good", "bad"), ("a", 3, 1)]


# --- the pages


def test_a_workspace_is_shown_though_the_list_is_too_short_for_it(
    admin_client, failing, foreign_workspace, monkeypatch
):
    monkeypatch.setattr("routing.console.overview.CHOICES", 0)
    assert admin_client.get(f"{INDEX}?workspace={foreign_workspace.pk}").context["traffic"].total == {}
    for unknown in (UUID(int=0), "nope"):
        assert admin_client.get(f"{INDEX}?workspace={unknown}").status_code == 404


@pytest.mark.parametrize("query", ["", "?window=1h", "?window=30d", "?window=nope"])
def test_the_overview_takes_few_queries_however_much_there_is(
    admin_client, failing, query, django_assert_max_num_queries
):
    with django_assert_max_num_queries(10):
        assert admin_client.get(INDEX + query).status_code == 200


def test_the_overview_shows_who_is_bound_their_own(client, django_user_model, failing, foreign_workspace):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename__in=["view_delivery", "view_endpoint"]))
    client.force_login(member)
    StaffBinding.objects.create(user=member, workspace=foreign_workspace)
    page = client.get(INDEX)
    assert failing.name not in page.content.decode()
    assert page.context["traffic"].total == {}
    StaffBinding.objects.filter(user=member).update(workspace=failing.workspace)
    page = client.get(INDEX)
    assert (page.context["traffic"].total["OWED"], [each for each, _ in page.context["unwell"]]) == (4, [failing])


def test_who_may_see_no_deliveries_is_shown_none(client, django_user_model, failing):
    client.force_login(django_user_model.objects.create_user("m", password="p", is_staff=True))
    assert "traffic" not in client.get(INDEX).context


# --- what arrived, and what became of it


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":{"b":[1,2]}}', ["{1}", "a", "b", "[2]", "1", "2"]),
        ("1.0", ["1.0"]),
        ('"<script>"', ["&quot;&lt;script&gt;&quot;"]),
        ("[" + "1," * 5_000 + "1]", ["[1,1,"]),
        ("[" * 2_000 + "]" * 2_000, ["[[["]),
    ],
)
def test_data_unfolds_or_is_shown_as_it_is(text, shown):
    found = tree(text)
    assert [each for each in shown if each not in found] == []
    assert ("<pre" in found) == (len(text) > 1_000)
    assert "<script" not in found


def test_of_what_was_tried_often_the_last_tries_are_shown(workspace, webhook):
    record(workspace)
    of(webhook).update(attempts_made=MOST_ATTEMPTS + 5)
    delivery = of(webhook).get()
    Attempt.objects.bulk_create(
        Attempt(workspace=workspace, delivery=delivery, number=number + 1, started_at=timezone.now())
        for number in range(MOST_ATTEMPTS + 5)
    )
    (told,) = with_attempts([delivery])
    assert [attempt.number for attempt in told.attempts] == list(range(6, MOST_ATTEMPTS + 6))


@pytest.mark.parametrize("allowed", [False, True])
def test_what_receivers_answered_is_for_who_may_see_attempts(client, django_user_model, failing, allowed):
    Attempt.objects.update(response_body="told in confidence")
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    names = ["see_all_workspaces", "view_event", "view_delivery", "view_endpoint", "view_eventfilter"]
    names += ["view_attempt"] * allowed
    member.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(member)
    delivery = of(failing, state="EXHAUSTED").get()
    for address in (f"delivery/{delivery.pk}", f"event/{delivery.event_id}"):
        page = client.get(f"/admin/routing/{address}/change/").content.decode()
        assert ('class="card timeline"' in page, "told in confidence" in page) == (True, allowed)


@pytest.mark.parametrize(
    ("state", "lane", "badge"),
    [
        ("ACTIVE", {}, 'ok">Active'),
        ("ACTIVE", {"failing_since": Now()}, 'bad">Active, failing'),
        ("ACTIVE", {"failing_since": Now(), "opened_at": Now()}, 'bad">Active, breaker open'),
        ("PAUSED", {"failing_since": Now(), "opened_at": Now()}, 'warn">Paused'),
    ],
)
def test_an_endpoints_badge_says_what_is_wrong(admin_client, workspace, webhook, state, lane, badge):
    made = EventFilter.create(workspace_id=workspace.pk, name="f", definition={"pattern": {}}, endpoints=[webhook])
    Endpoint.objects.update(state=state)
    Lane.objects.update(**lane)
    for address in (f"endpoint/{webhook.pk}", f"eventfilter/{made.pk}"):
        page = admin_client.get(f"/admin/endpoints/{address}/change/").content.decode()
        assert f'<span class="badge {badge}</span>' in page


@pytest.mark.parametrize(
    ("failed", "said"), [(1, ["Send it again", "It is sent again"]), (2, ["Send them again", "Each is sent again"])]
)
def test_one_delivery_is_sent_again_and_several_are(admin_client, workspace, webhook, failed, said):
    record(workspace, failed)
    end(of(webhook), "EXHAUSTED")
    acted = admin_client.post(f"/admin/endpoint/{webhook.pk}/replay/").content.decode()
    asked = {"states": ["EXHAUSTED"], "per_second": "50"}
    planned = admin_client.post(f"/admin/replay/new/{webhook.pk}/", asked).content.decode()
    assert ([each in acted for each in said], said[0] in planned) == ([True, True], True)


@pytest.mark.parametrize(
    ("most", "said"),
    [(10, "2 deliveries still wait for another try."), (2, "At least 2 deliveries still wait for another try.")],
)
def test_where_nothing_failed_for_good_it_is_said_that_some_waits_and_how_to_try_it_now(
    admin_client, workspace, webhook, monkeypatch, most, said
):
    monkeypatch.setattr("routing.admin.acting.MOST_WAITING", most)
    address, now = f"/admin/endpoint/{webhook.pk}/replay/", f"expedite/?endpoint={webhook.pk}&amp;state=PENDING"
    record(workspace, 3)
    shown = admin_client.post(address).content.decode()
    assert ("for another try" in shown, now in shown) == (False, False)  # none was tried yet
    of(webhook, seq__gt=1).update(attempts_made=1, due_at=Now() + timedelta(hours=1))
    shown = admin_client.post(address).content.decode()
    assert [each in shown for each in ("Nothing failed for good in this time.", said, now)] == [True] * 3
    russian = admin_client.post(address, headers={"Accept-Language": "ru"}).content.decode()
    assert ("2 доставки ещё ждут новой попытки." in russian) == (most > 2)


def test_an_endpoints_health_is_for_who_may_see_deliveries(client, django_user_model, failing):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename__in=["see_all_workspaces", "view_endpoint"]))
    client.force_login(member)
    address = f"/admin/endpoints/endpoint/{failing.pk}/change/"
    assert "health-title" not in client.get(address).content.decode()
    member.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    assert "health-title" in client.get(address).content.decode()


def test_an_events_page_takes_few_queries_however_many_it_went_to(
    admin_client, workspace, failing, django_assert_max_num_queries
):
    for number in range(20):
        Endpoint.create_webhook(workspace_id=workspace.pk, name=f"{number}", url="https://example.com/")
    (event_id,) = record(workspace)
    with django_assert_max_num_queries(12):
        page = admin_client.get(f"/admin/routing/event/{event_id}/change/").content.decode()
    assert page.count('class="card timeline"') == 21
    with django_assert_max_num_queries(10):
        admin_client.get(f"/admin/routing/delivery/{of(failing).first().pk}/change/")


ACTS = {
    "test": "endpoints.test_endpoint",
    "replay": "routing.add_replay",
    "PAUSED": "endpoints.pause_endpoint",
    "ACTIVE": "endpoints.resume_endpoint",
    "rotate": "endpoints.rotate_endpoint_secret",
}


@pytest.mark.parametrize("act", ACTS)
def test_what_an_operator_does_needs_its_own_permission_and_a_post(client, django_user_model, failing, act):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    given = [*ACTS.values(), "endpoints.view_endpoint", "endpoints.see_all_workspaces"]
    member.user_permissions.set(
        Permission.objects.filter(codename__in=[name.partition(".")[2] for name in given if name != ACTS[act]])
    )
    client.force_login(member)
    address = f"/admin/endpoint/{failing.pk}/{act}/"
    assert (client.post(address).status_code, client.get(address).status_code) == (403, 405)


def test_stems_of_addresses_lead_to_what_people_look_for(admin_client, webhook):
    lead = {
        f"endpoint/{webhook.pk}/": f"endpoints/endpoint/{webhook.pk}/change/",
        "endpoint/": "endpoints/endpoint/",
        "deliveries/": "routing/delivery/",
        "events/": "routing/event/",
        "replay/": "routing/replay/",
        "replay/new/": "endpoints/endpoint/",
    }
    assert {stem: admin_client.get(f"/admin/{stem}")["Location"] for stem in lead} == {
        stem: f"/admin/{place}" for stem, place in lead.items()
    }


def test_who_opens_what_is_a_buttons_is_told_where_to_go(admin_client, webhook):
    page = admin_client.get(f"/admin/endpoint/{webhook.pk}/replay/")
    assert (page.status_code, page["Allow"]) == (405, "POST")
    assert f'href="/admin/endpoints/endpoint/{webhook.pk}/change/"' in page.content.decode()


@pytest.mark.parametrize("state", ["nope", "DISABLED"])
def test_an_endpoint_is_brought_into_no_other_state(admin_client, failing, state):
    assert admin_client.post(f"/admin/endpoint/{failing.pk}/{state}/").status_code == 404


@pytest.mark.parametrize("act", ACTS)
def test_of_foreign_workspaces_nothing_is_acted_on(client, django_user_model, failing, foreign_workspace, act):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    names = [name.partition(".")[2] for name in (*ACTS.values(), "endpoints.view_endpoint")]
    member.user_permissions.set(Permission.objects.filter(codename__in=names))
    StaffBinding.objects.create(user=member, workspace=foreign_workspace)
    client.force_login(member)
    assert client.post(f"/admin/endpoint/{failing.pk}/{act}/", {"start": "1"}).status_code == 404
    failing.refresh_from_db()
    assert (failing.state, Replay.objects.count()) == ("ACTIVE", 0)


def test_a_breaker_is_closed_by_who_may(client, django_user_model, failing):
    member = django_user_model.objects.create_user("m", password="p", is_staff=True)
    names = ["view_lane", "view_endpoint", "see_all_workspaces"]
    member.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(member)
    address = f"/admin/queue/{failing.pk}/"
    assert (client.post(address).status_code, Lane.objects.get(pk=failing.pk).opened_at is None) == (403, False)
    assert "Release" not in client.get("/admin/queue/").content.decode()
    member.user_permissions.add(Permission.objects.get(codename="release_lane"))
    assert "Release" in client.get("/admin/queue/").content.decode()
    assert client.post(address).status_code == 302
    assert Lane.objects.get(pk=failing.pk).opened_at is None
    assert AuditEntry.objects.filter(object_id=str(failing.pk), actor_name="m").exists()


def test_the_queue_takes_few_queries(admin_client, failing, django_assert_max_num_queries):
    with django_assert_max_num_queries(10):
        assert failing.name in admin_client.get("/admin/queue/").content.decode()


# --- in a browser


PLANT = """
from datetime import timedelta
from django.utils import timezone
from endpoints.models import Endpoint, Workspace
from routing.models import Lane, Rollup
from routing.stats import WINDOWS
import random
shop = Workspace.objects.create(name="Shop of the North")
names = ["orders to the warehouse", "invoices", "a name so long that it has to be broken somewhere " * 4]
hooks = [Endpoint.create_webhook(workspace_id=shop.pk, name=name[:200], url="https://example.com/") for name in names]
draw, now = random.Random(1), timezone.now()
for endpoint in (None, hooks[0]):
    for whose in ({"workspace": None}, {"workspace": shop}) if endpoint is None else ({"workspace": shop},):
        for period, window in {w.period: w for w in WINDOWS.values()}.items():
            for place, at in enumerate(window.starts(now)):
                ok, bad = draw.randrange(200, 400), draw.randrange(0, 30) if place % 9 == 0 else 0
                counts = {"EVENTS": ok, "OWED": ok + bad, "DELIVERED": ok, "EXHAUSTED": bad, "ATTEMPTS": ok + bad}
                counts |= {"FAILED STATUS": bad, "LATENCY 6": ok // 2, "LATENCY 9": ok // 3, "LATENCY 16": 3}
                Rollup.objects.bulk_create(
                    Rollup(endpoint=endpoint, period=period, at=at, name=name, count=count, **whose)
                    for name, count in counts.items() if count)
Lane.objects.filter(pk=hooks[1].pk).update(failing_since=now - timedelta(hours=3), opened_at=now)
Endpoint.change_state([hooks[2]], Endpoint.State.DISABLED, reason="The receiver answered 410 Gone.")
print(hooks[0].pk)
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def endpoint_id(service):
    return service.manage("shell", "--no-imports", "-c", PLANT).strip()


@pytest.fixture(scope="module")
def page(service, endpoint_id):
    with window() as page:
        page.goto(f"{service.url}/admin/")
        look(page, "sign-in")
        sign_in(page, service)
        yield page


def test_an_operator_sees_what_is_wrong_and_opens_it(page, service, endpoint_id):
    failing = page.get_by_role("region", name="Failing now")
    expect(failing.get_by_role("listitem")).to_have_count(2)
    expect(failing).to_contain_text("The receiver answered 410 Gone.")
    tiles = page.locator("dl.tiles > div").all_inner_texts()
    assert re.search(r"^Events\s+\d\d,\d{3}$", tiles[0])
    look(page, "overview")
    page.get_by_role("navigation", name="Time").get_by_role("link", name="7d").click()
    expect(page.get_by_role("navigation", name="Time").locator("[aria-current]")).to_have_text("7d")
    page.get_by_label("Workspace").select_option(label="Shop of the North")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop of the North")
    page.get_by_role("region", name="Failing now").get_by_role("link", name="invoices").click()
    expect(page.get_by_role("region", name="Health")).to_contain_text("breaker is open")
    look(page, "endpoint-failing")
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/change/")
    expect(page.get_by_role("region", name="Health").locator("rect")).to_have_count(90)
    look(page, "endpoint")
    assert page.said == []


CREATE = 'mutation($u: String!) { createWebhookEndpoint(name: "repairs", url: $u, retryPolicy: {schedule: []}) { id } }'


def test_an_endpoint_fails_and_the_operator_repairs_it_and_has_delivered_what_failed(page, service):
    with Receiver() as broken, Receiver() as sound:
        broken.answer = answer(500, b"out of order")
        endpoint_id = service.graphql(CREATE, u=broken.url)["createWebhookEndpoint"]["id"]
        service.publish(*[{"type": "order.paid", "data": {"n": n}} for n in range(3)])
        broken.wait_for_count(3)
        states = (
            f'{{ deliveries(filters: {{endpointId: {{exact: "{endpoint_id}"}}}}) {{ collectionItems {{ state }} }} }}'
        )
        wait_until(
            lambda: [each["state"] for each in service.graphql(states)["deliveries"]["collectionItems"]],
            lambda found: found == ["EXHAUSTED"] * 3,
        )

        page.goto(f"{service.url}/admin/")
        page.get_by_role("region", name="Failing now").get_by_role("link", name="repairs").click()
        health = page.get_by_role("region", name="Health")
        reload_until(page, health, re.compile("Attempts failed with HTTP_STATUS ×3"))
        page.get_by_label("URL:").fill(sound.url)
        page.get_by_role("button", name="Save and continue editing").click()

        health.get_by_role("button", name="Send a test").click()
        tested = page.get_by_role("region", name="What came of the test")
        expect(tested).to_contain_text("It was taken")
        expect(tested).to_contain_text("test.ping")
        look(page, "tested")
        tested.get_by_role("link", name="Back to the endpoint").click()

        health.get_by_role("button", name="Deliver again what failed").click()
        expect(page.get_by_role("region")).to_contain_text("3 deliveries failed for good in this time.")
        look(page, "replaying")
        page.get_by_role("button", name="Send them again").click()
        expect(page.get_by_role("list").filter(has_text="3 deliveries are sent again.")).to_be_visible()
        sound.wait_for_count(4)
        reload_until(page, health, re.compile(r"Delivered\s*4.*Waiting\s*0", re.S))
        expect(page.get_by_role("region", name="Recent deliveries").get_by_role("listitem")).to_have_count(7)
        look(page, "endpoint-repaired")


def test_an_events_page_says_what_arrived_and_what_became_of_it(page, service):
    with Receiver() as receiver:
        receiver.answer = answer(503, b"<b>busy</b> " * 20)
        endpoint = service.graphql(CREATE, u=receiver.url)["createWebhookEndpoint"]["id"]
        data = {"order": {"id": 7, "lines": [{"sku": "a"}] * 3}, "note": "שלום עולם " * 300}
        event_id = service.publish({"type": "told.of", "data": data}).json()["events"][0]["id"]
        receiver.wait_for_count(1)
        page.goto(f"{service.url}/admin/routing/event/{event_id}/change/")
        mine = page.get_by_role("article").filter(has=page.locator(f"a[href*='{endpoint}']"))
        reload_until(page, mine, re.compile("503"))
    expect(page.get_by_role("region", name="What arrived")).to_contain_text("sku")
    mine.get_by_text("Answer", exact=True).click()
    expect(mine.locator("pre")).to_contain_text("<b>busy</b>")
    look(page, "event")
    reload_until(page, mine, re.compile("Exhausted"))
    mine.get_by_role("button", name="Deliver again").click()
    expect(page.get_by_role("list").filter(has_text="1 new delivery repeats")).to_be_visible()


def test_data_is_searched_and_unfolded(page, service):
    event_id = service.publish({"type": "searched", "data": {"a": {"b": {"c": ["deep", "deeper"]}}}}).json()["events"][
        0
    ]["id"]
    page.goto(f"{service.url}/admin/routing/event/{event_id}/change/")
    arrived = page.get_by_role("region", name="What arrived")
    expect(arrived.get_by_text('"deeper"', exact=True)).to_be_hidden()
    page.get_by_label("Find in the data").fill("DEEP")
    expect(arrived.get_by_role("status")).to_have_text("found: 2")
    expect(arrived.get_by_text('"deeper"', exact=True)).to_be_visible()
    page.get_by_label("Find in the data").press("Enter")
    expect(arrived.locator("[data-current]")).to_contain_text("deeper")
    page.get_by_label("Find in the data").fill("nowhere")
    expect(arrived.get_by_role("status")).to_have_text("found: 0")
    assert page.said == []


def test_menus_are_used_by_keyboard(page, service):
    page.goto(f"{service.url}/admin/")
    keys = page.get_by_role("navigation", name="Console").get_by_role("link", name="API keys")
    more = page.locator("summary", has_text="More")
    more.press("Enter")
    expect(keys).to_be_visible()
    look(page, "more")
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    more.press("Enter")
    page.keyboard.press("Tab")
    page.get_by_role("heading", level=1).click()
    expect(keys).to_be_hidden()


def test_a_secret_is_rotated(page, service, endpoint_id):
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/change/")
    page.get_by_role("button", name="Rotate the secret").click()
    expect(page.get_by_role("list").filter(has_text="has a new secret")).to_be_visible()


def reload_until(page, place, text):
    """What is counted comes to the pages a moment later."""

    def read():
        page.reload()
        return place.inner_text()

    wait_until(read, text.search)


def test_an_endpoint_is_paused_and_resumed(page, service, endpoint_id):
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/change/")
    health = page.get_by_role("region", name="Health")
    health.get_by_role("button", name="Pause").click()
    expect(health.get_by_role("heading").locator(".badge")).to_have_text("Paused")
    health.get_by_role("button", name="Resume").click()
    expect(health.get_by_role("heading").locator(".badge")).to_have_text("Active")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("queue", "/admin/queue/"),
        ("endpoints", "/admin/endpoints/endpoint/"),
        ("workspace", "/admin/endpoints/workspace/add/"),
    ],
)
def test_other_pages_are_of_one_piece(page, service, name, path):
    page.goto(service.url + path)
    expect(page.get_by_role("navigation", name="Console").locator("[aria-current]")).to_have_count(1)
    look(page, name)


def test_what_an_operator_did_is_in_the_history_of_the_object(page, service, endpoint_id):
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/change/")
    page.get_by_label("Max in flight").fill("3")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("region", name="History")).to_contain_text("Changed Max in flight.")
    look(page, "history")
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/delete/")
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    look(page, "delete")


def test_the_secret_of_an_endpoint_is_shown_to_who_gives_the_password_again(page, service, endpoint_id):
    page.goto(f"{service.url}/admin/endpoints/endpoint/{endpoint_id}/secret/")
    look(page, "secret-asked")
    page.get_by_label("Password").fill("ops")
    page.get_by_role("button", name="Show the secret").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    look(page, "secret")
    page.goto(f"{service.url}/admin/endpoints/auditentry/")
    page.get_by_role("row").filter(has_text="Show a secret").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Show a secret: ops")
    look(page, "audit-entry")


def test_why_an_event_went_somewhere_is_told(page, service):
    endpoint_id = service.graphql(CREATE, u="https://example.com/")["createWebhookEndpoint"]["id"]
    event_id = service.publish({"type": "asked.about", "data": {"total": 1}}).json()["events"][0]["id"]
    page.goto(f"{service.url}/admin/why/?event={event_id}&endpoint={endpoint_id}")
    expect(page.locator("#reason")).to_be_visible()
    look(page, "why")


def test_permissions_are_chosen_from_a_list(page, service):
    page.goto(f"{service.url}/admin/auth/group/add/")
    expect(page.locator("#id_permissions_from")).to_contain_text("Can close breakers")
    look(page, "group")

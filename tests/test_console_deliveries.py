"""Deliveries and events as operators find them, and what is done to many of them at once."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.functions import Now
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from playwright.sync_api import expect

from endpoints.models import Endpoint, StaffBinding, Workspace
from routing import walks
from routing.console import searches
from routing.console.searches import DeliverySearch
from routing.console.walks import Walk, along_endpoint
from routing.ids import first_id, made_at
from routing.models import Attempt, Delivery, IdempotencyRecord, Lane, Replay, Rollup, SavedView
from routing.replays import Selection, create, run_some
from tests.browser import sign_in, window
from tests.receiver import Receiver, answer
from tests.screenshots import glance, look
from tests.service import Service, wait_until
from tests.test_console import CREATE
from tests.traffic import end, forget_payloads, of, record

LIST, EVENTS, ATTEMPTS = "/admin/routing/delivery/", "/admin/routing/event/", "/admin/routing/attempt/"
EVENT_PAGE = ("view_event", "view_delivery", "view_attempt", "view_endpoint", "view_eventfilter")


def found(client, address=LIST, **asked):
    return list(client.get(address, asked).context["rows"])


@pytest.fixture
def member(client, django_user_model):
    """Sign in a member of staff with these permissions."""

    def sign_in(*names, sees=None):
        user = django_user_model.objects.create_user(f"m{django_user_model.objects.count()}", password="p")
        user.is_staff = True
        user.save()
        names = [*names, "see_all_workspaces"] if sees is None else names
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        for workspace in sees or []:
            StaffBinding.objects.create(user=user, workspace=workspace)
        client.force_login(user)
        return client

    return sign_in


def test_why_nobody_could_be_reached_is_told_to_who_sees_all_workspaces_alone(member, workspace, webhook):
    (event_id,) = record(workspace)
    attempt = Attempt.objects.create(
        workspace=workspace,
        delivery=of(webhook).get(),
        number=1,
        started_at=timezone.now(),
        cause="ADDRESS_REFUSED: 10.",
    )
    of(webhook).update(attempts_made=1)
    pages = (f"{EVENTS}{event_id}/change/", f"{LIST}{of(webhook).get().pk}/change/", f"{ATTEMPTS}{attempt.pk}/change/")
    for sees, told in ((None, True), ([workspace], False)):
        client = member(*EVENT_PAGE, sees=sees)
        assert [b"ADDRESS_REFUSED" in client.get(page).content for page in pages] == [told] * 3


@pytest.mark.parametrize(
    ("status", "error", "shown"),
    [(500, "HTTP_STATUS", "500"), (None, "UNREACHABLE", "UNREACHABLE"), (204, "", "204"), (None, "", None)],
)
def test_the_lists_say_what_the_last_try_was_answered_or_why_it_was_not(
    member, workspace, webhook, status, error, shown
):
    record(workspace)
    tries = {"workspace": workspace, "delivery": of(webhook).get(), "started_at": timezone.now()}
    Attempt.objects.create(number=1, status_code=503, error="HTTP_STATUS", **tries)
    Attempt.objects.create(number=2, status_code=status, error=error, cause="ADDRESS_REFUSED", **tries)
    of(webhook).update(attempts_made=2)
    for may_see in (True, False):
        client = member("view_delivery", "view_endpoint", *["view_attempt"] * may_see)
        for address in (LIST, f"/admin/endpoints/endpoint/{webhook.pk}/change/"):
            page = client.get(address).content.decode()
            answers = re.findall(r'<span class="badge">(\w+)</span>', page)
            assert answers == ([shown] if may_see and shown else []), address
            assert "ADDRESS_REFUSED" not in page


def test_a_delivery_s_id_leads_to_its_page_and_its_number_says_what_it_counts(admin_client, workspace, webhook):
    record(workspace)
    id_, shown = of(webhook).get().pk, admin_client.get(LIST).content.decode()
    assert f'<code class="id"><a href="{LIST}{id_}/change/">{id_}</a></code>' in shown
    assert 'title="delivery no. 1 of its endpoint">№ 1<' in shown
    russian = admin_client.get(LIST, headers={"Accept-Language": "ru"}).content.decode()
    assert 'title="доставка № 1 своего эндпоинта">№ 1<' in russian


# --- found


def test_an_id_has_its_time():
    now = timezone.now()
    assert timedelta(0) <= now - made_at(first_id(now)) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "asked",
    [
        {"state": "EXHAUSTED"},
        {"reason": "test"},
        {"status": "503"},
        {"status": "5xx"},
        {"error": "HTTP_STATUS"},
        {"error": "HTTP_STATUS", "status": "503"},
        {"type": "order.lost"},
        {"type": "order.l*"},
        {"text": "NeedLe"},
        {"text": "señor"},
        {"q": "shop-7"},
    ],
)
@pytest.mark.parametrize("where", [{}, {"endpoint": "MyHook"}, {"within": "1h"}])
def test_what_is_looked_for_is_found_and_nothing_else(admin_client, workspace, webhook, asked, where):
    record(workspace, 2)
    (lost,) = record(workspace, type="order.lost", data=b'{"a":"needle in se\\u00f1or"}')
    IdempotencyRecord.objects.create(workspace=workspace, key="shop-7", event_id=lost, digest=b"d")
    wanted = of(webhook, event=lost)
    end(wanted)
    Attempt.objects.create(
        workspace=workspace,
        delivery=wanted.get(),
        number=1,
        started_at=timezone.now(),
        status_code=503,
        error="HTTP_STATUS",
    )
    assert found(admin_client, **asked, **where) == [wanted.get()]


def test_ids_find_deliveries_events_and_endpoints(admin_client, workspace, webhook, web_socket):
    (event_id,) = record(workspace)
    mine, other = of(webhook).get(), of(web_socket).get()
    for id_, expected in ((mine.pk, [mine]), (webhook.pk, [mine]), (event_id, sorted([mine, other], key=id_of)[::-1])):
        assert found(admin_client, q=f" {id_} ") == expected
    assert [event.pk for event in found(admin_client, EVENTS, q=mine.pk)] == [event_id]
    assert found(admin_client, q="nonsense") == []


def id_of(row):
    return row.pk


def spread(webhook, hours):
    """Let the deliveries be made so many hours ago: the ids have the time."""
    now = timezone.now()
    for delivery, hour in zip(of(webhook), hours, strict=True):
        of(webhook, pk=delivery.pk).update(id=first_id(now - timedelta(hours=hour)))
    return now


@pytest.mark.parametrize("endpoint", [True, False])
def test_times_are_the_bounds_of_a_walk(admin_client, workspace, webhook, endpoint):
    record(workspace, 6)
    now = spread(webhook, [50, 40, 30, 20, 10, 0.5])
    of(webhook, seq=3).delete()
    where = {"endpoint": webhook.pk} if endpoint else {}

    def seqs(since=None, until=None, **asked):
        for name, hours in (("since", since), ("until", until)):
            if hours is not None:
                asked[name] = f"{now - timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}"
        return [row.seq for row in found(admin_client, **where, **asked)]

    assert seqs(within="24h") == [6, 5, 4]
    assert seqs(45, 15) == [4, 2]
    assert seqs(until=35) == [2, 1]
    assert seqs(since=35) == [6, 5, 4]
    assert seqs(100, 60) == seqs(0.1) == []


def test_pages_follow_each_other_and_none_is_counted(admin_client, workspace, webhook, monkeypatch):
    monkeypatch.setattr("routing.admin.finding.PAGE", 2)
    for _ in range(5):
        record(workspace)
    for where in ({}, {"endpoint": str(webhook.pk)}):
        seen, older = [], QueryDict(mutable=True)
        older.update(where)
        for _ in range(3):
            with CaptureQueriesContext(connection) as queries:
                page = admin_client.get(f"{LIST}?{older.urlencode()}")
            assert [query for query in queries.captured_queries if "COUNT(" in query["sql"].upper()] == []
            seen += [row.seq for row in page.context["rows"]]
            older = QueryDict(page.context["older"])
        assert (seen, page.context["older"]) == ([5, 4, 3, 2, 1], "")


@pytest.mark.parametrize("where", ["", "endpoint=MyHook&"])
def test_a_look_examines_so_much_and_says_how_far_it_came(admin_client, workspace, webhook, monkeypatch, where):
    monkeypatch.setattr(searches, "OWN", 4)
    for _ in range(10):
        record(workspace)
    end(of(webhook, seq=1))
    page = admin_client.get(f"{LIST}?{where}state=EXHAUSTED")
    assert (page.context["rows"], page.context["look"].reached) == ([], made_at(of(webhook, seq=7).get().pk))
    assert "Look on" in page.content.decode()
    for expected in ([], [1]):
        page = admin_client.get(f"{LIST}?{page.context['older']}")
        assert [row.seq for row in page.context["rows"]] == expected
    assert page.context["look"].complete


def test_a_walk_ends_where_a_place_makes_no_sense_at_the_beginning(workspace, webhook):
    record(workspace, 2)
    for walk in (Walk(Delivery.objects.all(), 9), Walk(along_endpoint(webhook.pk, None, None), 9, key="seq")):
        assert len(walk.look("nonsense", 9).rows) == 2


COMBINED = (
    "q=&endpoint=MyHook&state=OPEN&reason=&status=5xx&type=a*&text=x&since=2024-01-01T00:00&until=2040-01-01T00:00"
)


@pytest.mark.parametrize("query", ["", "state=OPEN", COMBINED, "within=7d&text=x", "workspace=WORKSPACE", "before=7"])
@pytest.mark.parametrize("address", [LIST, EVENTS])
def test_a_list_takes_few_queries_whatever_is_asked(
    admin_client, workspace, webhook, address, query, django_assert_max_num_queries
):
    record(workspace, 30)
    with django_assert_max_num_queries(10):
        assert admin_client.get(f"{address}?{query.replace('WORKSPACE', str(workspace.pk))}").status_code == 200


@pytest.mark.parametrize(
    "asked", ["state=OPEN", "type=a", "text=x", "status=503", "error=TIMEOUT", "endpoint=MyHook&reason=r"]
)
def test_whatever_is_asked_is_a_walk_along_an_index(admin_user, workspace, webhook, asked):
    """No plan scans a table, and what it examines is bounded by the place where a look ends."""
    record(workspace, 2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    search = DeliverySearch(QueryDict(asked), admin_user)
    assert search.is_valid()
    walk = search.walk()
    behind = walk.rows.order_by(f"-{walk.key}")
    edge = behind.values_list(walk.key, flat=True)[500]
    near = behind.filter(walk.wanted, **{f"{walk.key}__gte": edge})[:50]
    plan = near.explain()
    scanned = [line for line in re.findall(r"Seq Scan on (\w+)", plan) if line != "endpoints_endpoint"]
    assert (scanned, re.findall(r"Index Cond: \(+(?:\w+\.)?(?:seq|id|\(?endpoint_id)", plan) != []) == ([], True), plan


def test_who_is_bound_looks_into_one_of_their_workspaces(member, workspace, webhook, foreign_workspace, foreign):
    third = Workspace.objects.create(name="A third")
    record(workspace)
    record(foreign_workspace)
    client = member("view_delivery", "view_endpoint", sees=[workspace, third])
    assert found(client) == []  # of the first by name
    assert found(client, workspace=str(workspace.pk)) == [of(webhook).get()]
    assert found(client, endpoint=str(webhook.pk)) == [of(webhook).get()]
    assert found(client, workspace=str(foreign_workspace.pk)) == []
    assert client.get(LIST, {"endpoint": str(foreign.pk)}).context["search"].errors != {}


def test_what_may_not_be_seen_is_not_searched(member, workspace, webhook):
    record(workspace)
    page = member("view_delivery").get(LIST, {"text": "nothing like this", "status": "200", "type": "no", "error": "E"})
    assert [name for name in ("text", "status", "type", "error") if name in page.context["search"].fields] == []
    assert len(page.context["rows"]) == 1
    assert member("view_endpoint").get(LIST).status_code == 403


# --- views


def test_a_view_is_kept_for_its_owner_or_for_everybody(member):
    client = member("view_delivery")
    for name in ("mine", "ours"):
        posted = {"name": name, "query": "state=OPEN", **({"shared": "on"} if name == "ours" else {})}
        assert client.post("/admin/views/delivery/", posted).url == f"{LIST}?state=OPEN"
    assert [view.name for view in client.get(LIST).context["views"]] == ["mine", "ours"]
    other = member("view_delivery")
    (ours,) = other.get(LIST).context["views"]
    assert other.post(f"/admin/views/delivery/{ours.pk}/").status_code == 404
    assert (ours.name, SavedView.objects.count()) == ("ours", 2)


@pytest.mark.parametrize("posted", [{}, {"name": " "}, {"name": "\0"}, {"name": "n", "query": "x" * 5_000}])
def test_a_view_that_makes_no_sense_is_not_kept(admin_client, posted):
    assert admin_client.post("/admin/views/delivery/", posted).status_code == 302
    assert not SavedView.objects.exists()
    assert admin_client.post("/admin/views/attempt/", {"name": "n"}).status_code == 404


def test_who_is_bound_keeps_their_own(member, workspace):
    SavedView.objects.create(
        user_id=member("view_event").session["_auth_user_id"], model="delivery", name="o", shared=True
    )
    client = member("view_delivery", sees=[workspace])
    client.post("/admin/views/delivery/", {"name": "v", "query": ""})
    (view,) = client.get(LIST).context["views"]
    assert client.post(f"/admin/views/delivery/{view.pk}/").status_code == 302
    assert [view.name for view in SavedView.objects.all()] == ["o"]


# --- many at once


def walk_on(client, address):
    """Press the button until it says that this was all, and return what was done and what passed over."""
    page, pressed = client.post(address), 1
    while not page.context["look"].complete:
        form = {"did": page.context["did"], "passed": page.context["passed"], "before": page.context["look"].place}
        page, pressed = client.post(address, form), pressed + 1
    return page.context["did"], page.context["passed"], pressed


def test_all_that_is_found_is_cancelled_and_delivered_again(admin_client, workspace, webhook, web_socket, monkeypatch):
    monkeypatch.setattr("routing.admin.bulk.BATCH", 3)
    record(workspace, 7)
    assert walk_on(admin_client, f"/admin/deliveries/cancel/?endpoint={webhook.pk}&state=OPEN") == (7, 0, 3)
    page = admin_client.get(f"/admin/deliveries/cancel/?endpoint={webhook.pk}").content.decode()
    assert f'/admin/endpoints/endpoint/{webhook.pk}/change/">To the endpoint' in page
    assert (of(webhook, state="CANCELLED").count(), of(web_socket, state="PENDING").count()) == (7, 7)
    assert walk_on(admin_client, f"/admin/deliveries/retry/?endpoint={webhook.pk}") == (7, 0, 3)
    assert of(webhook, retry_of__isnull=False).count() == 7
    Endpoint.change_state([webhook], Endpoint.State.DISABLED, reason="test")
    assert walk_on(admin_client, "/admin/deliveries/retry/?state=CANCELLED") == (0, 7, 3)


def test_what_has_no_payload_any_more_is_passed_over(admin_client, workspace, webhook):
    ids = record(workspace, 3)
    end(of(webhook))
    forget_payloads(ids[1])
    assert walk_on(admin_client, f"/admin/deliveries/retry/?endpoint={webhook.pk}") == (2, 1, 1)


def test_what_is_to_be_acted_on_is_said_as_the_lists_of_choices_have_it(admin_client):
    shown = admin_client.get("/admin/deliveries/retry/?state=EXHAUSTED&type=order.paid").content.decode()
    assert ("<dd>Exhausted</dd>" in shown, "<dd>order.paid</dd>" in shown) == (True, True)


def test_all_that_is_found_is_tried_now(member, workspace, webhook):
    record(workspace, 3)
    later = timezone.now() + timedelta(hours=1)
    of(webhook, seq__gt=1).update(attempts_made=1, due_at=later)
    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    client = member("view_delivery", "retry_delivery", "view_endpoint", "release_lane")
    page = f"/admin/routing/delivery/{of(webhook, seq=2).get().pk}/change/"
    shown = client.get(page).content.decode()
    assert "The endpoint&#x27;s breaker is open since" in shown
    assert 'value="expedite"' in shown
    posted = {"action": "expedite", "_selected_action": [str(of(webhook, seq=2).get().pk)]}
    assert client.post(LIST, posted).status_code == 302
    assert of(webhook, due_at__lte=Now()).count() == 2
    assert walk_on(client, f"/admin/deliveries/expedite/?endpoint={webhook.pk}") == (1, 2, 1)
    assert "breaker" not in client.get(page).content.decode()


@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        ("cancel", "PENDING", ("1 delivery is cancelled.", "2 доставки отменены.")),
        ("retry", "EXHAUSTED", ("1 delivery is sent again.", "2 доставки отправляются снова.")),
        ("expedite", "PENDING", ("1 delivery is tried now.", "2 доставки пробуются сейчас.")),
    ],
)
@pytest.mark.parametrize(("number", "language"), [(1, "en"), (2, "ru")])
def test_what_was_done_is_said_of_deliveries(admin_client, workspace, webhook, act, state, said, number, language):
    record(workspace, number)
    of(webhook).update(attempts_made=1, due_at=timezone.now() + timedelta(hours=1))
    if state != "PENDING":
        end(of(webhook), state)
    address = f"/admin/deliveries/{act}/?endpoint={webhook.pk}"
    assert said[number - 1] in admin_client.post(address, headers={"Accept-Language": language}).content.decode()


def test_what_waits_for_a_websocket_is_not_said_to_be_never_tried(member, workspace, web_socket):
    (event_id,) = record(workspace)
    client = member(*EVENT_PAGE)
    said = []
    for state in (None, "CANCELLED"):
        if state:
            end(of(web_socket), state)
        shown = client.get(f"{EVENTS}{event_id}/change/").content.decode()
        said.append([each for each in ("Not tried yet", "Never tried") if each in shown])
    assert said == [["Not tried yet"], ["Never tried"]]


def test_what_a_breaker_lets_go_of_is_said_and_not_passed_over(member, workspace, webhook):
    record(workspace, 3)
    owed = {"period": "DAY", "at": timezone.now(), "name": "OWED", "count": 3}
    Rollup.objects.create(workspace=workspace, endpoint=webhook, **owed)
    of(webhook, seq__gt=1).update(attempts_made=1)
    later = timezone.now() + timedelta(hours=1)
    client = member("view_delivery", "retry_delivery", "view_endpoint", "release_lane")
    address = f"/admin/deliveries/expedite/?endpoint={webhook.pk}&state=PENDING"
    health = f"/admin/endpoints/endpoint/{webhook.pk}/change/"
    assert escape(address) in client.get(health).content.decode()

    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    assert walk_on(client, address) == (0, 0, 1)

    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    said = "3 more were due and held back by a breaker, which is closed now."
    assert said in client.post(address).content.decode()
    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    posted = {"action": "expedite", "_selected_action": [str(of(webhook, seq=2).get().pk)]}
    messages = [str(each) for each in client.post(LIST, posted, follow=True).context["messages"]]
    assert messages == ["0 that waited for another try are due now.", said]
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)
    assert escape(address) not in client.get(health).content.decode()


STILL_OPEN = (
    "1 breaker before them is still open, and you may not close it: single deliveries are tried, the others follow "
    "once one succeeds. Who may release lanes closes it on the page of the queue."
)


def test_an_event_s_page_says_when_a_breaker_lets_the_next_try_through_and_names_it(member, workspace, webhook):
    (event_id,) = record(workspace)
    now = timezone.now()
    of(webhook).update(attempts_made=1, due_at=now - timedelta(minutes=1))
    Attempt.objects.create(workspace=workspace, delivery=of(webhook).get(), number=1, started_at=now, error="TIMEOUT")
    Lane.objects.update(opened_at=now, ready_at=now + timedelta(hours=1))
    client = member(*EVENT_PAGE)

    shown = client.get(f"{EVENTS}{event_id}/change/").content.decode()

    (then,) = re.findall(r'Next try <time datetime="([^"]+)"', shown)
    assert then == (now + timedelta(hours=1)).isoformat()
    assert "The endpoint&#x27;s breaker is open since" in shown
    Endpoint.change_state([webhook], Endpoint.State.PAUSED)
    assert "Next try" not in client.get(f"{EVENTS}{event_id}/change/").content.decode()


def test_who_may_not_close_breakers_closes_none_by_trying_deliveries_now(member, workspace, webhook):
    record(workspace, 2)
    later = timezone.now() + timedelta(hours=1)
    of(webhook).update(attempts_made=1, due_at=later)
    Lane.objects.update(opened_at=timezone.now(), ready_at=later)
    client = member("view_delivery", "retry_delivery", "view_endpoint")
    posted = {"action": "expedite", "_selected_action": [str(of(webhook, seq=2).get().pk)]}
    said = [str(each) for each in client.post(LIST, posted, follow=True).context["messages"]]
    assert said == ["1 that waited for another try is due now.", STILL_OPEN]
    address = f"/admin/deliveries/expedite/?endpoint={webhook.pk}"
    assert "Breakers before it stay open: you may not close them." in client.get(address).content.decode()
    assert client.post(address, {"left_open": "1"}).context["still"] == STILL_OPEN
    of(webhook, seq=1).update(due_at=later)
    assert walk_on(client, address) == (1, 1, 1)
    assert (of(webhook, due_at__lte=Now()).count(), Lane.objects.get().ready_at) == (2, later)


def test_nothing_is_done_before_it_is_asked_for_nor_without_the_permission(member, workspace, webhook):
    record(workspace)
    client = member("view_delivery", "retry_delivery")
    assert client.get("/admin/deliveries/retry/").status_code == 200
    assert (client.post("/admin/deliveries/cancel/").status_code, of(webhook).get().state) == (403, "PENDING")
    assert client.get("/admin/deliveries/delete/").status_code == 404
    assert client.post("/admin/deliveries/retry/?state=nope").status_code == 404
    for not_theirs in ("type=order.*", "text=x", "tpye=a"):  # what is left out would find more than was asked for
        assert client.get(f"/admin/deliveries/retry/?{not_theirs}").status_code == 403


def test_actions_lead_back_to_what_was_found(admin_client, workspace, webhook):
    record(workspace)
    posted = {"action": "cancel", "_selected_action": [str(of(webhook).get().pk)]}
    assert admin_client.post(f"{LIST}?state=OPEN", posted).url == f"{LIST}?state=OPEN"
    assert of(webhook).get().state == "CANCELLED"


def test_a_replay_is_previewed_started_and_stopped(member, workspace, webhook):
    record(workspace, 3)
    end(of(webhook))
    client = member("view_replay", "view_endpoint", "add_replay", "cancel_replay")
    address, form = f"/admin/replay/new/{webhook.pk}/", {"states": ["EXHAUSTED"], "per_second": "1"}
    assert (client.post(address, form).context["count"], Replay.objects.count()) == ((3, True), 0)
    page = client.post(address, {**form, "start": "1"}, follow=True)
    assert (page.context["replay"].total, page.context["replay"].state) == (3, "RUNNING")
    run_some()
    assert client.get(f"/admin/replay/{page.context['replay'].pk}/").context["left"] is not None
    assert client.post(f"/admin/replay/{page.context['replay'].pk}/stop/", follow=True).context["left"] is None
    assert Replay.objects.get().state == "CANCELLED"
    assert client.post(address, {**form, "states": ["PENDING"]}).context["form"].errors != {}


@pytest.mark.parametrize(
    ("failed", "replaying", "planned"),
    [
        (30, "At least 12 deliveries failed for good", "At least 12 deliveries would be sent"),
        (0, "there may be others", "there may be others"),
    ],
)
def test_a_page_looks_at_so_many_and_says_that_there_are_more(
    admin_client, workspace, webhook, monkeypatch, failed, replaying, planned
):
    monkeypatch.setattr(walks, "EXAMINED", 2)
    record(workspace, 30)
    end(of(webhook), "EXHAUSTED" if failed else "DELIVERED")
    acted, form = f"/admin/endpoint/{webhook.pk}/replay/", f"/admin/replay/new/{webhook.pk}/"
    asked = {"states": ["EXHAUSTED"], "per_second": "50"}
    for address, given, said in ((acted, {}, replaying), (form, asked, planned)):
        page = admin_client.post(address, given).content.decode()
        assert (said in page, 'name="start"' in page) == (True, True)
        admin_client.post(address, {**given, "start": "1"})
    assert list(Replay.objects.values_list("total", flat=True)) == [None, None]


def test_a_replay_needs_its_permissions(member, workspace, webhook):
    replay = create(Selection(webhook, ["EXHAUSTED"]))
    client = member("view_replay", "view_endpoint")
    assert client.get(f"/admin/replay/{replay.pk}/").status_code == 200
    assert client.get(f"/admin/replay/new/{webhook.pk}/").status_code == 403
    assert client.post(f"/admin/replay/{replay.pk}/stop/").status_code == 403
    assert member("view_delivery").get(f"/admin/replay/{replay.pk}/").status_code == 403


# --- in a browser


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def page(service):
    with window(timezone_id="Asia/Tokyo", permissions=["clipboard-read", "clipboard-write"]) as page:
        sign_in(page, service)
        yield page


def wait_for(service, state, expected):
    asked = f"{{ deliveries(filters: {{state: {{exact: {state}}}}}) {{ collectionItems {{ id }} }} }}"
    wait_until(lambda: len(service.graphql(asked)["deliveries"]["collectionItems"]), lambda count: count == expected)


def test_an_operator_finds_what_failed_and_has_it_again(page, service):
    page.goto(service.url + LIST)
    expect(page.get_by_role("heading", name="Nothing was owed yet")).to_be_visible()
    look(page, "deliveries-none")
    with Receiver() as receiver:
        receiver.answer = answer(503, b"busy")
        endpoint_id = service.graphql(CREATE, u=receiver.url)["createWebhookEndpoint"]["id"]
        service.publish(*[{"type": "order.paid", "data": {"order": f"number-{n}"}} for n in range(12)])
        wait_for(service, "EXHAUSTED", 12)

        page.reload()
        found = page.get_by_role("region", name="Newest first").locator("tbody tr")
        expect(found).to_have_count(12)
        expect(found.first.locator("time").first).to_contain_text("UTC")
        expect(found.first.locator("time .local").first).to_contain_text("GMT+9")
        shown = found.first.locator("code.id").first.inner_text()
        found.first.get_by_role("button", name=f"Copy {shown}").click()
        assert page.evaluate("navigator.clipboard.readText()") == shown
        look(page, "deliveries-found")

        page.get_by_label("Text in the data").fill("NUMBER-7")
        page.get_by_label("Status code").fill("5xx")
        page.get_by_role("button", name="Find").click()
        expect(page.locator(".found tbody tr")).to_have_count(1)
        page.get_by_text("Save this view").click()
        page.get_by_label("Name").fill("the seventh")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("navigation", name="Saved views").locator("[aria-current]")).to_have_text("the seventh")
        look(page, "deliveries-view")
        page.get_by_label("Text in the data").fill("nothing has this")
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("heading", name="Nothing is like this")).to_be_visible()
        look(page, "deliveries-nothing-like")
        page.get_by_role("link", name="the seventh").click()
        page.get_by_role("button", name="Forget the seventh").click()
        expect(page.get_by_role("navigation", name="Saved views")).to_have_count(0)

        receiver.answer = answer(204)
        page.goto(f"{service.url}{LIST}?state=EXHAUSTED")
        page.get_by_role("link", name="Deliver all of these again").click()
        look(page, "bulk-asked")
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("status")).to_contain_text("12 deliveries are sent again.")
        expect(page.get_by_role("status")).to_contain_text("That is all.")
        look(page, "bulk-done")

        wait_for(service, "DELIVERED", 12)
        page.goto(f"{service.url}{LIST}?endpoint={endpoint_id}&state=DELIVERED")
        page.get_by_role("link", name="Replay", exact=True).click()
        page.get_by_role("button", name="Count").click()
        expect(page.get_by_role("status")).to_have_text("12 deliveries would be sent.")
        look(page, "replay-counted")
        page.get_by_label("A second, at most").fill("1")
        page.get_by_role("button", name="Send them again").click()
        replay = page.get_by_role("region", name="Replay")
        expect(replay.locator(".badge")).to_have_text("Running")
        expect(replay).to_contain_text(re.compile(r"Written\s*[1-9]"))  # by itself: nobody reloads
        look(page, "replay-running")
        replay.get_by_role("button", name="Stop").click()
        expect(replay.locator(".badge")).to_have_text("Cancelled")
    page.goto(service.url + LIST)
    page.locator(".found tbody td a").first.click()
    expect(page.get_by_role("article").first).to_be_visible()
    glance(page, "delivery")
    page.goto(service.url + EVENTS)
    expect(page.locator(".found tbody tr")).to_have_count(12)
    look(page, "events-found")
    assert page.said == []

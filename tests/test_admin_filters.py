"""A filter's form in the admin: what stands in it is tried on the events that are stored."""

import html
import json
import re

import msgspec
import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import expect

from endpoints.models import Endpoint, EventFilter, StaffBinding
from tests.browser import sign_in, window
from tests.service import Service
from tests.traffic import of, record

PATH = "/admin/try-filter/"
WANTED = {"pattern": {"data": {"total": [{"numeric": [">", 1]}]}}}


@pytest.fixture
def stored(workspace):
    """Three events, with totals from 0 to 2; the last is markup."""
    return [record(workspace, data=msgspec.Raw(b'{"total": %d, "note": "<b>"}' % total))[0] for total in range(3)]


def tried(client, workspace, definition=None, **form):
    definition = json.dumps(WANTED) if definition is None else definition
    answer = client.post(
        PATH, {"try_workspace": str(workspace.pk), "definition": definition, "try_hours": "24", **form}
    )
    assert answer.status_code == 200
    (found,) = re.findall(r'<div id="tried">(.*?)</div>', answer.content.decode(), re.DOTALL)
    return " ".join(re.sub("<[^>]+>", " ", found).split()), found


def test_it_says_how_many_would_have_matched_and_links_to_them(admin_client, workspace, stored):
    said, markup = tried(admin_client, workspace)
    assert said.startswith("1 of 3 events would have matched: these are all that were recorded in that time.")
    assert re.findall(r"/admin/routing/event/([^/]+)/", markup) == [str(stored[2])]
    assert "&lt;b&gt;" in markup


def test_it_says_so_where_there_is_nothing(admin_client, workspace, stored, foreign_workspace):
    nothing = json.dumps({"pattern": {"type": ["other"]}})
    assert tried(admin_client, workspace, nothing)[0].endswith(
        "None of them matches. An event's page says why, condition by condition."
    )
    assert "No event was recorded in that time." in tried(admin_client, foreign_workspace)[0]


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"definition": "{"}, "The definition is not JSON: "),
        ({"definition": "[" * 100_000}, "The definition is not JSON: "),
        ({"definition": '{"pattern": {"kind": ["a"]}}'}, "kind"),
        ({"try_workspace": "x"}, "Choose a workspace: &#x27;x&#x27; is none."),
        ({"try_hours": "0"}, "&#x27;0&#x27; is no number of hours; give 1 to 8760."),
        ({"try_hours": "9" * 100}, "is no number of hours; give 1 to 8760."),
    ],
)
def test_what_is_wrong_is_said_in_its_place(admin_client, workspace, form, problem):
    assert problem in tried(admin_client, workspace, **form)[0]


def test_who_may_not_see_events_tries_nothing(client, django_user_model, workspace):
    user = django_user_model.objects.create_user("u", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_eventfilter"))
    client.force_login(user)
    assert client.post(PATH, {"try_workspace": str(workspace.pk)}).status_code == 403


def test_it_is_for_who_signed_in(client, db):
    assert client.post(PATH).status_code == 302


# --- in a browser


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


def test_an_operator_sees_it_beneath_the_form(service):
    for total in range(3):
        service.publish({"type": "order.paid", "data": {"total": total}})
    with window() as page:
        sign_in(page, service, "/admin/endpoints/eventfilter/add/")
        page.get_by_label("Workspace").fill(service.workspace_id)
        page.get_by_label("Definition").fill(json.dumps(WANTED))
        page.get_by_role("button", name="Try it").click()
        expect(page.locator("#tried")).to_contain_text("1 of 3 events would have matched")
        expect(page.get_by_label("Definition")).to_have_value(json.dumps(WANTED))


# --- why


def test_an_event_says_where_it_went_and_one_click_says_why_not(admin_client, workspace, webhook, stored):
    other = Endpoint.create_web_socket(workspace_id=workspace.pk, name="<i>Others</i>")
    EventFilter.create(workspace_id=workspace.pk, name="Big", definition=WANTED, endpoints=[webhook, other])
    (small,) = record(workspace, data=msgspec.Raw(b'{"total": 1, "note": "<b>"}'), extensions={"rate": "<b>"})

    page = admin_client.get(f"/admin/routing/event/{small}/change/").content.decode()
    assert page.count("Why not?") == 2
    assert "{&quot;rate&quot;:&quot;&lt;b&gt;&quot;}" in page
    assert "&lt;i&gt;Others&lt;/i&gt;" in page
    (link,) = re.findall(f"/admin/why/.event={small}&amp;endpoint={webhook.pk}", page)
    said = admin_client.get(html.unescape(link)).content.decode()

    assert (
        "Its filter &#x27;Big&#x27; does not match: data.total is 1, not {&quot;numeric&quot;: [&quot;&gt;&quot;, 1]}."
        in said
    )
    assert "<code>pattern.data.total</code></td><td>no</td><td><code>1</code>" in said


def test_what_went_somewhere_says_so(admin_client, workspace, webhook):
    (event,) = record(workspace)
    page = admin_client.get(f"/admin/routing/event/{event}/change/").content.decode()
    assert (page.count("Why not?"), page.count("Why?")) == (0, 1)
    said = admin_client.get(f"/admin/why/?event={event}&endpoint={webhook.pk}").content.decode()
    assert f"It was wanted: delivery {of(webhook).get().pk} is PENDING after 0 attempts." in said


def test_an_event_page_costs_the_same_for_many_endpoints(admin_client, workspace, django_assert_max_num_queries):
    for number in range(10):
        Endpoint.create_web_socket(workspace_id=workspace.pk, name=f"e{number}")
    (event,) = record(workspace)
    with django_assert_max_num_queries(11):
        admin_client.get(f"/admin/routing/event/{event}/change/")


def test_an_endpoint_of_another_workspace_is_not_there(admin_client, workspace, foreign):
    (event,) = record(workspace)
    for endpoint in (foreign.pk, "x"):
        assert admin_client.get(f"/admin/why/?event={event}&endpoint={endpoint}").status_code == 404


def test_why_needs_the_permission_to_see_all_that_it_shows(client, django_user_model, workspace, webhook):
    (event,) = record(workspace)
    user = django_user_model.objects.create_user("u", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_event", "view_delivery", "view_endpoint"]))
    StaffBinding.objects.create(user=user, workspace=workspace)
    client.force_login(user)
    assert client.get(f"/admin/why/?event={event}&endpoint={webhook.pk}").status_code == 403
    assert "Why" not in client.get(f"/admin/routing/event/{event}/change/").content.decode()

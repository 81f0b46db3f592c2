"""The admin in a real browser: what attackers have it show runs nothing, and its own pages run under their policy."""

import json
import re

import pytest
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import expect

from endpoints.models import EventFilter
from endpoints.pages import POLICY, POLICY_OF_FORMS
from routing.models import Event
from tests.browser import sign_in, window
from tests.hostile import HOSTILE, URL
from tests.service import Service

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
# What runs, and what would run if somebody clicked on it or moved over it, or if there were no policy.
COUNT = """() => {
  const attributes = [...document.querySelectorAll('*')].flatMap(element => [...element.attributes]);
  const live = ({name, value}) => name.startsWith('on') || name === 'srcdoc' || /^\\s*javascript:/i.test(value)
      && ['href', 'src', 'action', 'formaction', 'data', 'xlink:href'].includes(name);
  const inline = [...document.scripts].filter(script => !script.src && script.type !== 'application/json');
  return [window.__pwned || 0, attributes.filter(live).length, inline.length];
}"""
# What the browser says besides: that a page is refused, that there is no favicon, that a field has the cursor already.
BESIDES = "the server responded with a status of|Autofocus processing was blocked"
LINKS = "links => links.map(link => link.href)"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as service:
        taken = service.manage("shell", "--no-imports", "-c", "from tests.hostile import plant; print(plant())")
        assert int(taken) > 20
        yield service


@pytest.fixture(scope="module")
def page(service):
    """A window of an operator who signed in. What its pages said, and the dialogs that opened, are in `page.said`."""
    with window(BESIDES) as page:
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: (page.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        sign_in(page, service)
        yield page


def nothing_runs(page):
    found = (page.evaluate(COUNT), page.said)
    assert found == ([0, 0, 0], []), page.url


def test_the_text_runs_where_nothing_is_escaped(service):
    """What the other tests count is there to be counted."""
    with window() as page:
        dialogs = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.set_content(f'<a href="javascript:1">x</a><p title="{HOSTILE}">')
        page.wait_for_function("window.__pwned === 2")
        ran, live, inline = page.evaluate(COUNT)
    assert (ran, live >= 2, inline, dialogs) == (2, True, 1, ["3"])


def test_signing_in_runs_nothing_inline(page):
    nothing_runs(page)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_of_a_model_runs_what_it_shows(service, page, model):
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = service.url + reverse(f"{name}_changelist")
    page.goto(f"{listed}?q={URL}")
    nothing_runs(page)
    page.goto(listed)
    nothing_runs(page)
    rows = page.locator("#result_list tbody a, table.found tbody a").evaluate_all(LINKS)
    for row in dict.fromkeys(link.partition("?")[0] for link in rows[-3:]):
        page.goto(row)
        nothing_runs(page)
        for other in ("history", "delete"):
            page.goto(row.replace("/change/", f"/{other}/"))
            nothing_runs(page)
    if page.goto(service.url + reverse(f"{name}_add")).ok:
        nothing_runs(page)


def test_a_filter_is_tried_on_hostile_events_and_runs_nothing(service, page):
    page.goto(service.url + reverse("admin:endpoints_eventfilter_add"))
    workspace = service.manage(
        "shell", "--no-imports", "-c", "from routing.models import Event; print(Event.objects.first().workspace_id)"
    )
    page.get_by_label("Workspace").fill(workspace.strip())
    page.get_by_label("Definition").fill(json.dumps({"pattern": {}}))
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#tried")).to_contain_text("events would have matched")
    expect(page.locator("#tried code").first).to_contain_text("script")
    nothing_runs(page)


def test_why_shows_hostile_names_and_runs_nothing(service, page):
    page.goto(service.url + reverse("admin:routing_event_changelist"))
    page.locator("table.found tbody a").last.click()
    page.get_by_role("link", name=re.compile("^Why")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("onerror")
    nothing_runs(page)


def test_the_live_page_runs_nothing(service, page):
    page.goto(f"{service.url}/event-service/live")
    nothing_runs(page)


def test_every_page_has_a_policy_that_allows_nothing_inline(admin_client, client, db):
    answers = [admin_client.get(reverse("admin:index")), client.get(reverse("admin:login"))]
    answers += [admin_client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
                for model in (Event, EventFilter)]  # fmt: skip
    assert {answer["Content-Security-Policy"] for answer in answers} == {POLICY_OF_FORMS}
    assert ["unsafe" in policy or "frame-ancestors 'none'" not in policy for policy in (POLICY, POLICY_OF_FORMS)] == [
        False,
        False,
    ]

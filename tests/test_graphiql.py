"""The editor at the API's address, in a real browser, cut off from everything but this machine."""

import pytest
from playwright.sync_api import expect

from tests.browser import window


@pytest.fixture
def page():
    """Ask for it last: see `window`."""
    with window() as page:
        yield page


@pytest.mark.django_db(transaction=True)
def test_a_person_runs_a_query_in_the_editor(live_server, key, webhook, page):
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{live_server.url}/event-service/graphql")
    page.set_viewport_size({"width": 1300, "height": 800})
    query = page.locator(".CodeMirror-scroll", has_text="Put your key")
    assert query.evaluate("it => it.clientWidth - it.querySelector('.CodeMirror-sizer').scrollWidth") >= 0
    headers = page.locator(".graphiql-editor:not(.hidden) > .CodeMirror").last
    expect(headers).to_contain_text("Bearer YOUR KEY")
    headers.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(f'{{"Authorization": "Bearer {key}"}}')
    page.get_by_role("button", name="Execute query").click()

    answer = page.locator(".result-window")
    expect(answer).to_contain_text('"totalCount": 1')
    expect(answer).to_contain_text('"name": "MyHook"')
    assert said == []
    elsewhere = [url for url in asked if not url.startswith((live_server.url, "data:"))]
    assert elsewhere == []


def test_the_editor_needs_no_key_and_forbids_foreign_scripts(client):
    page = client.get("/event-service/graphql", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self';"
    )
    assert b"<script>" not in page.content

"""The editor at the API's address, in a real browser, cut off from everything but this machine."""

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@pytest.fixture
def window():
    """A window of the browser. Ask for it last: while it is open, an event loop runs and Django refuses queries."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page()
        browser.close()


@pytest.mark.django_db(transaction=True)
def test_a_person_runs_a_query_in_the_editor(live_server, key, webhook, window):
    said, asked = [], []
    window.on("console", lambda message: said.append(message.text))
    window.on("pageerror", lambda error: said.append(str(error)))
    window.on("request", lambda request: asked.append(request.url))

    window.goto(f"{live_server.url}/event-service/graphql")
    headers = window.locator(".graphiql-editor:not(.hidden) > .CodeMirror").last
    expect(headers).to_contain_text("Bearer YOUR KEY")
    headers.click()
    window.keyboard.press("Control+A")
    window.keyboard.insert_text(f'{{"Authorization": "Bearer {key}"}}')
    window.get_by_role("button", name="Execute query").click()

    answer = window.locator(".result-window")
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

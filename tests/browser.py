"""A real browser: Debian's chromium, cut off from everything but this machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

from tests.service import DEADLINE_S, Service

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@contextmanager
def window(besides: str = "(?!)", **context: Any) -> Iterator[Page]:
    """A window of the browser; `context` is as of Playwright's new_context.

    The errors in its console are in `page.said`, but for those that the pattern `besides` finds. While it is open an
    event loop runs in this thread, and Django refuses queries.
    """
    if not Path(CHROMIUM).exists():
        pytest.skip(f"There is no {CHROMIUM}; .ci/run installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page: Any = browser.new_context(**context).new_page()
        page.said = []
        page.on("console", partial(_listen, page, re.compile(besides)))
        page.set_default_timeout(DEADLINE_S * 1000)
        yield page
        browser.close()


def _listen(page: Any, besides: re.Pattern[str], message: ConsoleMessage) -> None:
    if message.type == "error" and not besides.search(message.text):
        page.said.append(message.text)


def sign_in(page: Page, service: Service, path: str = "/admin/") -> None:
    """Sign in as the operator whom every service has, on the way to `path`."""
    page.goto(service.url + path)
    page.get_by_label("Username").fill("ops")
    page.get_by_label("Password").fill("ops")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(service.url + path)

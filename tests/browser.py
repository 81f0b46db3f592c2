"""A real browser: Debian's chromium, cut off from everything but this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@contextmanager
def window() -> Iterator[Page]:
    """A window of the browser. While it is open an event loop runs in this thread, and Django refuses queries."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"There is no {CHROMIUM}; .ci/run installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page()
        browser.close()

"""A page as people see it: what keeps people out, by axe, in light and in dark; its width on a phone; its weight.

With SCREENSHOTS=1, as script/screenshots has it, there are pictures too, to be looked at and not to be committed.
"""

import os
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Page

FOLDER = settings.BASE_DIR / "var" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
PICTURES = os.environ.get("SCREENSHOTS") == "1"
RULES: dict[str, dict[str, list[str]]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}  # else the same in dark
MOST_BYTES = 500_000  # of a page with all that it loads, before any compression
_FAULTS = "options => axe.run({resultTypes: ['violations'], ...options}).then(found => found.violations)"
_LOADED = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(each => each.initiatorType !== 'fetch').map(each => [each.name, each.decodedBodySize])"""


def look(page: Any, name: str) -> None:
    """Look once at each page and state. Fails where axe finds a serious fault in light or in dark, or the page is wider
    than a phone or loads too much."""
    said = list(page.said)
    weighs = dict(page.evaluate(_LOADED))
    assert sum(weighs.values()) <= MOST_BYTES, weighs
    page.evaluate(Axe().axe_script)
    page.set_viewport_size(DESK)
    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        _take(page, f"{name}-{scheme}")
        assert not (found := faults(page, **rules)), "\n".join([f"{page.url} in {scheme}:", *found])
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(PHONE)
    _take(page, f"{name}-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], f"{name} scrolls on a phone."
    page.set_viewport_size(DESK)
    page.said[:] = said  # what axe does to the page is no saying of the page


def glance(page: Any, name: str) -> None:
    """Look at a page that is made as others are, where pictures are asked for."""
    if PICTURES:
        look(page, name)


def _take(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=FOLDER / f"{name}.png", full_page=True)


def faults(page: Page, **rules: list[str]) -> list[str]:
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary']}"
        for each in page.evaluate(_FAULTS, rules)
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]

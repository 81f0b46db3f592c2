"""A page as people see it: pictures in light, in dark and on a phone, and what axe finds that keeps people out.

The pictures are looked at, and not committed.
"""

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Page

FOLDER = settings.BASE_DIR / "var" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}  # all else is the same in dark


def take(page: Page, name: str) -> None:
    """Take the pictures. Fails where axe finds a serious fault, in light or in dark."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=FOLDER / f"{name}-{scheme}.png", full_page=True)
        found = faults(page, **RULES[scheme])
        assert not found, "\n".join([f"{page.url} in {scheme}:", *found])
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(PHONE)
    page.screenshot(path=FOLDER / f"{name}-phone.png", full_page=True)
    page.set_viewport_size(DESK)


def faults(page: Page, **rules: list[str]) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary']}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]

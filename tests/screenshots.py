"""Pictures of a page as people see it: in light, in dark, and on a phone. They are looked at, and not committed."""

from django.conf import settings
from playwright.sync_api import Page

FOLDER = settings.BASE_DIR / "var" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def take(page: Page, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=FOLDER / f"{name}-{scheme}.png", full_page=True)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(PHONE)
    page.screenshot(path=FOLDER / f"{name}-phone.png", full_page=True)
    page.set_viewport_size(DESK)

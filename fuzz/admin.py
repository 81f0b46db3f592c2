"""The admin, signed in and not: every page with hostile parameters, every form with hostile fields."""

import re
from dataclasses import dataclass
from html import unescape
from random import Random
from urllib.parse import quote, urlencode

from fuzz import values, wire
from fuzz.doors import Door
from fuzz.world import World

START = "/admin/"
LOGIN = "/admin/login/"
MOST_PAGES = 120
TOKEN = "x" * 32
_LINK = re.compile(r'href="([^"#]*)"')
_FIELD = re.compile(r'<(?:input|select|textarea|button)[^>]*\bname="([^"]+)"')
_PARAMETERS = (
    "q",
    "p",
    "o",
    "e",
    "all",
    "_popup",
    "_to_field",
    "_changelist_filters",
    "next",
    "id__in",
    "workspace__name",
)
_LOOKUPS = ("exact", "in", "regex", "gt", "isnull", "year", "contains", "nope")
_FORMS = ("index", "action", "_selected_action", "select_across", "_save", "post", "_method")


@dataclass(frozen=True)
class Page:
    path: str
    fields: tuple[str, ...]


def door(port: int, world: World) -> Door:
    headers = [("Cookie", f"sessionid={world.session}; csrftoken={TOKEN}"), ("Referer", "http://localhost/admin/")]
    drawer = Drawer(_pages(port, headers, world), headers)
    return Door(
        name="admin",
        ordinary=wire.request("GET", START, headers),
        draw=drawer.draw,
        send=lambda case: wire.exchange(port, case),
        may_show=world.foreign,
    )


def _pages(port: int, headers: list[tuple[str, str]], world: World) -> list[Page]:
    """Follow the links from the start, but for what would end the session."""
    left = [START, LOGIN]
    found: list[Page] = []
    seen = {*left, "/admin/logout/", "/admin/password_change/"}
    while left and len(found) < MOST_PAGES:
        path = left.pop(0)
        text = wire.exchange(port, wire.request("GET", path, headers)).text.decode(errors="replace")
        found.append(Page(path, tuple(dict.fromkeys(_FIELD.findall(text)))))
        links = dict.fromkeys(_absolute(path, unescape(link)) for link in _LINK.findall(text))
        new = [link for link in links if link.startswith(START) and link not in seen and not _ends_session(link, world)]
        seen.update(new)
        left += new
    return found


def _absolute(path: str, link: str) -> str:
    return path.partition("?")[0] + link if link.startswith("?") else link


def _ends_session(link: str, world: World) -> bool:
    return link.startswith(f"/admin/auth/user/{world.operator}/")


class Drawer:
    def __init__(self, pages: list[Page], headers: list[tuple[str, str]]) -> None:
        self._pages = pages
        self._headers = headers

    def draw(self, random: Random) -> bytes:
        page = random.choice(self._pages)
        headers = self._headers if random.random() < 0.9 and page.path != LOGIN else self._headers_of_a_stranger(random)
        path = self._path(random, page)
        if random.random() < 0.5 or page.path == "/admin/auth/user/":
            return wire.request("GET", path, headers)
        body, content_type = self._form(random, page)
        return wire.request("POST", path, [*headers, ("Content-Type", content_type)], body)

    @staticmethod
    def _headers_of_a_stranger(random: Random) -> list[tuple[str, str]]:
        return [("Cookie", f"csrftoken={TOKEN}; sessionid={quote(values.text(random)[:300], errors='replace')}")]

    @staticmethod
    def _path(random: Random, page: Page) -> str:
        if random.random() < 0.1:
            return page.path.partition("?")[0] + quote(values.text(random)[:300], errors="replace") + "/change/"
        names = random.sample((*_PARAMETERS, *page.fields), random.randrange(3))
        pairs = [(_looked_up(random, name), values.text(random)[:2_000]) for name in names]
        return page.path + ("&" if "?" in page.path else "?") + urlencode(pairs, errors="replace")

    def _form(self, random: Random, page: Page) -> tuple[bytes, str]:
        names = [name for name in (*page.fields, *_FORMS) if random.random() < 0.7]
        pairs = [(name, _filled(random)) for name in names]
        if random.random() < 0.95:
            pairs.append(("csrfmiddlewaretoken", TOKEN))
        if random.random() < 0.8:
            return urlencode(pairs, errors="replace").encode(), "application/x-www-form-urlencoded"
        parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{said}\r\n' for name, said in pairs]
        body = "".join(parts).encode(errors="replace") + b"--b--\r\n"
        return values.perhaps_mangled(random, body), "multipart/form-data; boundary=b"


def _looked_up(random: Random, name: str) -> str:
    return name if random.random() < 0.5 else f"{name}__{random.choice(_LOOKUPS)}"


def _filled(random: Random) -> str:
    if random.random() < 0.3:
        return random.choice(("1", "0", "on", "", "-1", "99999999999999999999", "delete_selected"))
    return values.json_text(random) if random.random() < 0.3 else values.text(random)

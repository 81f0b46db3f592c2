"""Where a URL leads. It is taken apart here, once: what is judged, dialled and asked for are parts of one reading."""

import re
from functools import lru_cache
from typing import NamedTuple

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from routing.egress.errors import EgressError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\]")  # no zone id, nothing percent-encoded


class Target(NamedTuple):
    scheme: str
    host: str  # in IDNA, an IPv6 address without brackets
    port: int
    path: str  # with the query, as it goes on the wire


@lru_cache(4096)
def target_of(url: str) -> Target:
    """Return where `url` leads. Raises EgressError."""
    if any(character <= " " or character in "\x7f\\" for character in url):
        raise _bad(url, "holds a space, a control character or a backslash")
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise _bad(url, f"is not a URL: {error}") from error
    if parts.scheme not in _PORTS:
        raise _bad(url, "is not http:// or https://")
    if parts.auth is not None:
        raise _bad(url, "holds a user name or password")
    if not _HOST.fullmatch(parts.host or ""):
        raise _bad(url, "names no host that could be dialled")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if not 0 < port < 65536:
        raise _bad(url, "has a port that is not from 1 to 65535")
    return Target(parts.scheme, str(parts.host).strip("[]"), port, parts.request_uri)


def _bad(url: str, problem: str) -> EgressError:
    return EgressError("BAD_URL", f"The URL {url[:200]!r} {problem}.")

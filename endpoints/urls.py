"""Where a URL leads. There is one reading of it: what is accepted, judged, dialled and asked for are parts of this."""

import re
from typing import NamedTuple

from django.utils.translation import gettext as _
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\]")  # no zone id, nothing percent-encoded


class Target(NamedTuple):
    scheme: str
    host: str  # in IDNA, an IPv6 address without brackets
    port: int
    path: str  # with the query, as it goes on the wire
    authority: str  # the field Host: without the port that the scheme has anyway


def read_url(url: str) -> Target:
    """Return where `url` leads. Raises ValueError with what is wrong with it, as the end of a sentence."""
    if any(character <= " " or character in "\x7f\\" for character in url):
        raise ValueError(_("holds a space, a control character or a backslash; write them percent-encoded"))
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise ValueError(_("is not a URL whose host could be found")) from error
    if parts.scheme not in _PORTS:
        raise ValueError(_("is not http:// or https://"))
    if parts.auth is not None:
        raise ValueError(_("holds a user name or password; send credentials in a header"))
    if not _HOST.fullmatch(parts.host or ""):
        raise ValueError(_("names no host that could be dialled"))
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if not 0 < port < 65536:
        raise ValueError(_("has port %(given)s; use 1 to 65535") % {"given": port})
    host = str(parts.host)
    name = host.rstrip(".")  # which says only that it is whole
    authority = name if port == _PORTS[parts.scheme] else f"{name}:{port}"
    return Target(parts.scheme, host.strip("[]"), port, parts.request_uri, authority)

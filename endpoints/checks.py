"""What people type into the configuration, checked: each returns the value, or raises BadInput with what is right."""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from endpoints.errors import BadInput
from endpoints.urls import read_url

NAME_LENGTH = 200
URL_LENGTH = 2000
METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
KEY_BYTES = range(24, 65)
OVERLAP_S = range(30 * 86_400 + 1)
HEADERS = 20
HEADER_NAME_LENGTH = 100
HEADERS_LENGTH = 8_000  # of all names and values: many receivers refuse more than 8 KiB in all
# What HTTP, the signature, tracing and CloudEvents say of a request is not the endpoint's to say.
RESERVED_HEADERS = (
    *("connection", "expect", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("accept", "accept-encoding", "cookie", "date", "user-agent", "traceparent", "tracestate"),
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL and half of a surrogate pair, which PostgreSQL's jsonb refuses
RESERVED_HEADER_PREFIXES = ("content-", "proxy-", "webhook-", "svix-", "ce-")


def checked_name(name: str, *, field: str = "name", length: int = NAME_LENGTH) -> str:
    if not name.strip():
        raise BadInput(
            _("%(field)s is empty; give 1 to %(most)s characters.") % {"field": field, "most": length}, field
        )
    if len(name) > length:
        raise _too_long(field, len(name), length)
    if _UNSTORABLE.search(name):
        raise _unstorable(field)
    return name


def checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at and expires_at <= timezone.now():
        said = _("expiresAt %(given)s has passed; give a time to come.")
        raise BadInput(said % {"given": expires_at.isoformat()}, "expiresAt")
    return expires_at


def checked_url(url: str) -> str:
    """Return `url` if it is a plain http(s) URL with a host. What it may reach is judged when it is dialled."""
    if len(url) > URL_LENGTH:
        raise _too_long("url", len(url), URL_LENGTH)
    try:
        read_url(url)
    except ValueError as problem:
        said = {"url": repr(url[:200]), "problem": problem}
        raise BadInput(_("url %(url)s %(problem)s.") % said, "url") from None
    return url


def checked_method(method: str) -> str:
    if method not in METHODS:
        said = _("method %(given)s is unknown; use one of %(known)s.")
        raise BadInput(said % {"given": repr(method), "known": ", ".join(METHODS)}, "method")
    return method


def checked_secret(secret: str) -> bytes:
    """Return the bytes of a shared secret of Standard Webhooks. What it holds is never repeated in the refusal."""
    lengths = {"least": KEY_BYTES[0], "most": KEY_BYTES[-1]}
    right = _("write whsec_ and the base64 of %(least)s to %(most)s random bytes") % lengths
    if not secret.startswith("whsec_"):
        raise BadInput(_("secret does not begin with whsec_; %(right)s.") % {"right": right}, "secret")
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(_("secret is not base64 behind whsec_; %(right)s.") % {"right": right}, "secret") from None
    if len(key) not in KEY_BYTES:
        raise BadInput(_("secret has %(given)s bytes; %(right)s.") % {"given": len(key), "right": right}, "secret")
    return key


def checked_overlap_s(overlap_s: int) -> int:
    if overlap_s not in OVERLAP_S:
        said = _("overlapSeconds is %(given)s; give 0 to %(most)s (30 days).")
        raise BadInput(said % {"given": overlap_s, "most": OVERLAP_S[-1]}, "overlapSeconds")
    return overlap_s


def checked_headers(headers: Any) -> dict[str, str]:
    """Return `headers` if each is one that an endpoint may add. Values, which may be credentials, are not repeated."""
    if not isinstance(headers, dict):
        raise BadInput(_('headers is no object; write {"Authorization": "Bearer ..."}.'), "headers")
    if len(headers) > HEADERS:
        said = _("There are %(given)s headers; at most %(most)s are sent.")
        raise BadInput(said % {"given": len(headers), "most": HEADERS}, "headers")
    for name, value in headers.items():
        if problem := _header_problem(name, value):
            named = {"name": repr(name[:HEADER_NAME_LENGTH]), "problem": problem}
            raise BadInput(_("Header %(name)s %(problem)s.") % named, "headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise BadInput(_("A header is there twice; upper and lower case are the same in their names."), "headers")
    length = sum(len(name) + len(value) for name, value in headers.items())
    if length > HEADERS_LENGTH:
        said = _("The headers have %(given)s characters in all; at most %(most)s are sent.")
        raise BadInput(said % {"given": length, "most": HEADERS_LENGTH}, "headers")
    return headers


def checked_document(document: Any, field: str, *, most_bytes: int, most_levels: int) -> Any:
    """Return `document`, JSON, if it can be stored and is neither large nor deep."""
    for node, path, level in nodes(document, field):
        if level > most_levels:
            said = _("%(path)s is nested over %(most)s deep.")
            raise BadInput(said % {"path": path[:300], "most": most_levels}, field)
        texts = (node,) if isinstance(node, str) else node if isinstance(node, dict) else ()
        if any(map(_UNSTORABLE.search, texts)):
            raise _unstorable(field)
    size = len(json.dumps(document, ensure_ascii=False).encode())
    if size > most_bytes:
        said = _("%(field)s has %(given)s bytes; at most %(most)s are kept.")
        raise BadInput(said % {"field": field, "given": size, "most": most_bytes}, field)
    return document


def nodes(document: Any, path: str) -> Iterator[tuple[Any, str, int]]:
    """Return each value of `document`, JSON, with its path and level."""
    left = [(document, path, 0)]
    while left:
        node, path, level = left.pop()
        yield node, path, level
        if isinstance(node, dict):
            left.extend((child, f"{path}.{name}", level + 1) for name, child in node.items())
        elif isinstance(node, list):
            left.extend((child, f"{path}[{index}]", level + 1) for index, child in enumerate(node))


def is_reserved(header: str) -> bool:
    """Tell whether the service says this header itself, or no one may."""
    return header.lower() in RESERVED_HEADERS or header.lower().startswith(RESERVED_HEADER_PREFIXES)


def _too_long(field: str, given: int, most: int) -> BadInput:
    said = _("%(field)s has %(given)s characters; at most %(most)s are kept.")
    return BadInput(said % {"field": field, "given": given, "most": most}, field)


def _unstorable(field: str) -> BadInput:
    said = _("%(field)s holds a NUL character or half a surrogate pair, which can't be stored.")
    return BadInput(said % {"field": field}, field)


def _header_problem(name: str, value: Any) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        return _("has a name that HTTP does not allow; use letters, digits and -")
    if len(name) > HEADER_NAME_LENGTH:
        said = _("has a name of %(given)s characters; at most %(most)s are sent")
        return said % {"given": len(name), "most": HEADER_NAME_LENGTH}
    if is_reserved(name):
        return _("is reserved: the service or HTTP itself sets it; choose another name")
    if not isinstance(value, str):
        return _("has a value that is no string")
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
        return _("has an empty value, or one with something but printable ASCII, or with spaces around it")
    return None

"""What people type into the configuration, checked: each returns the value, or raises BadInput with what is right."""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils import timezone

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
        raise BadInput(f"{field} is empty; give 1 to {length} characters.", field)
    if len(name) > length:
        raise BadInput(f"{field} has {len(name)} characters; at most {length} are kept.", field)
    if _UNSTORABLE.search(name):
        raise BadInput(f"{field} holds a NUL character or half a surrogate pair, which can't be stored.", field)
    return name


def checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at and expires_at <= timezone.now():
        raise BadInput(f"expiresAt {expires_at.isoformat()} has passed; give a time to come.", "expiresAt")
    return expires_at


def checked_url(url: str) -> str:
    """Return `url` if it is a plain http(s) URL with a host. What it may reach is judged when it is dialled."""
    if len(url) > URL_LENGTH:
        raise BadInput(f"url has {len(url)} characters; at most {URL_LENGTH} are kept.", "url")
    try:
        read_url(url)
    except ValueError as problem:
        raise BadInput(f"url {url[:200]!r} {problem}.", "url") from None
    return url


def checked_method(method: str) -> str:
    if method not in METHODS:
        raise BadInput(f"method {method!r} is unknown; use one of {', '.join(METHODS)}.", "method")
    return method


def checked_secret(secret: str) -> bytes:
    """Return the bytes of a shared secret of Standard Webhooks. What it holds is never repeated in the refusal."""
    right = f"write whsec_ and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} random bytes"
    if not secret.startswith("whsec_"):
        raise BadInput(f"secret does not begin with whsec_; {right}.", "secret")
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(f"secret is not base64 behind whsec_; {right}.", "secret") from None
    if len(key) not in KEY_BYTES:
        raise BadInput(f"secret has {len(key)} bytes; {right}.", "secret")
    return key


def checked_overlap_s(overlap_s: int) -> int:
    if overlap_s not in OVERLAP_S:
        raise BadInput(f"overlapSeconds is {overlap_s}; give 0 to {OVERLAP_S[-1]} (30 days).", "overlapSeconds")
    return overlap_s


def checked_headers(headers: Any) -> dict[str, str]:
    """Return `headers` if each is one that an endpoint may add. Values, which may be credentials, are not repeated."""
    if not isinstance(headers, dict):
        raise BadInput('headers is no object; write {"Authorization": "Bearer ..."}.', "headers")
    if len(headers) > HEADERS:
        raise BadInput(f"There are {len(headers)} headers; at most {HEADERS} are sent.", "headers")
    for name, value in headers.items():
        if problem := _header_problem(name, value):
            raise BadInput(f"Header {name[:HEADER_NAME_LENGTH]!r} {problem}.", "headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise BadInput("A header is there twice; upper and lower case are the same in their names.", "headers")
    length = sum(len(name) + len(value) for name, value in headers.items())
    if length > HEADERS_LENGTH:
        raise BadInput(f"The headers have {length} characters in all; at most {HEADERS_LENGTH} are sent.", "headers")
    return headers


def checked_document(document: Any, field: str, *, most_bytes: int, most_levels: int) -> Any:
    """Return `document`, JSON, if it can be stored and is neither large nor deep."""
    for node, path, level in nodes(document, field):
        if level > most_levels:
            raise BadInput(f"{path:.300} is nested over {most_levels} deep.", field)
        texts = (node,) if isinstance(node, str) else node if isinstance(node, dict) else ()
        if any(map(_UNSTORABLE.search, texts)):
            raise BadInput(f"{field} holds a NUL character or half a surrogate pair, which can't be stored.", field)
    size = len(json.dumps(document, ensure_ascii=False).encode())
    if size > most_bytes:
        raise BadInput(f"{field} has {size} bytes; at most {most_bytes} are kept.", field)
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


def _header_problem(name: str, value: Any) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        return "has a name that HTTP does not allow; use letters, digits and -"
    if len(name) > HEADER_NAME_LENGTH:
        return f"has a name of {len(name)} characters; at most {HEADER_NAME_LENGTH} are sent"
    if is_reserved(name):
        return "is reserved: the service or HTTP itself sets it; choose another name"
    if not isinstance(value, str):
        return "has a value that is no string"
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
        return "has an empty value, or one with something but printable ASCII, or with spaces around it"
    return None

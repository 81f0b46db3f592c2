"""What a producer sends, checked: from the members of one JSON object to a NewEvent or a refusal."""

import hashlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from endpoints.errors import BadInput
from routing import envelope, extensions, tracing

TEXT_LENGTH = 255  # characters of type, source, subject, orderingKey and of the producer's own id
MAX_DATA_BYTES = 256 * 1024
_LARGEST = int(sys.float_info.max)
MAX_DEPTH = 100  # levels of nesting: what every receiver's parser takes
_MANY_DIGITS = re.compile(rb"[0-9]{309}")  # of an integer that may be beyond a double, which ends at 1.8e308
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """One event as it stands in a request. `data` is a slice of the request's own bytes, empty where absent."""

    type: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")
    id: Any = None
    date: Any = None
    source: Any = None
    subject: Any = None
    ordering_key: Any = msgspec.field(default=None, name="orderingKey")
    traceparent: Any = None
    extensions: Any = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A checked event that is not stored yet."""

    id: UUID
    workspace_id: UUID
    type: str
    data: str  # the producer's exact JSON text; empty where there is none
    value: Any  # what the text says, for the filters
    source: str
    subject: str
    ordering_key: str
    date: datetime | None  # None: the time of recording
    producer_id: str | None
    about: UUID | None = None  # an endpoint that is not told of itself
    traceparent: str = ""  # no part of the content: the same event may be sent again in another trace
    extensions: str = ""  # a JSON text; empty where there are none

    def digest(self) -> bytes:
        """Return the SHA-256 of the content: a producer's id stands for this and nothing else."""
        content: list[Any] = [self.type, self.data, self.source, self.subject, self.ordering_key]
        if self.date:
            content.append(self.date.isoformat())
        if self.extensions:
            content.append(envelope.texts(self.extensions))
        return hashlib.sha256(msgspec.json.encode(content)).digest()

    def fields(self) -> dict[str, Any]:
        """Return what filters look at; what the event does not have is absent."""
        return envelope.fields(
            id=self.id,
            type=self.type,
            date=self.date,
            source=self.source,
            subject=self.subject,
            workspace_id=self.workspace_id,
            data=self.value if self.data else msgspec.UNSET,
        )


def check(submission: Submission, workspace_id: UUID, traceparent: str = "") -> NewEvent:
    """Return the event that `submission` describes.

    `traceparent` is the request's, for an event without one of its own.
    Raises BadInput, naming the field, for what is missing or can't be stored and sent byte for byte.
    """
    data = bytes(submission.data)
    return NewEvent(
        id=uuid7(),
        workspace_id=workspace_id,
        type=_text("type", submission.type, required=True),
        value=_value(data),
        data=data.decode(),
        source=_text("source", submission.source),
        subject=_text("subject", submission.subject),
        ordering_key=_text("orderingKey", submission.ordering_key),
        date=_date(submission.date),
        producer_id=_text("id", submission.id) or None,
        traceparent=tracing.accepted(submission.traceparent) or traceparent,
        extensions=extensions.checked(submission.extensions),
    )


def _text(field: str, value: Any, *, required: bool = False) -> str:
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value:
        given = "missing" if value is None else f"{value!r:.60}"
        raise BadInput(f"{field} is {given}; give a string of 1 to {TEXT_LENGTH} characters.", field)
    if len(value) > TEXT_LENGTH:
        raise BadInput(f"{field} has {len(value)} characters; at most {TEXT_LENGTH} are kept.", field)
    if "\0" in value:
        raise BadInput(f"{field} holds a NUL character, which can't be stored.", field)
    if not value.isascii() and _HALF_PAIR.search(value):
        raise BadInput(f"{field} holds half of a surrogate pair, which is no text.", field)
    return value


def _value(data: bytes) -> Any:
    if not data:
        return None
    if len(data) > MAX_DATA_BYTES:
        raise BadInput(f"data has {len(data)} bytes; at most {MAX_DATA_BYTES} are kept.", "data")
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"data can't be kept byte for byte: {json_problem(error)}.", "data") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadInput(f"data can't be kept: it is nested over {MAX_DEPTH} deep.", "data")
    if _MANY_DIGITS.search(data) and any(map(_is_beyond_a_double, _nodes(value))):
        raise BadInput("data holds an integer beyond a double (1.8e308), which few can read; send a string.", "data")
    if b"\\u0000" in data and _holds_nul(value):
        raise BadInput("data holds the character \\u0000, which many databases can't store; leave it out.", "data")
    return value


def _depth(value: Any) -> int:
    """Return how deep arrays and objects nest, at most one level over the limit."""
    depth, level = 0, [value]
    while depth <= MAX_DEPTH and (level := [node for node in level if isinstance(node, dict | list)]):
        depth += 1
        level = [child for node in level for child in _children(node)]
    return depth


def _holds_nul(value: Any) -> bool:
    return any(isinstance(node, str) and "\0" in node for node in _nodes(value))


def _is_beyond_a_double(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > _LARGEST


def _nodes(value: Any) -> Iterable[Any]:
    """Return all that is in a JSON value, names of members too."""
    left = [value]
    while left:
        yield (node := left.pop())
        left.extend(_children(node))
        if isinstance(node, dict):
            left.extend(node)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def json_problem(error: ValueError | RecursionError) -> str:
    """Say what is wrong with a JSON text, in words that its sender can act on."""
    if isinstance(error, RecursionError):
        return f"it is nested over {MAX_DEPTH} deep"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    text = str(error)
    if text == "Input data was truncated":  # which msgspec also says of half a surrogate pair
        return "it ends too early, or holds half of a surrogate pair"
    return text.removeprefix("JSON is malformed: ").split(" - at ")[0].lower()


def _date(value: Any) -> datetime | None:
    """Return an RFC 3339 date-time in UTC."""
    if value is None:
        return None
    try:
        date = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        date = None
    if date is None or date.tzinfo is None:
        raise BadInput(f"date is {value!r:.60}; write RFC 3339 with an offset, such as 2026-11-22T10:00:00Z.", "date")
    try:
        return date.astimezone(UTC)
    except OverflowError:
        raise BadInput(f"date {value!r:.60} is outside the years 1 to 9999.", "date") from None

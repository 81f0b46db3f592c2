"""Events as they are published, and as they come in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

MOST_CHARACTERS = 255  # of every text but data
MOST_DATA_BYTES = 256 * 1024
_ABSENT: Any = object()

Extension = str | int | bool  # the value of a CloudEvents extension attribute


class RawJson(str):
    """JSON text, as the `data` of an event: it is sent, and reaches receivers, byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event to publish. Its `id` makes it idempotent: one object is one event, however often it is published."""

    type: str = field(kw_only=False)
    data: Any = field(kw_only=False, default=_ABSENT)
    id: str = field(default_factory=lambda: str(uuid4()))
    source: str | None = None
    subject: str | None = None
    ordering_key: str | None = None
    date: datetime | None = None
    extensions: Mapping[str, Extension] | None = None
    encoded: bytes = field(init=False, repr=False, compare=False)  # at once: data that is changed later changes nothing

    def __post_init__(self) -> None:
        texts = {"type": self.type, "id": self.id, "source": self.source, "subject": self.subject}
        texts["orderingKey"] = self.ordering_key
        given: dict[str, Any] = {
            name: _text(name, text) for name, text in texts.items() if text is not None or name == "type"
        }
        if self.date is not None:
            given["date"] = _date(self.date)
        if self.extensions:
            given["extensions"] = _extensions(self.extensions)
        members = [f"{_json(name)}:{_json(value)}" for name, value in given.items()]
        if self.data is not _ABSENT:
            members.append(f'"data":{_data(self.data)}')
        object.__setattr__(self, "encoded", f"{{{','.join(members)}}}".encode())


@dataclass(frozen=True, slots=True)
class Published:
    id: str  # the service's, which receivers see
    duplicate: bool  # an event with this producer's id was there already


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    id: str
    type: str
    date: datetime
    workspace_id: str
    data: Any = None
    source: str = ""
    subject: str = ""
    extensions: Mapping[str, Extension] = field(default_factory=dict)

    @classmethod
    def of(cls, members: dict[str, Any], **more: Any) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no event."""
        return cls(
            id=members["id"],
            type=members["type"],
            date=datetime.fromisoformat(members["date"]),
            workspace_id=members["workspaceId"],
            data=members.get("data"),
            source=members.get("source", ""),
            subject=members.get("subject", ""),
            extensions=dict(members.get("extensions", {})),
            **more,
        )


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_CHARACTERS:
        shown = f"a text of {len(value)} characters" if isinstance(value, str) and value else repr(value)
        raise ValueError(f"{name} is {shown}; give a text of 1 to {MOST_CHARACTERS} characters.")
    return value


def _date(value: Any) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"date is {value!r}; give a datetime with a time zone.")
    return value.isoformat()


def _extensions(given: Any) -> dict[str, Extension]:
    """Return them as they are sent. What names and numbers the service takes it says itself."""
    if not isinstance(given, Mapping):
        raise ValueError(f"extensions is {given!r:.100}; give a mapping of names to texts, booleans and integers.")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str | int):
            raise ValueError(f"extensions has {name!r:.60}: {value!r:.60}; give a text, a boolean or an integer.")
    return dict(given)


def _data(value: Any) -> str:
    try:
        text = value if isinstance(value, RawJson) else _json(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"data {value!r:.100} can't be written as JSON: {error}.") from error
    if size > MOST_DATA_BYTES:
        raise ValueError(f"data {value!r:.100} has {size} bytes as JSON; at most {MOST_DATA_BYTES} are taken.")
    return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

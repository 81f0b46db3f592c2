"""What a websocket asks for, in its URL and its subprotocols."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.utils.dateparse import parse_datetime

from routing.sockets import cursors
from routing.sockets.cursors import Cursor
from routing.sockets.refusals import NOT_ALLOWED, Refusal
from routing.sockets.window import DEFAULT_BYTES, DEFAULT_EVENTS, MAX_BYTES, MAX_EVENTS, Window

PLAIN, ACKNOWLEDGED = "event-service", "event-service.v1"  # the subprotocols
_PARAMETERS = ("endpoint_id", "access", "after", "from", "share", "window_events", "window_bytes", "watch")
_OF_V1 = ("share", "window_events", "window_bytes")
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    endpoint_id: str
    access: str = field(repr=False)  # a ticket, or empty
    acknowledges: bool  # by event-service.v1
    resumes: bool  # by `after`
    after: Cursor | None  # where it resumes: None is the very start
    since: datetime | None  # from this time, and of what lies before it nothing was taken
    share: str  # the group that it is a member of, or empty
    window: Window | None  # of what acknowledges
    watches: bool = False  # it looks on, and delivers nothing

    @property
    def names_position(self) -> bool:
        return self.resumes or self.since is not None

    @classmethod
    def parse(cls, scope: Mapping[str, Any]) -> "Asked":
        """Raises Refusal with what is wrong and what would be right."""
        query = _query(scope)
        acknowledges = ACKNOWLEDGED in scope["subprotocols"]
        if misplaced := [name for name in _OF_V1 if name in query and not acknowledges]:
            raise Refusal(NOT_ALLOWED, f"{misplaced[0]} goes with the subprotocol {ACKNOWLEDGED}.")
        asked = cls(
            endpoint_id=query.get("endpoint_id", ""),
            access=query.get("access", ""),
            acknowledges=acknowledges,
            resumes="after" in query,
            after=cursors.parse(query["after"], "after") if "after" in query else None,
            since=_time(query["from"]) if "from" in query else None,
            share=_group(query["share"]) if "share" in query else "",
            window=_window(query) if acknowledges else None,
            watches=_watch(query, acknowledges=acknowledges),
        )
        if asked.resumes and asked.share:
            raise Refusal(NOT_ALLOWED, "after does not go with share; give one of them.")
        return asked

    @classmethod
    def plainly(cls, endpoint_id: UUID, after: str | None) -> "Asked":
        """Return what a plain socket would ask for. Raises Refusal for an `after` that is no cursor."""
        return cls(
            endpoint_id=str(endpoint_id),
            access="",
            acknowledges=False,
            resumes=after is not None,
            after=None if after is None else cursors.parse(after, "after"),
            since=None,
            share="",
            window=None,
        )


def chosen_protocol(scope: Mapping[str, Any]) -> str | None:
    """Return the subprotocol to answer with: one that the client offered."""
    return next((name for name in (ACKNOWLEDGED, PLAIN) if name in scope["subprotocols"]), None)


def _query(scope: Mapping[str, Any]) -> dict[str, str]:
    given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    for name, values in given.items():
        if name not in _PARAMETERS:
            raise Refusal(NOT_ALLOWED, f"{name!r:.40} is no parameter; there are {', '.join(_PARAMETERS)}.")
        if len(values) > 1:
            raise Refusal(NOT_ALLOWED, f"{name} is given {len(values)} times; give it once.")
    return {name: value for name, (value,) in given.items()}


def _time(text: str) -> datetime:
    try:
        found = parse_datetime(text.replace(" ", "+"))  # a + that was not percent-encoded
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Refusal(NOT_ALLOWED, f"from is {text!r:.40}; give a time such as 2026-11-22T10:00:00Z.")
    return found


def _group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        raise Refusal(NOT_ALLOWED, f"share is {text!r:.40}; give 1 to 64 letters, digits, dots, _ or -.")
    return text


def _watch(query: Mapping[str, str], *, acknowledges: bool) -> bool:
    if "watch" not in query:
        return False
    if acknowledges:
        raise Refusal(NOT_ALLOWED, f"watch does not go with {ACKNOWLEDGED}: who looks on acknowledges nothing.")
    if query["watch"] != "1":
        raise Refusal(NOT_ALLOWED, f"watch is {query['watch']!r:.40}; give 1, or leave it out.")
    return True


def _window(query: Mapping[str, str]) -> Window:
    return Window(
        events=_number(query, "window_events", DEFAULT_EVENTS, MAX_EVENTS),
        bytes=_number(query, "window_bytes", DEFAULT_BYTES, MAX_BYTES),
    )


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most:
        return int(text)
    raise Refusal(NOT_ALLOWED, f"{name} is {text!r:.40}; give a number from 1 to {most}.")

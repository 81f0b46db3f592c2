"""The frames of the subprotocol event-service.v1, and those that other sockets get besides events.

Down: {"kind": "ready" | "event" | "reset" | "state" | "error", ...}. Up: {"kind": "ack", "cursor"} and {"kind": "nack",
"cursor", "reason", "delaySeconds"}.
"""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from routing.sockets.cursors import Cursor

LONGEST_DELAY_S = 900
REASON_LENGTH = 200
_STORABLE = r"^[^\x00]*$"  # PostgreSQL has no NUL in its texts
_WRONG = (
    'write {"kind": "ack", "cursor": "..."} or {"kind": "nack", "cursor": "...", "reason": "...", "delaySeconds": 5}'
)


class Ack(msgspec.Struct, tag_field="kind", tag="ack", frozen=True, forbid_unknown_fields=True):
    """All up to `cursor` was taken."""

    cursor: str


class Nack(msgspec.Struct, tag_field="kind", tag="nack", frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The event at `cursor` was not taken, and is to be sent again."""

    cursor: str
    reason: Annotated[str, msgspec.Meta(max_length=REASON_LENGTH, pattern=_STORABLE)] = ""
    delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY_S)] = 0


class _Ready(msgspec.Struct, tag_field="kind", tag="ready", rename="camel"):
    endpoint_id: UUID
    cursor: str
    window_events: int | UnsetType = UNSET
    window_bytes: int | UnsetType = UNSET
    share: str | UnsetType = UNSET


class _Missing(msgspec.Struct):
    """What comes behind the first cursor, up to the second with it; null where nobody can say."""

    after: str | None
    until: str | None


class _Reset(msgspec.Struct, tag_field="kind", tag="reset"):
    reason: str
    missing: _Missing
    cursor: str


class _State(msgspec.Struct, tag_field="kind", tag="state"):
    """How the delivery of the event at `cursor` stands."""

    cursor: str
    state: str
    reason: str
    attempts: int


class _Error(msgspec.Struct, tag_field="kind", tag="error"):
    code: str
    message: str


SAID, TOLD = (Ack, Nack), (_Ready, _Reset, _State, _Error)  # by the client, and to it


class BadFrame(ValueError):
    """A frame that can't be read."""


_decode = msgspec.json.Decoder(Ack | Nack).decode
_encoder = msgspec.json.Encoder()


def parse(text: str | bytes) -> Ack | Nack:
    """Raises BadFrame."""
    try:
        frame: Ack | Nack = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame(f"{error}; {_WRONG}.") from None
    return frame


def ready(*, endpoint_id: UUID, cursor: Cursor, window_events: int, window_bytes: int, share: str) -> str:
    return _text(_Ready(endpoint_id, str(cursor), window_events, window_bytes, share or UNSET))


def ready_to_watch(*, endpoint_id: UUID, cursor: Cursor) -> str:
    return _text(_Ready(endpoint_id, str(cursor)))


def event(frame: bytes) -> bytes:
    """Return what a plain socket gets as a frame of v1."""
    return b'{"kind":"event",' + frame[1:]


def reset(*, reason: str, after: Cursor | None, until: Cursor | None, cursor: Cursor) -> str:
    missing = _Missing(None if after is None else str(after), None if until is None else str(until))
    return _text(_Reset(reason, missing, str(cursor)))


def state(*, cursor: Cursor, state: str, reason: str, attempts: int) -> bytes:
    return _encoder.encode(_State(str(cursor), state, reason, attempts))


def error(code: str, message: str) -> str:
    return _text(_Error(code, message))


def _text(frame: msgspec.Struct) -> str:
    return _encoder.encode(frame).decode()

"""What a bus brings, whichever it is: one message is one event, and is read as the event door reads a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import msgspec

from endpoints.errors import BadInput
from routing import cloudevents, tracing
from routing.submissions import NewEvent, Submission, check, json_problem


class Away(Exception):
    """The bus does not answer, or the connection to it broke."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    body: bytes
    media_type: str  # empty where the message does not say
    attributes: Mapping[str, str]  # of a CloudEvent in binary mode
    id: str  # of an event without one of its own; empty where the bus has none either
    traceparent: str
    where: str  # it is found by, in the log
    handle: Any  # what the bus's client knows it by


class Bus(Protocol):
    """A connection that messages come over. All of it raises Away."""

    async def take(self, most: int, within_s: float) -> Sequence[Message]:
        """Return the next messages; none where none came."""

    async def done(self, message: Message) -> None:
        """Say that its event is committed."""

    async def refuse(self, message: Message, reason: str) -> None:
        """Say that it can never be taken."""

    async def postpone(self, message: Message, delay_s: float) -> None:
        """Have it come again after so long."""

    async def hold(self, messages: Sequence[Message]) -> None:
        """Say that they are still worked on."""

    async def aclose(self) -> None:
        """End the connection. What was not answered comes again."""


def event_of(message: Message, workspace_id: UUID) -> NewEvent:
    """Return the event that the message is. Raises BadInput."""
    submission = _submission(message)
    if submission.id is None:
        submission.id = message.id or None
    return check(submission, workspace_id, tracing.accepted(message.traceparent))


def _submission(message: Message) -> Submission:
    try:
        return _decoded(message)
    except msgspec.ValidationError as error:
        raise BadInput(f"This is not an event: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The body is not JSON: {json_problem(error)}.") from None


def _decoded(message: Message) -> Submission:
    media_type = message.media_type.partition(";")[0].strip().lower()
    if media_type == cloudevents.STRUCTURED:
        return cloudevents.from_structured(message.body)
    if "specversion" in message.attributes:
        return cloudevents.from_attributes(message.attributes, media_type, message.body)
    if media_type not in ("", "application/json"):
        raise BadInput(f"Content type {media_type!r:.100} is not read; send application/json.")
    try:
        return _DECODER.decode(message.body)
    except msgspec.ValidationError:
        # NATS's binding up to 1.0.2 has structured CloudEvents, and nothing that says so.
        if media_type or b'"specversion"' not in message.body:
            raise
        return cloudevents.from_structured(message.body)


_DECODER = msgspec.json.Decoder(Submission)

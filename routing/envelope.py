"""An event as its readers get it: the body of a webhook and the frame of a websocket are the same JSON."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType


class _Envelope(msgspec.Struct, kw_only=True):
    """The members in their order; what is UNSET is left out."""

    id: UUID
    type: str
    date: str
    source: str | UnsetType
    subject: str | UnsetType
    workspace_id: UUID = msgspec.field(name="workspaceId")
    data: msgspec.Raw | UnsetType
    cursor: str | UnsetType


_encode = msgspec.json.Encoder().encode


def render(
    *,
    id: UUID,
    type: str,
    date: datetime,
    source: str,
    subject: str,
    workspace_id: UUID,
    data: str,
    cursor: int | None = None,
) -> bytes:
    """Return the event as JSON with the exact bytes of `data`; what is empty is left out.

    `cursor` is the number by which a websocket's reader resumes; a webhook has none.
    """
    return _encode(
        _Envelope(
            id=id,
            type=type,
            date=date.astimezone(UTC).isoformat(timespec="microseconds"),
            source=source or UNSET,
            subject=subject or UNSET,
            workspace_id=workspace_id,
            data=msgspec.Raw(data.encode()) if data else UNSET,
            cursor=UNSET if cursor is None else str(cursor),
        )
    )

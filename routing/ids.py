"""Ids of traffic are UUIDv7 (RFC 9562, section 5.7): in the order of time, and with the time in them."""

from datetime import UTC, datetime
from uuid import UUID

LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)  # before which no id is; dates that are a little earlier can be had


def first_id(at: datetime) -> UUID:
    """Return the lowest UUIDv7 of that millisecond."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80 | 0x7 << 76)


def made_at(id_: UUID) -> datetime:
    """Return the time that an id was made at, by the clock of who made it."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)

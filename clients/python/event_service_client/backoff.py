"""How long to wait before another try."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


def pause_s(tries: int) -> float:
    """Return a pause after so many tries: longer each time, and by chance, so that not all clients come at once."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 10))
    return longest * random.uniform(0.5, 1)


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Return what Retry-After says, as seconds or a date, or None where it says nothing that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())

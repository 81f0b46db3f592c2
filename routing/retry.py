"""When to try again."""

from datetime import timedelta

# The schedule of Standard Webhooks: the wait before each attempt, the first at once; about three days in all.
SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = 0.2  # either way, so that what failed together is not tried again together


def wait_after(attempts: int, *, chance: float) -> timedelta | None:
    """Return how long to wait after `attempts` failures, or None to give up.

    `chance`, from 0 to 1, picks the point within the jitter.
    """
    if attempts >= len(SCHEDULE):
        return None
    return SCHEDULE[attempts] * (1 + JITTER * (2 * chance - 1))

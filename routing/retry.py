"""When to try again."""

from collections.abc import Sequence


def wait_s(attempts: int, *, waits_s: Sequence[float], jitter: float, chance: float) -> float | None:
    """Return how long to wait after `attempts` failures, or None to give up.

    `chance`, from 0 to 1, picks the point within the jitter.
    """
    if attempts > len(waits_s):
        return None
    return waits_s[attempts - 1] * (1 + jitter * (2 * chance - 1))


def stretched_s(wait_s: float, asked_s: float | None) -> float:
    """Return a wait that the receiver may lengthen, by no more than as much again."""
    return wait_s if asked_s is None else min(max(wait_s, asked_s), 2 * wait_s)

"""What the C library keeps of memory that nobody uses any more."""

import ctypes
from collections.abc import Callable

EVERY_S = 60.0


def give_back() -> None:
    """Have the system get back what lies free between what is used. Without glibc, do nothing.

    A process that serves many threads grows by such holes for hours: see malloc_trim(3). It takes some milliseconds,
    in which other threads run, but those that allocate from the part that is being looked through.
    """
    if _trim:
        _trim(0)


def _found() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


_trim = _found()

"""One line a figure, and whether it is as it must be."""

from collections.abc import Callable
from typing import Any

_broken: list[str] = []


def say(text: str) -> None:
    print(text, flush=True)


def figure(name: str, found: Any, wanted: Any, holds: Callable[[Any, Any], bool] = lambda a, b: bool(a == b)) -> None:
    """Print the figure, beside the one that it is held to."""
    good = holds(found, wanted)
    if not good:
        _broken.append(name)
    shown = f"{found:g}" if isinstance(found, float) else found
    say(f"{'  ok   ' if good else '  FAILS'} {name}: {shown} ({_SIGNS.get(holds, '')}{wanted})")


def at_least(found: Any, wanted: Any) -> bool:
    return bool(found >= wanted)


def at_most(found: Any, wanted: Any) -> bool:
    return bool(found <= wanted)


def broken() -> list[str]:
    """Return what was not as it must be, and forget it."""
    found = _broken[:]
    _broken.clear()
    return found


_SIGNS: dict[Callable[[Any, Any], bool], str] = {at_least: ">= ", at_most: "<= "}
